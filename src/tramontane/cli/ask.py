"""ask, chat: answers from the notes, and talk with the model itself."""

import sys
from collections.abc import Sequence
from itertools import chain
from typing import Annotated

import typer

from tramontane.cli.notes import place_in
from tramontane.cli.output import AsJson, say, say_json, say_piece
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter
from tramontane.engine.request import Sampling
from tramontane.errors import NotFound, PromptTooLong
from tramontane.writing.events import (
    Abstained,
    Answer,
    Behind,
    Done,
    Event,
    FromMemory,
    Heading,
    OwnWords,
    Sentence,
    SentenceVoice,
    Source,
    Sources,
    Voiced,
    Withheld,
)
from tramontane.writing.speak import speak

Collections = Annotated[
    list[str] | None, typer.Option("--in", help="Only this collection; may be repeated.")
]
Honest = Annotated[
    bool,
    typer.Option(
        "--honest", help="Keep back what no source backs; a quotation stands there if one can."
    ),
]
# Tokens named for each expert in a sentence.
MOST_RAISED = 4
# How many of the words that no source holds are named.
MOST_MISSING = 4
NOT_CALIBRATED = (
    "The marks are not calibrated on your text; `tramontane support label` is the way to it "
    "(docs/support.md)."
)
MARKS = {"weak": "weakly supported", "unsupported": "not in your notes"}


def register(app: typer.Typer) -> None:
    app.command("ask")(ask)
    app.command("chat")(chat)


def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What your notes may answer.")],
    collection: Collections = None,
    since: Annotated[
        str | None, typer.Option(help="Only what is dated on or after YYYY[-MM[-DD]].")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Only what is dated on or before YYYY[-MM[-DD]].")
    ] = None,
    own_words: Annotated[
        bool, typer.Option("--own-words", help="Also show what the model would say freely.")
    ] = False,
    voice: Annotated[
        bool,
        typer.Option("--voice", help="Show what each expert did in each sentence, and its notes."),
    ] = False,
    honest: Honest = False,
    as_json: AsJson = False,
) -> None:
    """Answer a question from your notes, each sentence with its source.

    Example: tramontane ask "how much lime for the cabbages" --in garden
    """
    with opened(context.obj) as parts:
        check_has_notes(parts)
        if own_words:
            parts.checkpoint  # noqa: B018  a missing base is told before the answer begins
        answer, show = Answer(question), Screen()
        with Reporter(is_quiet=as_json) as report:
            events = parts.writer(report=report).ask(
                question,
                collections=collection,
                since=since,
                until=until,
                own_words=own_words,
                with_voice=voice,
                is_honest=honest,
            )
            first = next(events)
        for event in chain([first], events):
            answer.take(event)
            if not as_json:
                show(event)
    if as_json:
        say_json(answer)


def chat(
    context: typer.Context,
    temperature: Annotated[float, typer.Option(min=0.0, max=5.0)] = 0.7,
    seed: Annotated[int, typer.Option(help="The same seed, the same words.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens a reply may have.")] = 400,
) -> None:
    """Talk with the model itself, experts in place. Nothing it says is checked against your notes.

    Example: tramontane chat --temperature 0.3
    """
    with opened(context.obj) as parts:
        engine, tokenizer, voices = parts.engine, parts.tokenizer, parts.voices()
        experts = f" with {', '.join(voice.name for voice in voices)}" if voices else ""
        say(
            f"{parts.checkpoint.name}{experts}. Its words are its own, unchecked; "
            "`tramontane ask` answers from your notes. An empty line or Ctrl-D ends."
        )
        messages: list[dict[str, str]] = []
        while text := read_line():
            messages.append({"role": "user", "content": text})
            room = engine.runtime.config.max_context_tokens - max_tokens
            ids = tokenizer.encode_chat(messages)
            if len(ids) > room:
                raise PromptTooLong(
                    f"this conversation has {len(ids)} tokens, {room} fit beside a reply of "
                    f"{max_tokens}; begin a new one"
                )
            reply = ""
            for piece in speak(
                engine,
                tokenizer,
                ids,
                max_new_tokens=max_tokens,
                sampling=Sampling(temperature=temperature, top_p=0.95, seed=seed + len(messages)),
                experts=voices,
            ):
                reply += piece.text
                say_piece(piece.text)
            print()
            messages.append({"role": "assistant", "content": reply})


def read_line() -> str:
    """Returns the next line typed or piped in; empty at the end."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def check_has_notes(parts: Parts) -> None:
    if not any(collection.num_notes for collection in parts.library.collections()):
        raise NotFound(
            "the library holds no notes yet; `tramontane collections add FOLDER --as NAME` adds a "
            "folder, `tramontane demo` shows it all with sample notes"
        )


class Screen:
    """Prints an answer's events as they come, for a person."""

    def __init__(self):
        self.sources: tuple[Source, ...] = ()
        self.has_own_words = False
        self.sentences: list[Sentence | None] = []
        self.voices: list[Voiced] = []
        self.memories: list[FromMemory] = []
        self.promises: dict[str, None] = {}
        self.has_uncalibrated = False

    def __call__(self, event: Event) -> None:
        match event:
            case Sources(sources):
                self.sources = sources
            case Heading(text):
                say()
                say(text, style="bold")
            case Sentence():
                self.sentence(event)
                self.sentences.append(event)
            case Withheld(instead):
                self.withheld(instead)
                self.sentences.append(None)
            case Voiced():
                self.voices.append(event)
            case FromMemory():
                self.memories.append(event)
            case Abstained(reason, closest):
                say(reason)
                if closest:
                    say(f"Closest: {place_of(closest)}", style="dim")
            case OwnWords(text, _):
                if not self.has_own_words:
                    say()
                    say("The model's own words, not checked:", style="dim")
                    self.has_own_words = True
                say_piece(text)
            case Done():
                self.end()

    def sentence(self, sentence: Sentence) -> None:
        number = f" [{sentence.source}]" if sentence.source else ""
        if sentence.kind == "quotation":
            day = f" ({sentence.day})" if sentence.day else ""
            say(f"“{sentence.text}”{day}{number}")
        else:
            if sentence.promise:
                self.promises[sentence.promise] = None
            else:
                self.has_uncalibrated = True
            doubt = MARKS.get(sentence.mark or "")
            if doubt and sentence.missing:
                doubt += ": " + ", ".join(f"“{word}”" for word in sentence.missing[:MOST_MISSING])
            say(f"{sentence.text}{number}" + (f"  ({doubt})" if doubt else ""))

    def withheld(self, instead: Sentence | None) -> None:
        if instead:
            self.sentence(instead)
        else:
            say("[A sentence was kept back: no source backs it.]", style="dim")

    def end(self) -> None:
        if self.has_own_words:
            print()
        if self.sources:
            say()
        for source in self.sources:
            say(f"[{source.number}] {place_of(source)}", style="dim")
        if self.memories:
            say()
        for memory in self.memories:
            say(
                f"From the memory of {memory.expert}, no passage carries it: "
                f"“{self.sentences[memory.sentence].text}”",
                style="dim",
            )
        if self.promises or self.has_uncalibrated:
            say()
        for promise in self.promises:
            say(promise, style="dim")
        if self.has_uncalibrated:
            say(NOT_CALIBRATED, style="dim")
        for voiced in self.voices:
            say()
            sentence = self.sentences[voiced.sentence]
            show_voice(sentence.text, sentence.named, voiced.voice)


def show_voice(text: str, named: Sequence[str], voice: SentenceVoice) -> None:
    """Prints whom a sentence is named after, who spoke in it, the loudest first, and the notes
    behind them."""
    heard = [name for name, share in voice.shares.items() if share > 0 or voice.effects[name]]
    say(f"Voices in “{text[:60]}{'…' if len(text) > 60 else ''}”:")
    if not heard:
        say("  the base alone: every gate stayed closed", style="dim")
    elif len(named) > 1:
        say(f"  contested: {' and '.join(named)} look alike")
    else:
        say(f"  named after {named[0] if named else 'nobody'}")
    for name in sorted(heard, key=lambda name: -voice.shares[name]):
        say(
            f"  {name}: share {voice.shares[name]:.1%}, effect {voice.effects[name]:+.3f} nats per "
            "token"
        )
        raised = sorted(voice.tokens, key=lambda token: -abs(token.effects[name]))[:MOST_RAISED]
        told = ", ".join(
            f"“{token.text.strip()}” {token.effects[name]:+.2f}"
            for token in raised
            if token.effects[name]
        )
        if told:
            say(f"    most on {told}", style="dim")
        for note in voice.behind.get(name, ()):
            say(f"    leans on {place_of(note)}", style="dim")


def place_of(source: Source | Behind) -> str:
    return f"{source.collection}/{source.path}, {place_in(source)}"

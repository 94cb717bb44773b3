"""demo: the whole line on the sample notes, each claim checked as it is made.

Sync, ask, learn, hear the expert, withdraw it with proof. Whatever fails a check is told, and the
command ends with a status other than 0.
"""

import math
import time
from typing import Annotated, Any

import typer

from tramontane.cli.ask import Screen
from tramontane.cli.experts import show_certificate, withdraw_with_proof
from tramontane.cli.learn import learn_and_place, show_proof
from tramontane.cli.notes import add_and_sync
from tramontane.cli.output import say
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Clock, Reporter, duration
from tramontane.cli.samples import sample_folders, sample_questions
from tramontane.errors import NotFound
from tramontane.experts.corpus import salted_hashes, split_notes
from tramontane.experts.shelf import ExpertRecord
from tramontane.notes.folder import read_folder
from tramontane.notes.note import Note
from tramontane.notes.sentences import split_sentences
from tramontane.writing.events import Answer, Sentence, Source
from tramontane.writing.speak import ExpertInPlace, speak, voice_in

TAUGHT = "garden"
CONTINUED_TOKENS = 24
ETA_TOLERANCE = 0.3


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    context: typer.Context,
    relearn: Annotated[
        bool, typer.Option("--relearn", help="Learn again even if nothing has changed.")
    ] = False,
) -> None:
    """Show everything on the sample notes, and check it: answers, learning, voices, withdrawal.

    A second run reuses what is there. Example: tramontane demo
    """
    with opened(context.obj) as parts:
        parts.checkpoint  # noqa: B018  a missing base is told before anything else
        show = Demo(parts)
        show.read_notes()
        show.ask_questions()
        record = show.learn(relearn)
        show.continue_sentence(record)
        show.shares(record)
        show.withdraw(record)
        show.end()
        if show.faults:
            raise typer.Exit(1)


class Demo:
    """One run: what it has shown, and which checks failed."""

    def __init__(self, parts: Parts):
        self.parts = parts
        self.began = time.monotonic()
        self.faults: list[str] = []

    def check(self, is_right: bool, fault: str) -> None:
        if not is_right:
            self.faults.append(fault)
            say(f"   ✗ {fault}", style="red")

    def chapter(self, text: str) -> None:
        say()
        say(f"── {text}", style="bold")

    def read_notes(self) -> None:
        self.chapter("Notes")
        for name, folder in sample_folders().items():
            with Reporter(name) as report:
                done = add_and_sync(self.parts, name, folder, report)
            num_notes = self.parts.library.collection(name).num_notes
            say(
                f"{name}: {num_notes} notes, {len(done.added) + len(done.changed)} of them read now"
            )

    def ask_questions(self) -> None:
        self.chapter("Questions, answered from the notes; nothing has been learnt yet")
        questions = [item for item in sample_questions() if item.get("demo")]
        answerable = [item for item in questions if item["answerable"]]
        unanswerable = [item for item in questions if not item["answerable"]]
        for number, item in enumerate(answerable):
            self.ask_answerable(item)
            if number == 0:
                took = duration(time.monotonic() - self.began)
                say(f"   (the first answer, {took} after the start)")
        for item in unanswerable:
            answer = self.ask(item)
            self.check(answer.abstained, "the notes don't hold this, and it was answered")
        say()
        say(
            f"{len(sample_questions())} such questions come with the sample notes; how many are "
            "answered rightly is measured by bench/questions.py."
        )

    def ask(self, item: dict[str, Any]) -> Answer:
        say()
        say(f"? {item['question']}", style="bold")
        answer, show = Answer(item["question"]), Screen()
        for event in self.parts.writer(experts=()).ask(item["question"]):
            answer.take(event)
            show(event)
        return answer

    def ask_answerable(self, item: dict[str, Any]) -> None:
        answer = self.ask(item)
        holding = [
            part
            for part in answer.sentences
            if isinstance(part, Sentence) and holds_fact(part.text, item)
        ]
        self.check(bool(holding), f"the answer lacks “{item['fact']}”")
        if holding:
            sources = {source.number: source for source in answer.sources}
            self.check(
                any(holds_fact(self.cited_lines(s, sources[s.source]), item) for s in holding),
                f"the lines cited lack “{item['fact']}”",
            )

    def cited_lines(self, sentence: Sentence, source: Source) -> str:
        """Returns the lines a sentence cites, read from the note's file itself."""
        folder = self.parts.library.collection(source.collection).folder
        lines = (folder / source.path).read_text(encoding="utf-8").splitlines()
        return "\n".join(lines[sentence.first_line - 1 : sentence.last_line])

    def learn(self, relearn: bool) -> ExpertRecord:
        self.chapter(f"Learning an expert from {TAUGHT}")
        known = None if relearn else self.known_expert()
        if known is not None:
            say("It was learnt from these very notes in an earlier run; that expert is taken.")
            show_proof(known)
            return known
        with Reporter(TAUGHT) as report:
            record = learn_and_place(self.parts, TAUGHT, sample_folders()[TAUGHT], report)
        show_proof(record, report.clock.elapsed)
        said = self.arrival_said(report.clock)
        if said is not None:
            off = said / report.clock.elapsed - 1
            holds = "holds" if abs(off) <= ETA_TOLERANCE else "does not hold"
            say(
                f"A fifth of the way in, the estimate was {duration(said)} in all, "
                f"{off:+.0%} off: it {holds} within {ETA_TOLERANCE:.0%}."
            )
        return record

    def arrival_said(self, clock: Clock) -> float | None:
        """Returns the seconds in all that the bar promised when a fifth of them had gone."""
        late = [at + left for at, left in clock.estimates if at >= clock.elapsed / 5]
        return late[0] if late else None

    def known_expert(self) -> ExpertRecord | None:
        """Returns the expert of an earlier run, in place, if it learnt from these very notes."""
        try:
            record = self.parts.shelf.find(TAUGHT)
        except NotFound:
            return None
        learnt, _ = split_notes(self.notes())
        salt = self.parts.library.collection(TAUGHT).salt
        if record.manifest["notes"]["salted_sha256"] != salted_hashes(learnt, salt):
            return None
        if record.base_sha256 != self.parts.checkpoint.sha256:
            return None
        if record.is_withdrawn:
            record, _ = self.parts.shelf.restore(record.name)
        if record.hash not in self.parts.mixture().experts:
            self.parts.shelf.put_in_place(record, self.parts.mixture())
        return record

    def notes(self) -> list[Note]:
        return read_folder(sample_folders()[TAUGHT]).notes

    def continue_sentence(self, record: ExpertRecord) -> None:
        self.chapter("The base and the expert each go on with a sentence neither has seen")
        parts, voice = self.parts, ExpertInPlace(record.name, record.hash)
        _, held_out = split_notes(self.notes())
        tokenizer, note = parts.tokenizer, held_out[0]
        text, beginning = sentence_to_continue(note)
        say(f"{note.path}: “{beginning} …”")
        ids = tokenizer.encode(beginning)
        for name, experts in (("the base", ()), ("with the expert", (voice,))):
            pieces = speak(
                parts.engine, tokenizer, ids, max_new_tokens=CONTINUED_TOKENS, experts=experts
            )
            words = " ".join("".join(piece.text for piece in pieces).split())
            say(f"  {name:16} … {words}")
        say(f"  {'the note':16} … {text.removeprefix(beginning).strip()}")
        whole = tokenizer.encode(note.text)
        base, expert = (
            math.exp(-parts.engine.score(whole, experts=hashes).mean())
            for hashes in ((), (record.hash,))
        )
        say(f"Perplexity of that whole note: base {base:.1f}, with the expert {expert:.1f}.")
        held = record.manifest["held_out"]
        self.check(
            held["perplexity_after"] < held["perplexity_before"],
            "the expert learnt nothing on held-out notes",
        )

    def shares(self, record: ExpertRecord) -> None:
        self.chapter("Who speaks: each expert's share in a text's tokens")
        voices = self.parts.voices()
        _, held_out = split_notes(self.notes())
        others = [name for name in sample_folders() if name != TAUGHT]
        texts = {f"a {TAUGHT} note it never saw": held_out[-1].text}
        for name in others:
            texts[f"a {name} note"] = self.parts.library.notes(name)[0].text
        for what, text in texts.items():
            voice = voice_in(self.parts.engine, self.parts.tokenizer, text, voices)
            listed = ", ".join(f"{name} {share:.1%}" for name, share in voice.shares.items())
            say(f"  {what:28} {listed}; named after {' or '.join(voice.named) or 'nobody'}")

    def withdraw(self, record: ExpertRecord) -> None:
        self.chapter(f"Withdrawing {record.name}")
        parts = self.parts
        _, certificate = withdraw_with_proof(parts, record.name)
        show_certificate(certificate)
        self.check(certificate.is_exact, "the model is not the same without the expert")
        self.check(certificate.expert_was_heard, "the probe never reached the expert")
        if not certificate.experts_left:
            say("No expert is left, so that is the published base itself.")
        parts.shelf.restore(record.name)
        say("(Restored, so that you can meet it on the page.)")

    def end(self) -> None:
        settings = self.parts.settings
        self.chapter("The page")
        say(f"tramontane --home {settings.home} serve")
        say(f"then open http://{settings.host}:{settings.port}/")
        say()
        took = duration(time.monotonic() - self.began)
        if self.faults:
            say(f"{len(self.faults)} checks failed in {took}.", style="red")
        else:
            say(f"Everything shown was checked; {took}.")


def holds_fact(text: str, item: dict[str, Any]) -> bool:
    found = " ".join(text.lower().split())
    return any(" ".join(fact.lower().split()) in found for fact in item["accept"])


def sentence_to_continue(note: Note) -> tuple[str, str]:
    """Returns a sentence of prose from a note, and its first half."""
    for passage in note.passages:
        for sentence in split_sentences(passage.text, passage.first_line):
            words = sentence.text.split()
            if len(words) >= 12 and words[0][0].isupper():
                return " ".join(words), " ".join(words[: len(words) // 2])
    words = note.text.split()
    return " ".join(words), " ".join(words[:12])

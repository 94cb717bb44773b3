"""Chat answered from notes: the desk's events as one message, with what each sentence rests on."""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tramontane.errors import RequestError
from tramontane.server.chat import text_of
from tramontane.server.desk import Desk
from tramontane.server.openai_wire import ChatBody, Extension
from tramontane.server.wire import plain
from tramontane.writing.events import (
    Abstained,
    Event,
    FromMemory,
    Heading,
    Sentence,
    Source,
    Sources,
    Voiced,
    Withheld,
)

# What a draft from notes can't follow; it would be another answer if it were passed over.
NOT_FROM_NOTES = (
    "n stop logit_bias logprobs top_logprobs presence_penalty frequency_penalty repetition_penalty "
    "min_p top_k top_p temperature seed response_format tools max_tokens max_completion_tokens"
).split()
HARMLESS = {"n": (1,)}
# Told of a sentence only when voices are asked for.
VOICE = ("shares", "named")
WITHHELD = "[A sentence was kept back: no source backs it.]"


class NotesAnswer:
    """Turns events into pieces of text, and keeps what the reply tells beside them."""

    def __init__(self):
        self.text = ""
        self.sources: tuple[Source, ...] = ()
        self.support: list[dict[str, Any]] = []
        self.abstained: Abstained | None = None
        self.num_tokens = 0

    def take(self, event: Event) -> str:
        """Returns the text that an event adds."""
        match event:
            case Sources(sources):
                self.sources = sources
                return ""
            case Abstained(reason, _):
                self.abstained = event
                return self.add(reason)
            case Heading(text):
                return self.add(f"\n\n## {text}\n\n")
            case Sentence():
                return self.sentence(event)
            case Withheld(instead):
                return self.sentence(instead) if instead else self.kept_back()
            case Voiced(place, voice):
                self.support[place] |= {"effects": voice.effects, "behind": plain(voice.behind)}
            case FromMemory(place, expert, effect):
                self.support[place]["memory"] = {"expert": expert, "effect": effect}
        return ""

    def sentence(self, sentence: Sentence) -> str:
        space = " " if self.text and not self.text.endswith("\n") else ""
        bare = f"“{sentence.text}”" if sentence.kind == "quotation" else sentence.text
        begin = len(self.text) + len(space)
        self.support.append(
            {
                "begin": begin,
                "end": begin + len(bare),
                "kind": sentence.kind,
                "mark": sentence.mark,
                "promise": sentence.promise,
                "overlap": sentence.overlap,
                "score": sentence.support,
                "missing": list(sentence.missing),
                "source": sentence.source,
                "shares": sentence.shares,
                "named": list(sentence.named),
            }
        )
        number = f" [{sentence.source}]" if sentence.source else ""
        return self.add(f"{space}{bare}{number}")

    def kept_back(self) -> str:
        """Says that a sentence was kept back; it counts as one that rests on nothing."""
        space = " " if self.text and not self.text.endswith("\n") else ""
        begin = len(self.text) + len(space)
        self.support.append(
            {"begin": begin, "end": begin + len(WITHHELD), "kind": "withheld", "mark": None}
        )
        return self.add(f"{space}{WITHHELD}")

    def add(self, text: str) -> str:
        self.text += text
        return text

    def extension(self, asked: Extension, warnings: list[str]) -> dict[str, Any]:
        told: dict[str, Any] = {"abstained": self.abstained is not None}
        if asked.sources:
            told["sources"] = plain(self.sources)
            if self.abstained and self.abstained.closest:
                told["closest"] = plain(self.abstained.closest)
        if asked.support:
            told["support"] = [
                sentence if asked.voice else {k: v for k, v in sentence.items() if k not in VOICE}
                for sentence in self.support
            ]
        if warnings:
            told["warnings"] = warnings
        return told


def question_of(body: ChatBody) -> str:
    """Returns what is asked; RequestError for a field that an answer from notes can't follow."""
    given = [
        name
        for name in NOT_FROM_NOTES
        if (value := getattr(body, name)) is not None and value not in HARMLESS.get(name, ())
    ]
    if given:
        raise RequestError(
            f"an answer from collections can't follow {', '.join(given)}; leave it out, or leave "
            "out tramontane.collections"
        )
    if body.messages[-1].role != "user":
        raise RequestError("an answer from collections wants a question: the last message, by user")
    return text_of(body.messages[-1])


def events_for(desk: Desk, body: ChatBody) -> Iterator[Event]:
    asked = body.extension
    return desk.ask(
        question_of(body),
        collections=asked.collections or None,
        experts=asked.experts,
        own_words=False,
        voice=asked.voice,
        honest=asked.honest,
    )


def head_of(kind: str, model: str, fingerprint: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": fingerprint,
    }


def chunks_of(
    events: Iterator[Event], body: ChatBody, warnings: list[str], model: str, fingerprint: str
) -> Iterator[dict[str, Any]]:
    """Yields the chunks of a streamed answer; the last carries what its sentences rest on."""
    head = head_of("chat.completion.chunk", model, fingerprint)
    answer = NotesAnswer()
    yield chunk(head, {"role": "assistant", "content": ""})
    for event in events:
        if text := answer.take(event):
            yield chunk(head, {"content": text})
    last = chunk(head, {}, "stop")
    yield last | {"tramontane": answer.extension(body.extension, warnings)}
    if body.stream_options and body.stream_options.include_usage:
        yield head | {"choices": [], "usage": no_usage()}


def joined(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the one reply that chunks add up to; RequestError where the last is an error."""
    if "message" in chunks[-1]:
        raise RequestError(chunks[-1]["message"])
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    (extension,) = (c["tramontane"] for c in chunks if "tramontane" in c)
    head = {key: chunks[0][key] for key in ("id", "created", "model", "system_fingerprint")}
    return head | {
        "object": "chat.completion",
        "choices": [choice],
        "usage": no_usage(),
        "tramontane": extension,
    }


def chunk(
    head: dict[str, Any], delta: dict[str, Any], finish_reason: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return head | {"choices": [choice]}


def no_usage() -> dict[str, Any]:
    """Returns zeros: search and many short readings go into such an answer, and no one prompt."""
    return {
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "total_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
    }

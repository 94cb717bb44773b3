"""Labelling in the terminal: a sentence, the passages it was checked against, one key for each."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tramontane.cli.output import say
from tramontane.errors import RequestError
from tramontane.library.library import Library
from tramontane.library.support_labels import Candidate, PassagePlace, SupportLabel
from tramontane.writing.calibration import checker_name

VERDICT_KEYS = {"s": "supported", "p": "partly", "u": "unsupported", "k": "skipped"}
KEYS = (
    "s supported   p only partly   u unsupported   k skip   m more passages   z undo   q stop here"
)
KIND_WORDS = {"quotation": "quotations", "prose": "the base's prose", "own": "text of your own"}


class Labelling:
    """One sitting: every verdict is kept as soon as it is given, so it can end at any key."""

    def __init__(self, library: Library, collection: str, kind: str, further: Iterator[Candidate]):
        """`further` gives sentences once none that were queued before are left."""
        self.library, self.collection, self.kind = library, collection, kind
        self.further = further
        self.labels = library.support_labels
        self.num_given = self.num_stale = 0

    def run(self, most: int) -> None:
        """Asks for verdicts until there are `most`, no sentence is left, or the person stops."""
        say(KEYS, style="dim")
        while self.num_given < most and (label := self.next_sentence()):
            passages = self.passages_of(label)
            self.show(label, passages[:1])
            if not self.answer(label, passages):
                break
        if self.num_stale:
            say(f"{self.num_stale} sentences were left out: their notes have changed since.")

    def next_sentence(self) -> SupportLabel | None:
        """Returns the next sentence whose passage still is what it was; others are dropped."""
        while True:
            waiting = self.labels.waiting(self.collection, self.kind)
            for label in waiting:
                if self.library.passage_text(self.collection, label.passages[0]) is not None:
                    return label
                self.labels.drop(label.id)
                self.num_stale += 1
            candidate = next(self.further, None)
            if candidate is None:
                return None
            self.labels.add(self.collection, self.kind, checker_name(), [candidate])

    def passages_of(self, label: SupportLabel) -> list[tuple[PassagePlace, str]]:
        """Returns the passages that are still what they were, with their texts."""
        texts = [self.library.passage_text(self.collection, place) for place in label.passages]
        return [(p, text) for p, text in zip(label.passages, texts, strict=True) if text]

    def show(self, label: SupportLabel, passages: Sequence[tuple[PassagePlace, str]]) -> None:
        say()
        say(label.sentence, style="bold")
        self.show_passages(passages)

    def show_passages(self, passages: Sequence[tuple[PassagePlace, str]]) -> None:
        for place, text in passages:
            where = f"{self.collection}/{place.path}, lines {place.first_line}-{place.last_line}"
            say(f"  {where}:", style="dim")
            for line in text.splitlines():
                say(f"  | {line}")

    def answer(self, label: SupportLabel, passages: Sequence[tuple[PassagePlace, str]]) -> bool:
        """Waits for a key that ends this sentence; returns whether to go on."""
        while True:
            key = read_key()
            if key in ("", "q"):
                return False
            if key == "z":
                undone = self.labels.undo(self.collection, self.kind)
                self.num_given = max(0, self.num_given - 1)
                say(f"taken back: {undone.sentence}" if undone else "nothing to take back")
                return True
            if key == "m":
                self.show_passages(passages[1:])
                if len(passages) < 2:
                    say("  no further passage", style="dim")
                continue
            if verdict := VERDICT_KEYS.get(key):
                self.labels.judge(label.id, verdict)
                self.num_given += 1
                say(f"  {verdict}", style="dim")
                return True
            say(KEYS, style="dim")


def read_key() -> str:
    """Returns the key pressed, or the first letter of a line piped in; empty at the end."""
    if sys.stdin.isatty():
        key = typer.getchar()
        return "" if key in ("\x04", "") else key.lower()[:1]
    line = sys.stdin.readline()
    return (line.strip().lower() or " ")[:1] if line else ""


# Labels as a file


class PassageBody(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    first_line: int
    last_line: int
    sha256: str


class LabelBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    kind: str
    sentence: str = Field(min_length=1)
    passages: list[PassageBody]
    score: float = Field(ge=0, le=1)
    checker: str
    verdict: str | None


class LabelsBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    labels: list[LabelBody]


def exported(library: Library, collection: str) -> dict[str, Any]:
    labels = library.support_labels
    return {
        "collection": collection,
        "labels": [*labels.judged(collection), *labels.waiting(collection)],
    }


def import_labels(library: Library, collection: str, file: Path) -> int:
    """Adds what `exported` wrote to a file; returns how many labels it held.

    Raises RequestError for a file that is something else; nothing is added then.
    """
    try:
        body = LabelsBody.model_validate(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        fault = error.errors(include_input=False)[0] if isinstance(error, ValidationError) else None
        told = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault else str(error)
        raise RequestError(
            f"{file}: no labels can be read from it ({told}); `tramontane support label --in "
            "COLLECTION --json` writes such a file"
        ) from None
    for one in body.labels:
        places = tuple(PassagePlace(**place.model_dump()) for place in one.passages)
        candidate = Candidate(one.sentence, places, one.score)
        library.support_labels.add(collection, one.kind, one.checker, [candidate], one.verdict)
    return len(body.labels)

"""Labelling in the terminal: a sentence, the passages it was checked against, one key for each."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tramontane.cli.output import say
from tramontane.errors import RequestError
from tramontane.library.library import Library
from tramontane.library.support_labels import Candidate, PassagePlace
from tramontane.writing.labelling import Labelling, ShownPassage, ToJudge

VERDICT_KEYS = {"s": "supported", "p": "partly", "u": "unsupported", "k": "skipped"}
KEYS = (
    "s supported   p only partly   u unsupported   k skip   m more passages   z undo   q stop here"
)


class Sitting:
    """Asks for verdicts on one sentence after the other."""

    def __init__(self, labelling: Labelling):
        self.labelling = labelling
        self.num_given = 0

    def run(self, most: int) -> None:
        """Asks until there are `most` verdicts, no sentence is left, or the person stops."""
        say(KEYS, style="dim")
        while self.num_given < most and (asked := self.labelling.next_sentence()):
            say()
            say(asked.sentence, style="bold")
            self.show_passages(asked, asked.passages[:1])
            if not self.answer(asked):
                break
        if num_stale := self.labelling.num_stale:
            say(f"{num_stale} sentences were left out: their notes have changed since.")

    def show_passages(self, asked: ToJudge, passages: Sequence[ShownPassage]) -> None:
        for one in passages:
            where = f"{asked.collection}/{one.path}, lines {one.first_line}-{one.last_line}"
            say(f"  {where}:", style="dim")
            for line in one.text.splitlines():
                say(f"  | {line}")

    def answer(self, asked: ToJudge) -> bool:
        """Waits for a key that ends this sentence; returns whether to go on."""
        while True:
            key = read_key()
            if key in ("", "q"):
                return False
            if key == "z":
                undone = self.labelling.undo()
                self.num_given = max(0, self.num_given - 1)
                say(f"taken back: {undone.sentence}" if undone else "nothing to take back")
                return True
            if key == "m":
                self.show_passages(asked, asked.passages[1:])
                if len(asked.passages) < 2:
                    say("  no further passage", style="dim")
                continue
            if verdict := VERDICT_KEYS.get(key):
                self.labelling.judge(asked.id, verdict)
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

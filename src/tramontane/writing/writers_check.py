"""The writer's check: may this base's free prose be shown as an answer?

Twenty built-in questions, each with its passage and two others. The base passes when in fifteen
its answer holds the fact and no number that stands in none of the passages. The result is kept per
base.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from tramontane.engine.engine import Engine
from tramontane.files import write_whole
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.events import Source
from tramontane.writing.prompt import ANSWER, fitting_prompt
from tramontane.writing.speak import speak
from tramontane.writing.terms import numbers

NEEDED = 15
MAX_NEW_TOKENS = 48
VERSION = 1


@dataclass(frozen=True, slots=True)
class CheckResult:
    num_right: int
    num_questions: int
    version: int = VERSION

    @property
    def passed(self) -> bool:
        return self.num_right >= NEEDED

    def __str__(self) -> str:
        verdict = "passes" if self.passed else "does not pass"
        return f"{verdict} the writer's check ({self.num_right} of {self.num_questions} right)"


def questions() -> list[dict[str, str]]:
    text = files("tramontane.writing").joinpath("writers_check.json").read_text(encoding="utf-8")
    return json.loads(text)


def run_writers_check(
    engine: Engine, tokenizer: Tokenizer, report: Callable[[str, int, int], None] = lambda *_: None
) -> CheckResult:
    """Returns how many of the questions the base answers rightly from the passages, no experts in
    place. A base without a chat template gets none right: it was not made to answer."""
    asked = questions()
    if tokenizer.chat_template is None:
        return CheckResult(0, len(asked))
    right = 0
    for place, item in enumerate(asked):
        report("writer's check", place, len(asked))
        others = (asked[(place + 7) % len(asked)], asked[(place + 13) % len(asked)])
        # The right passage takes each place in turn.
        passages = [other["passage"] for other in others]
        passages.insert(place % 3, item["passage"])
        sources = [
            Source(number, "", "", f"Note {number}", 1, 1, text, "")
            for number, text in enumerate(passages, start=1)
        ]
        room = engine.runtime.config.max_context_tokens - MAX_NEW_TOKENS
        ids, _ = fitting_prompt(tokenizer, ANSWER, item["question"], sources, room)
        pieces = speak(engine, tokenizer, ids, max_new_tokens=MAX_NEW_TOKENS)
        answer = "".join(piece.text for piece in pieces)
        right += is_right(answer, item["fact"], passages)
    report("writer's check", len(asked), len(asked))
    return CheckResult(right, len(asked))


def is_right(answer: str, fact: str, passages: list[str]) -> bool:
    """Returns whether the answer holds the fact and no number from nowhere ([1] is a citation)."""
    known = set().union(*map(numbers, passages)) | {"1", "2", "3"}
    return fact.lower() in answer.lower() and numbers(answer) <= known


def known_check(folder: Path, base_sha256: str) -> CheckResult | None:
    """Returns the result kept for a base; the embedded one's was measured once for all."""
    known = json.loads(
        files("tramontane.writing").joinpath("known_checks.json").read_text(encoding="utf-8")
    )
    if base_sha256 in known:
        return CheckResult(**known[base_sha256])
    return stored_check(folder, base_sha256)


def stored_check(folder: Path, base_sha256: str) -> CheckResult | None:
    """Returns the result kept for a base, or None when there is none of this version."""
    file = folder / f"{base_sha256}.json"
    if not file.exists():
        return None
    try:
        result = CheckResult(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        return None  # damaged, or written by another version; the check is run again
    is_whole = all(type(number) is int for number in asdict(result).values())
    return result if is_whole and result.version == VERSION else None


def store_check(folder: Path, base_sha256: str, result: CheckResult) -> None:
    write_whole(folder / f"{base_sha256}.json", json.dumps(asdict(result)).encode())

"""Honesty mode on what bases really wrote: how much that is right it keeps, what it lets through.

The sentences of questions/generated_sentences.json, answer by answer, go through honesty mode as
they would on their way to a reader, with the passage they were written from as the only source. A
sentence is correct where all who read it say that its passage backs it; what they call no claim is
neither. Quotations that stand in a kept back sentence's place are none of the base's claims.
Beside it: everything shown, and only what is marked supported.

    python bench/honesty.py
"""

import argparse
import json
from collections.abc import Callable, Sequence
from itertools import groupby

from record import Claim, add_results
from support import GENERATED, passage_of
from tramontane.writing.answer import prose_sentence
from tramontane.writing.events import Sentence, Source, Withheld
from tramontane.writing.honesty import honest


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    rows = json.loads(GENERATED.read_text("utf-8"))
    answers = [list(rows) for _, rows in groupby(sorted(rows, key=answer_of), key=answer_of)]
    ways: dict[str, Callable[[Sequence[dict]], list[bool]]] = {
        "honesty mode": in_honesty_mode,
        "everything": lambda answer: [True] * len(answer),
        "only supported": lambda answer: [one.mark == "supported" for one in checked(answer)],
    }
    kept, sound = {}, {}
    for name, way in ways.items():
        shown = [list(zip(answer, way(answer), strict=True)) for answer in answers]
        correct = [was for answer in shown for row, was in answer if is_correct(row)]
        kept[name] = sum(correct) / len(correct)
        sound[name] = sum(
            all(is_correct(row) or is_no_claim(row) for row, was in answer if was)
            for answer in shown
        ) / len(answers)
    silent = sum(not any(in_honesty_mode(answer)) for answer in answers)
    add_results(
        "support",
        [
            claim("honesty.correct_kept", kept, len(correct), "correct sentences"),
            claim(
                "honesty.all_supported",
                sound,
                len(answers),
                f"answers; of {silent} nothing of the base's own was left",
            ),
        ],
    )


def claim(id: str, values: dict[str, float], n: int, of: str) -> Claim:
    value = round(values["honesty mode"], 4)
    beside = ", ".join(f"{name} {values[name]:.3f}" for name in values if name != "honesty mode")
    return Claim(id, value, None, value, n, f"share of {n} {of}; {beside}")


def answer_of(row: dict) -> tuple:
    return row["base"], row["passage"], row["first_line"], row["question"], row["temperature"]


def is_correct(row: dict) -> bool:
    return set(row["labels"]) == {"supported"}


def is_no_claim(row: dict) -> bool:
    return set(row["labels"]) == {"no_claim"}


def sources_of(answer: Sequence[dict]) -> tuple[Source]:
    row = answer[0]
    collection, path = row["passage"].split("/", 1)
    lines = (row["first_line"], row["last_line"])
    return (Source(1, collection, path, path, *lines, passage_of(row), ""),)


def checked(answer: Sequence[dict]) -> list[Sentence]:
    return [prose_sentence(row["sentence"], sources_of(answer), None) for row in answer]


def in_honesty_mode(answer: Sequence[dict]) -> list[bool]:
    """Returns which sentences of an answer honesty mode shows."""
    events = honest(iter(checked(answer)), sources_of(answer))
    return [not isinstance(event, Withheld) for event in events]


if __name__ == "__main__":
    main()

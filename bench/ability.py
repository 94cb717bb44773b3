"""Three public suites of choices, scored by likelihood: HellaSwag, ARC-easy, PIQA.

A choice's score is its log-probability after the context over its bytes, as lm-evaluation-harness's
`acc_norm` has it (github.com/EleutherAI/lm-evaluation-harness).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from texts import DATA
from tramontane.engine.engine import Engine
from tramontane.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Choice:
    context: str
    choices: tuple[str, ...]
    right: int


def suite(name: str, num_items: int) -> list[Choice]:
    """Returns a sample of a suite, evenly over it."""
    items = list(READERS[name]())
    step = max(1, len(items) // num_items)
    return items[::step][:num_items]


def rows(path: str) -> Iterator[dict]:
    for line in (DATA / "bench" / path).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def hellaswag() -> Iterator[Choice]:
    for row in rows("hellaswag/hellaswag_val.jsonl"):
        yield Choice(row["ctx"], tuple(f" {end}" for end in row["endings"]), row["label"])


def with_answers(path: str) -> Iterator[Choice]:
    for row in rows(path):
        choices = tuple(f" {choice}" for choice in row["choices"])
        yield Choice(f"{row['query'].rstrip()}\nAnswer:", choices, row["gold"])


READERS = {
    "hellaswag": hellaswag,
    "arc_easy": lambda: with_answers("ability/arc_easy.jsonl"),
    "piqa": lambda: with_answers("ability/piqa.jsonl"),
}


def is_right(
    engine: Engine, tokenizer: Tokenizer, items: Sequence[Choice], experts: Sequence[str]
) -> np.ndarray:
    """Returns (items,) bool: is the right choice the likeliest per byte?"""
    right = []
    for item in items:
        context = [tokenizer.separator_id, *tokenizer.encode(item.context)]
        sequences = [([*context, *tokenizer.encode(c)], len(context)) for c in item.choices]
        scored = engine.score_many(sequences, experts=experts)
        per_byte = [
            logprobs.sum() / len(choice.encode())
            for logprobs, choice in zip(scored, item.choices, strict=True)
        ]
        right.append(int(np.argmax(per_byte)) == item.right)
    return np.array(right)

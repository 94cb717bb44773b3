"""PIQA: which way works (Bisk et al. 2020).

"Question: GOAL\\nAnswer:", then both solutions after a space. acc: the likelier one is right;
acc_norm: per character. As lm-evaluation-harness's piqa.
"""

from collections.abc import Sequence
from pathlib import Path

from tramontane.audit.choices import ACC, ACC_NORM, P_RIGHT, judged
from tramontane.audit.item import Item, Reading
from tramontane.audit.rows import LeftOut, Row, items_of, rows_of
from tramontane.audit.suite import Suite, always
from tramontane.audit.suites.arc_easy import choice_item


def read(path: Path, left_out: list[LeftOut]) -> list[Item]:
    return list(items_of(path, rows_of(path, left_out), item_of, left_out))


def item_of(row: Row) -> Item:
    if "query" in row.values:
        choices, right = row.texts("choices"), row.place_in("gold", 2)
        return choice_item(row, row.text("query").rstrip("\n"), choices, right)
    choices, right = [row.text("sol1"), row.text("sol2")], row.place_in("label", 2)
    return choice_item(row, f"Question: {row.text('goal')}", choices, right)


def judge(item: Item, readings: Sequence[Reading]) -> dict[str, float]:
    return judged(item.key["answers"], item.key["right"], readings)


SUITE = Suite(
    name="piqa",
    family="ability",
    title="PIQA: which way works",
    about="A goal and two ways to reach it, one of which works; half are right by guessing.",
    source="PIQA, Bisk et al. 2020, AFL-3.0",
    files=("piqa*.jsonl",),
    sample="piqa.jsonl",
    read=read,
    judge=judge,
    measures=always(ACC, ACC_NORM, P_RIGHT),
    quick=8,
    default=100,
)

"""HellaSwag: which ending follows (Zellers et al. 2019).

The context, then each of four endings after a space. acc: the likeliest ending is the right one;
acc_norm: per character. As lm-evaluation-harness's hellaswag, which puts the activity's name before
the context and takes WikiHow's brackets out. Files whose `ctx` is made up already are read as they
are.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tramontane.audit.choices import ACC, ACC_NORM, P_RIGHT, judged
from tramontane.audit.item import Item, Reading, Text
from tramontane.audit.rows import LeftOut, Row, items_of, rows_of
from tramontane.audit.suite import Suite, always


def read(path: Path, left_out: list[LeftOut]) -> list[Item]:
    return list(items_of(path, rows_of(path, left_out), item_of, left_out))


def item_of(row: Row) -> Item:
    endings = row.texts("endings")
    if "ctx_a" in row.values:
        begun = f"{row.text('ctx_a')} {row.get('ctx_b', '').capitalize()}"
        context = tidied(f"{row.text('activity_label')}: {begun}")
        endings = [tidied(ending) for ending in endings]
        group = row.get("source_id", "hellaswag").partition("~")[0]
    else:
        context, group = row.text("ctx"), "hellaswag"
    return Item(
        tuple(Text(context, f" {ending}") for ending in endings),
        group,
        row.place,
        {
            "question": context,
            "answers": endings,
            "right": row.place_in("label", len(endings)),
        },
    )


def tidied(text: str) -> str:
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def judge(item: Item, readings: Sequence[Reading]) -> dict[str, float]:
    return judged(item.key["answers"], item.key["right"], readings)


SUITE = Suite(
    name="hellaswag",
    family="ability",
    title="HellaSwag: what happens next",
    about="The beginning of an everyday scene and four endings; one of four is right by guessing.",
    source="HellaSwag, Zellers et al. 2019, MIT",
    files=("hellaswag*.jsonl",),
    sample="hellaswag.jsonl",
    read=read,
    judge=judge,
    measures=always(ACC_NORM, ACC, P_RIGHT),
    quick=5,
    default=60,
)

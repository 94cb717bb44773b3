"""LAMBADA: the last word of a passage, which its last sentence alone doesn't tell (Paperno 2016).

The passage without its last word, then " WORD". acc: the word's tokens are the likeliest, one by
one; perplexity: e to the mean of the word's negative log-likelihood. As lm-evaluation-harness's
lambada_openai. `text` or `context` and `continuation` are read.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from tramontane.audit.item import Item, Reading, Text
from tramontane.audit.rows import LeftOut, Row, RowError, items_of, rows_of
from tramontane.audit.suite import Columns, Measure, Suite, always


def read(path: Path, left_out: list[LeftOut]) -> list[Item]:
    return list(items_of(path, rows_of(path, left_out), item_of, left_out))


def item_of(row: Row) -> Item:
    if "continuation" in row.values:
        context, word = row.text("context"), row.text("continuation").strip()
    else:
        context, _, word = row.text("text").rpartition(" ")
        if not context:
            raise RowError("'text' has one word; the last of several is asked for")
    return Item(
        (Text(context, f" {word}"),),
        "lambada",
        row.place,
        {"question": context, "answers": [word], "right": 0},
    )


def judge(item: Item, readings: Sequence[Reading]) -> dict[str, float]:
    (reading,) = readings
    return {"acc": float(reading.is_greedy), "logprob": reading.logprob}


def perplexity(columns: Columns) -> float:
    return math.exp(-float(columns["logprob"].mean()))


SUITE = Suite(
    name="lambada",
    family="ability",
    title="LAMBADA: the last word of a passage",
    about="Passages of novels whose last word follows from the whole passage.",
    source="LAMBADA, Paperno et al. 2016 (OpenAI's version), CC BY 4.0",
    files=("lambada*.jsonl",),
    sample="lambada.jsonl",
    read=read,
    judge=judge,
    measures=always(
        Measure("acc", "last word said", "share", ideal=1.0, baseline=0.0),
        Measure(
            "perplexity",
            "perplexity of the last word",
            "compound",
            better="lower",
            compound=perplexity,
            unit="perplexity",
        ),
        Measure("logprob", "log-probability of the last word", "mean", unit="nats"),
    ),
    quick=10,
    default=100,
)

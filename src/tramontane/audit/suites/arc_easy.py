"""ARC-easy: school science questions (Clark et al. 2018).

"Question: QUESTION\\nAnswer:", then each choice after a space. acc: the likeliest choice is the
right one; acc_norm: per character. As lm-evaluation-harness's arc_easy. The published JSON lines
are read, and the form with query, choices and gold.
"""

from collections.abc import Sequence
from pathlib import Path

from tramontane.audit.choices import ACC, ACC_NORM, P_RIGHT, judged
from tramontane.audit.item import Item, Reading, Text
from tramontane.audit.rows import LeftOut, Row, RowError, items_of, rows_of
from tramontane.audit.suite import Suite, always


def read(path: Path, left_out: list[LeftOut]) -> list[Item]:
    return list(items_of(path, rows_of(path, left_out), item_of, left_out))


def item_of(row: Row) -> Item:
    if "query" in row.values:
        return choice_item(
            row, row.text("query").strip(), row.texts("choices"), row.place_in("gold", 26)
        )
    question = row["question"]
    if isinstance(question, dict):
        stem, choices = question["stem"], question["choices"]
        labels, texts = [c["label"] for c in choices], [c["text"] for c in choices]
    else:
        stem, labels = row.text("question"), list(row["choices"]["label"])
        texts = list(row["choices"]["text"])
    key = row.text("answerKey")
    if key not in labels:
        raise RowError(f"'answerKey' is {key!r}; its choices are {', '.join(labels)}")
    return choice_item(row, f"Question: {stem}", texts, labels.index(key))


def choice_item(row: Row, query: str, choices: Sequence[str], right: int) -> Item:
    if right >= len(choices):
        raise RowError(f"choice {right} is called right; there are {len(choices)}")
    return Item(
        tuple(Text(f"{query}\nAnswer:", f" {choice}") for choice in choices),
        f"{len(choices)} choices",
        row.place,
        {"question": query, "answers": list(choices), "right": right},
    )


def judge(item: Item, readings: Sequence[Reading]) -> dict[str, float]:
    return judged(item.key["answers"], item.key["right"], readings)


SUITE = Suite(
    name="arc_easy",
    family="ability",
    title="ARC-easy: school science",
    about="Science questions from school with three to five choices.",
    source="AI2 Reasoning Challenge, Clark et al. 2018, CC BY-SA 4.0",
    files=("arc_easy*.jsonl", "ARC-Easy*.jsonl"),
    sample="arc_easy.jsonl",
    read=read,
    judge=judge,
    measures=always(ACC, ACC_NORM, P_RIGHT),
    quick=8,
    default=80,
)

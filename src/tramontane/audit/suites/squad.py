"""SQuAD 2.0: does the model keep to the passage? (Rajpurkar, Jia and Liang 2018)

"Passage: …\\nQuestion: …\\nIf the passage doesn't tell, the answer is: unknown.\\nAnswer:", then
the answer after a space, or " unknown". Where the passage does not tell, the published plausible
answer stands against it; questions without one are named and left out. Log-likelihoods are per
token.
balanced  the right one of the two is likelier, answerable and unanswerable questions alike
auroc     how often "unknown" leads by more on an unanswerable question than on an answerable one
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from tramontane.audit.choices import auroc
from tramontane.audit.item import Item, Reading, Text
from tramontane.audit.rows import LeftOut, Row, RowError, decoded, items_of, whole_json
from tramontane.audit.suite import Columns, Measure, Suite, always
from tramontane.errors import AuditError

RULE = "If the passage doesn't tell, the answer is: unknown."


def read(path: Path, left_out: list[LeftOut]) -> list[Item]:
    content = whole_json(path, decoded(path, left_out))
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise AuditError(f"{path}: has no list 'data'; SQuAD's published form has one")
    return list(items_of(path, question_rows(content["data"]), item_of, left_out))


def question_rows(articles: Sequence[dict]) -> Iterator[Row]:
    for article in articles:
        title = article.get("title", "")
        for paragraph in article.get("paragraphs", []):
            for question in paragraph.get("qas", []):
                fields = {**question, "title": title, "context": paragraph.get("context")}
                yield Row(f"question {question.get('id')}", fields)


def item_of(row: Row) -> Item:
    is_answerable = not row.get("is_impossible", False)
    answers = row.get("answers" if is_answerable else "plausible_answers", [])
    if not answers:
        raise RowError("has no answer to set against 'unknown'")
    answer = answers[0]["text"]
    context = (
        f"Passage: {row.text('context').strip()}\nQuestion: {row.text('question').strip()}\n"
        f"{RULE}\nAnswer:"
    )
    return Item(
        (Text(context, f" {answer}"), Text(context, " unknown")),
        "answerable" if is_answerable else "unanswerable",
        row.place,
        {"question": row["question"], "answers": [answer, "unknown"], "answerable": is_answerable},
    )


def judge(item: Item, readings: Sequence[Reading]) -> dict[str, float]:
    answer, unknown = (reading.logprob / reading.num_tokens for reading in readings)
    is_answerable = item.key["answerable"]
    return {
        "right": float((answer > unknown) == is_answerable),
        "answerable": float(is_answerable),
        "lean": unknown - answer,
    }


def balanced(columns: Columns) -> float:
    right, answerable = columns["right"], columns["answerable"] > 0
    if answerable.all() or not answerable.any():
        return math.nan
    return float((right[answerable].mean() + right[~answerable].mean()) / 2)


def separation(columns: Columns) -> float:
    return auroc(columns["lean"], columns["answerable"] == 0)


SUITE = Suite(
    name="squad",
    family="truth",
    title="SQuAD 2.0: knowing when a passage doesn't tell",
    about="A passage and a question that it answers, or only seems to. Half right is what always "
    "answering, or never, would get.",
    source="SQuAD 2.0, Rajpurkar, Jia and Liang 2018, CC BY-SA 4.0",
    files=("dev-v2.0.json", "train-v2.0.json", "squad*.json"),
    sample="squad.json",
    read=read,
    judge=judge,
    measures=always(
        Measure(
            "balanced",
            "right one likelier, both kinds alike",
            "compound",
            compound=balanced,
            baseline=0.5,
            baseline_title="always answering",
            ideal=1.0,
        ),
        Measure(
            "auroc",
            "unanswerable told from answerable (AUROC)",
            "compound",
            compound=separation,
            baseline=0.5,
            baseline_title="a coin",
            ideal=1.0,
        ),
    ),
    quick=4,
    default=40,
)

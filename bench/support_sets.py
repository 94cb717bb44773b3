"""Published sets of judged sentences → items: a sentence, its passage, whether it was backed.

Each set is read whole from a folder of its name, as its repository has it. A row that lacks
something, or that nobody could judge by a passage, is named in `left_out`; none is dropped unsaid.
Where spans of an answer were judged, each of its sentences is an item, unbacked if a span touches
it.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tramontane.audit.rows import (
    LeftOut,
    Row,
    RowError,
    decoded,
    items_of,
    rows_of,
    whole_json,
)
from tramontane.audit.suites.squad import question_rows
from tramontane.errors import AuditError
from tramontane.notes.sentences import split_sentences

DOMAINS = ("samsum", "scitldr", "sales_email")


@dataclass(frozen=True)
class Item:
    """A sentence, its passage, whether a reader called it backed, its document and its kind.

    `task` is what was asked of whoever wrote it, `writer` who that was, `answer` the whole that the
    sentence is a part of; each empty where the set doesn't say.
    """

    sentence: str
    passage: str
    is_supported: bool
    document: str
    kind: str = ""
    task: str = ""
    writer: str = ""
    answer: str = ""


Read = Callable[[Path, list[LeftOut]], list[Item]]


def wice(data: Path, left_out: list[LeftOut]) -> list[Item]:
    def item(row: Row) -> Item:
        label, identity = row["label"], row["meta"]["id"]
        return Item(row["claim"], "\n".join(row["evidence"]), label == "supported", identity, label)

    path = file_in(data, "wice", "claim/dev.jsonl")
    return list(items_of(path, rows_of(path, left_out), item, left_out))


def summedits(data: Path, left_out: list[LeftOut], domain: str) -> list[Item]:
    def item(row: Row) -> Item:
        kinds = ",".join(row["edit_types"])
        return Item(row["summary"], row["doc"], bool(row["label"]), row["doc"], kinds)

    path = file_in(data, "summedits", f"summedits_{domain}.json")
    return list(items_of(path, rows_of(path, left_out), item, left_out))


def begin(data: Path, left_out: list[LeftOut]) -> list[Item]:
    def item(row: Row) -> Item:
        label, knowledge = row["begin_label"], row["knowledge"]
        return Item(row["response"], knowledge, label == "Fully attributable", knowledge, label)

    found: list[Item] = []
    for path in files_in(data, "begin", "*/*.tsv"):
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = (Row(f"line {reader.line_num}", values) for values in reader)
            found += items_of(path, rows, item, left_out)
    return found


def ragtruth(data: Path, left_out: list[LeftOut]) -> list[Item]:
    """RAGTruth (Niu et al. 2024): answers of six models, spans that the sources don't carry."""
    path = file_in(data, "ragtruth", "response.jsonl")
    about = file_in(data, "ragtruth", "source_info.jsonl")
    sources: dict[str, Row] = {}
    for row in rows_of(about, left_out):
        if row.get("source_id") is None:
            left_out.append(LeftOut(about.name, row.place, "has no 'source_id'"))
        else:
            sources[str(row["source_id"])] = row

    def items(row: Row) -> list[Item]:
        identity = str(row["source_id"])
        if identity not in sources:
            raise RowError(f"its source {identity!r} is not in {about.name}")
        source = sources[identity]
        passage = passage_of_source(source["source_info"])
        spans = [(label["start"], label["end"]) for label in row["labels"]]
        return [
            Item(
                sentence,
                passage,
                is_supported,
                identity,
                "backed" if is_supported else "span",
                str(source["task_type"]),
                str(row["model"]),
                f"{row['id']}",
            )
            for sentence, is_supported in sentences_with(row.text("response"), spans)
        ]

    return flat(items_of(path, rows_of(path, left_out), items, left_out))


def passage_of_source(source: object) -> str:
    """Returns what an answer may rest on: a text, passages beside a question, or a record's lines.

    Raises RowError for a source that holds nothing.
    """
    if isinstance(source, dict) and isinstance(source.get("passages"), str):
        source = source["passages"]
    text = source if isinstance(source, str) else "\n".join(lines_of_record(source))
    if not text.strip():
        raise RowError("'source_info' is empty")
    return text


def lines_of_record(value: object, name: str = "") -> Iterator[str]:
    """Yields "name: value" for each value of a record, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from lines_of_record(inner, f"{name} {key}".strip())
    elif isinstance(value, list):
        for inner in value:
            yield from lines_of_record(inner, name)
    elif value is not None:
        yield f"{name}: {value}" if name else str(value)


# The set's own script counts these as hallucinated; what is benign it lets pass.
UNWANTED = ("Unwanted", "Questionable")


def faithbench(data: Path, left_out: list[LeftOut]) -> list[Item]:
    """FaithBench (Bao et al. 2025): summaries on which detectors disagreed, spans labelled."""

    def items(row: Row) -> list[Item]:
        spans = [
            (annotation["summary_start"], annotation["summary_end"])
            for annotation in row["annotations"]
            if any(label.startswith(UNWANTED) for label in annotation["label"])
        ]
        source = row.text("source")
        return [
            Item(
                sentence,
                source,
                is_supported,
                source,
                "backed" if is_supported else "span",
                "Summary",
                str(row["metadata"].get("summarizer", "")),
                f"{row.place} of {source}",
            )
            for sentence, is_supported in sentences_with(row.text("summary"), spans)
        ]

    found: list[Item] = []
    for path in files_in(data, "faithbench", "**/batch_*.json"):
        content = whole_json(path, decoded(path, left_out))
        if not isinstance(content, dict) or not isinstance(content.get("samples"), list):
            raise AuditError(f"{path}: has no list 'samples'; FaithBench's published form has one")
        rows = mappings(path, "samples", content["samples"], left_out)
        found += flat(items_of(path, rows, items, left_out))
    return found


def mappings(
    path: Path, name: str, values: Sequence[object], left_out: list[LeftOut]
) -> Iterator[Row]:
    for number, value in enumerate(values):
        if isinstance(value, dict):
            yield Row(f"{path.stem}, {name}[{number}]", value)
        else:
            why = f"is a {type(value).__name__}, not an object"
            left_out.append(LeftOut(path.name, f"{name}[{number}]", why))


@dataclass(frozen=True)
class Pair:
    """How one of HaluEval's files names its passage, what was asked, and the two answers."""

    task: str
    passage: str
    asked: str | None
    right: str
    made_up: str


HALUEVAL = {
    "qa_data.json": Pair("qa", "knowledge", "question", "right_answer", "hallucinated_answer"),
    "dialogue_data.json": Pair(
        "dialogue", "knowledge", None, "right_response", "hallucinated_response"
    ),
    "summarization_data.json": Pair(
        "summarization", "document", None, "right_summary", "hallucinated_summary"
    ),
}


def halueval(data: Path, left_out: list[LeftOut]) -> list[Item]:
    """HaluEval (Li et al. 2023): a sound and a made-up answer to each passage.

    Answers to general queries come without a passage, and are named. A form with `documents`,
    `response` and `label` (1: made up) is read too.
    """
    found: list[Item] = []
    for path in files_in(data, "halueval", "**/*.json"):
        if path.name == "general_data.json":
            why = "answers without a passage; nothing to judge them by"
            left_out.append(LeftOut(path.name, "all rows", why))
        elif path.name in HALUEVAL:
            form = HALUEVAL[path.name]
            make = lambda row, form=form: pair_items(row, form)  # noqa: E731
            found += flat(items_of(path, rows_of(path, left_out), make, left_out))
        else:
            found += items_of(path, rows_of(path, left_out), labelled_item, left_out)
    return found


def pair_items(row: Row, form: Pair) -> list[Item]:
    passage = row.text(form.passage)
    asked = f"{row.text(form.asked)} " if form.asked else ""
    return [
        Item(f"{asked}{row.text(name)}", passage, is_supported, passage, name, form.task)
        for name, is_supported in ((form.right, True), (form.made_up, False))
    ]


def labelled_item(row: Row) -> Item:
    passage = "\n".join(row.texts("documents", least=1))
    is_supported = not row.place_in("label", 2)
    sentence = f"{row.text('query')} {row.text('response')}"
    kind = "right_answer" if is_supported else "hallucinated_answer"
    return Item(sentence, passage, is_supported, passage, kind, "qa")


def squad2(data: Path, left_out: list[LeftOut]) -> list[Item]:
    """SQuAD 2.0 (Rajpurkar, Jia and Liang 2018): questions with their answers.

    Where the passage doesn't answer, the published plausible answer stands, and is not backed.
    """

    def item(row: Row) -> Item:
        is_answerable = not row["is_impossible"]
        name = "answers" if is_answerable else "plausible_answers"
        if not row[name]:
            raise RowError(f"{name!r} is empty")
        passage = row.text("context")
        return Item(
            f"{row.text('question')} {row[name][0]['text']}",
            passage,
            is_answerable,
            str(row["title"]),
            "answerable" if is_answerable else "unanswerable",
            "qa",
        )

    found: list[Item] = []
    for path in files_in(data, "squad2*", "*-v2.0.json"):
        content = whole_json(path, decoded(path, left_out))
        if not isinstance(content, dict) or not isinstance(content.get("data"), list):
            raise AuditError(f"{path}: has no list 'data'; SQuAD's published form has one")
        found += items_of(path, question_rows(content["data"]), item, left_out)
    return found


# Measured whole, apart from each other; nothing is fitted on any of them.
PUBLISHED: Mapping[str, Read] = {
    "ragtruth": ragtruth,
    "faithbench": faithbench,
    "halueval": halueval,
    "squad2": squad2,
}


def sentences_with(text: str, spans: Iterable[tuple[int, int]]) -> list[tuple[str, bool]]:
    """Returns a text's sentences, each with whether no span touches it.

    Raises RowError for a span that touches none: its label would be lost.
    """
    sentences = split_sentences(text)
    touched = set()
    for begin, end in spans:
        places = [n for n, one in enumerate(sentences) if begin < one.end and one.start < end]
        if not places:
            raise RowError(f"its span {begin} to {end} touches no sentence")
        touched.update(places)
    return [(one.text, place not in touched) for place, one in enumerate(sentences)]


def flat(parts: Iterable[Any]) -> list[Item]:
    return [item for part in parts for item in part]


def file_in(data: Path, folder: str, name: str) -> Path:
    return files_in(data, folder, f"**/{name}")[0]


def files_in(data: Path, folder: str, pattern: str) -> list[Path]:
    """Returns a set's files; raises FileNotFoundError with what was looked for."""
    for place in sorted(data.glob(folder)):
        if found := sorted(place.glob(pattern)):
            return found
    raise FileNotFoundError(2, "no such file", str(data / folder / pattern))

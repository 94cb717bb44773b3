"""Readers of judged sentences: whole, in the published forms, and what can't be read is named."""

import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.append(str(BENCH))  # its scripts import each other by name

from support_sets import (  # noqa: E402
    DOMAINS,
    PUBLISHED,
    begin,
    faithbench,
    halueval,
    ragtruth,
    squad2,
    summedits,
    wice,
)
from tramontane.errors import AuditError  # noqa: E402

RESPONSE = {
    "id": "7",
    "source_id": "s1",
    "model": "mistral-7B-instruct",
    "temperature": 0.9,
    "labels": [],
    "split": "train",
    "quality": "good",
    "response": "The ferry leaves at eight. It carries cars. Dogs travel free.",
}
SOURCES = [
    {
        "source_id": "s1",
        "task_type": "QA",
        "source": "MARCO",
        "source_info": {"question": "when?", "passages": "passage 1:It leaves at eight.\n\n"},
        "prompt": "...",
    },
    {"source_id": "s2", "task_type": "Summary", "source": "CNN/DM", "source_info": "A long story."},
    {
        "source_id": "s3",
        "task_type": "Data2txt",
        "source": "Yelp",
        "source_info": {
            "name": "Subway",
            "hours": {"Monday": "9:0-22:30"},
            "attributes": {"WiFi": None},
            "review_info": [{"review_stars": 1.0, "review_text": "Rude."}],
        },
    },
]


def label(text: str, begin: int) -> dict:
    return {
        "start": begin,
        "end": begin + len(text),
        "text": text,
        "meta": "",
        "label_type": "Evident Conflict",
    }


def write_lines(path: Path, rows: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def said(left_out) -> list[str]:
    return [f"{one.row}: {one.why}" for one in left_out]


# RAGTruth


@pytest.fixture
def ragtruth_of(tmp_path):
    def read(rows: list, sources: list = SOURCES):
        # In its repository both lie in a folder `dataset`.
        write_lines(tmp_path / "ragtruth/dataset/response.jsonl", rows)
        write_lines(tmp_path / "ragtruth/dataset/source_info.jsonl", sources)
        left_out = []
        return ragtruth(tmp_path, left_out), said(left_out)

    return read


def test_a_span_makes_the_sentences_it_touches_unbacked(ragtruth_of):
    text = RESPONSE["response"]
    for span, backed in (
        ("cars", [True, False, True]),
        ("eight. It", [False, False, True]),
        (text, [False, False, False]),
    ):
        row = RESPONSE | {"labels": [label(span, text.index(span))]}
        items, left_out = ragtruth_of([row])
        assert [item.is_supported for item in items] == backed
        assert left_out == []
    items, _ = ragtruth_of([RESPONSE])
    assert [item.sentence for item in items] == [
        "The ferry leaves at eight.",
        "It carries cars.",
        "Dogs travel free.",
    ]
    assert all(item.is_supported for item in items)
    assert {item.answer for item in items} == {"7"}
    assert {(item.task, item.writer) for item in items} == {("QA", "mistral-7B-instruct")}


def test_passages_of_the_three_tasks_are_texts(ragtruth_of):
    rows = [RESPONSE | {"id": name, "source_id": name} for name in ("s1", "s2", "s3")]
    items, left_out = ragtruth_of(rows)
    assert left_out == []
    passages = {item.document: item.passage for item in items}
    assert passages["s1"] == "passage 1:It leaves at eight.\n\n"
    assert passages["s2"] == "A long story."
    assert passages["s3"].splitlines() == [
        "name: Subway",
        "hours Monday: 9:0-22:30",
        "review_info review_stars: 1.0",
        "review_info review_text: Rude.",
    ]


def without(row: dict, name: str) -> dict:
    return {key: value for key, value in row.items() if key != name}


@pytest.mark.parametrize("name", ["source_id", "model", "labels", "response", "id"])
def test_a_response_that_lacks_a_column_is_named(ragtruth_of, name):
    items, left_out = ragtruth_of([RESPONSE, without(RESPONSE, name)])
    assert len(items) == 3
    (why,) = left_out
    assert why.startswith(f"line 2: has no {name!r}; it has ")


def test_whatever_else_is_wrong_with_a_response_is_named(ragtruth_of):
    wrong = [
        (RESPONSE | {"source_id": "s9"}, "its source 's9' is not in source_info.jsonl"),
        (RESPONSE | {"response": " "}, "'response' is empty"),
        (RESPONSE | {"labels": [{"text": "cars"}]}, "another form"),
        (RESPONSE | {"labels": [label("ghost", 400)]}, "span 400 to 405 touches no sentence"),
        ([RESPONSE], "is a list"),
    ]
    items, left_out = ragtruth_of([row for row, _ in wrong])
    assert items == []
    for number, (why, (_, wanted)) in enumerate(zip(left_out, wrong, strict=True), start=1):
        assert why.startswith(f"line {number}: ")
        assert wanted in why


def test_a_source_that_lacks_a_column_is_named_with_its_responses(ragtruth_of):
    sources = [without(SOURCES[0], "source_id"), without(SOURCES[1], "source_info")]
    rows = [RESPONSE | {"source_id": name} for name in ("s1", "s2")]
    items, left_out = ragtruth_of(rows, sources)
    assert items == []
    assert left_out[0] == "line 1: has no 'source_id'"
    assert "not in source_info.jsonl" in left_out[1]
    assert "has no 'source_info'" in left_out[2]


# FaithBench

SAMPLE = {
    "sample_id": 0,
    "source": "The film grossed $ 181 at the box office on a budget of $ 160 .",
    "summary": " The film made $181. It had a production budget of $160.",
    "annotations": [],
    "metadata": {"summarizer": "mistralai/Mistral-7B-Instruct-v0.3", "raw_sample_id": 15},
}


def annotation(span: str, *labels: str) -> dict:
    begin = SAMPLE["summary"].index(span)
    return {
        "annot_id": 1,
        "label": list(labels),
        "summary_span": span,
        "summary_start": begin,
        "summary_end": begin + len(span),
        "source_span": None,
    }


@pytest.fixture
def faithbench_of(tmp_path):
    def read(*batches: object):
        for number, content in enumerate(batches, start=1):
            write_json(tmp_path / f"faithbench/data_for_release/batch_{number}.json", content)
        left_out = []
        return faithbench(tmp_path, left_out), said(left_out)

    return read


@pytest.mark.parametrize(
    ("labels", "is_backed"),
    [
        (("Unwanted", "Unwanted.Intrinsic"), False),
        (("Unwanted.Extrinsic",), False),
        (("Questionable",), False),
        (("Benign",), True),
    ],
)
def test_benign_spans_pass_as_in_the_set_s_own_script(faithbench_of, labels, is_backed):
    sample = SAMPLE | {"annotations": [annotation("production", *labels)]}
    items, left_out = faithbench_of({"samples": [sample]})
    assert [item.is_supported for item in items] == [True, is_backed]
    assert {item.writer for item in items} == {"mistralai/Mistral-7B-Instruct-v0.3"}
    assert left_out == []


def test_all_batches_are_read_and_answers_kept_apart(faithbench_of):
    items, _ = faithbench_of({"samples": [SAMPLE, SAMPLE]}, {"samples": [SAMPLE]})
    assert len(items) == 6
    assert len({item.answer for item in items}) == 3
    assert len({item.document for item in items}) == 1


@pytest.mark.parametrize("name", ["source", "summary", "annotations", "metadata"])
def test_a_sample_that_lacks_a_column_is_named(faithbench_of, name):
    items, left_out = faithbench_of({"samples": [without(SAMPLE, name), SAMPLE, 3]})
    assert len(items) == 2
    assert left_out[0].startswith(f"batch_1, samples[0]: has no {name!r}")
    assert left_out[1] == "samples[2]: is a int, not an object"


def test_a_batch_of_another_form_is_refused(faithbench_of):
    with pytest.raises(AuditError, match="no list 'samples'"):
        faithbench_of([SAMPLE])


# HaluEval

FORMS = {
    "qa_data.json": {
        "knowledge": "Arthur's Magazine began in 1844.",
        "question": "Which began first?",
        "right_answer": "Arthur's Magazine",
        "hallucinated_answer": "First for Women was started first.",
    },
    "dialogue_data.json": {
        "knowledge": "Iron Man is starring Robert Downey Jr.",
        "dialogue_history": "[Human]: Do you like Iron Man",
        "right_response": "Sure do! Robert Downey Jr. is a favorite.",
        "hallucinated_response": "Sure do! Robert De Niro is a favorite.",
    },
    "summarization_data.json": {
        "document": "The panther chameleon was found on Monday.",
        "right_summary": "A chameleon was found.",
        "hallucinated_summary": "A chameleon was lost.",
    },
}


@pytest.fixture
def halueval_of(tmp_path):
    def read(files: dict[str, list]):
        for name, rows in files.items():
            write_lines(tmp_path / "halueval/data" / name, rows)
        left_out = []
        return halueval(tmp_path, left_out), said(left_out)

    return read


def test_each_passage_has_a_sound_and_a_made_up_answer(halueval_of):
    items, left_out = halueval_of({name: [row] for name, row in FORMS.items()})
    assert left_out == []
    by_task = {}
    for item in items:
        by_task.setdefault(item.task, []).append((item.sentence, item.is_supported))
    assert by_task == {
        "qa": [
            ("Which began first? Arthur's Magazine", True),
            ("Which began first? First for Women was started first.", False),
        ],
        "dialogue": [
            ("Sure do! Robert Downey Jr. is a favorite.", True),
            ("Sure do! Robert De Niro is a favorite.", False),
        ],
        "summarization": [("A chameleon was found.", True), ("A chameleon was lost.", False)],
    }
    assert {item.passage for item in items} == {
        row.get("knowledge", row.get("document")) for row in FORMS.values()
    }


@pytest.mark.parametrize(
    ("file", "name"),
    [(file, name) for file, row in FORMS.items() for name in row if name != "dialogue_history"],
)
def test_a_pair_that_lacks_a_column_is_named(halueval_of, file, name):
    items, left_out = halueval_of({file: [FORMS[file], without(FORMS[file], name)]})
    assert len(items) == 2
    (why,) = left_out
    assert why.startswith(f"line 2: has no {name!r}")


def test_answers_without_a_passage_are_named(halueval_of):
    items, left_out = halueval_of(
        {"general_data.json": [{"ID": "1", "user_query": "q", "chatgpt_response": "a"}]}
    )
    assert items == []
    assert left_out == ["all rows: answers without a passage; nothing to judge them by"]


def test_single_answers_with_a_label_are_read(halueval_of):
    row = {"query": "Who?", "documents": ["It was Ann."], "response": "Ann", "label": 0}
    items, left_out = halueval_of({"halueval_test.json": [row, row | {"label": 1}, {"query": "?"}]})
    assert [(item.sentence, item.is_supported) for item in items] == [
        ("Who? Ann", True),
        ("Who? Ann", False),
    ]
    assert left_out[0].startswith("line 3: has no 'documents'")


# SQuAD 2.0


def question(is_impossible: bool, **more: object) -> dict:
    return {
        "question": "Who gave their name to Normandy?",
        "id": "q1",
        "is_impossible": is_impossible,
        "answers": [] if is_impossible else [{"text": "Normans", "answer_start": 4}],
        **more,
    }


@pytest.fixture
def squad2_of(tmp_path):
    def read(questions: list[dict], **paragraph: object):
        paragraph = {"context": "The Normans gave it.", "qas": questions, **paragraph}
        content = {"version": "v2.0", "data": [{"title": "Normans", "paragraphs": [paragraph]}]}
        write_json(tmp_path / "squad2/dev-v2.0.json", content)
        left_out = []
        return squad2(tmp_path, left_out), said(left_out)

    return read


def test_plausible_answers_are_not_backed(squad2_of):
    plausible = [{"text": "The French", "answer_start": 0}]
    items, left_out = squad2_of([question(False), question(True, plausible_answers=plausible)])
    assert [(item.sentence, item.is_supported) for item in items] == [
        ("Who gave their name to Normandy? Normans", True),
        ("Who gave their name to Normandy? The French", False),
    ]
    assert {(item.document, item.passage) for item in items} == {
        ("Normans", "The Normans gave it.")
    }
    assert left_out == []


def test_a_question_that_lacks_something_is_named(squad2_of):
    wrong = [question(True), question(True, plausible_answers=[])]
    wrong += [without(question(False), name) for name in ("question", "answers", "is_impossible")]
    items, left_out = squad2_of(wrong)
    assert items == []
    wanted = "'plausible_answers' 'plausible_answers' 'question' 'answers' 'is_impossible'".split()
    assert len(left_out) == len(wanted)
    for why, name in zip(left_out, wanted, strict=True):
        assert why.startswith("question q1: ")
        assert name in why
    items, left_out = squad2_of([question(False)], context=None)
    assert (items, len(left_out)) == ([], 1)


# The sets that were read before


def test_claims_edits_and_replies_that_lack_a_column_are_named(tmp_path):
    claim = {
        "claim": "It is so.",
        "evidence": ["It is."],
        "label": "supported",
        "meta": {"id": "dev1"},
    }
    write_lines(tmp_path / "wice/claim/dev.jsonl", [claim, without(claim, "evidence")])
    edit = {"summary": "s", "doc": "d", "label": 0, "edit_types": ["entity"]}
    write_json(tmp_path / "summedits/summedits_samsum.json", [edit, without(edit, "label")])
    (tmp_path / "begin/wow").mkdir(parents=True)
    # No quoting: a quotation mark is a letter like any other.
    rows = [
        ["model", "data_source", "knowledge", "message", "response", "begin_label"],
        ["m", "wow", 'He said "so', "?", "So.", "Fully attributable"],
        ["m", "wow", "He said", "?", "So."],
    ]
    table = "".join("\t".join(row) + "\n" for row in rows)
    (tmp_path / "begin/wow/begin_dev_wow.tsv").write_text(table, encoding="utf-8")
    for read, name in (
        (wice, "evidence"),
        (lambda data, left_out: summedits(data, left_out, "samsum"), "label"),
        (begin, "begin_label"),
    ):
        left_out = []
        (item,) = read(tmp_path, left_out)
        (one,) = left_out
        assert one.why.startswith(f"has no {name!r}")
        assert item.passage in ("It is.", "d", 'He said "so')


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_set_that_isn_t_there_says_where_it_was_looked_for(tmp_path, name):
    with pytest.raises(FileNotFoundError) as raised:
        PUBLISHED[name](tmp_path, [])
    assert name in raised.value.filename


def test_what_is_at_hand_is_read_whole(shared_data):
    """Counts are those of each folder's SOURCE.txt or of the files' own rows."""
    data, left_out = shared_data / "bench", []
    assert len(wice(data, left_out)) == 349
    assert [len(summedits(data, left_out, domain)) for domain in DOMAINS] == [664, 466, 613]
    assert len(begin(data, left_out)) == sum(
        path.read_text("utf-8").rstrip("\n").count("\n")
        for path in (data / "begin").glob("*/*.tsv")
    )
    assert len(squad2(data, left_out)) == 210
    assert len(halueval(data, left_out)) == 200
    assert [one.file for one in left_out] == ["general_data.json"]

"""The writer's check counts right answers from the passages, and keeps its results by base."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vocabularies import byte_level_metadata
from writing_makers import is_idle, talking_engine

from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.terms import numbers
from tramontane.writing.writers_check import (
    NEEDED,
    VERSION,
    CheckResult,
    is_right,
    known_check,
    questions,
    run_writers_check,
    store_check,
    stored_check,
)

ASKED = questions()
BASE, OTHER_BASE = "c" * 64, "d" * 64
EMBEDDED = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


# Questions and what counts as right


def test_the_questions_can_be_answered_from_their_passage_and_from_no_other():
    assert len(ASKED) == 20
    assert len({item["question"] for item in ASKED}) == 20
    for item in ASKED:
        assert item["fact"].lower() not in item["question"].lower()
        for other in ASKED:
            passage = other["passage"]
            assert is_right(passage, item["fact"], [passage]) is (other is item)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The bridge was opened in 1887 [2].", True),
        ("1887", True),
        ("It was opened in 1,887.", False),
        ("It was opened in 1887, 12 years late.", False),
        ("It was opened in 1878.", False),
        ("It carried four tonnes [1][3].", False),
        ("", False),
    ],
)
def test_right_is_what_holds_the_fact_and_no_number_from_nowhere(answer, right):
    passages = ["The bridge was opened in 1887.", "Tea costs 2.40."]
    assert is_right(answer, "1887", passages) is right


def test_a_number_may_come_from_any_of_the_passages_and_case_is_free():
    passages = ["Dr Varga founded it.", "Tea costs 2.40."]
    assert is_right("VARGA, for 2.40.", "Varga", passages)
    assert not is_right("VARGA, for 2.50.", "Varga", passages)


# Running it


def test_each_question_is_asked_with_its_passage_among_two_others(tokenizer):
    heard = []
    engine = talking_engine(tokenizer, lambda prompt: heard.append(prompt) or "")
    run_writers_check(engine, tokenizer)
    prompts = list(dict.fromkeys(heard))
    assert len(prompts) == 20
    places = []
    for prompt, item in zip(prompts, ASKED, strict=True):
        assert f"Question: {item['question']}" in prompt
        held = [one["passage"] for one in ASKED if one["passage"] in prompt]
        assert len(held) == 3
        assert item["passage"] in held
        places.append(sorted(held, key=prompt.index).index(item["passage"]))
    # No place is the right one by habit.
    assert set(places) == {0, 1, 2}
    assert max(map(places.count, places)) <= 7
    spans = [span for batch in engine.runtime.batches for span in batch]
    assert {span.experts for span in spans} == {()}


@pytest.mark.parametrize("num_known", [0, NEEDED - 1, NEEDED, 20])
def test_right_answers_are_counted(tokenizer, num_known):
    def say(prompt: str) -> str:
        for place, item in enumerate(ASKED):
            if f"Question: {item['question']}" in prompt:
                return f"It is {item['fact']}." if place < num_known else "It is 123456."
        raise AssertionError(f"no such question: {prompt}")

    engine, told = talking_engine(tokenizer, say), []
    result = run_writers_check(engine, tokenizer, lambda *step: told.append(step))
    assert result == CheckResult(num_known, 20)
    assert result.passed is (num_known >= NEEDED)
    assert f"{num_known} of 20" in str(result)
    assert str(result).startswith("passes" if result.passed else "does not pass")
    assert [(done, total) for _, done, total in told] == [(n, 20) for n in range(21)]
    assert is_idle(engine)


def test_a_fact_beside_a_number_from_nowhere_is_not_right(tokenizer):
    facts = " ".join(item["fact"] for item in ASKED if not numbers(item["fact"]))
    engine = talking_engine(tokenizer, lambda prompt: f"{facts[:30]} 123456")
    assert run_writers_check(engine, tokenizer).num_right == 0


def test_a_base_without_a_chat_template_gets_none_right_and_is_not_asked(tokenizer):
    engine = talking_engine(tokenizer, lambda prompt: "Anything.")
    metadata = byte_level_metadata()
    del metadata["tokenizer.chat_template"]
    result = run_writers_check(engine, Tokenizer.from_gguf(metadata))
    assert result == CheckResult(0, 20)
    assert not result.passed
    assert not engine.runtime.batches


# Keeping results


@given(num_right=st.integers(0, 20))
def test_a_result_is_kept_by_its_base(tmp_path_factory, num_right):
    folder = tmp_path_factory.mktemp("checks") / "new"
    assert stored_check(folder, BASE) is None
    store_check(folder, BASE, CheckResult(num_right, 20))
    store_check(folder, OTHER_BASE, CheckResult(20 - num_right, 20))
    assert stored_check(folder, BASE) == known_check(folder, BASE) == CheckResult(num_right, 20)
    assert stored_check(folder, OTHER_BASE) == CheckResult(20 - num_right, 20)
    assert stored_check(folder, "e" * 64) is None


def test_a_later_result_takes_the_place_of_an_earlier(tmp_path):
    store_check(tmp_path, BASE, CheckResult(3, 20))
    store_check(tmp_path, BASE, CheckResult(17, 20))
    assert stored_check(tmp_path, BASE) == CheckResult(17, 20)
    assert [path.name for path in tmp_path.iterdir()] == [f"{BASE}.json"]


def test_the_embedded_bases_result_is_known_beforehand(tmp_path):
    known = known_check(tmp_path, EMBEDDED)
    assert known.num_questions == 20
    assert not known.passed
    assert stored_check(tmp_path, EMBEDDED) is None


WHOLE = json.dumps({"num_right": 17, "num_questions": 20, "version": VERSION}).encode()


@pytest.mark.parametrize(
    "damaged",
    [
        *(b"", b"\xff\xfe", b"null", b"[17, 20, 1]", b'"17"', b"{}", b'{"num_right": 17}'),
        *(WHOLE[:-1], WHOLE + b"}", WHOLE.replace(b"num_right", b"num_wrong")),
        json.dumps({"num_right": 17, "num_questions": 20, "version": VERSION + 1}).encode(),
        json.dumps({"num_right": 17, "num_questions": 20, "more": 1}).encode(),
        *(WHOLE.replace(b"17", wrong) for wrong in (b"null", b'"17"', b"17.5", b"true")),
        b"[" * 100_000,
    ],
)
def test_a_damaged_or_foreign_file_is_ignored_and_can_be_replaced(tmp_path, damaged):
    file = tmp_path / f"{BASE}.json"
    file.write_bytes(WHOLE)
    assert known_check(tmp_path, BASE) == CheckResult(17, 20)
    file.write_bytes(damaged)
    assert stored_check(tmp_path, BASE) is None
    assert known_check(tmp_path, BASE) is None
    store_check(tmp_path, BASE, CheckResult(4, 20))
    assert stored_check(tmp_path, BASE) == CheckResult(4, 20)


@settings(max_examples=100)
@given(st.binary(max_size=60) | st.integers(0, len(WHOLE) - 1).map(lambda length: WHOLE[:length]))
def test_no_bytes_of_a_result_file_are_taken_for_a_result(tmp_path_factory, damaged):
    folder = tmp_path_factory.mktemp("checks")
    (folder / f"{BASE}.json").write_bytes(damaged)
    assert known_check(folder, BASE) is None

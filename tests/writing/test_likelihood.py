"""A question's gain after a text: equal to its slow definition, word by word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vocabularies import sentence_piece_metadata
from writing_makers import is_idle, talking_engine

from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.likelihood import (
    LEADING,
    LEAST_GAIN,
    MOST_GAIN,
    SAYS_NOTHING,
    Gain,
    question_gains,
    tokens_by_stem,
)
from tramontane.writing.terms import WORD, stem, words

SCRIPTS = "the mothers’ ferry's 2.5 été 日本語 здесь שלום 🌾 _-?\n"
# One token here, <note> holds a word and more.
PIECES = st.sampled_from([*SCRIPTS, "<note>", "the", " ferry"]) | st.characters(codec="utf-8")
QUESTIONS = st.lists(PIECES, max_size=30).map("".join)
FIVE = (
    "Where was the mother’s ferry moored?",
    "Wie viele Bohnen? Bohnen!",
    "日本語 で 2.5 kg",
    "Что растёт здесь?",
    "?",
)
TEXTS = ("The ferry is moored at the north quay.", "Garlic.", "", "日本語 で 2.5 kg\n\nQuestion:")


def places_by_hand(tokenizer, question: str, token_ids) -> dict[str, list[int]]:
    """Returns which tokens hold a byte of each word's first occurrence, byte by byte."""
    owners = [place for place, t in enumerate(token_ids) for _ in tokenizer.token_bytes(t)]
    assert len(owners) == len(f" {question}".encode())
    found = {}
    for match in WORD.finditer(question):
        key = stem(words(match[0])[0])
        before = len(f" {question[: match.start()]}".encode())
        if key not in found:
            found[key] = sorted(set(owners[before : before + len(match[0].encode())]))
    return found


@settings(max_examples=150, deadline=None)
@given(question=QUESTIONS)
def test_each_word_has_exactly_the_tokens_that_its_bytes_lie_in(tokenizer, question):
    asked = tokenizer.encode(f" {question}")
    assert tokens_by_stem(tokenizer, question, asked) == places_by_hand(tokenizer, question, asked)


def test_a_tokenizer_may_put_a_space_of_its_own_before_the_question():
    pieces = Tokenizer.from_gguf(sentence_piece_metadata())
    asked = pieces.encode(" hat on")
    spelt = b"".join(pieces.token_bytes(token) for token in asked)
    assert spelt == b"  hat on"
    places = tokens_by_stem(pieces, "hat on", asked)
    for word in ("hat", "on"):
        assert word.encode() in b"".join(pieces.token_bytes(asked[at]) for at in places[word])
        assert spelt.index(word.encode()) >= len(
            b"".join(pieces.token_bytes(token) for token in asked[: places[word][0]])
        )


def test_tokens_of_words_by_hand(tokenizer):
    # "the" and é are one token each; 日 is two, cut in the middle.
    asked = tokenizer.encode(" the été, the 日<note>")
    spelt = [tokenizer.token_bytes(token) for token in asked]
    assert spelt == [
        *(b" ", b"the", b" ", "é".encode(), b"t", "é".encode(), b",", b" ", b"the", b" "),
        *(b"\xe6\x97", b"\xa5", b"<note>"),
    ]
    assert tokens_by_stem(tokenizer, "the été, the 日<note>", asked) == {
        "the": [1],
        "été": [3, 4, 5],
        "日": [10, 11],
        "not": [12],
    }


def gains_by_hand(engine: Engine, tokenizer, question: str, text: str) -> tuple[float, dict]:
    """Returns the gain of the question and of its words, each text read alone."""
    asked = tokenizer.encode(f" {question}")

    def logprobs_of_question(prefix: str) -> np.ndarray:
        ids = [tokenizer.separator_id, *tokenizer.encode(prefix), *asked]
        return engine.score(ids)[-len(asked) :].astype(float)

    with_T, without_T = (
        logprobs_of_question(f"{before}\n\n{LEADING}") for before in (text, SAYS_NOTHING)
    )
    gains_T = with_T - without_T
    places = places_by_hand(tokenizer, question, asked)
    return gains_T.sum(), {key: sum(gains_T[place] for place in p) for key, p in places.items()}


def assert_gains_are_the_slow_ones(engine, tokenizer, question, texts) -> None:
    gains = question_gains(engine, tokenizer, question, texts)
    assert len(gains) == len(texts)
    for gain, text in zip(gains, texts, strict=True):
        total, by_stem = gains_by_hand(engine, tokenizer, question, text)
        assert gain.total == pytest.approx(total, abs=1e-4)
        assert gain.by_stem == pytest.approx(by_stem, abs=1e-4)


@pytest.mark.parametrize("question", FIVE)
def test_gains_equal_their_slow_definition(tokenizer, question):
    engine = talking_engine(tokenizer, noise=3.0)
    assert_gains_are_the_slow_ones(engine, tokenizer, question, TEXTS)
    assert_gains_are_the_slow_ones(engine, tokenizer, question, ["A long passage on oil. " * 20])
    assert is_idle(engine)


def test_it_says_how_many_texts_were_read(tokenizer):
    counts = []
    texts = [f"Passage {number}." for number in range(7)]
    question_gains(talking_engine(tokenizer), tokenizer, FIVE[0], texts, counts.append)
    assert counts == sorted(counts)
    assert len(counts) > 1
    assert counts[-1] == len(texts)


def test_no_expert_is_in_place_while_the_base_reads(tokenizer):
    engine = talking_engine(tokenizer)
    question_gains(engine, tokenizer, FIVE[0], TEXTS)
    spans = [span for batch in engine.runtime.batches for span in batch]
    assert spans
    assert {span.experts for span in spans} == {()}


def test_a_word_that_a_text_holds_gains_and_one_that_none_holds_does_not(tokenizer):
    """The base expects what it has read: so a word's gain is told by the text alone."""
    engine = talking_engine(tokenizer)
    question = "Which mortgage lubricant?"
    oil, money = question_gains(
        engine, tokenizer, question, ["lubricant mortal", "The mortgage, the mortgage."]
    )
    assert oil.by_stem["lubricant"] > oil.by_stem["mortgag"]
    assert money.by_stem["mortgag"] > money.by_stem["lubricant"]


WEIGHTS = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 10), max_size=4)


@given(
    by_stem=st.dictionaries(st.sampled_from("abcd"), st.floats(-30, 30), max_size=4),
    weights=WEIGHTS,
)
def test_the_weighed_gain_is_a_mean_of_bounded_gains(by_stem, weights):
    weighed = Gain(sum(by_stem.values()), by_stem).weighed(weights)
    bounded = [min(max(by_stem.get(key, 0.0), LEAST_GAIN), MOST_GAIN) for key in weights]
    if sum(weights.values()):
        expected = np.average(bounded, weights=list(weights.values()))
        assert weighed == pytest.approx(expected, abs=1e-9)
    else:
        assert weighed == 0.0


@pytest.mark.slow
def test_the_real_base_gains_what_its_slow_definition_says(smollm2):
    """Logits don't depend on company, so reading many at once changes nothing."""
    tokenizer = smollm2.tokenizer()
    engine = Engine(open_runtime(smollm2, "native", threads=1), max_tokens=4096)
    near, far = "The engine takes two litres of oil a month.", "Pears are picked early."
    question = "Which lubricant does the engine need?"
    assert_gains_are_the_slow_ones(engine, tokenizer, question, [near, far])
    assert_gains_are_the_slow_ones(engine, tokenizer, FIVE[3], [far])
    of_near, of_far = question_gains(engine, tokenizer, question, [near, far])
    assert of_near.by_stem["lubricant"] > of_far.by_stem["lubricant"]

"""Words, stems and numbers: what counts as the same when texts are compared."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.writing.terms import STOP_WORDS, content_stems, numbers, stem, words


def test_words_are_lower_case_and_numbers_stay_whole():
    assert words("Ada’s 2.5 kg -- 1,250 at 07:40; snake_case, naïve 日本語! (x)") == [
        *("ada's", "2.5", "kg", "1,250", "at", "07", "40", "snake", "case", "naïve", "日本語", "x")
    ]
    assert words(" — ... _ \n") == []


FAMILIES = (
    ("bean", "beans", "Bean's".lower()),
    ("berry", "berries"),
    ("walk", "walks", "walked", "walking"),
    ("plan", "plans", "planned", "planning"),
    ("plane", "planes"),
    ("glass", "glasses"),
    ("note", "notes", "noted", "noting"),
    ("slow", "slowly"),
    ("marked", "markedly"),
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family[0])
def test_the_forms_of_a_word_share_a_stem(family):
    assert len({stem(word) for word in family}) == 1


def test_different_words_keep_different_stems():
    apart = [family[0] for family in FAMILIES if family[0] not in ("plane",)]
    apart += ["sea", "seed", "sing", "ring", "red", "bus", "only", "is", "24", "240", "1950s"]
    for one, other in combinations(apart, 2):
        assert stem(one) != stem(other), (one, other)


def test_a_word_that_opens_with_a_digit_is_its_own_stem():
    for word in ("1950s", "5ing", "3,000", "12th", "100ss"):
        assert stem(word) == word


@given(st.text())
def test_every_word_has_a_stem_and_numbers_are_left_alone(text):
    for word in words(text):
        assert stem(word)
        if word[0].isdigit():
            assert stem(word) == word


@given(st.text() | st.lists(st.sampled_from(["the", "Beans", "bean", "17", "été"])).map(" ".join))
def test_content_stems_come_once_in_order_and_without_stop_words(text):
    by_hand = []
    for word in words(text):
        if word not in STOP_WORDS and stem(word) not in by_hand:
            by_hand.append(stem(word))
    assert content_stems(text) == by_hand


def test_content_stems_of_a_sentence():
    assert content_stems("When were the beans sown, and which bean was it?") == ["bean", "sown"]
    assert content_stems("What is it about?") == []


def test_numbers_lose_their_thousands_separators_only():
    assert numbers("1,250 or 12.50 at 07:40, room 14; no. 3.") == {
        *("1250", "12.50", "07:40", "14", "3")
    }
    assert numbers("2,5 litres of 1,234,567") == {"2,5", "1234567"}
    assert numbers("none") == set()

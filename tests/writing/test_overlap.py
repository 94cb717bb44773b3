"""Word overlap: a share between 0 and 1, the best passage, and numbers that can't be made up."""

from hypothesis import given
from hypothesis import strategies as st

from tramontane.writing.overlap import SUPPORTED, UNSUPPORTED, WEAK, Overlap, overlap
from tramontane.writing.terms import content_stems

WORDS = st.sampled_from("the of garlic pears pear planted plant 17 1,700 été 日本 ferry's".split())
TEXTS = st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=20)
PASSAGES = st.lists(TEXTS, max_size=4)
LONG = "The ferry crew painted the old wooden quay shed green and oiled seven rusty winches"


@given(TEXTS, PASSAGES)
def test_the_share_is_that_of_the_best_passage_and_lies_between_0_and_1(sentence, passages):
    wanted = content_stems(sentence)
    shares = [0.0]
    if wanted:
        shares += [
            len([stem for stem in wanted if stem in content_stems(passage)]) / len(wanted)
            for passage in passages
        ]
    measured = overlap(sentence, passages)
    assert 0 <= measured.share <= 1
    assert measured.share == max(shares)
    if measured.share:
        assert measured.passage == shares.index(max(shares)) - 1
    else:
        assert measured.passage is None
        assert measured.mark == UNSUPPORTED


@given(TEXTS.filter(content_stems), PASSAGES)
def test_a_sentence_that_stands_in_a_passage_is_supported(sentence, passages):
    measured = overlap(sentence, [*passages, f"Before. {sentence} After."])
    assert (measured.share, measured.mark) == (1.0, SUPPORTED)


@given(TEXTS, PASSAGES, TEXTS)
def test_another_passage_never_takes_support_away_from_words(sentence, passages, another):
    assert overlap(sentence, [*passages, another]).share >= overlap(sentence, passages).share


def test_of_equal_passages_the_first_is_named():
    passages = ["Nothing near.", "Garlic is planted.", "We planted garlic.", "Garlic is planted."]
    assert overlap("Garlic was planted.", passages).passage == 1
    assert overlap("Garlic was planted.", passages[2:]).passage == 0


def test_a_number_that_no_passage_holds_makes_a_sentence_unsupported():
    passages = [f"{LONG} in 1987.", "Something else."]
    assert overlap(f"{LONG} in 1987.", passages).mark == SUPPORTED
    made_up = overlap(f"{LONG} in 1978.", passages)
    assert made_up.share > 0.8
    assert (made_up.mark, made_up.missing_numbers) == (UNSUPPORTED, ("1978",))
    assert overlap(f"{LONG} in 1978 or 1987 for 12.50.", passages).missing_numbers == (
        "12.50",
        "1978",
    )


def test_a_number_inside_a_longer_one_is_not_there():
    assert overlap(f"{LONG} in 198.", [f"{LONG} in 1987."]).mark == UNSUPPORTED


def test_thousands_may_be_written_either_way():
    assert overlap(f"{LONG} for 1,250.", [f"{LONG} for 1250."]).missing_numbers == ()


def test_without_words_or_passages_nothing_is_supported():
    for sentence, passages in (("", ["Garlic."]), ("It is so.", ["It is so."]), ("Garlic.", [])):
        measured = overlap(sentence, passages)
        assert (measured.share, measured.passage, measured.mark) == (0.0, None, UNSUPPORTED)


def test_marks_rise_with_the_share():
    order = [UNSUPPORTED, WEAK, SUPPORTED]
    marks = [Overlap(share / 100, 0, ()).mark for share in range(101)]
    assert (marks[0], marks[-1]) == (UNSUPPORTED, SUPPORTED)
    assert set(marks) == set(order)
    assert marks == sorted(marks, key=order.index)

"""What words and their vectors say of a sentence and the passages it may rest on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.library.embed import word_llama
from tramontane.writing.signals import (
    SIGNALS,
    Passages,
    Text,
    differences,
    longest_run,
    signals_of,
    uncarried,
)

PASSAGE = (
    "The boiler was serviced on 14 March by Ana Lindqvist. It cost 180 euros, and the\n"
    "pressure valve was replaced. Boris paid. The heating must not be turned off in winter."
)


def signals(sentence: str, *passages: str) -> dict[str, float]:
    found, _ = signals_of(Text(sentence), Passages(passages or (PASSAGE,)), word_llama())
    return found


def test_every_signal_has_its_name_and_is_finite():
    for sentence in ("It cost 180 euros.", "Nothing of this.", "…", "14"):
        found = signals(sentence)
        assert tuple(found) == SIGNALS
        assert all(abs(value) < 100 for value in found.values())


def test_a_sentence_of_the_passage_is_held_whole():
    found = signals("It cost 180 euros, and the pressure valve was replaced.")
    assert found["held"] == found["best"] == found["triples"] == found["run"] == 1.0
    nothing_amiss = ("figures_missing", "names_missing", "replaced", "moved", "negation_differs")
    assert [found[name] for name in nothing_amiss] == [0.0] * 5


@pytest.mark.parametrize(
    ("sentence", "signal"),
    [
        ("It cost 280 euros, and the pressure valve was replaced.", "figures_missing"),
        ("The boiler was serviced on 14 March by Nils Lindqvist.", "names_missing"),
        ("The heating must be turned off in winter.", "negation_differs"),
        ("It cost 180 euros, and the pressure valve was removed.", "replaced"),
        ("The pressure valve cost 180 euros, and it was replaced.", "pairs_turned"),
    ],
)
def test_a_change_is_seen_by_the_signal_made_for_it(sentence, signal):
    assert signals(sentence)[signal] > 0


def test_a_number_may_be_written_as_a_word():
    assert signals("Three pears.", "There were 3 pears.")["figures_missing"] == 0
    assert signals("Four pears.", "There were 3 pears.")["figures_missing"] == 1


def test_words_that_change_places_are_counted_as_moved():
    there = "heat the oven to 160 c or 320 f".split()
    assert differences(there, there) == (0, 0, 0, 0)
    *_, moved = differences("heat the oven to 320 c or 160 f".split(), there)
    assert moved >= 1


def test_nothing_is_compared_where_little_is_shared():
    assert differences("quite another thing altogether".split(), "the oven".split()) == (0, 0, 0, 0)


def test_what_no_passage_holds_is_named_by_its_place():
    sentence = "Ana Lindqvist paid 99 euros in Lisbon."
    places = uncarried(Text(sentence), Passages([PASSAGE]))
    assert [sentence[begin:end] for begin, end in places] == ["99", "Lisbon"]


def test_without_passages_or_words_there_is_nothing_to_go_on():
    assert signals_of(Text("It cost 180 euros."), Passages([]), word_llama())[1] == []
    assert signals_of(Text("… — …"), Passages([PASSAGE]), word_llama())[1] == []


WORDS = st.lists(st.sampled_from("a b c d".split()), max_size=12)


@given(WORDS, WORDS)
def test_the_longest_run_is_that_of_the_obvious_search(words, there):
    runs = [
        end - begin
        for begin in range(len(words))
        for end in range(begin + 1, len(words) + 1)
        if any(there[at : at + end - begin] == words[begin:end] for at in range(len(there)))
    ]
    assert longest_run(words, there) == max(runs, default=0)


@given(st.text(max_size=200), st.lists(st.text(max_size=200), max_size=3))
def test_any_text_gives_signals(sentence, passages):
    found, order = signals_of(Text(sentence), Passages(passages), word_llama())
    assert set(found) == set(SIGNALS)
    assert all(value == value and abs(value) < 1e6 for value in found.values())
    assert len(order) == len(set(order))


def test_other_words_for_the_same_are_nearer_than_other_words_for_another_thing():
    sentences = ("The furnace got its yearly inspection.", "The parliament dissolved itself.")
    same, other = (signals(sentence)["likeness"] for sentence in sentences)
    assert same > other

"""Quotations are literally in their notes; questions weigh their words by rarity."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_makers import SignEmbedder, build, write_notes
from writing_makers import StemEmbedder, lines_of, markdown_notes, squeezed

from tramontane.library.records import Hit
from tramontane.writing.likelihood import Gain
from tramontane.writing.quote import (
    Question,
    Quotation,
    candidates,
    weigh_evidence,
    weighed_by_gain,
)
from tramontane.writing.terms import STOP_WORDS, stem, words

RARITY = {"garlic": 1.0, "cloves": 3.0, "clove": 4.0, "planted": 2.0}
STEMS = [stem(word) for word in ("garlic", "clove", "planted", "absent")]


def rarity(asked) -> dict[str, float]:
    return {word: RARITY.get(word, 0.5) for word in asked}


# The question


@pytest.mark.parametrize("forms", [("cloves", "clove"), ("clove", "cloves")])
def test_a_question_weighs_its_words_by_stem_each_as_its_rarest_form(forms):
    first, then = forms
    question = Question(f"How many {first} of garlic: a {then}, planted when? {first}!", rarity)
    assert question.weights == {
        stem("clove"): 4.0,
        stem("garlic"): 1.0,
        stem("planted"): 2.0,
    }
    assert question.word_of[stem("clove")] == first
    assert question.total == 7.0


def test_a_question_of_stop_words_weighs_nothing():
    question = Question("What is it about, and why?", rarity)
    assert (question.weights, question.total, question.share({"it", "is"})) == ({}, 0, 0.0)


@given(st.text(max_size=40))
def test_every_word_that_is_no_stop_word_has_a_weight(text):
    question = Question(text, rarity)
    expected = {stem(word) for word in words(text) if word not in STOP_WORDS}
    assert question.weights.keys() == question.word_of.keys() == expected


@given(st.sets(st.sampled_from(STEMS)), st.sets(st.sampled_from(STEMS)))
def test_the_share_is_the_weight_found_of_the_weight_asked(some, more):
    question = Question("garlic clove planted", rarity)
    weights = {"garlic": 1.0, "clove": 4.0, "planted": 2.0}
    found = sum(weight for word, weight in weights.items() if stem(word) in some)
    assert question.share(some) == pytest.approx(found / 7.0)
    assert 0 <= question.share(some) <= question.share(some | more) <= 1


def test_a_rarer_word_of_a_real_library_weighs_more(library):
    question = Question("pears and Germidour and zebras", library.rarity)
    common, rare, absent = (question.weights[stem(w)] for w in ("pears", "germidour", "zebras"))
    assert 0 < common <= rare < absent


@pytest.mark.parametrize(
    ("question", "holds", "lacks"),
    [
        ("How many cloves were planted?", "There were 41 cloves.", "There were cloves."),
        ("How far is the quay?", "It is twelve miles off.", "It is over there."),
        ("When did the garlic go in?", "It went in on 28 October.", "It went in early."),
        ("Who grafted the pear?", "It was grafted by Ilse.", "It was grafted well."),
    ],
)
def test_a_sentence_fits_when_it_holds_the_kind_of_thing_asked_for(question, holds, lacks):
    asked = Question(question, rarity)
    assert asked.fits(holds) == 1
    assert asked.fits(lacks) == 0


def test_a_question_for_no_kind_of_thing_fits_every_sentence_alike():
    asked = Question("Describe the garlic.", rarity)
    assert asked.fits("On 28 October Ilse planted 41.") == asked.fits("It grew.")
    assert 0 < asked.fits("It grew.") < 1


# Quotations


@settings(max_examples=40, deadline=None)
@given(
    notes=st.dictionaries(
        st.sampled_from(["a.md", "b.md", "sub/c.md", "d.txt"]),
        markdown_notes(),
        min_size=1,
        max_size=3,
    ),
    question=st.sampled_from(
        ["garlic pears oil", "When was the ferry's oil planted?", "日本 é n3"]
    ),
)
def test_a_quotation_is_literally_in_its_note_at_the_lines_it_names(
    tmp_path_factory, notes, question
):
    home = tmp_path_factory.mktemp("quotations")
    folder = write_notes(home / "notes", notes)
    with build(home / "library.sqlite", {"n": folder}) as library:
        hits = library.search(question, limit=6)
        asked = Question(question, library.rarity)
        found = candidates(asked, hits, library, SignEmbedder())
        for quotation in found:
            hit = hits[quotation.hit]
            assert hit.first_line <= quotation.first_line <= quotation.last_line <= hit.last_line
            note = library.note("n", hit.path).text
            first, last = quotation.first_line, quotation.last_line
            quoted = squeezed(quotation.text)
            assert quoted
            assert quoted in squeezed(lines_of(note, first, last))
            # And at no fewer lines than those.
            if first < last:
                assert quoted not in squeezed(lines_of(note, first + 1, last))
                assert quoted not in squeezed(lines_of(note, first, last - 1))
        scores = [quotation.score for quotation in found]
        assert scores == sorted(scores, reverse=True)


def quoted(library, question: str) -> tuple[list[Hit], list[Quotation]]:
    hits = library.search(question, limit=6)
    return hits, candidates(Question(question, library.rarity), hits, library, StemEmbedder())


def test_of_one_note_the_sentence_that_holds_the_question_comes_first(library):
    hits, found = quoted(library, "Was the Conference pear grafted onto quince?")
    assert found[0].text == "The Conference pear was grafted onto quince."
    assert hits[found[0].hit].path == "pears.md"
    assert (found[0].first_line, found[0].last_line) == (3, 3)
    assert found[0].coverage == 1.0


def test_a_quotation_over_two_quoted_lines_names_both(library):
    _, found = quoted(library, "Pick pears before they are ripe?")
    assert found[0].text == "Pick pears before they are ripe."
    assert (found[0].first_line, found[0].last_line) == (6, 7)


def test_a_title_alone_is_no_answer(library):
    for question in ("Garlic", "Pears?", "the spade"):
        _, found = quoted(library, question)
        assert found
        assert not {"Garlic", "Pears", "Spade"} & {quotation.text for quotation in found}


def test_without_hits_there_is_nothing_to_quote(library):
    asked = Question("garlic", library.rarity)
    assert candidates(asked, [], library, StemEmbedder()) == []


def test_a_base_that_finds_the_question_likelier_moves_a_sentence_up():
    found = [Quotation(text, 1, 1, 0, 1.0, 0.5) for text in ("one", "two", "three")]
    gains = [Gain(total, {}) for total in (-5.0, 30.0, 2.0)]
    weighed = weighed_by_gain(found, gains)
    assert [quotation.text for quotation in weighed] == ["two", "three", "one"]
    assert [quotation.score for quotation in weighed] == sorted(
        (quotation.score for quotation in weighed), reverse=True
    )


# The evidence


def test_evidence_of_everything_and_of_nothing(library):
    for question, coverage, is_enough in (
        ("Was the Conference pear grafted onto quince?", 1.0, True),
        ("Which mortgage rate do astronauts pay?", 0.0, False),
    ):
        asked = Question(question, library.rarity)
        evidence = weigh_evidence(asked, library.search(question, limit=6))
        assert (evidence.coverage, evidence.is_enough) == (coverage, is_enough)
        assert evidence.gain is None


def test_the_word_that_is_missing_is_named_as_it_was_asked(library):
    question = "Was the garlic given any Seaweeds?"
    evidence = weigh_evidence(Question(question, library.rarity), library.search(question))
    assert evidence.missing == "seaweeds"
    assert 0 < evidence.coverage < 1


@given(st.lists(st.sampled_from("garlic pears quay zebra the 17 quince".split())).map(" ".join))
def test_coverage_is_a_share_and_what_is_missing_was_asked(library, question):
    asked = Question(question, library.rarity)
    evidence = weigh_evidence(asked, library.search(question, limit=6))
    assert 0 <= evidence.coverage <= 1
    assert evidence.missing is None or evidence.missing in question.split()


def test_without_hits_there_is_no_evidence():
    evidence = weigh_evidence(Question("garlic", rarity), [])
    assert (evidence.coverage, evidence.missing, evidence.is_enough) == (0.0, None, False)


def test_a_heading_is_no_answer(tmp_path):
    text = "# Mill wheel\n\nIt turns.\n\n## How the wheel is greased\n\nTallow, twice a year.\n"
    folder = write_notes(tmp_path / "notes", {"wheel.md": text})
    with build(tmp_path / "l.sqlite", {"mill": folder}, StemEmbedder()) as library:
        asked = Question("How is the wheel greased?", library.rarity)
        found = candidates(asked, library.search(asked.text), library, StemEmbedder())
    assert [quotation.text for quotation in found] == ["Tallow, twice a year."]


def test_no_word_is_missing_that_the_best_passage_holds(tmp_path):
    notes = {"a.md": "# A\n\nThe barge sank in May.", "b.md": "# B\n\nThe barge is red.\n"}
    folder = write_notes(tmp_path / "notes", notes)
    with build(tmp_path / "l.sqlite", {"n": folder}, StemEmbedder()) as library:
        asked = Question("Which barge sank in May?", library.rarity)
        evidence = weigh_evidence(asked, library.search(asked.text))
    assert evidence.coverage == pytest.approx(1.0)
    assert evidence.missing is None

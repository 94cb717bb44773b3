"""What a writer does about a sentence: each act changes that one; what is written is checked."""

from dataclasses import replace

import pytest
from writing_makers import source

from tramontane.errors import NotFound, RequestError
from tramontane.library.library import Library
from tramontane.writing.events import Sentence, Withheld
from tramontane.writing.kept_draft import DraftSection
from tramontane.writing.revise import accept, add, quote, remove, rewrite

GARLIC = "The garlic went into the long bed on 28 October."
DOUBTFUL = Sentence(
    "The garlic went into the long bed in March.",
    "prose",
    1,
    1,
    1,
    0.8,
    "unsupported",
    missing=("March",),
)
QUOTED = Sentence("Potash came in February.", "quotation", 1, 5, 5, 1.0, "supported")


@pytest.fixture
def section(library: Library) -> DraftSection:
    """A section over the orchard's note on garlic, as write() makes one."""
    (hit,) = [
        hit
        for hit in library.search("garlic long bed October", collections=["orchard"])
        if hit.path == "garlic.md"
    ][:1]
    own = replace(source(1, hit.text, hit.first_line), collection=hit.collection, path=hit.path)
    return DraftSection("Garlic", (own,), (DOUBTFUL, QUOTED, Withheld(None)))


def test_accepting_marks_it_and_changes_nothing_else(section):
    accepted = accept(section, 0)
    assert accepted.pieces[0] == replace(DOUBTFUL, is_accepted=True)
    assert accepted.pieces[1:] == section.pieces[1:]
    assert section.pieces[0] == DOUBTFUL


def test_removing_takes_that_one_out(section):
    assert remove(section, 0).pieces == section.pieces[1:]
    assert remove(section, 2).pieces == section.pieces[:2]


def test_quoting_puts_the_nearest_sentence_of_its_sources_there(section, library):
    piece = quote(section, 0, library).pieces[0]
    assert (piece.kind, piece.mark, piece.source) == ("quotation", "supported", 1)
    assert piece.text == GARLIC
    lines = section.sources[0].text.split("\n")
    at = piece.first_line - section.sources[0].first_line
    assert lines[at] == GARLIC


def test_a_sentence_that_no_source_speaks_of_can_t_be_quoted(section, library):
    strange = section.with_piece(0, replace(DOUBTFUL, text="Zebras bark at astronauts."))
    with pytest.raises(RequestError, match="no sentence of its sources"):
        quote(strange, 0, library)


def test_what_is_already_shown_is_not_quoted_again(section, library):
    shown = section.with_piece(1, replace(QUOTED, text=GARLIC))
    with pytest.raises(RequestError, match="no sentence of its sources"):
        quote(shown, 0, library)


def test_rewriting_is_checked_against_the_sources(section, library):
    right = rewrite(section, 0, f"  {GARLIC} ", library, 2).pieces[0]
    assert (right.text, right.kind, right.mark, right.source) == (GARLIC, "own", "supported", 1)
    wrong = rewrite(section, 0, "The garlic cost 900 francs in Paris.", library, 2).pieces[0]
    assert wrong.mark == "unsupported"
    assert {"900", "francs", "Paris"} <= set(wrong.missing)


def test_what_no_passage_backs_brings_no_further_source(section, library):
    # Nearest is another note of the collection, which doesn't back it.
    revised = rewrite(section, 0, "The Conference pear cost 900 francs in Paris.", library, 7)
    assert revised.pieces[0].mark == "unsupported"
    assert revised.sources == section.sources
    assert revised.pieces[0].source in (None, 1)


def test_a_passage_elsewhere_in_the_collection_that_backs_it_becomes_a_source(section, library):
    pears = "The Conference pear was grafted onto quince."
    revised = rewrite(section, 0, pears, library, 7)
    piece = revised.pieces[0]
    assert (piece.mark, piece.source) == ("supported", 7)
    assert [s.number for s in revised.sources] == [1, 7]
    assert pears in revised.sources[1].text.replace("- ", "")
    assert revised.sources[1].path == "pears.md"
    again = rewrite(revised, 1, pears, library, 8)
    assert [s.number for s in again.sources] == [1, 7]
    assert again.pieces[1].source == 7


def test_other_collections_are_not_looked_at(section, library):
    """A section rests on one collection, and goes with it when that is forgotten."""
    told = rewrite(section, 0, "The ferry leaves the north quay at 07:40 on weekdays.", library, 7)
    assert told.pieces[0].mark == "unsupported"
    assert {s.collection for s in told.sources} == {"orchard"}


def test_a_sentence_is_added_after_a_place_or_before_all(section, library):
    after = add(section, 1, GARLIC, library, 2)
    assert [after.pieces[0], after.pieces[1], after.pieces[3]] == list(section.pieces)
    assert after.pieces[2].text == GARLIC
    before = add(section, -1, GARLIC, library, 2)
    assert before.pieces[1:] == section.pieces
    assert before.pieces[0].text == GARLIC


def test_what_was_kept_back_can_be_written_or_removed_but_not_accepted(section, library):
    assert rewrite(section, 2, GARLIC, library, 2).pieces[2].text == GARLIC
    with pytest.raises(RequestError, match="kept back"):
        accept(section, 2)
    with pytest.raises(RequestError, match="kept back"):
        quote(section, 2, library)
    instead = section.with_piece(2, Withheld(QUOTED))
    assert accept(instead, 2).pieces[2].is_accepted


def test_places_and_texts_that_there_aren_t_are_refused(section, library):
    for act in (accept, remove):
        with pytest.raises(NotFound, match="3 sentences, and none at place 3"):
            act(section, 3)
    with pytest.raises(NotFound):
        add(section, 3, GARLIC, library, 2)
    with pytest.raises(RequestError, match="empty"):
        rewrite(section, 0, " \n ", library, 2)
    with pytest.raises(RequestError, match="2001 characters, 2000"):
        rewrite(section, 0, "x" * 2001, library, 2)

"""A draft kept as JSON is the draft; events become sections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from writing_makers import source

from tramontane.errors import LibraryError
from tramontane.library.drafts import StoredSection
from tramontane.writing.events import (
    Abstained,
    Done,
    FromMemory,
    Heading,
    Sentence,
    Sources,
    Withheld,
)
from tramontane.writing.kept_draft import Draft, Drafting, DraftSection, read_section, stored

SENTENCES = st.builds(
    Sentence,
    text=st.text(max_size=40),
    kind=st.sampled_from(["quotation", "prose", "own"]),
    source=st.none() | st.integers(1, 9),
    first_line=st.none() | st.integers(1, 99),
    last_line=st.none() | st.integers(1, 99),
    overlap=st.none() | st.floats(0, 1),
    mark=st.sampled_from(["supported", "weak", "unsupported"]),
    shares=st.none() | st.dictionaries(st.text(max_size=5), st.floats(0, 1), max_size=2),
    support=st.none() | st.floats(0, 1),
    missing=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    copied=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=2).map(tuple),
    promise=st.none() | st.text(max_size=9),
    is_accepted=st.booleans(),
    memory=st.none() | st.text(max_size=9),
    day=st.none() | st.just("2024-03-05"),
)
SECTIONS = st.builds(
    DraftSection,
    heading=st.text(max_size=20),
    sources=st.lists(
        st.builds(source, st.integers(1, 9), st.text(max_size=30)), min_size=1, max_size=3
    ).map(tuple),
    pieces=st.lists(
        SENTENCES | st.builds(Withheld, st.none() | SENTENCES), min_size=1, max_size=4
    ).map(tuple),
)


@given(SECTIONS)
def test_what_is_kept_comes_back_the_same(section: DraftSection):
    kept = stored(section)
    assert kept.collection == "n"
    assert read_section(kept) == section


def test_a_damaged_section_is_an_error_in_words_and_a_forgotten_one_is_none():
    assert read_section(None) is None
    for content in ("{}", "nothing", '{"heading": 1, "sources": [], "pieces": []}'):
        with pytest.raises(LibraryError, match="can't be read"):
            read_section(StoredSection("n", content))


def test_events_become_sections_and_empty_ones_are_left_out():
    one, other = source(1, "It grew."), source(2, "It fell.")
    grew = Sentence("It grew.", "quotation", 1, 1, 1, 1.0, "supported")
    drafting = Drafting()
    for event in (
        Sources((one, other)),
        Heading("First", (1,)),
        grew,
        Withheld(None),
        Heading("Empty", (2,)),
        Done(0.1, 0),
    ):
        drafting.take(event)
    (section,) = drafting.sections()
    assert section == DraftSection("First", (one,), (grew, Withheld(None)))
    assert Draft("t", "post", 300, False, (section, None)).sources == (one,)


def test_a_memory_is_told_of_its_sentence_counted_over_all_sections():
    one = source(1, "It grew.")
    said = [Sentence(f"Said {n}.", "prose", None, mark="unsupported") for n in range(3)]
    drafting = Drafting()
    for event in (
        Sources((one,)),
        Heading("First", (1,)),
        said[0],
        Heading("Second", (1,)),
        *said[1:],
        FromMemory(2, "ada", 3.5),
    ):
        drafting.take(event)
    memories = [piece.memory for part in drafting.sections() for piece in part.pieces]
    assert memories == [None, None, "ada"]


def test_what_abstained_has_no_sections():
    drafting = Drafting()
    drafting.take(Abstained("Your notes don't say.", None))
    assert drafting.sections() == ()
    assert drafting.abstained.reason == "Your notes don't say."

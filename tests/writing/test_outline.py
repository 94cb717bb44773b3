"""An outline: by note, best first, or as somebody chose; what isn't there is said."""

from dataclasses import replace

import pytest
from writing_makers import StemEmbedder

from tramontane.errors import NotFound, RequestError
from tramontane.writing.answer import Writer
from tramontane.writing.forms import FORMS, check_words, form_named
from tramontane.writing.outline import Chosen, by_note, outline, passages_each

TASK = "garlic in the long bed, Germidour cloves and potash; pears picked before they are ripe"
POST = FORMS["post"]


@pytest.fixture
def writer(library) -> Writer:
    def never():
        raise AssertionError("the base was asked for")

    return Writer(library, StemEmbedder(), never, never, reads=False)


def test_hits_are_grouped_by_note_in_the_order_of_first_hits(library):
    hits = library.search(TASK, limit=16)
    one, other = hits[:2]
    later, last = replace(one, first_line=90, last_line=99), replace(other, collection="attic")
    assert by_note([one, other, later, last]) == [[one, later], [other], [last]]
    assert by_note([]) == []


def test_it_names_the_notes_that_a_draft_would_rest_on(writer):
    planned = outline(writer, TASK, POST, 300)
    assert planned.reason is None
    assert {"Garlic", "Pears"} <= {section.heading for section in planned.sections}
    numbers = [source.number for section in planned.sections for source in section.sources]
    assert numbers == list(range(1, len(numbers) + 1))
    for section in planned.sections:
        assert len({(hit.collection, hit.path) for hit in section.hits}) == 1
        assert [source.text for source in section.sources] == [hit.text for hit in section.hits]


@pytest.mark.parametrize("sections", [1, 2])
def test_no_more_sections_than_asked_for(writer, sections):
    assert len(outline(writer, TASK, POST, 300, sections=sections).sections) == sections


def test_what_is_chosen_comes_in_that_order_under_those_headings(writer):
    chosen = [
        Chosen("harbour", "ferry.md", "Over the water"),
        Chosen("orchard", "garlic.md"),
    ]
    planned = outline(writer, TASK, POST, 300, chosen=chosen)
    assert [section.heading for section in planned.sections] == ["Over the water", "Garlic"]
    places = [(s.sources[0].collection, s.sources[0].path) for s in planned.sections]
    assert places == [("harbour", "ferry.md"), ("orchard", "garlic.md")]


def test_a_chosen_note_that_is_gone_is_named(writer):
    with pytest.raises(NotFound, match=r"no note 'quince\.md' in the collection 'orchard'"):
        outline(writer, TASK, POST, 300, chosen=[Chosen("orchard", "quince.md")])
    with pytest.raises(NotFound, match="attic"):
        outline(writer, TASK, POST, 300, chosen=[Chosen("attic", "garlic.md")])


def test_a_chosen_folder_is_no_note(writer):
    """Search's filter takes a folder; a section is one note."""
    with pytest.raises(NotFound, match="no note 'tools'"):
        outline(writer, TASK, POST, 300, chosen=[Chosen("orchard", "tools")])


def test_notes_that_don_t_say_give_a_reason_and_the_closest(writer, library):
    planned = outline(writer, "mortgage rates of astronauts", POST, 300)
    assert planned.sections == ()
    assert planned.reason.startswith("Your notes don't say")
    assert planned.closest.text == library.search("mortgage rates of astronauts")[0].text


@pytest.mark.parametrize("number", [-1, 0, 7])
def test_a_number_of_sections_that_can_t_be_written_is_refused(writer, number):
    with pytest.raises(RequestError, match="between 1 and 6"):
        outline(writer, TASK, POST, 300, sections=number)
    if number == 0:
        with pytest.raises(RequestError, match="sections=0"):
            outline(writer, TASK, POST, 300, chosen=[])


def test_longer_sections_read_more_passages():
    assert passages_each(120, 3) == 2
    assert passages_each(1200, 4) == 5
    assert passages_each(3000, 6) > passages_each(1200, 6)


def test_forms_and_lengths_that_there_aren_t_are_named():
    with pytest.raises(RequestError, match="no form 'sonnet'; there are post, report"):
        form_named("sonnet")
    for words in (49, 3001):
        with pytest.raises(RequestError, match=f"words={words}.*50 and 3000"):
            check_words(words)
    assert check_words(50) == 50

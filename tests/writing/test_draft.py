"""A draft: a section for each note, in the note's own order, every source listed with its lines."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_makers import build, write_notes
from writing_makers import (
    ADA,
    BEA,
    StemEmbedder,
    is_idle,
    lines_of,
    markdown_notes,
    squeezed,
    talking_engine,
)

from tramontane.errors import NotFound, RequestError
from tramontane.writing.answer import Writer
from tramontane.writing.draft import write
from tramontane.writing.events import Abstained, Answer, Done, Heading, Sentence, Sources
from tramontane.writing.outline import MAX_SECTIONS
from tramontane.writing.overlap import overlap
from tramontane.writing.prompt import WRITE

TASK = "garlic in the long bed, Germidour cloves and potash; pears picked before they are ripe"
NOWHERE = "mortgage rates of astronauts"


def never():
    raise AssertionError("the base was asked for")


def quoting(library) -> Writer:
    return Writer(library, StemEmbedder(), never, never, reads=False)


def drafted(writer: Writer, task: str, **options) -> tuple[list, Answer]:
    events = list(write(writer, task, **options))
    draft = Answer(task)
    for event in events:
        draft.take(event)
    return events, draft


def sections_of(draft: Answer) -> list[tuple[str, list[Sentence]]]:
    sections = []
    for part in draft.sentences:
        if isinstance(part, Heading):
            sections.append((part.text, []))
        else:
            sections[-1][1].append(part)
    return sections


def assert_is_a_draft(library, draft: Answer, most_sections: int) -> None:
    """Sources numbered on; a section quotes one note, each passage of it in its own order."""
    by_number = {one.number: one for one in draft.sources}
    assert list(by_number) == list(range(1, len(draft.sources) + 1))
    sections = sections_of(draft)
    assert 1 <= len(sections) <= most_sections
    seen = set()
    for heading, sentences in sections:
        notes = {(by_number[s.source].collection, by_number[s.source].path) for s in sentences}
        assert len(notes) <= 1
        assert not notes & seen
        seen |= notes
        for sentence in sentences:
            named = by_number[sentence.source]
            note = library.note(named.collection, named.path)
            assert heading == named.title == note.title
            assert named.first_line <= sentence.first_line
            assert sentence.last_line <= named.last_line
            quoted = lines_of(note.text, sentence.first_line, sentence.last_line)
            assert squeezed(sentence.text) in squeezed(quoted)
        for number in {sentence.source for sentence in sentences}:
            lines = [s.first_line for s in sentences if s.source == number]
            assert lines == sorted(lines)


def test_a_draft_quotes_note_by_note_without_a_base(library):
    events, draft = drafted(quoting(library), TASK)
    assert isinstance(events[0], Sources)
    assert isinstance(events[1], Heading)
    assert isinstance(events[-1], Done)
    assert_is_a_draft(library, draft, 4)
    assert {"Garlic", "Pears"} <= {heading for heading, _ in sections_of(draft)}


@settings(max_examples=25, deadline=None)
@given(
    notes=st.dictionaries(
        st.sampled_from(["a.md", "b.md", "sub/c.md"]), markdown_notes(), min_size=1, max_size=3
    ),
    sections=st.integers(1, 3),
)
def test_whatever_the_notes_each_keeps_its_own_order(tmp_path_factory, notes, sections):
    home = tmp_path_factory.mktemp("drafts")
    # Known words in every note, so that there is something to draft from.
    notes = {path: f"{text}\nThe zebra crossed the bridge.\n" for path, text in notes.items()}
    folder = write_notes(home / "notes", notes)
    with build(home / "library.sqlite", {"n": folder}, StemEmbedder()) as library:
        _, draft = drafted(quoting(library), "zebra bridge crossed", sections=sections)
        assert not draft.abstained
        assert_is_a_draft(library, draft, sections)


@pytest.mark.parametrize("sections", [1, 2])
def test_no_more_sections_come_than_were_asked_for(library, sections):
    _, draft = drafted(quoting(library), TASK, sections=sections)
    assert len(sections_of(draft)) == sections


@pytest.mark.parametrize("sections", [-1, 0, MAX_SECTIONS + 1])
def test_a_number_of_sections_that_cannot_be_written_is_refused(library, sections):
    with pytest.raises(RequestError, match=f"sections={sections};.*1 and {MAX_SECTIONS}"):
        drafted(quoting(library), TASK, sections=sections)


def test_a_task_that_is_none_and_a_collection_that_is_none_are_refused(library):
    with pytest.raises(RequestError, match="empty"):
        drafted(quoting(library), "  ")
    with pytest.raises(NotFound, match="attic"):
        drafted(quoting(library), TASK, collections=["attic"])


def test_what_is_nowhere_near_is_not_drafted(library, tokenizer):
    engine = talking_engine(tokenizer, lambda prompt: "Rates rose.")
    writing = Writer(
        library, StemEmbedder(), lambda: engine, lambda: tokenizer, reads=False, can_write=True
    )
    for writer in (quoting(library), writing):
        events, draft = drafted(writer, NOWHERE)
        assert [type(event) for event in events] == [Abstained, Done]
        assert draft.closest.text == library.search(NOWHERE)[0].text
    assert not engine.runtime.batches
    _, draft = drafted(quoting(library), TASK, collections=["harbour"])
    assert draft.abstained
    assert draft.closest.collection == "harbour"


def test_without_notes_nothing_is_drafted(tmp_path):
    with build(tmp_path / "library.sqlite", {}, StemEmbedder()) as empty:
        events, draft = drafted(quoting(empty), TASK)
    assert [type(event) for event in events] == [Abstained, Done]
    assert draft.closest is None


def test_a_base_that_may_write_has_each_section_from_its_own_passages(library, tokenizer):
    """It repeats its first passage and adds a number that is nowhere."""

    def say(prompt: str) -> str:
        assert WRITE in prompt
        first = re.search(r"\[\d+\] [^:\n]+: (.*?\.)(?:\n| )", prompt, re.DOTALL)[1]
        return f"{squeezed(first)} In 1234 it rained."

    engine = talking_engine(tokenizer, say)
    writer = Writer(
        library,
        StemEmbedder(),
        lambda: engine,
        lambda: tokenizer,
        lambda: (ADA, BEA),
        can_write=True,
    )
    _, draft = drafted(writer, TASK)
    by_number = {one.number: one for one in draft.sources}
    sections = sections_of(draft)
    assert {"Garlic", "Pears"} <= {heading for heading, _ in sections}
    for heading, sentences in sections:
        own = [one for one in draft.sources if one.title == heading]
        for sentence in sentences:
            measured = overlap(sentence.text, [one.text for one in own])
            assert (sentence.kind, sentence.mark) == ("prose", measured.mark)
            assert sentence.shares.keys() == {"ada", "bea"}
            if sentence.source is not None:
                named = by_number[sentence.source]
                assert named is own[measured.passage]
                assert sentence.first_line == named.first_line
                assert sentence.last_line == named.last_line
        assert sentences[0].mark == "supported"
        assert sentences[0].source is not None
        assert sentences[-1].text == "In 1234 it rained."
        assert sentences[-1].mark == "unsupported"
    assert is_idle(engine)


def test_sentences_of_one_line_keep_their_order(tmp_path):
    text = (
        "# Oak\n\nThe barge sank in May. Nobody was hurt. The oak timber of the barge was sold.\n"
    )
    folder = write_notes(tmp_path / "notes", {"oak.md": text})
    with build(tmp_path / "l.sqlite", {"n": folder}, StemEmbedder()) as library:
        events = list(write(quoting(library), "the oak timber of the barge was sold"))
    told = [event.text for event in events if isinstance(event, Sentence)]
    assert len(told) > 1
    assert told == sorted(told, key=text.index)

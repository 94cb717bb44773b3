"""What every passage promises about its place, checked against the note's own text."""

from collections.abc import Sequence

from tramontane.notes.note import Note, Passage


def assert_passages_know_their_lines(text: str, passages: Sequence[Passage]) -> None:
    """Each is one stretch from its first to its last line; they stand in order, never twice."""
    lines = text.split("\n")
    line_before = 1
    place = {}  # how far a line that two passages share has been given out
    for passage in passages:
        assert passage.text.strip()
        assert line_before <= passage.first_line <= passage.last_line <= len(lines)
        assert passage.text.count("\n") == passage.last_line - passage.first_line
        stretch = "\n".join(lines[passage.first_line - 1 : passage.last_line])
        at = stretch.find(passage.text, place.get(passage.first_line, 0))
        assert at >= 0, f"lines {passage.first_line} to {passage.last_line} don't hold it"
        assert at <= len(lines[passage.first_line - 1])
        after = at + len(passage.text)
        last_line_start = stretch.rfind("\n") + 1
        place = {passage.last_line: after - last_line_start}
        line_before = passage.last_line


def assert_note_knows_its_lines(note: Note) -> None:
    assert_passages_know_their_lines(note.text, note.passages)

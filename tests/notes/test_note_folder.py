"""A folder's notes are read, and everything left out is named with its reason."""

import hashlib
import os
import random
from pathlib import Path

import pytest
from passage_checks import assert_note_knows_its_lines

from tramontane.errors import NotesError
from tramontane.notes import folder as reading
from tramontane.notes.folder import (
    MAX_NOTE_BYTES,
    iter_folder,
    list_folder,
    read_bytes,
    read_folder,
)
from tramontane.notes.note import Note
from tramontane.notes.reader import UnreadableError, read_note


def reasons(found) -> dict[str, str]:
    return {one.path: one.reason for one in found.skipped}


def test_notes_come_in_order_with_their_titles_and_hashes(tmp_path):
    (tmp_path / "b.md").write_text("# Beans\n\nSow in May.\n")
    (tmp_path / "a_plain-note.txt").write_text("Just text.\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "README").write_text("No ending at all.\n")
    found = read_folder(tmp_path)
    assert [note.path for note in found.notes] == ["a_plain-note.txt", "b.md", "sub/README"]
    assert [note.title for note in found.notes] == ["a plain note", "Beans", "README"]
    assert found.notes[1].sha256 == hashlib.sha256(b"# Beans\n\nSow in May.\n").hexdigest()
    assert found.skipped == []


def test_what_is_left_out_has_its_reason(tmp_path):
    (tmp_path / "note.md").write_text("text")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "renamed.md").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0")
    (tmp_path / "empty.md").write_text(" \n\n")
    (tmp_path / ".hidden.md").write_text("text")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "inside.md").write_text("text")
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts" / "inside.md").write_text("text")
    (tmp_path / ".tramontaneignore").write_text("drafts/\n")
    os.mkfifo(tmp_path / "pipe.md")
    found = read_folder(tmp_path)
    assert [note.path for note in found.notes] == ["note.md"]
    assert reasons(found) == {
        "picture.png": "not a kind of note: .png files are not read",
        "renamed.md": "holds binary data, not text",
        "empty.md": "empty",
        ".hidden.md": "hidden",
        ".git/": "hidden",
        "drafts/": "ignored by .tramontaneignore",
        "pipe.md": "not a regular file",
    }
    assert not any(one.is_passing for one in found.skipped)


def test_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("a secret")
    notes = tmp_path / "notes"
    (notes / "sub").mkdir(parents=True)
    (notes / "note.md").write_text("text")
    (notes / "out.md").symlink_to(outside / "secret.md")
    (notes / "out").symlink_to(outside)
    (notes / "in.md").symlink_to(notes / "note.md")
    (notes / "lost.md").symlink_to(notes / "nothing.md")
    (notes / "round.md").symlink_to(notes / "round.md")
    (notes / "sub" / "up").symlink_to("..")
    found = read_folder(notes)
    assert [note.path for note in found.notes] == ["note.md"]
    assert reasons(found) == {
        "out.md": "a link that leads out of the folder",
        "out": "a link that leads out of the folder",
        "in.md": "a link to something inside the folder, which is read at its own place",
        "lost.md": "a link that leads nowhere or round in a circle",
        "round.md": "a link that leads nowhere or round in a circle",
        "sub/up": "a link to something inside the folder, which is read at its own place",
    }


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "note.md").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    assert [note.path for note in read_folder(tmp_path / "link").notes] == ["note.md"]


def test_a_huge_file_is_refused_unread(tmp_path):
    (tmp_path / "note.md").write_text("text")
    with (tmp_path / "log.txt").open("wb") as file:
        file.truncate(60 * 1024 * 1024)
    assert reasons(read_folder(tmp_path)) == {
        "log.txt": "60 MB, and such a note may have 20 MB; split it"
    }
    with (tmp_path / "log.txt").open("wb") as file:
        file.truncate(MAX_NOTE_BYTES)
    assert len(read_bytes(tmp_path, "log.txt")) == MAX_NOTE_BYTES


@pytest.fixture
def three_notes(tmp_path) -> Path:
    for path in ("a.md", "b.md", "sub/c.md"):
        (tmp_path / "notes" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "notes" / path).write_text(f"text of {path}")
    return tmp_path / "notes"


def read_while(folder: Path, change) -> reading.FolderReading:
    """Reads the folder; `change` is called once, when the first note has been read."""
    return read_folder(folder, lambda _, done, __: change() if done == 1 else None)


def test_a_file_that_vanishes_is_named(three_notes):
    found = read_while(three_notes, (three_notes / "b.md").unlink)
    assert [note.path for note in found.notes] == ["a.md", "sub/c.md"]
    assert reasons(found) == {"b.md": "vanished while the folder was read"}
    assert not found.skipped[0].is_passing


def test_a_file_or_folder_that_becomes_a_link_is_not_followed(three_notes):
    outside = three_notes.parent / "outside"
    outside.mkdir()
    (outside / "c.md").write_text("a secret")

    def swap():
        (three_notes / "b.md").unlink()
        (three_notes / "b.md").symlink_to(outside / "c.md")
        (three_notes / "sub").rename(three_notes.parent / "away")
        (three_notes / "sub").symlink_to(outside)

    found = read_while(three_notes, swap)
    assert [note.text for note in found.notes] == ["text of a.md"]
    assert reasons(found) == {
        "b.md": "became a link while the folder was read",
        "sub/c.md": "vanished while the folder was read",
    }


def test_a_file_that_becomes_a_pipe_does_not_hold_up_the_reading(three_notes):
    def swap():
        (three_notes / "b.md").unlink()
        os.mkfifo(three_notes / "b.md")

    assert reasons(read_while(three_notes, swap)) == {"b.md": "not a regular file"}


def test_a_file_that_may_not_be_read_is_named_and_may_be_read_later(three_notes, monkeypatch):
    real_open = os.open

    def refusing_open(path, *args, **kwargs):
        if path == "b.md":
            raise PermissionError(13, "Permission denied")
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing_open)
    found = read_folder(three_notes)
    assert reasons(found) == {"b.md": "cannot be read now: Permission denied"}
    assert found.skipped[0].is_passing


def test_a_folder_that_may_not_be_listed_is_named(three_notes, monkeypatch):
    real_scandir = os.scandir

    def refusing_scandir(path):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", refusing_scandir)
    found = read_folder(three_notes)
    assert reasons(found) == {"sub/": "cannot be read now: Permission denied"}
    assert found.skipped[0].is_passing


def test_a_file_that_keeps_changing_is_named(three_notes, monkeypatch):
    real_fstat = os.fstat

    def growing_fstat(handle):
        with (three_notes / "b.md").open("a") as file:
            file.write("!")
        return real_fstat(handle)

    monkeypatch.setattr(os, "fstat", growing_fstat)
    with pytest.raises(UnreadableError, match="kept changing") as caught:
        read_bytes(three_notes, "b.md")
    assert caught.value.skipped.is_passing


def test_deep_folders_are_read_to_a_hundred(tmp_path):
    deep = tmp_path
    for _ in range(103):
        deep /= "d"
        deep.mkdir()
    (deep / "too_deep.md").write_text("text")
    (deep.parents[49] / "note.md").write_text("text")
    found = read_folder(tmp_path)
    assert [note.title for note in found.notes] == ["note"]
    assert [one.reason for one in found.skipped] == ["nested deeper than 100 folders"]


@pytest.mark.parametrize(
    "name",
    ["new\nline.md", "tab\t.md", " space .md", "émoji 🫘.md", "‮rtl.md", "a" * 200 + ".md", "\"'.md"]
    + ["back\\slash.md", "[x]*.md", "ünḯ.MD"],
)
def test_odd_names_are_read(tmp_path, name):
    (tmp_path / name).write_text("# A title\n\nText.\n")
    (note,) = read_folder(tmp_path).notes
    assert (note.path, note.title) == (name, "A title")


def test_a_name_that_is_no_text_is_left_out(tmp_path):
    (tmp_path / "note.md").write_text("text")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.md")).write_text("text")
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    found = read_folder(tmp_path)
    assert reasons(found) == {"bad\\udcff.md": "its name is not valid text; rename it"}


def test_an_empty_folder_is_an_error_that_helps(tmp_path):
    with pytest.raises(
        NotesError, match="the folder is empty. Notes are Markdown, org, plain text"
    ):
        read_folder(tmp_path)


def test_a_folder_of_pictures_is_an_error_that_names_them(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG")
    with pytest.raises(NotesError, match=r"0\.png: not a kind of note.*\(and 2 more\)"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nothing", "no such folder"),
        ("file.md", "is a file, not a folder"),
        ("file.md/below", "no such folder"),
        ("x" * 300, "cannot be looked at"),
        ("nul\0", "cannot be looked at"),
    ],
)
def test_no_folder_is_an_error_that_helps(tmp_path, name, expected):
    (tmp_path / "file.md").write_text("text")
    with pytest.raises(NotesError, match=f"{expected}.*give the folder that holds your notes"):
        read_folder(tmp_path / name)


def test_reading_holds_one_note_at_a_time(three_notes):
    found = iter_folder(three_notes)
    assert next(found).path == "a.md"
    (three_notes / "b.md").write_text("changed meanwhile")
    assert next(found).text == "changed meanwhile"


def test_progress_counts_every_file(three_notes):
    said = []
    read_folder(three_notes, lambda *what: said.append(what))
    assert said == [("reading notes", done, 3) for done in (1, 2, 3)]


def test_real_notes_are_read_and_know_their_lines(shared_data):
    folder = shared_data / "notes"
    paths = list_folder(folder).paths
    assert len(paths) > 1_000
    for path in random.Random(7).sample(paths, 300):
        data = read_bytes(folder, path)
        note = read_note(path, data)
        assert isinstance(note, Note)
        assert_note_knows_its_lines(note)
        # The lines are those an editor shows, so they are counted in the bytes.
        lines = data.decode().replace("\r\n", "\n").removeprefix("\ufeff").split("\n")
        for passage in note.passages:
            stretch = "\n".join(lines[passage.first_line - 1 : passage.last_line])
            assert passage.text in stretch

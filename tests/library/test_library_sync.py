"""Sync makes the library equal to the folder, does what it says, and never empties unasked."""

import contextlib
import hashlib
import os
import sqlite3
from dataclasses import replace

import pytest
from document_makers import docx_of, paragraph
from hypothesis import given, settings
from hypothesis import strategies as st
from library_makers import SignEmbedder, build, bytes_of, contents, write_notes

from tramontane.errors import LibraryError, NotesError
from tramontane.library import sync as syncing
from tramontane.library.library import Library
from tramontane.notes import folder as folder_reading
from tramontane.notes import reader
from tramontane.notes.note import Skipped

PATHS = ["a.md", "b.md", "c.txt", "sub/a.md", "sub/d.md"]
TEXTS = [
    "# Beans\n\nSow beans in May.\n",
    "# Title two\n\nWater 3 litres.\n\n## Late\n\nWater less.\n",
    "---\ntrain: no\n---\nPeas climb.\n",
    "Beans and peas. " * 100,
    "Crème brûlée".encode("latin-1"),
    b"\0\1\2 binary",
    "\n",
]
FOLDERS = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(TEXTS), max_size=5)


def plan_by_hand(before: dict, after: dict) -> dict[str, list[str]]:
    before, after = (
        {path: text for path, text in notes.items() if text not in TEXTS[-2:]}
        for notes in (before, after)
    )
    return {
        "added": sorted(after.keys() - before.keys()),
        "changed": sorted(p for p in after.keys() & before.keys() if after[p] != before[p]),
        "removed": sorted(before.keys() - after.keys()),
        "unchanged": sorted(p for p in after.keys() & before.keys() if after[p] == before[p]),
    }


@settings(max_examples=25, deadline=None)
@given(states=st.lists(FOLDERS, min_size=2, max_size=3))
def test_any_history_of_a_folder_ends_like_a_fresh_build(tmp_path_factory, states):
    home = tmp_path_factory.mktemp("history")
    folder = home / "notes"
    folder.mkdir()
    before = {}
    with Library(home / "old.sqlite", SignEmbedder()) as library:
        library.add_collection("n", folder)
        for state in states:
            write_notes(folder, state)
            was = bytes_of(library.file)
            foretold = library.sync("n", dry_run=True, allow_emptying=True)
            assert bytes_of(library.file) == was
            done = library.sync("n", allow_emptying=True)
            for name, paths in plan_by_hand(before, state).items():
                assert sorted(getattr(done, name)) == paths
                assert getattr(foretold, name) == getattr(done, name)
            assert foretold.renamed == done.renamed
            before = state
        with Library(home / "new.sqlite", SignEmbedder()) as fresh:
            fresh.add_collection("n", folder)
            fresh.sync("n", allow_emptying=True)
            assert contents(library) == contents(fresh)


def test_a_renamed_note_is_said_and_not_embedded_again(tmp_path, notes):
    embed = SignEmbedder()
    with build(tmp_path / "l.sqlite", {"garden": notes}, embed) as library:
        embed.num_texts = 0
        (notes / "beans.md").rename(notes / "tools" / "broad_beans.md")
        report = library.sync("garden")
        assert report.renamed == [("beans.md", "tools/broad_beans.md")]
        assert (report.added, report.removed) == (["tools/broad_beans.md"], ["beans.md"])
        assert embed.num_texts == 0
        assert library.search("beans")[0].path == "tools/broad_beans.md"


def test_a_search_sees_what_the_last_sync_did(library, notes):
    assert len(library.search("beans")) == 3
    (notes / "carrots.md").write_text("Thin them out.")
    library.sync("garden")
    assert len(library.search("beans")) == 4  # by vectors, which rank every passage
    (notes / "carrots.md").unlink()
    library.sync("garden")
    assert {hit.path for hit in library.search("beans")} == {
        "beans.md",
        "peas.md",
        "tools/spade.txt",
    }


def test_a_note_is_known_by_its_bytes_not_its_date(library, notes):
    (notes / "beans.md").touch()
    report = library.sync("garden")
    assert report.unchanged == ["beans.md", "peas.md", "tools/spade.txt"]
    assert library.is_current("garden", "beans.md")
    (notes / "beans.md").write_text("changed")
    assert not library.is_current("garden", "beans.md")
    (notes / "peas.md").unlink()
    assert not library.is_current("garden", "peas.md")


def test_a_note_is_stored_as_it_was_read(library, notes):
    stored = library.note("garden", "peas.md")
    assert stored.sha256 == hashlib.sha256((notes / "peas.md").read_bytes()).hexdigest()
    assert (stored.title, stored.num_lines) == ("Peas", 9)
    assert stored.metadata == {"tags": ["early"], "share": False}
    assert stored.may_train
    assert not stored.may_share
    assert library.note("garden", "tools/spade.txt").text == (
        "A spade wants oil.\n\nOil it in autumn.\n"
    )
    assert [note.path for note in library.notes("garden")] == [
        "beans.md",
        "peas.md",
        "tools/spade.txt",
    ]


def test_what_was_read_with_doubt_or_left_out_is_reported(library, notes):
    (notes / "menu.txt").write_bytes("Crème".encode("latin-1"))
    (notes / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    report = library.sync("garden")
    assert report.remarks == [("menu.txt", "not UTF-8: read as Windows-1252")]
    assert report.skipped == [Skipped("photo.jpg", "not a kind of note: .jpg files are not read")]
    assert library.note("garden", "menu.txt").remarks == ("not UTF-8: read as Windows-1252",)


def test_emptying_is_refused_unasked(library, notes):
    held = contents(library)
    write_notes(notes, {"picture.png": b"\x89PNG"})
    for dry_run in (True, False):
        with pytest.raises(LibraryError, match="'garden' holds 3 notes.*mount or restore"):
            library.sync("garden", dry_run=dry_run)
    assert contents(library) == held
    foretold = library.sync("garden", dry_run=True, allow_emptying=True)
    assert foretold.removed == ["beans.md", "peas.md", "tools/spade.txt"]
    assert contents(library) == held
    library.sync("garden", allow_emptying=True)
    assert library.collection("garden").num_notes == 0
    assert library.search("beans") == []


def test_a_folder_that_is_gone_is_not_an_empty_one(library, notes):
    held = contents(library)
    notes.rename(notes.with_name("away"))
    with pytest.raises(LibraryError, match="no such folder.*mount or restore"):
        library.sync("garden")
    notes.write_text("now a file")
    with pytest.raises(LibraryError, match="is a file, not a folder.*mount or restore"):
        library.sync("garden")
    assert contents(library) == held
    notes.unlink()
    notes.with_name("away").rename(notes)
    assert library.sync("garden").unchanged == ["beans.md", "peas.md", "tools/spade.txt"]


def test_a_folder_that_goes_in_the_middle_does_not_empty_the_library(library, notes):
    write_notes(notes, dict.fromkeys(("beans.md", "peas.md", "tools/spade.txt"), "changed"))

    def unmount(what: str, done: int, total: int) -> None:
        if (what, done) == ("reading notes", total):
            notes.rename(notes.with_name("away"))
            notes.mkdir()

    with pytest.raises(LibraryError, match="would remove them all"):
        library.sync("garden", unmount)
    assert library.collection("garden").num_notes == 3


def test_a_first_sync_without_any_note_says_so(tmp_path):
    with Library(tmp_path / "l.sqlite") as library:
        library.add_collection("empty", write_notes(tmp_path / "empty", {}))
        with pytest.raises(NotesError, match="the folder is empty"):
            library.sync("empty")
        write_notes(tmp_path / "empty", {"a.md": "text"})
        assert library.sync("empty").added == ["a.md"]


def test_a_note_that_vanishes_during_the_sync_is_removed_or_never_added(library, notes):
    (notes / "beans.md").write_text("Beans, changed.")
    (notes / "new.md").write_text("New.")

    def vanish(what: str, done: int, total: int) -> None:
        if (what, done) == ("reading notes", total):
            (notes / "beans.md").unlink()
            (notes / "new.md").unlink()

    report = library.sync("garden", vanish)
    assert (report.added, report.changed, report.removed) == ([], [], ["beans.md"])
    assert {one.path for one in report.skipped} == {"beans.md", "new.md"}
    assert [note.path for note in library.notes("garden")] == ["peas.md", "tools/spade.txt"]


def make_unreadable(monkeypatch, unreadable: set[str]) -> None:
    real = folder_reading.read_bytes

    def read_bytes(folder, path):
        if path in unreadable:
            raise reader.UnreadableError(Skipped(path, "cannot be read now", is_passing=True))
        return real(folder, path)

    monkeypatch.setattr(folder_reading, "read_bytes", read_bytes)


def test_a_note_that_cannot_be_read_at_the_moment_stays_as_it_was(library, notes, monkeypatch):
    unreadable = {"beans.md"}
    make_unreadable(monkeypatch, unreadable)
    report = library.sync("garden")
    assert report.removed == []
    assert library.note("garden", "beans.md").title == "Beans"
    unreadable |= {"peas.md", "tools/spade.txt"}
    assert library.sync("garden").removed == []
    assert library.collection("garden").num_notes == 3


def test_a_new_reader_reads_every_note_again(library, notes, tmp_path, monkeypatch):
    real = reader.read_note
    monkeypatch.setattr(syncing, "READER_VERSION", syncing.READER_VERSION + 1)

    def read_note(path: str, data: bytes, apart):
        planted = real(path, data.replace(b"Sow", b"Plant"), apart)
        return replace(planted, sha256=hashlib.sha256(data).hexdigest())

    monkeypatch.setattr(reader, "read_note", read_note)
    unreadable = {"peas.md"}
    make_unreadable(monkeypatch, unreadable)
    assert library.sync("garden").changed == ["beans.md", "tools/spade.txt"]
    assert "Plant" in library.note("garden", "beans.md").text
    assert "Sow" in library.note("garden", "peas.md").text
    unreadable.clear()
    assert "peas.md" in library.sync("garden").changed  # it was not forgotten
    assert library.sync("garden").changed == []
    with build(tmp_path / "fresh.sqlite", {"garden": notes}) as fresh:
        assert contents(library) == contents(fresh)


def test_passages_stored_without_vectors_get_them(tmp_path, notes):
    file = tmp_path / "l.sqlite"
    with Library(file) as library:
        library.add_collection("garden", notes)
        library.sync("garden")
        assert library.search("beans")[0].vector_rank is None
    with Library(file, SignEmbedder()) as library:
        assert library.sync("garden").changed == []
        assert library.search("beans")[0].vector_rank is not None
        with build(tmp_path / "fresh.sqlite", {"garden": notes}) as fresh:
            assert contents(library) == contents(fresh)


def test_two_collections_may_hold_the_same_files(tmp_path, notes):
    embed = SignEmbedder()
    folders = {"one": notes, "two": notes}
    with build(tmp_path / "l.sqlite", folders, embed) as library:
        assert embed.num_texts == sum(
            one.num_passages for one in library.collections() if one.name == "one"
        )
        found = [(hit.collection, hit.path) for hit in library.search("beans")]
        assert found[:2] == [("one", "beans.md"), ("two", "beans.md")]
        library.remove_collection("one")
        with build(tmp_path / "fresh.sqlite", {"two": notes}) as fresh:
            assert contents(library) == contents(fresh)


@pytest.fixture
def no_waiting(monkeypatch):
    """Files lie still at once."""
    monkeypatch.setattr(folder_reading, "SETTLED_NS", -1_000_000_000)


def test_files_that_lie_still_are_not_opened_again(library, notes, monkeypatch, no_waiting):
    library.sync("garden")
    opened = []
    real = folder_reading.read_bytes

    def read_bytes(folder, path):
        opened.append(path)
        return real(folder, path)

    monkeypatch.setattr(folder_reading, "read_bytes", read_bytes)
    assert len(library.sync("garden").unchanged) == 3
    assert opened == []
    (notes / "beans.md").write_text("Changed.")
    assert library.sync("garden").changed == ["beans.md"]
    assert set(opened) == {"beans.md"}


def test_a_change_that_keeps_size_and_time_is_found(library, notes, no_waiting):
    library.sync("garden")
    file = notes / "beans.md"
    was = file.stat()
    file.write_text(file.read_text().replace("e", "a", 1))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert file.stat().st_size == was.st_size
    assert library.sync("garden").changed == ["beans.md"]


def test_a_file_changed_just_now_is_not_trusted_to_lie_still(library, notes):
    library.sync("garden")
    with contextlib.closing(sqlite3.connect(library.file)) as db:
        assert db.execute("SELECT DISTINCT file_state FROM notes").fetchall() == [("",)]


def test_a_renamed_note_keeps_its_id(library, notes, no_waiting):
    def ids() -> dict[str, int]:
        with contextlib.closing(sqlite3.connect(library.file)) as db:
            return dict(db.execute("SELECT path, id FROM notes"))

    before = ids()
    (notes / "beans.md").rename(notes / "2024-03-05 runner beans.md")
    (notes / "peas.md").write_text("Changed.")
    library.sync("garden")
    after = ids()
    assert after["2024-03-05 runner beans.md"] == before["beans.md"]
    assert after["peas.md"] == before["peas.md"]
    assert library.search("beans")[0].dates == ("2024-03-05",)


def test_every_note_may_be_renamed_at_once(library, notes):
    notes.joinpath("sub").mkdir()
    for number, file in enumerate([f for f in notes.rglob("*") if f.is_file()]):
        file.rename(notes / "sub" / f"{number}.md")
    report = library.sync("garden")
    assert len(report.renamed) == len(report.removed) == len(report.added) == 3
    assert library.collection("garden").num_notes == 3


def test_a_file_that_was_refused_is_not_tried_again(library, notes, monkeypatch):
    (notes / "broken.docx").write_bytes(b"PK nonsense")
    first = library.sync("garden").skipped
    assert first[-1].reason.startswith("not a docx file")

    def read_note(*_):
        raise AssertionError("it was tried again")

    with monkeypatch.context() as patch:
        patch.setattr(reader, "read_note", read_note)
        assert library.sync("garden").skipped == first
        assert library.sync("garden", dry_run=True).skipped == first
    (notes / "broken.docx").write_bytes(docx_of(paragraph("Now it is whole.")))
    assert library.sync("garden").added == ["broken.docx"]
    (notes / "broken.docx").unlink()
    library.sync("garden")
    with contextlib.closing(sqlite3.connect(library.file)) as db:
        assert db.execute("SELECT count(*) FROM skipped").fetchone() == (0,)

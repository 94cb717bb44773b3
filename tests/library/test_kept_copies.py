"""Copies of dropped folders: whole or not at all, inside their place, and gone when they are to."""

import errno
import multiprocessing
import os
import random
import shutil
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.errors import DiskFull, NotesError, NotFound, RequestError
from tramontane.library import kept_copies
from tramontane.library.copy_names import MAX_COPY_BYTES, copy_name, why_not_kept
from tramontane.library.kept_copies import KeptCopies

NOTE = b"# Heron\n\nIt stood on one leg.\n"


class Interrupted(BaseException):
    pass


@pytest.fixture
def copies(tmp_path: Path) -> KeptCopies:
    return KeptCopies(tmp_path / "home" / "dropped")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sync", lambda: None)


def keep(copies: KeptCopies, name: str, files: dict[str, bytes]):
    arrival = copies.begin(name)
    for path, data in files.items():
        arrival.put(path, data)
    return arrival.finish()


def held(copies: KeptCopies, name: str) -> dict[str, bytes]:
    folder = copies.find(name).folder
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def hidden(copies: KeptCopies) -> list[str]:
    """Returns what lies beside the copies but for the lock."""
    found = [p.name for p in copies.folder.iterdir()] if copies.folder.exists() else []
    return sorted(name for name in found if name.startswith(".") and name != ".lock")


def test_a_copy_is_what_came(copies: KeptCopies):
    files = {"a.md": NOTE, "b/c/d.txt": b"two\n", "b/e.org": b"* three\n"}
    copy, skipped = keep(copies, "Canal", files)
    assert (copy.name, copy.num_files, copy.num_bytes) == (
        "Canal",
        3,
        sum(map(len, files.values())),
    )
    assert held(copies, "Canal") == files
    assert (skipped, hidden(copies)) == ([], [])
    assert copies.ls() == [copy]
    assert copies.holds(copy.folder)
    assert not copies.holds(copies.folder)
    assert copy.folder.stat().st_mode & 0o077 == 0


def test_pieces_become_a_file(copies: KeptCopies):
    arrival = copies.begin("Canal")
    for at in range(0, 10, 4):
        arrival.put("a.md", b"0123456789"[at : at + 4], at=at, size=10)
    arrival.put("empty.md", b"")
    arrival.finish()
    assert held(copies, "Canal") == {"a.md": b"0123456789", "empty.md": b""}


@pytest.mark.parametrize(
    ("at", "size", "says"),
    [(4, 10, "no piece is waited for"), (3, 2, "no piece is waited for"), (0, 2, "more came")],
)
def test_pieces_out_of_turn_are_refused(copies: KeptCopies, at: int, size: int, says: str):
    arrival = copies.begin("Canal")
    with pytest.raises(RequestError, match=says):
        arrival.put("a.md", b"012", at=at, size=size)
    arrival.put("b.md", NOTE)
    arrival.finish()
    assert held(copies, "Canal") == {"b.md": NOTE}


def test_a_piece_too_many_takes_the_file_along(copies: KeptCopies):
    arrival = copies.begin("Canal")
    arrival.put("a.md", b"01234", size=8)
    with pytest.raises(RequestError, match="more came than the 8 bytes"):
        arrival.put("a.md", b"56789", at=5, size=8)
    arrival.put("b.md", NOTE)
    arrival.finish()
    assert held(copies, "Canal") == {"b.md": NOTE}


def test_a_file_that_did_not_come_whole_is_left_out_and_named(copies: KeptCopies):
    arrival = copies.begin("Canal")
    arrival.put("a.md", NOTE)
    arrival.put("half.md", b"half", size=8)
    _, skipped = arrival.finish()
    assert [(one.path, one.reason) for one in skipped] == [("half.md", "did not come whole")]
    assert held(copies, "Canal") == {"a.md": NOTE}


BAD_PATHS = {
    "": "leads elsewhere",
    "/etc/a.md": "leads elsewhere",
    "../a.md": "leads elsewhere",
    "b/../../a.md": "leads elsewhere",
    "b//a.md": "leads elsewhere",
    "./a.md": "leads elsewhere",
    "b/": "leads elsewhere",
    "C:/a.md": "drive",
    "c:a.md": "drive",
    "..\\a.md": "backslash",
    "\\\\host\\share\\a.md": "backslash",
    "a\0.md": "control character",
    "a\n.md": "control character",
    "a\x7f.md": "control character",
    "a\x85.md": "control character",
    "a\u2028.md": "line break",
    "a\ud800.md": "control character",
    "con.md": "device",
    "b/NUL": "device",
    "COM1.notes.md": "device",
    "lpt¹.txt": "device",
    "b./a.md": "full stop",
    "b /a.md": "space",
    "a.md ": "space",
    f"{'a' * 253}.md": "longer than 255 bytes",
    f"{'ä' * 127}.md": "longer than 255 bytes",
    f"{'b/' * 101}a.md": "deeper than 100 folders",
    f"{('b' * 200 + '/') * 10}a.md": "longer than 2,000 bytes",
    ".git/a.md": "hidden",
    "b/.a.md": "hidden",
    "a.png": "not a kind of note: .png files",
    "a.doc": "save it as docx",
}


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_bad_path_is_refused_and_the_others_are_kept(copies: KeptCopies, path: str):
    arrival = copies.begin("Canal")
    with pytest.raises(NotesError, match=BAD_PATHS[path]):
        arrival.put(path, NOTE)
    arrival.put("good.md", NOTE)
    arrival.finish()
    assert held(copies, "Canal") == {"good.md": NOTE}
    everything = [p for p in copies.folder.parent.rglob("*") if p.is_file()]
    assert {p.name for p in everything} == {"good.md", ".lock"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Notes.md", "notes.MD"),
        ("Straße.md", "STRASSE.md"),
        ("caf\u00e9.md", "cafe\u0301.md"),
        ("B/a.md", "b/a.md"),
        ("a.md", "a.md"),
    ],
)
def test_names_spelt_alike_are_one_file(copies: KeptCopies, first: str, second: str):
    arrival = copies.begin("Canal")
    arrival.put(first, NOTE)
    with pytest.raises(NotesError, match="spelt alike"):
        arrival.put(second, b"other")
    arrival.finish()
    assert held(copies, "Canal") == {first: NOTE}


def test_a_file_is_no_folder(copies: KeptCopies):
    arrival = copies.begin("Canal")
    arrival.put("a", NOTE)
    with pytest.raises(NotesError, match="cannot be kept"):
        arrival.put("a/b.md", NOTE)
    arrival.put("b/c.md", NOTE)
    with pytest.raises(NotesError, match="cannot be kept"):
        arrival.put("b", NOTE)
    arrival.finish()
    assert held(copies, "Canal") == {"a": NOTE, "b/c.md": NOTE}


def test_a_link_on_the_way_is_not_followed(copies: KeptCopies, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "own.md").write_bytes(b"mine")
    arrival = copies.begin("Canal")
    (arrival.folder / "b").symlink_to(outside)
    (arrival.folder / "c.md").symlink_to(outside / "own.md")
    for path in ("b/a.md", "b/own.md", "c.md"):
        with pytest.raises(NotesError, match="cannot be kept"):
            arrival.put(path, NOTE)
    arrival.cancel()
    assert {p.name: p.read_bytes() for p in outside.iterdir()} == {"own.md": b"mine"}


def test_a_link_in_a_copys_place_goes_and_what_it_leads_to_stays(copies, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "own.md").write_bytes(b"mine")
    copies.folder.mkdir(parents=True)
    (copies.folder / "Canal").symlink_to(outside)
    assert copies.ls() == []
    keep(copies, "Canal", {"a.md": NOTE})
    assert held(copies, "Canal") == {"a.md": NOTE}
    (copies.folder / "Other").symlink_to(outside)
    copies.remove("Other")
    assert (outside / "own.md").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["a.md", "a.pdf"])
def test_a_file_too_large_is_refused_at_its_first_piece(copies: KeptCopies, name: str):
    most = {"a.md": 20, "a.pdf": 100}[name] * 2**20
    arrival = copies.begin("Canal")
    with pytest.raises(NotesError, match=f"may have {most >> 20} MB"):
        arrival.put(name, b"0", size=most + 1)
    arrival.put(f"just-{name}", b"0", size=most)
    arrival.cancel()


def test_a_copy_has_bounds(copies: KeptCopies, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_copies, "MAX_FILES", 2)
    monkeypatch.setattr(kept_copies, "MAX_BYTES", 100)
    arrival = copies.begin("Canal")
    with pytest.raises(RequestError, match="at most; type the folder's path"):
        arrival.put("a.md", b"0", size=101)
    arrival.put("a.md", b"0" * 60)
    with pytest.raises(RequestError, match="at most"):
        arrival.put("b.md", b"0" * 41)
    arrival.put("b.md", b"0" * 40)
    with pytest.raises(RequestError, match="at most"):
        arrival.put("c.md", b"")
    arrival.finish()
    assert held(copies, "Canal").keys() == {"a.md", "b.md"}


def test_what_the_folders_own_rules_leave_out_leaves_no_trace(copies: KeptCopies):
    files = {
        ".tramontaneignore": b"private/\n*.txt\n",
        "a.md": NOTE,
        "b.txt": b"secret",
        "private/c.md": b"secret",
        "d/.tramontaneignore": b"e.md\n",
        "d/e.md": b"secret",
        "d/f.md": NOTE,
    }
    copy, skipped = keep(copies, "Canal", files)
    assert {one.path: one.reason for one in skipped} == {
        "b.txt": "ignored by .tramontaneignore",
        "private/": "ignored by .tramontaneignore",
        "d/e.md": "ignored by d/.tramontaneignore",
    }
    assert held(copies, "Canal").keys() == {
        ".tramontaneignore",
        "a.md",
        "d/.tramontaneignore",
        "d/f.md",
    }
    assert copy.num_files == 4
    everything = b"".join(p.read_bytes() for p in copies.folder.rglob("*") if p.is_file())
    assert b"secret" not in everything


@pytest.mark.parametrize(
    "files", [{}, {".tramontaneignore": b"*\n", "a.md": NOTE}, {".tramontaneignore": b"[z-a]\n"}]
)
def test_where_no_note_is_left_there_is_no_copy(copies: KeptCopies, files: dict[str, bytes]):
    with pytest.raises(NotesError, match="Canal") as told:
        keep(copies, "Canal", files)
    assert ".part" not in str(told.value)
    assert (copies.ls(), hidden(copies)) == ([], [])


def test_another_copy_of_the_name_replaces_it(copies: KeptCopies):
    keep(copies, "Canal", {"a.md": b"old", "gone.md": b"old"})
    arrival = copies.begin("Canal")
    arrival.put("a.md", b"new")
    assert held(copies, "Canal") == {"a.md": b"old", "gone.md": b"old"}
    arrival.finish()
    assert held(copies, "Canal") == {"a.md": b"new"}
    assert hidden(copies) == []


def test_one_that_is_given_up_leaves_what_was_there(copies: KeptCopies):
    keep(copies, "Canal", {"a.md": b"old"})
    arrival = copies.begin("Canal")
    arrival.put("a.md", b"new")
    arrival.cancel()
    arrival.cancel()
    assert held(copies, "Canal") == {"a.md": b"old"}
    assert hidden(copies) == []
    for act in (lambda: arrival.put("b.md", NOTE), arrival.finish):
        with pytest.raises(NotFound, match="no longer waited for"):
            act()


def test_many_threads_send_at_once(copies: KeptCopies):
    files = {f"{n % 7}/{n}.md": b"%d " % n * 1000 for n in range(200)}
    arrival, left = copies.begin("Canal"), list(files.items())

    def send() -> None:
        while left:
            path, data = left.pop()
            for at in range(0, len(data), 1000):
                arrival.put(path, data[at : at + 1000], at=at, size=len(data))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    arrival.finish()
    assert held(copies, "Canal") == files


def test_a_full_disk_is_told_and_what_was_there_stays(copies, monkeypatch: pytest.MonkeyPatch):
    keep(copies, "Canal", {"a.md": b"old"})
    arrival = copies.begin("Canal")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(kept_copies.os, "fdopen", full)
        with pytest.raises(DiskFull, match=r"a\.md: the disk is full"):
            arrival.put("a.md", b"new")
    arrival.cancel()
    assert held(copies, "Canal") == {"a.md": b"old"}


COPY = ({"a.md": b"old", "b.md": b"old"}, {"a.md": b"new", "c/d.md": b"new"})


@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["rename", "sync", "rmtree"])
def test_killed_at_any_step_a_copy_is_the_old_or_the_new(
    copies: KeptCopies, monkeypatch, step: str, is_after: bool, call: int
):
    """The steps are taken in a process that dies there, without a word to anybody."""
    keep(copies, "Canal", COPY[0])

    def die() -> None:
        owner = shutil if step == "rmtree" else os
        real, num_calls = getattr(owner, step), 0

        def last(*arguments, **options):
            nonlocal num_calls
            num_calls += 1
            if num_calls <= call:
                return real(*arguments, **options)
            if is_after:
                real(*arguments, **options)
            os._exit(9)

        arrival = copies.begin("Canal")
        for path, data in COPY[1].items():
            arrival.put(path, data)
        setattr(owner, step, last)
        arrival.finish()

    run_apart(die)
    copies.mend()
    assert held(copies, "Canal") in COPY
    assert hidden(copies) == []


def run_apart(act: Callable[[], None]) -> None:
    process = multiprocessing.get_context("fork").Process(target=act)
    process.start()
    process.join(60)
    assert process.exitcode is not None


@pytest.mark.slow
def test_killed_at_any_moment_a_copy_is_of_one_time(copies: KeptCopies):
    paths = [f"{n % 5}/{n}.md" for n in range(40)]
    keep(copies, "Canal", dict.fromkeys(paths, b"0"))

    def replace_for_ever() -> None:
        number = 0
        while True:
            number += 1
            keep(copies, "Canal", dict.fromkeys(paths, b"%d" % number))

    randomly = random.Random(5)
    for _ in range(20):
        process = multiprocessing.get_context("fork").Process(target=replace_for_ever)
        process.start()
        time.sleep(randomly.uniform(0.05, 0.4))
        process.kill()
        process.join(60)
        copies.mend()
        found = held(copies, "Canal")
        assert sorted(found) == sorted(paths)
        assert len(set(found.values())) == 1
        assert hidden(copies) == []


def test_what_somebody_still_sends_is_left_alone(copies: KeptCopies):
    arrival = copies.begin("Canal")
    arrival.put("a.md", NOTE)
    run_apart(copies.mend)
    copies.mend()
    arrival.finish()
    assert held(copies, "Canal") == {"a.md": NOTE}


def test_removing_takes_what_is_coming_too(copies: KeptCopies):
    keep(copies, "Canal", {"a.md": NOTE})
    keep(copies, "Other", {"a.md": NOTE})
    arrival, other = copies.begin("Canal"), copies.begin("Canal-2")
    arrival.put("a.md", NOTE)
    other.put("a.md", NOTE)
    copies.remove("Canal")
    for act in (lambda: arrival.put("b.md", NOTE), arrival.finish):
        with pytest.raises(NotFound, match="no longer waited for"):
            act()
    other.finish()
    assert [copy.name for copy in copies.ls()] == ["Canal-2", "Other"]
    assert hidden(copies) == []


def test_a_collections_copies_are_its_own_and_those_of_its_name_that_nobody_reads(copies):
    for name in ("Canal", "mine", "Mill"):
        keep(copies, name, {"a.md": NOTE})
    canal, mill, mine = copies.ls()

    def of(name: str, folder: Path | str, read: list[Path]) -> list[str]:
        return [copy.name for copy in copies.of(name, str(folder), read)]

    assert of("mine", canal.folder, [mill.folder]) == ["Canal", "mine"]
    assert of("mine", canal.folder, [mine.folder]) == ["Canal"]
    assert of("mine", canal.folder, [canal.folder]) == ["mine"]
    assert of("canal", "", []) == ["Canal"]
    assert of("letters", "/home/me/letters", []) == []


def test_sweeping_takes_old_copies_that_nobody_reads(copies: KeptCopies):
    for name in ("read", "unread", "new"):
        keep(copies, name, {"a.md": NOTE})
    for name in ("read", "unread"):
        os.utime(copies.folder / name, (0, 0))
    left = copies.folder / ".half.xyz.part"
    left.mkdir()
    (left / "a.md").write_bytes(NOTE)
    gone = copies.sweep([copies.find("read").folder])
    assert [copy.name for copy in gone] == ["unread"]
    assert [copy.name for copy in copies.ls()] == ["new", "read"]
    assert hidden(copies) == []


def test_without_a_folder_there_is_nothing(copies: KeptCopies):
    assert copies.ls() == []
    assert copies.sweep([]) == []
    copies.mend()
    copies.remove("Canal")
    assert copies.free_name("Canal") == "Canal"
    with pytest.raises(NotFound, match="no copy 'Canal'; none is"):
        copies.find("Canal")
    assert not copies.folder.exists()


def test_a_free_name_is_free_on_every_system(copies: KeptCopies):
    for name in ("Canal", "Canal-2"):
        keep(copies, name, {"a.md": NOTE})
    assert copies.free_name("canal") == "canal-3"
    assert copies.free_name("Mill") == "Mill"


ODD = [
    "/",
    "\\",
    "..",
    ".",
    "C:",
    " ",
    "~",
    "con",
    "NUL",
    "lpt1",
    "a",
    "\0",
    "\n",
    "\u202e",
    "\u0301",
]
odd_text = st.lists(st.sampled_from(ODD) | st.characters(), max_size=300).map("".join)


@settings(max_examples=500, deadline=None)
@given(odd_text)
def test_any_folders_name_becomes_a_name(told: str):
    name = copy_name(told)
    assert why_not_kept(f"{name}/a.md") is None
    assert 0 < len(name.encode()) <= MAX_COPY_BYTES
    assert "/" not in name
    assert not name.startswith(".")
    assert len(PureWindowsPath(name).parts) == 1
    assert copy_name(name) == name


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("Canal", "Canal"),
        ("My Letters, 1998–2004", "My Letters, 1998–2004"),
        ("..", "notes"),
        ("", "notes"),
        (".obsidian", "obsidian"),
        ("../../etc", "-..-etc"),
        ("con", "folder-con"),
        ("a\0b", "a-b"),
        ("👩‍🌾", "👩‍🌾"),
    ],
)
def test_a_folders_name_is_kept_where_it_can_be(told: str, name: str):
    assert copy_name(told) == name


@settings(max_examples=500, deadline=None)
@given(odd_text)
def test_a_path_that_is_kept_stays_inside_on_every_system(told: str):
    """What isn't refused names one place below the folder, by these very names."""
    for path in (told, f"{told}.md", f"b/{told}/a.md"):
        if why_not_kept(path):
            continue
        assert os.path.normpath(f"/top/{path}") == f"/top/{path}"
        for kind in (PurePosixPath, PureWindowsPath):
            inside = kind(path)
            assert not inside.is_absolute()
            assert not inside.anchor
            assert ".." not in inside.parts
            assert list(inside.parts) == path.split("/")
        assert not any(unicodedata.category(char) == "Cc" for char in path)


def test_an_arrival_that_nobody_ends_holds_nobody(copies: KeptCopies):
    """Its process dies; the next copy of the name begins and ends."""

    def send_half() -> None:
        copies.begin("Canal").put("a.md", b"half", size=8)
        os._exit(9)

    run_apart(send_half)
    assert hidden(copies) != []
    keep(copies, "Canal", {"a.md": NOTE})
    assert held(copies, "Canal") == {"a.md": NOTE}
    assert hidden(copies) == []

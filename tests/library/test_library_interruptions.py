"""Law 6: after any interruption the library opens, and one sync makes it equal a fresh build."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_makers import SignEmbedder, build, contents, write_notes

from tramontane.errors import DiskFull
from tramontane.library import sync as syncing
from tramontane.library.database import Database
from tramontane.library.library import Library

BEFORE = {f"n{number}.md": f"# Note {number}\n\nBeans, {number} rows.\n" for number in range(7)}
AFTER = {
    **{f"n{number}.md": BEFORE[f"n{number}.md"] for number in (0, 1)},
    **{f"n{number}.md": f"# Note {number}\n\nWater {number} rows.\n" for number in (2, 3)},
    "moved.md": BEFORE["n4.md"],
    **{f"new{number}.md": "Sow peas. " * 80 * number for number in range(1, 4)},
}


class Interrupted(BaseException):
    """Like KeyboardInterrupt, but ours."""


class Countdown:
    """Raises Interrupted at the call after `left` more."""

    def __init__(self, left: int):
        self.left = left

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted


class CountedConnection(sqlite3.Connection):
    countdown = staticmethod(lambda: None)

    def execute(self, *args):
        type(self).countdown()
        return super().execute(*args)

    def executemany(self, *args):
        type(self).countdown()
        return super().executemany(*args)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(syncing, "BATCH_NOTES", 2)
    monkeypatch.setattr(syncing, "BATCH_VECTORS", 3)


@pytest.fixture
def interrupt(tmp_path, small_batches):
    """Returns a check: syncs BEFORE, interrupts the sync of AFTER, then judges what is left."""
    folder = tmp_path / "notes"
    write_notes(folder, AFTER)
    with build(tmp_path / "fresh.sqlite", {"n": folder}) as fresh:
        expected = contents(fresh)

    def check(left: int, sync) -> bool:
        file = tmp_path / f"{left}.sqlite"
        write_notes(folder, BEFORE)
        build(file, {"n": folder}).close()
        write_notes(folder, AFTER)
        was_interrupted = False
        try:
            sync(file, Countdown(left))
        except Interrupted:
            was_interrupted = True
        with Library(file, SignEmbedder()) as library:
            library.search("beans")
            library.sync("n")
            assert contents(library) == expected
        return was_interrupted

    return check


def check_every_place(interrupt, sync, step: int = 1) -> int:
    """Returns at how many places the sync was interrupted before it ran to its end."""
    left = 0
    while interrupt(left, sync):
        left += step
    return left // step


def test_interrupted_at_any_report(interrupt):
    def sync(file: Path, countdown: Countdown) -> None:
        with Library(file, SignEmbedder()) as library:
            library.sync("n", countdown)

    assert check_every_place(interrupt, sync) >= len(AFTER) + 3


def test_interrupted_at_any_embedding(interrupt):
    def sync(file: Path, countdown: Countdown) -> None:
        class Embedder(SignEmbedder):
            def __call__(self, texts):
                countdown()
                return super().__call__(texts)

        with Library(file, Embedder()) as library:
            library.sync("n")

    assert check_every_place(interrupt, sync) >= 2


def test_interrupted_at_any_statement(interrupt, monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=CountedConnection))

    def sync(file: Path, countdown: Countdown) -> None:
        with Library(file, SignEmbedder()) as library:
            monkeypatch.setattr(CountedConnection, "countdown", countdown)
            try:
                library.sync("n")
            finally:
                monkeypatch.setattr(CountedConnection, "countdown", lambda: None)

    assert check_every_place(interrupt, sync, step=3) >= 20


STATES = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["a.md", "b.md", "c.md", "d.md", "sub/e.md"]),
            st.sampled_from(["Sow beans.", "# Peas\n\nWater 3.", "Title two. " * 90]),
            min_size=1,
        ),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30, deadline=None)
@given(states=STATES)
def test_any_history_of_interruptions(tmp_path_factory, states):
    home = tmp_path_factory.mktemp("interrupted")
    folder = home / "notes"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syncing, "BATCH_NOTES", 1)
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=CountedConnection))
        library = Library(home / "l.sqlite", SignEmbedder())
        library.add_collection("n", folder)
        for state, left in states:
            write_notes(folder, state)
            patch.setattr(CountedConnection, "countdown", Countdown(left))
            try:
                library.sync("n")
            except Interrupted:
                pass
            finally:
                patch.setattr(CountedConnection, "countdown", lambda: None)
        # Not opened again: the same process must be able to go on, too.
        library.sync("n")
        with build(home / "fresh.sqlite", {"n": folder}) as fresh:
            assert contents(library) == contents(fresh)
        library.close()


SYNCING_PROGRAM = """
import sys, time
from pathlib import Path
from library_makers import SignEmbedder
from tramontane.library import sync
from tramontane.library.library import Library

sync.BATCH_NOTES = 1

class Slow(SignEmbedder):
    def __call__(self, texts):
        time.sleep(0.002)
        return super().__call__(texts)

with Library(Path(sys.argv[1]), Slow()) as library:
    print("syncing", flush=True)
    library.sync("n")
"""


def test_killed_at_random_moments(tmp_path):
    chance = random.Random(1)
    folder = write_notes(tmp_path / "notes", BEFORE)
    file = tmp_path / "l.sqlite"
    build(file, {"n": folder}).close()
    notes = {f"{number}.md": f"# Peas {number}\n\nSow {number}.\n" for number in range(400)}
    num_killed = 0
    for round_number in range(5):
        for path in chance.sample(sorted(notes), 100):
            notes[path] += f"\nWater {round_number}.\n"
        for path in chance.sample(sorted(notes), 10):
            del notes[path]
        write_notes(folder, notes)
        process = subprocess.Popen(
            [sys.executable, "-c", SYNCING_PROGRAM, file],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
        try:
            assert process.stdout.readline() == b"syncing\n"
            time.sleep(chance.uniform(0.02, 0.5))
        finally:
            process.send_signal(signal.SIGKILL)
            num_killed += process.wait() == -signal.SIGKILL
            process.stdout.close()
        with Library(file, SignEmbedder()) as library:
            contents(library)
    assert num_killed
    with (
        Library(file, SignEmbedder()) as library,
        build(tmp_path / "fresh.sqlite", {"n": folder}) as fresh,
    ):
        library.sync("n")
        assert contents(library) == contents(fresh)


def test_a_full_disk_leaves_the_library_whole(tmp_path, small_batches, monkeypatch):
    folder = write_notes(tmp_path / "notes", BEFORE)
    file = tmp_path / "l.sqlite"
    build(file, {"n": folder}).close()
    write_notes(folder, {f"{n}.md": f"word{n} " * 2_000 for n in range(30)})
    connect = Database._connect

    def connect_to_small_disk(self):
        db = connect(self)
        db.execute("PRAGMA max_page_count = 60")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(Database, "_connect", connect_to_small_disk)
        with Library(file, SignEmbedder()) as library:
            with pytest.raises(DiskFull, match="the disk is full.*Free some room"):
                library.sync("n")
            contents(library)
    with (
        Library(file, SignEmbedder()) as library,
        build(tmp_path / "fresh.sqlite", {"n": folder}) as fresh,
    ):
        library.sync("n")
        assert contents(library) == contents(fresh)

"""Watched folders are synced when something in them changes, and go on after a refusal."""

import threading
import time

from tramontane.errors import LibraryError
from tramontane.library.watch import watch


def wait_for(seen: list, count: int) -> None:
    end = time.monotonic() + 60
    while len(seen) < count and time.monotonic() < end:
        time.sleep(0.02)
    assert len(seen) >= count


def test_changes_are_synced_until_it_is_stopped(library, notes):
    stop, seen = threading.Event(), []

    def work() -> None:
        for found in watch(library, ["garden"], stop=stop, debounce_ms=50):
            seen.append(found)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_for(seen, 1)
        end = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < end:  # until the watching has begun
            (notes / "kale.md").write_text(f"# Kale\n\nSown {time.monotonic()}.\n")
            time.sleep(0.3)
        assert seen[1][0] == "garden"
        assert library.search("kale")[0].path == "kale.md"
        moved = notes.rename(notes.with_name("away"))
        wait_for(seen, 3)
        assert isinstance(seen[-1][1], LibraryError)
        assert moved.is_dir()
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()
    assert library.collection("garden").num_notes >= 4

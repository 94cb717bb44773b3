"""FOLDERS → SYNCS: syncs a collection whenever something in its folder has changed and settled."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from watchfiles import watch as watch_files

from tramontane.errors import TramontaneError
from tramontane.library.library import Library
from tramontane.library.records import SyncReport

# Changes that come within this time of each other are one sync.
DEBOUNCE_MS = 1_600


def watch(
    library: Library,
    names: Sequence[str],
    report: Callable[[str, int, int], None] = lambda *_: None,
    *,
    stop: threading.Event | None = None,
    debounce_ms: int = DEBOUNCE_MS,
) -> Iterator[tuple[str, SyncReport | TramontaneError]]:
    """Yields (name, what was done) after each sync: of all once, then of those that change.

    A sync that is refused, because a folder vanished or another process syncs, is yielded as its
    error, and the watching goes on.
    """
    folders = {name: library.collection(name).folder for name in names}
    for name in names:
        yield name, _sync(library, name, report)
    changes = watch_files(
        *folders.values(), watch_filter=None, debounce=debounce_ms, step=100, stop_event=stop
    )
    for found in changes:
        paths = [Path(path) for _, path in found]
        for name, folder in folders.items():
            if any(path.is_relative_to(folder) for path in paths):
                yield name, _sync(library, name, report)


def _sync(library: Library, name: str, report) -> SyncReport | TramontaneError:
    try:
        return library.sync(name, report)
    except TramontaneError as error:
        return error

"""Real drafts over notes in a library of their own; without a base all is quoted by words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tramontane.cli.draft_desk import RealDrafts
from tramontane.cli.notes import add_and_sync
from tramontane.cli.parts import Parts
from tramontane.settings import Settings

LEEKS = "growing leeks, from sowing to kitchen"


@contextmanager
def garden_drafts(home: Path, garden: Path | None, base: str = "none") -> Iterator[RealDrafts]:
    parts = Parts(Settings(home=home, base=base, threads=2))
    try:
        if garden is not None:
            add_and_sync(parts, "garden", garden, lambda *_: None)
        yield RealDrafts(parts)
    finally:
        parts.close()

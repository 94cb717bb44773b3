"""The whole server on a real base, in this process: what `tramontane serve` puts together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from running_server import Running, running

from tramontane.cli.desk import RealDesk
from tramontane.cli.parts import Parts
from tramontane.cli.served_model import ServedModel
from tramontane.server.limits import Limits
from tramontane.settings import Settings

OPENING_SECONDS = 120


@contextmanager
def live(home: Path, base: Path, **limits) -> Iterator[tuple[Running, Parts]]:
    """Yields a server that has opened the base, and the parts behind it."""
    parts = Parts(Settings(home=home, base=str(base), threads=2))
    try:
        with running(
            RealDesk(parts),
            open_model=lambda: ServedModel(parts),
            embedder=parts.embed,
            limits=Limits(**limits),
        ) as server:
            ends = time.monotonic() + OPENING_SECONDS
            while httpx.get(f"{server.address}health").status_code != 200:
                assert time.monotonic() < ends, "the base was never open"
                time.sleep(0.05)
            yield server, parts
    finally:
        parts.close()

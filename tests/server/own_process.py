"""A real `tramontane serve` in a process of its own, which a test may kill."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(home: Path, base: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """Yields the process, and the address that it says it has, with a slash at its end."""
    settings = {"TRAMONTANE_HOME": home, "TRAMONTANE_BASE": base, "TRAMONTANE_THREADS": 1}
    server = subprocess.Popen(
        [sys.executable, "-m", "tramontane.cli.main", "serve", "--port", "0", "--no-samples"],
        env=os.environ | {name: str(value) for name, value in settings.items()},
        stdout=subprocess.PIPE,
        text=True,
        cwd=home.parent,
    )
    try:
        yield server, re.search(r"http://\S+?/", server.stdout.readline())[0]
    finally:
        server.kill()
        server.wait(60)
        server.stdout.close()

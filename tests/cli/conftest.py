"""A command line that runs as a person's would: its own process, its own home."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Tramontane:
    """Runs `tramontane` in a home of its own."""

    def __init__(self, home: Path):
        self.home = home

    def run(
        self, *arguments: object, stdin: str = "", environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tramontane.cli.main", *map(str, arguments)]
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            env=os.environ | {"TRAMONTANE_HOME": str(self.home)} | (environment or {}),
            cwd=self.home,
            timeout=300,
        )

    def works(self, *arguments: object, **options: Any) -> str:
        done = self.run(*arguments, **options)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def json(self, *arguments: object) -> Any:
        return json.loads(self.works(*arguments, "--json"))

    def fails(self, *arguments: object, **options: Any) -> str:
        """Returns the message of a command that must fail in words, without a trace."""
        done = self.run(*arguments, **options)
        assert done.returncode == 1, done.stderr + done.stdout
        assert "Traceback" not in done.stderr, done.stderr
        # Where errors go, lines of progress may stand before them.
        _, told, message = ("\n" + done.stderr).rpartition("\nerror: ")
        assert told, done.stderr
        return message


@pytest.fixture
def new_home(tmp_path: Path) -> Callable[[], Tramontane]:
    def make() -> Tramontane:
        home = tmp_path / "home"
        home.mkdir()
        return Tramontane(home)

    return make


@pytest.fixture
def tramontane(new_home: Callable[[], Tramontane]) -> Tramontane:
    """An empty home."""
    return new_home()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, garden: Path) -> Tramontane:
    """A home that has read the garden notes; no base in it."""
    home = Tramontane(tmp_path_factory.mktemp("reader"))
    home.works("collections", "add", garden)
    return home

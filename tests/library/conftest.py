"""Fixtures of the library's tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from library_makers import build, write_notes

from tramontane.library.library import Library

sys.path.append(str(Path(__file__).parents[1] / "notes"))  # their makers of documents

GARDEN = {
    "beans.md": "# Beans\n\nSow beans in May.\n\nThen water them.\n",
    "peas.md": "---\ntags: [early]\nshare: no\n---\n# Peas\n\n## When\n\nSow peas in March.\n",
    "tools/spade.txt": "A spade wants oil.\r\n\r\nOil it in autumn.\r\n",
}


@pytest.fixture
def notes(tmp_path) -> Path:
    return write_notes(tmp_path / "notes", GARDEN)


@pytest.fixture
def library(tmp_path, notes) -> Iterator[Library]:
    """A library of one collection, garden, as its folder stands."""
    with build(tmp_path / "home" / "library.sqlite", {"garden": notes}) as library:
        yield library

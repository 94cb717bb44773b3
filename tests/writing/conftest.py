"""Fixtures of writing: small vocabularies, and a library whose answers are plain to see."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# These lend their makers; every file name under tests/ is its only one.
sys.path += [str(TESTS / "library"), str(TESTS / "tokenizer")]

from library_makers import build, write_notes  # noqa: E402
from tiny_vocabularies import byte_level_metadata  # noqa: E402
from writing_makers import NOTES, StemEmbedder  # noqa: E402

from tramontane.library.library import Library  # noqa: E402
from tramontane.tokenizer.tokenizer import Tokenizer  # noqa: E402


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte or little more a token, with a chat template."""
    return Tokenizer.from_gguf(byte_level_metadata())


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Iterator[Library]:
    """Two collections, orchard and harbour; no test changes them."""
    home = tmp_path_factory.mktemp("writing")
    folders = {name: write_notes(home / name, notes) for name, notes in NOTES.items()}
    with build(home / "library.sqlite", folders, StemEmbedder()) as library:
        yield library

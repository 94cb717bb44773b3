"""Tokenizers for tests: the real vocabulary, and tiny ones of both kinds."""

from pathlib import Path

import pytest
import tokenizers
from make_fixtures import published_tokenizer
from tiny_vocabularies import byte_level_metadata, sentence_piece_metadata

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def smollm2_tokenizer(smollm2: Checkpoint) -> Tokenizer:
    return smollm2.tokenizer()


@pytest.fixture(scope="session")
def published(smollm2_path: Path) -> tokenizers.Tokenizer:
    """SmolLM2's published tokenizer, made without our code."""
    return published_tokenizer(smollm2_path)


@pytest.fixture(scope="session")
def tiny_bytes() -> Tokenizer:
    return Tokenizer.from_gguf(byte_level_metadata())


@pytest.fixture(scope="session")
def tiny_pieces() -> Tokenizer:
    return Tokenizer.from_gguf(sentence_piece_metadata())

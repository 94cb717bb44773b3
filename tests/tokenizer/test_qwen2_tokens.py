"""Qwen2's rules on a vocabulary of bytes: ids equal those of transformers' Qwen2Tokenizer."""

import gzip
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_vocabularies import byte_level_metadata

from tramontane.tokenizer.tokenizer import Tokenizer

qwen2 = pytest.importorskip("transformers.models.qwen2.tokenization_qwen2")
TEXTS = Path(__file__).with_name("smollm2_texts.json.gz")
METADATA = byte_level_metadata() | {"tokenizer.ggml.pre": "qwen2"}


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return Tokenizer.from_gguf(METADATA)


@pytest.fixture(scope="module")
def oracle():
    vocabulary = {token: index for index, token in enumerate(METADATA["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in METADATA["tokenizer.ggml.merges"]]
    return qwen2.Qwen2Tokenizer(vocab=vocabulary, merges=merges)


def test_ids_equal_transformers(ours, oracle):
    rows = json.loads(gzip.decompress(TEXTS.read_bytes()))
    for text in (row["text"] for row in rows):
        assert ours.encode(text) == oracle.encode(text, split_special_tokens=True)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60).filter(lambda text: "<note>" not in text))
def test_any_text_has_transformers_ids(ours, oracle, text):
    ids = ours.encode(text)
    assert ids == oracle.encode(text, split_special_tokens=True)
    assert ours.decode(ids, skip_special=False) == unicodedata.normalize("NFC", text)


def test_a_letter_and_its_accent_are_one(ours):
    assert ours.encode("e\N{COMBINING ACUTE ACCENT}") == ours.encode("é")

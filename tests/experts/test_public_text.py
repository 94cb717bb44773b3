"""The public text that ships: enough of it, of many kinds, with its sources, unchanged."""

import gzip
import hashlib
import json
import re

import pytest

import tramontane.experts.public_text as public_text
from tramontane.errors import ExpertError
from tramontane.experts.public_text import (
    PUBLIC_TEXT_SHA256,
    PublicDocument,
    load_public_text,
)

FREE_LICENCES = {"PSF-2.0", "Apache-2.0", "MIT", "CC0-1.0", "BSD-3-Clause"}


def packed() -> bytes:
    return (
        public_text.files("tramontane.experts.public_text")
        .joinpath("public_text.jsonl.gz")
        .read_bytes()
    )


@pytest.fixture
def with_file(monkeypatch, tmp_path):
    """Puts other bytes in the place of the text for one test."""

    def put(data: bytes) -> None:
        (tmp_path / "public_text.jsonl.gz").write_bytes(data)
        monkeypatch.setattr(public_text, "files", lambda _: tmp_path)

    load_public_text.cache_clear()
    yield put
    load_public_text.cache_clear()


def test_there_is_at_least_a_megabyte():
    assert sum(len(document.text.encode()) for document in load_public_text()) >= 1_000_000


def test_the_package_carries_less_than_a_megabyte_of_it():
    assert len(packed()) < 1_000_000


def test_there_are_at_least_eight_genres_with_enough_to_fit_rows_on():
    by_genre: dict[str, int] = {}
    for document in load_public_text():
        by_genre[document.genre] = by_genre.get(document.genre, 0) + len(document.text.encode())
    assert len(by_genre) >= 8
    # A window of 256 tokens has about a thousand letters.
    assert min(by_genre.values()) > 2_000, by_genre


def test_every_document_names_its_source_and_a_free_licence():
    for document in load_public_text():
        assert document.source.strip()
        assert document.licence in FREE_LICENCES
        assert document.text.strip()
        assert re.fullmatch(r"[a-z_]+", document.genre)


def test_no_document_stands_twice():
    texts = [document.text for document in load_public_text()]
    assert len(set(texts)) == len(texts)


def test_the_hash_is_of_the_uncompressed_lines():
    data = gzip.decompress(packed())
    assert hashlib.sha256(data).hexdigest() == PUBLIC_TEXT_SHA256
    lines = data.decode().splitlines()
    assert tuple(PublicDocument(**json.loads(line)) for line in lines) == load_public_text()


def test_the_compression_does_not_matter(with_file):
    before = load_public_text()
    load_public_text.cache_clear()
    with_file(gzip.compress(gzip.decompress(packed()), compresslevel=1))
    assert load_public_text() == before


def test_a_changed_letter_is_noticed(with_file):
    data = bytearray(gzip.decompress(packed()))
    data[len(data) // 2] ^= 1
    with_file(gzip.compress(bytes(data)))
    with pytest.raises(ExpertError, match="install tramontane again"):
        load_public_text()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-100],
        lambda data: b"",
        lambda data: b"not gzip at all" + data,
        lambda data: data[:5000] + bytes(64) + data[5064:],
    ],
    ids=["cut short", "empty", "foreign", "overwritten"],
)
def test_a_damaged_file_is_noticed(with_file, damage):
    with_file(damage(packed()))
    with pytest.raises(ExpertError, match="install tramontane again"):
        load_public_text()


def test_a_missing_file_is_noticed(with_file, tmp_path):
    with_file(b"")
    (tmp_path / "public_text.jsonl.gz").unlink()
    with pytest.raises(ExpertError, match="install tramontane again"):
        load_public_text()

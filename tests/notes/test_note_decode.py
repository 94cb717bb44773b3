"""Bytes become text when a person wrote them as text; a guessed encoding is said."""

import contextlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passage_checks import assert_note_knows_its_lines

from tramontane.notes.decode import NotTextError, decode
from tramontane.notes.reader import UnreadableError, read_note

WRITTEN = st.text(
    st.one_of(st.sampled_from("\n\r\t é"), st.characters(exclude_categories=["Cc", "Cs"]))
).filter(lambda text: not text.startswith("\ufeff"))


@settings(max_examples=150, deadline=None)
@given(WRITTEN, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_unicode_text_comes_back_with_newlines_made_one(text, encoding):
    assert decode(text.encode(encoding)) == (
        text.replace("\r\n", "\n").replace("\r", "\n"),
        None,
    )


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "utf-32-be", "utf-32-le"])
def test_either_byte_order_is_read_by_its_mark(encoding):
    assert decode("\ufeffNaïve – 漢字\r\n".encode(encoding)) == ("Naïve – 漢字\n", None)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_read_with_a_remark(encoding):
    text = "Sow the beans in May.\nThen wait – for rain.\n"
    assert decode(text.encode(encoding)) == (text, "read as UTF-16 without its mark")


def test_west_european_bytes_are_read_with_a_remark():
    text = "Crème brûlée: 6 œufs – “à point”\n"
    assert decode(text.encode("cp1252")) == (text, "not UTF-8: read as Windows-1252")
    text = "Crème\x81 brûlée\n"  # a byte that Windows-1252 lacks
    assert decode(text.encode("latin-1")) == (text, "not UTF-8: read as Latin-1")


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 4,
        b"\x7fELF\x02\x01\x01" + b"\0" * 200,
        bytes(range(1, 32)) * 20,
        b"Text at first" + b"\0" * 9,
        b"\xff\xfeodd",
    ],
    ids=["png", "elf", "controls", "nul", "odd-utf16"],
)
def test_binary_data_is_refused_with_a_reason(data):
    with pytest.raises(NotTextError, match="binary data|breaks at byte"):
        decode(data)
    with pytest.raises(UnreadableError) as caught:
        read_note("a.md", data)
    assert caught.value.skipped.path == "a.md"


def test_random_bytes_are_no_text():
    with pytest.raises(NotTextError):
        decode(bytes([7, 0x81, 0x8D]) * 50 + os.urandom(2_000).replace(b"\0", b"\1"))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")),
        st.builds(
            lambda head, tail: head + tail,
            st.sampled_from([b"---\n", b"\xff\xfe", b"\xfe\xff\0", b"\xef\xbb\xbf---\ntrain: "]),
            st.binary(max_size=100),
        ),
    ),
    st.sampled_from(["note.md", "note.txt", "note"]),
)
def test_any_bytes_are_a_note_or_a_reason(data, path):
    note = None
    with contextlib.suppress(UnreadableError):
        note = read_note(path, data)
    if note is None:
        return
    assert note.text.strip()
    assert "\r" not in note.text
    note.text.encode()
    note.title.encode()
    assert_note_knows_its_lines(note)

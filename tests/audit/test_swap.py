"""Swapped notes: pairs change places, back and forth; nothing else moves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.audit.swap import GENDER, read_pairs, swapped, with_twins
from tramontane.errors import AuditError
from tramontane.notes.note import Note


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("He said his brother saw her.", "She said her sister saw him."),
        ("I gave her book to her and left her.", "I gave his book to him and left him."),
        ("THE MEN; Men, men", "THE WOMEN; Women, women"),
        ("Hers is a theme for shepherds.", "Hers is a theme for shepherds."),
        ("Mr Okafor and sir Tom", "Ms Okafor and madam Tom"),
        ("", ""),
    ],
)
def test_words_of_gender_change_places(text, wanted):
    assert swapped(text) == wanted


def test_pairs_of_ones_own_may_be_several_words():
    pairs = [("Norlander", "Sudmark man")]
    assert swapped("A Norlander and a Sudmark man.", pairs) == "A Sudmark man and a Norlander."


# "her" stands for two words, so only texts without it come back whole.
words = st.sampled_from([w for pair in GENDER for w in pair if w not in ("her", "him", "his")])


@given(st.lists(st.one_of(words, st.text("xyz .,\n", max_size=5)), max_size=20))
def test_swapping_twice_gives_the_text_back(pieces):
    text = " ".join(pieces)
    assert swapped(swapped(text)) == text


def test_twins_come_beside_notes_that_change_and_keep_their_rights():
    def note(text, **rights):
        return Note(path="a.md", title="a", text=text, sha256="0" * 64, **rights)

    notes = [note("He left."), note("It rained."), note("She came.", may_train=False)]
    found = with_twins(notes, GENDER)
    assert [one.text for one in found] == [
        "He left.",
        "It rained.",
        "She came.",
        "She left.",
        "He came.",
    ]
    assert [one.may_train for one in found] == [True, True, False, True, False]
    assert len({one.sha256 for one in found[3:]}) == 2


@pytest.mark.parametrize("content", ["", "{}", "[]", '[["a"]]', '[["a", " "]]', "[1]"])
def test_what_is_no_list_of_pairs_is_refused(tmp_path, content):
    file = tmp_path / "pairs.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(AuditError):
        read_pairs(file)


def test_pairs_are_read(tmp_path):
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps([["north", "south"]]), encoding="utf-8")
    assert read_pairs(file) == [("north", "south")]

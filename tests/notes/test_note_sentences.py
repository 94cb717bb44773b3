"""Sentences are slices of their source, in order, cut where a reader would cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.notes.sentences import split_sentences

PIECES = st.sampled_from(
    [*"abAB.!?…,;:\"'”)(*_`>|#-1 \n\t", "e.g. ", "Dr. ", "no. 3", "3.5 g", "a.m. ", "```\n", "\n\n"]
    + ["\n- ", "\n1. ", "\n> ", "。", "！", "é", "漢", "\x0c", "|--|--|\n", "| a | b |\n", "I. "]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=80).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200),
)


def sentence_texts(text: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(text)]


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.integers(1, 500))
def test_sentences_are_slices_in_order_and_know_their_lines(text, first_line):
    reached = 0
    for sentence in split_sentences(text, first_line):
        assert reached <= sentence.start < sentence.end <= len(text)
        reached = sentence.end
        source = text[sentence.start : sentence.end]
        assert source.strip()
        assert sentence.first_line == first_line + text.count("\n", 0, sentence.start)
        assert sentence.last_line == first_line + text.count("\n", 0, sentence.end)
        shown, quoted = "".join(sentence.text.split()), "".join(source.split())
        assert shown.replace(">", "") == quoted.replace(">", "")


@settings(max_examples=200, deadline=None)
@given(st.text("abAB.!? \n,", max_size=300))
def test_prose_loses_no_letter(text):
    assert "".join("".join(sentence_texts(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It rained. We stayed in.", ["It rained.", "We stayed in."]),
        ("Really?! Yes… Well.", ["Really?!", "Yes…", "Well."]),
        ("Ask Dr. Moreau, e.g. Tuesday.", ["Ask Dr. Moreau, e.g. Tuesday."]),
        ("See fig. 3 and p. 12. Then stop.", ["See fig. 3 and p. 12.", "Then stop."]),
        ("Up at 6 a.m. and out.", ["Up at 6 a.m. and out."]),
        ("Up at 6 a.m. Then out.", ["Up at 6 a.m.", "Then out."]),
        ("Bake 20 min. at 200 °C. Cool.", ["Bake 20 min. at 200 °C.", "Cool."]),
        ("Bake 20 min. 200 °C is best.", ["Bake 20 min. 200 °C is best."]),
        ("It is 3.5 g, not 35. Weigh it.", ["It is 3.5 g, not 35.", "Weigh it."]),
        ("J. S. Bach wrote it. I did not.", ["J. S. Bach wrote it.", "I did not."]),
        (
            "Room no. 5 is free. Is it? No. Take 6.",
            ["Room no. 5 is free.", "Is it?", "No.", "Take 6."],
        ),
        ('"Come in." She did.', ['"Come in."', "She did."]),
        ("“Wait…” he said. “Now!” He ran.", ["“Wait…” he said.", "“Now!”", "He ran."]),
        ("(Not this.) But **this.** And that.", ["(Not this.)", "But **this.**", "And that."]),
        ("See https://a.b/c.d?e=f. It works.", ["See https://a.b/c.d?e=f.", "It works."]),
        ("Version 1.2.3 is out.\nGet it", ["Version 1.2.3 is out.", "Get it"]),
        ("今日は晴れ。明日は雨！", ["今日は晴れ。", "明日は雨！"]),
        ("broken\nover lines", ["broken over lines"]),
        ("- one\n- two. Still two.\n- [ ] three", ["one", "two.", "Still two.", "three"]),
        ("1. first\n2) second", ["first", "second"]),
        ("# Title\nText.", ["Title", "Text."]),
        ("> quoted\n> further", ["quoted further"]),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["| a | b |", "| 1 | 2 |"]),
        ("one\n\n---\n\ntwo", ["one", "two"]),
        ("```sh\nls -l. Now\n  cd\n```\nAfter.", ["ls -l. Now\n  cd", "After."]),
        ("~~~\n```\n~~~\nx", ["```", "x"]),
        ("```\nnever closed. Really", ["never closed. Really"]),
        ("", []),
        (" \n\t\n", []),
        ("...", ["..."]),
    ],
)
def test_cuts_where_a_reader_would(text, expected):
    assert sentence_texts(text) == expected

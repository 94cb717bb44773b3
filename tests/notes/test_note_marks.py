"""Dates, tags and links of notes are found where people write them, and not in code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.notes.marks import dates_in, dates_of_path, marks_in, tags_of_metadata
from tramontane.notes.reader import read_note


def values(text: str, kind: str) -> list[str]:
    return [mark.value for mark in marks_in(text) if mark.kind == kind]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on 2024-03-05 and 2024/03/06, 2024.03.07.", ["2024-03-05", "2024-03-06", "2024-03-07"]),
        ("<2024-03-05 Tue 10:00> [2024-03-06]", ["2024-03-05", "2024-03-06"]),
        ("5 March 2024, the 6th of March 2024", ["2024-03-05", "2024-03-06"]),
        ("March 5, 2024; Sept. 6th 2024", ["2024-03-05", "2024-09-06"]),
        ("2024-13-05, 2024-02-30, 31 June 2024", []),
        ("1.2024-03-05 12024-03-05 2024-03-051 version 3.2024.01.02", []),
        ("Summarch 5, 2024", []),
        ("1740 BC, 12 eggs, in March", []),
    ],
)
def test_full_dates_are_found(text, expected):
    assert [day for _, day in dates_in(text)] == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("2024-03-05.md", ["2024-03-05"]),
        ("daily/2024_03_05 Tue.md", ["2024-03-05"]),
        ("202403051230 Beans.md", ["2024-03-05"]),
        ("2024/note.md", []),
        ("20241305.md", []),
        ("12345678901.md", []),
    ],
)
def test_names_of_daily_notes_and_slip_boxes_are_dates(path, expected):
    assert dates_of_path(path) == expected


def test_tags_are_words_after_a_hash():
    assert values("#Garden and (#a/b-c), #1 #2024 #2024/03 a#b ##x # y", "tag") == [
        "garden",
        "a/b-c",
        "2024/03",
    ]
    assert values('<a href="#top">', "tag") == []


def test_code_has_no_marks():
    text = (
        "`#no [[no]]` #yes\n\n```sh\n#no [[no]] 2024-03-05\n```\n\n    #no\n\n- ```\n  #no\n  ```\n"
    )
    note = read_note("n.md", text.encode())
    assert (note.passages[0].tags, note.passages[0].links) == (("yes",), ())
    assert note.passages[0].dates == ()


def test_links_of_every_flavour():
    text = (
        "[[Beans]] [[Beans|climbing]] ![[photo.png]] [[a#^block]] [[a#Part|p]] [x](b/c%20d.md) "
        '[y](<e.md> "title") [z](https://a.b) [w](#here) [v][ Ref ] [ref] [u][web]\n\n'
        "[ref]: ../f.md\n[web]: https://a.b\n[^note]: This is none.\n"
    )
    assert values(text, "link") == [
        "Beans",
        "Beans",
        "photo.png",
        "a#^block",
        "a#Part",
        "b/c d.md",
        "e.md",
        "../f.md",
        "../f.md",
    ]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"tags": ["Garden", "#b", "two words", 3, 2024]}, ["garden", "b", "two-words"]),
        ({"tags": "a, b"}, ["a", "b"]),
        ({"Keywords": "a b"}, ["a", "b"]),
        ({"tag": None, "tags": {"a": 1}}, []),
    ],
)
def test_tags_of_frontmatter(metadata, expected):
    assert tags_of_metadata(metadata) == expected


def test_passages_take_over_what_stands_above_them():
    text = (
        "---\ntags: [note]\ndate: 2024-01-01\n---\n# Log #top\n\n## 2024-03-05 #day\n\n"
        + "Sow beans. " * 40
        + "\n\n## Other\n\n"
        + "Water peas on 2024-03-06. " * 20
    )
    first, second = read_note("2023-12-31.md", text.encode()).passages
    assert set(first.tags) == {"note", "top", "day"}
    assert set(first.dates) == {"2024-01-01", "2023-12-31", "2024-03-05"}
    assert set(second.tags) == {"note", "top"}
    assert set(second.dates) == {"2024-01-01", "2023-12-31", "2024-03-06"}


PIECES = st.sampled_from(
    "# #a [[ ]] | ` `` ``` [x]( ) <2024- 03-05 March 5 2024 of ]: \n [^ \" ' a".split(" ") + ["\n"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=60).map("".join))
def test_any_text_has_marks_in_order_and_in_place(text):
    marks = marks_in(text)
    assert [mark.start for mark in marks] == sorted(mark.start for mark in marks)
    assert all(0 <= mark.start < len(text) and mark.value for mark in marks)


def test_marks_take_linear_time():
    for text in ("[" * 300_000, "`" * 300_000, "[[a|" * 100_000, "[x](" * 100_000, "#a/" * 100_000):
        marks_in(text)

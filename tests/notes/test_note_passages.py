"""Passages follow a note's structure, and their lines are the file's."""

import itertools
import re
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from passage_checks import assert_note_knows_its_lines, assert_passages_know_their_lines

from tramontane.notes.markdown import markdown_passages
from tramontane.notes.passages import MOST_WORDS, MOST_WORDS_WHOLE, num_words
from tramontane.notes.plain import plain_passages
from tramontane.notes.reader import read_note

KINDS = "paragraph long_line bullets nested ordered tasks quote table fence indented html".split()
HEADINGS = "heading setext".split()
BLOCKS = st.lists(
    st.tuples(
        st.sampled_from([*KINDS, *HEADINGS, "rule"]),
        st.integers(1, 4),  # its size, or the heading's level
        st.integers(1, 40),  # words in a line
        st.integers(1, 3),  # line breaks after it
    ),
    max_size=14,
)


def markdown_of(blocks) -> tuple[str, dict[str, str]]:
    """Returns Markdown in which each word comes once, and each word's kind of block."""
    numbers = itertools.count()
    kind_of = {}
    pieces = []
    for kind, size, width, breaks in blocks:

        def words(count: int, kind: str = kind) -> str:
            named = [f"w{next(numbers)}x" for _ in range(count)]
            kind_of.update(dict.fromkeys(named, kind))
            return " ".join(named)

        rendered = render(kind, size, width, words)
        pieces.append("\n".join(rendered) + "\n" * (breaks + 1))
    return "".join(pieces), {word.lower(): kind for word, kind in kind_of.items()}


def render(kind: str, size: int, width: int, words: Callable[[int], str]) -> list[str]:
    """Returns the lines of a block; `words(n)` gives n new words."""
    if kind == "long_line":
        return [". ".join(words(9).capitalize() for _ in range(width))]
    if kind == "heading":
        return ["", f"{'#' * size} {words(3)}"]
    if kind == "setext":
        return ["", words(3), "=" * width if size % 2 else "-" * (width + 2)]
    if kind == "rule":
        return ["", "***"]
    lines = [words(width) for _ in range(size)]
    return {
        "paragraph": [line + "." for line in lines],
        "bullets": [f"- {line}" for line in lines],
        "nested": [f"{'  ' * at}* {line}" for at, line in enumerate(lines)],
        "ordered": [f"{at}. {line}" for at, line in enumerate(lines, 1)],
        "tasks": [f"- [x] {line}" for line in lines],
        "quote": [f"> {line}" for line in lines],
        "table": ["| a | b |", "|---|---|", *(f"| {line} | |" for line in lines)],
        "fence": ["```sh", *"\n\n".join(lines).split("\n"), "```"],
        "indented": ["", *(f"    {line}" for line in lines)],
        "html": ["<div>", *lines, "</div>", ""],
    }[kind]


def words_in(text: str) -> list[str]:
    return re.findall(r"w\d+x", text.lower())


@settings(max_examples=150, deadline=None)
@given(BLOCKS, st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_every_word_is_in_one_passage_at_its_line(blocks, has_frontmatter, newline):
    text, kind_of = markdown_of(blocks)
    if has_frontmatter:
        text = "---\ntitle: Named\ntags: [a, b]\n---\n" + text
    if not text.strip():
        return
    note = read_note("note.md", text.replace("\n", newline).encode())
    assert note.text == text
    assert_note_knows_its_lines(note)
    given_out = [word for passage in note.passages for word in words_in(passage.text)]
    assert len(given_out) == len(set(given_out))
    named = {word for passage in note.passages for word in words_in(" ".join(passage.heading))}
    named |= set(words_in(note.title))
    if not note.passages:
        assert set(kind_of.values()) <= {*HEADINGS, "rule"}
        return
    for word, kind in kind_of.items():
        # A heading is its section's path; everything else is somebody's text.
        assert word in given_out or (kind in HEADINGS and word in named), (word, kind)


@settings(max_examples=80, deadline=None)
@given(BLOCKS)
def test_passages_keep_to_their_size(blocks):
    text, _ = markdown_of([block for block in blocks if block[0] in KINDS])
    passages, _ = markdown_passages(text)
    for passage in passages:
        assert num_words(passage.text) <= MOST_WORDS_WHOLE
    for passage in plain_passages(text):
        assert num_words(passage.text) <= MOST_WORDS + text.count("\n\n")


MARKS = st.sampled_from(
    "# |##|- |* |1. |> |```|~~~|---|===|***|\n|\n\n|    |\t| |[a]: b|<div>|-->|<!--|.|? |Word |"
    "word |é|漢字|。|\x0c|\u2028|\v|https://a.b/c|| a | b |\n|---|---|\n".split("|")
)
ODD_TEXT = st.one_of(
    st.lists(MARKS, max_size=60).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200),
)


@settings(max_examples=300, deadline=None)
@given(ODD_TEXT)
def test_any_text_has_passages_that_know_their_lines(text):
    assert_passages_know_their_lines(text, markdown_passages(text)[0])
    plain = plain_passages(text)
    assert_passages_know_their_lines(text, plain)
    assert "".join("".join(p.text for p in plain).split()) == "".join(text.split())


def test_a_section_of_some_length_is_its_own_passage_under_its_path():
    text = f"# Bread\n\n## Sourdough\n\n{'flour ' * 70}\n\n### Feeding\n\n{'water ' * 70}\n"
    passages, title = markdown_passages(text)
    assert title == "Bread"
    assert [p.heading for p in passages] == [("Sourdough",), ("Sourdough", "Feeding")]
    assert [(p.first_line, p.last_line) for p in passages] == [(5, 5), (9, 9)]


def test_short_sections_share_a_passage_and_the_path_they_share():
    text = "# Garden\n\n## March\n\n### Beans\n\nSow them.\n\n### Peas\n\nSow them too.\n"
    (passage,), title = markdown_passages(text)
    assert title == "Garden"
    assert passage.heading == ("March",)
    assert passage.text.startswith("### Beans\n\nSow them.\n\n### Peas\n")
    assert (passage.first_line, passage.last_line) == (5, 11)


def test_a_first_heading_is_said_in_the_path_when_the_title_is_another():
    text = "---\ntitle: Post 12\n---\n# Growing beans\n\nSow them.\n"
    note = read_note("note.md", text.encode())
    assert (note.title, note.passages[0].heading) == ("Post 12", ("Growing beans",))
    note = read_note("note.md", text.replace("Post 12", "Growing beans").encode())
    assert (note.title, note.passages[0].heading) == ("Growing beans", ())


def test_a_heading_over_nothing_is_still_found():
    passages, _ = markdown_passages("# Plan\n\nText.\n\n## Someday\n")
    assert "Someday" in passages[-1].text


def test_a_long_list_is_cut_between_items_and_a_table_between_rows():
    items = "".join(f"- item {n} {'word ' * 20}\n" for n in range(40))
    passages, _ = markdown_passages(items)
    assert len(passages) > 2
    assert all(p.text.startswith("- item") for p in passages)
    rows = "| a | b |\n|---|---|\n" + "".join(f"| row {n} | {'word ' * 20}|\n" for n in range(40))
    passages, _ = markdown_passages(rows)
    assert len(passages) > 2
    assert all(p.text.startswith("| ") and p.text.endswith("|") for p in passages)


def test_scripts_without_spaces_are_cut_too():
    text = "春眠不觉晓处处闻啼鸟" * 2_000
    passages = plain_passages(text)
    assert "".join(p.text for p in passages) == text
    assert max(len(p.text.encode()) for p in passages) <= 12 * MOST_WORDS + 12


def test_one_word_of_many_letters_is_cut():
    passages = plain_passages("a" * 300_000)
    assert sum(len(p.text) for p in passages) == 300_000
    assert max(len(p.text) for p in passages) <= 12 * MOST_WORDS + 12


def test_what_would_take_square_time_is_read():
    """Each of these took minutes to hours before its rule was made linear."""
    for text in (
        "a" + " " * 300_000 + "b",
        "a" + "\n\f" * 50_000 + "b",
        "a\n" + "\t" * 300_000 + "b",
        "---" + " " * 300_000 + "x",
        "." * 1_000_000 + "x",
        "a" * 1_000_000 + "_. B",
        "e.g. X " * 15_000,
        "This is one sentence of a very long paragraph. " * 5_000,
    ):
        passages = plain_passages(text)
        assert sum(len(p.text.split()) for p in passages) >= len(text.split())


def test_markdown_too_large_for_its_parser_is_read_as_plain_text(monkeypatch):
    monkeypatch.setattr("tramontane.notes.markdown.MAX_MARKDOWN_CHARS", 20)
    passages, title = markdown_passages("# Title\n\nA paragraph of text.\n")
    assert title is None
    assert "".join(p.text for p in passages) == "# Title\n\nA paragraph of text."

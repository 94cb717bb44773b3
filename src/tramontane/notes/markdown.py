"""MARKDOWN → PASSAGES: CommonMark with tables, and what Obsidian and slip boxes add to it.

Wiki links and embeds are links, hash tags are tags; the text of callouts and the lines of block
identifiers stay in their passages.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from markdown_it import MarkdownIt

from tramontane.notes.marks import Mark, marks_in
from tramontane.notes.note import Passage
from tramontane.notes.passages import Block, Headings, gather, line_starts_of
from tramontane.notes.plain import plain_passages

# markdown-it slows down on huge inputs; what is longer is read as plain paragraphs.
MAX_MARKDOWN_CHARS = 4_000_000
KINDS = {
    "paragraph_open": "prose",
    "blockquote_open": "prose",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
}


def markdown_passages(
    text: str, body_start: int = 0, known_title: str | None = None
) -> tuple[list[Passage], str | None]:
    """Returns the passages of a Markdown note and its first heading, if it opens with one.

    That heading is in no path, unless the note has another title, `known_title`.
    """
    if len(text) > MAX_MARKDOWN_CHARS:
        return plain_passages(text, body_start), None
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])  # inline markup moves no line
    tokens = parser.parse(text[body_start:])
    line_starts = line_starts_of(text)
    first_body_line = bisect_right(line_starts, body_start) - 1

    def stretch(token) -> tuple[int, int]:
        first, after = (first_body_line + line for line in token.map)
        ends = after < len(line_starts)
        return line_starts[first], line_starts[after] if ends else len(text)

    code = [stretch(token) for token in tokens if token.type in ("fence", "code_block")]
    marks = marks_in(text, [(0, body_start), *code])
    blocks, title = _blocks(tokens, stretch, marks, known_title)
    return gather(text, blocks, marks), title


def _blocks(
    tokens: list, stretch, marks: list[Mark], known_title: str | None
) -> tuple[list[Block], str | None]:
    blocks: list[Block] = []
    headings = Headings()
    title = None
    mark_starts = [mark.start for mark in marks]
    for at, token in enumerate(tokens):
        if token.level or token.map is None or token.type == "hr":
            continue
        start, end = stretch(token)
        if token.type == "heading_open":
            level = int(token.tag[1])
            words = " ".join(tokens[at + 1].content.split())
            own = marks[bisect_left(mark_starts, start) : bisect_left(mark_starts, end)]
            own = tuple(mark for mark in own if mark.kind != "link")
            if not blocks and level == 1 and words and known_title in (None, words):
                title = words  # the note's name already; repeating it in every path tells nothing
                headings.enter(level, "", own)
            else:
                headings.enter(level, words, own)
            blocks.append(Block(start, end, "heading", headings.path, above=headings.marks))
            continue
        kind = KINDS.get(token.type, "lines")
        cuts = tuple(
            stretch(item)[0]
            for item in _items_of(tokens, at)
            if kind == "list" and item.map is not None
        )
        blocks.append(Block(start, end, kind, headings.path, cuts, above=headings.marks))
    return blocks, title


def _items_of(tokens: list, at: int) -> Iterator:
    for token in tokens[at + 1 :]:
        if token.level == 0:
            return
        if token.type == "list_item_open":
            yield token

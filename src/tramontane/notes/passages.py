"""TEXT → PASSAGES: pieces of a note that follow its structure and know their lines.

The text is first cut into blocks (paragraphs, lists, tables, code), each under its path of
headings; blocks are then gathered, in order and never twice, into passages of about 60 to 220
words. A passage is always one unbroken stretch of the note.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from markdown_it import MarkdownIt

from tramontane.notes.note import Passage
from tramontane.notes.sentences import split_sentences

FEW_WORDS = 60  # below this, a passage takes in the next section too
MOST_WORDS = 220
MOST_WORDS_WHOLE = 330  # tables and code lose more by a cut than by some length
# markdown-it slows down on huge inputs; what is longer is read as plain paragraphs.
MAX_MARKDOWN_CHARS = 4_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the text, `kind` one of prose, list, lines or heading."""

    start: int
    end: int
    kind: str
    heading: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()  # where the structure allows it to be divided
    opened: tuple[tuple[int, int], ...] = ()  # headings right above: depth in the path, start


def markdown_passages(
    text: str, body_start: int = 0, known_title: str | None = None
) -> tuple[list[Passage], str | None]:
    """Returns the passages of a Markdown note and its first heading, if it opens with one.

    That heading is in no path, unless the note has another title, `known_title`.
    """
    if len(text) > MAX_MARKDOWN_CHARS:
        return plain_passages(text, body_start), None
    line_starts = _line_starts(text)
    blocks, title = _markdown_blocks(text, body_start, line_starts, known_title)
    return _gather(text, blocks, line_starts), title


def plain_passages(text: str, body_start: int = 0) -> list[Passage]:
    """Returns the passages of plain text, whose paragraphs are parted by blank lines."""
    blocks = []
    start = body_start
    for gap in re.compile(r"\n[ \t]*\n|\Z").finditer(text, body_start):
        first_char = re.compile(r"\s*+").match(text, start, gap.start()).end()
        if first_char < gap.start():
            blocks.append(Block(first_char, gap.start(), "prose"))
        start = gap.end()
    return _gather(text, blocks, _line_starts(text))


def num_words(text: str) -> int:
    """Scripts without spaces, and long addresses, are counted by their bytes."""
    return max(len(text.split()), len(text.encode("utf-8", "replace")) // 12)


def _markdown_blocks(
    text: str, body_start: int, line_starts: list[int], known_title: str | None
) -> tuple[list[Block], str | None]:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])  # inline markup moves no line
    first_body_line = bisect_right(line_starts, body_start) - 1

    def offset(body_line: int) -> int:
        line = first_body_line + body_line
        return line_starts[line] if line < len(line_starts) else len(text)

    blocks: list[Block] = []
    headings: list[tuple[int, str]] = []
    title = None
    tokens = parser.parse(text[body_start:])
    for at, token in enumerate(tokens):
        if token.level or token.map is None:
            continue
        start, end = (offset(line) for line in token.map)
        if token.type == "heading_open":
            level = int(token.tag[1])
            words = " ".join(tokens[at + 1].content.split())
            headings = [(above, name) for above, name in headings if above < level]
            if not blocks and level == 1 and words and known_title in (None, words):
                title = words  # the note's name already; repeating it in every path tells nothing
            else:
                headings.append((level, words))
            blocks.append(Block(start, end, "heading", tuple(name for _, name in headings if name)))
            continue
        kind = {
            "paragraph_open": "prose",
            "blockquote_open": "prose",
            "bullet_list_open": "list",
            "ordered_list_open": "list",
        }.get(token.type, "lines")
        if token.type == "hr":
            continue
        cuts = tuple(
            offset(item.map[0])
            for item in _items_of(tokens, at)
            if kind == "list" and item.map is not None
        )
        path = tuple(name for _, name in headings if name)
        blocks.append(Block(start, end, kind, path, cuts))
    return _without_opened_headings(blocks), title


def _items_of(tokens: list, at: int) -> Iterator:
    for token in tokens[at + 1 :]:
        if token.level == 0:
            return
        if token.type == "list_item_open":
            yield token


def _without_opened_headings(blocks: list[Block]) -> list[Block]:
    """A heading over something is that thing's path; only one that stands alone is a block."""
    kept = []
    opened: tuple[tuple[int, int], ...] = ()
    for block, following in zip_longest(blocks, blocks[1:]):
        stands_alone = following is None or (
            following.kind == "heading" and len(following.heading) <= len(block.heading)
        )
        if block.kind != "heading" or stands_alone:
            kept.append(replace(block, opened=opened))
            opened = ()
        else:
            opened = (*opened, (len(block.heading), block.start))
    return kept


def _gather(text: str, blocks: list[Block], line_starts: list[int]) -> list[Passage]:
    """Gathers neighbouring blocks into passages: few words take in more, a new section parts."""
    passages: list[Passage] = []
    open_blocks: list[Block] = []
    words = 0

    def close() -> None:
        nonlocal words
        if open_blocks:
            path = _shared([block.heading for block in open_blocks])
            # A heading above only some of them isn't their path, so it is part of the text.
            unsaid = [at for depth, at in open_blocks[0].opened if depth > len(path)]
            start, end = min([*unsaid, open_blocks[0].start]), open_blocks[-1].end
            first_line = bisect_right(line_starts, start)
            last_line = bisect_right(line_starts, end - 1)
            passages.append(Passage(text[start:end], first_line, last_line, path))
        open_blocks.clear()
        words = 0

    for whole in blocks:
        for block in _small_enough(text, whole):
            size = num_words(text[block.start : block.end])
            parts = open_blocks and open_blocks[-1].heading != block.heading
            if words + size > MOST_WORDS or (
                parts and words >= FEW_WORDS and block.kind != "heading"
            ):
                close()
            open_blocks.append(block)
            words += size
    close()
    return passages


def _small_enough(text: str, block: Block) -> Iterator[Block]:
    """Yields the block without its outer blanks, cut where its structure allows it if too long."""
    start, end = block.start, block.end
    while start < end and text[start] in "\n":
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if not text[start:end].strip():
        return
    most = MOST_WORDS_WHOLE if block.kind == "lines" else MOST_WORDS
    if num_words(text[start:end]) <= most:
        yield replace(block, start=start, end=end, cuts=())
        return
    opened = block.opened
    for piece_start, piece_end in _pieces(text, start, end, block):
        yield Block(piece_start, piece_end, block.kind, block.heading, opened=opened)
        opened = ()


def _pieces(text: str, start: int, end: int, block: Block) -> Iterator[tuple[int, int]]:
    """Cuts at items, lines or sentences; what is still too long, between words."""
    if block.cuts:
        cuts = list(block.cuts)
    elif block.kind == "lines":
        cuts = [start + found.end() for found in re.finditer("\n", text[start:end])]
    else:
        cuts = [start + sentence.start for sentence in split_sentences(text[start:end])]
    edges = sorted({start, end, *(cut for cut in cuts if start < cut < end)})
    units: list[tuple[int, int]] = []
    for left, right in zip(edges, edges[1:], strict=False):
        if num_words(text[left:right]) <= MOST_WORDS:
            units.append((left, right))
        else:
            units.extend(_between_words(text, left, right))
    piece_start = piece_end = units[0][0]
    words = 0
    for left, right in units:
        size = num_words(text[left:right])
        if words and words + size > MOST_WORDS:
            yield from _unless_blank(text, piece_start, piece_end)
            piece_start, words = left, 0
        piece_end = right
        words += size
    yield from _unless_blank(text, piece_start, piece_end)


def _between_words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    most_chars = 12 * MOST_WORDS // 4  # also holds where a character takes four bytes
    left = start
    while left < end:
        right = min(end, left + most_chars)
        if right < end:
            space = max(text.rfind(" ", left + 1, right), text.rfind("\n", left + 1, right))
            right = space + 1 if space > left else right
        yield left, right
        left = right


def _unless_blank(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start] in " \n":
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def _shared(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    shared = paths[0]
    for path in paths[1:]:
        same = 0
        while same < min(len(shared), len(path)) and shared[same] == path[same]:
            same += 1
        shared = shared[:same]
    return shared


def _line_starts(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("\n", text))]

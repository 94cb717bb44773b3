"""TEXT → PASSAGES: pieces of a note that follow its structure and know their lines.

The text is first cut into blocks (paragraphs, lists, tables, code), each under its path of
headings; blocks are then gathered, in order and never twice, into passages of about 60 to 220
words. A passage is always one unbroken stretch of the note.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from tramontane.notes.marks import Mark, together
from tramontane.notes.note import Passage
from tramontane.notes.sentences import split_sentences

FEW_WORDS = 60  # below this, a passage takes in the next section too
MOST_WORDS = 220
MOST_WORDS_WHOLE = 330  # tables and code lose more by a cut than by some length


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the text, `kind` one of prose, list, lines or heading.

    `above` are the dates and tags of the headings it stands under.
    """

    start: int
    end: int
    kind: str
    heading: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()  # where the structure allows it to be divided
    opened: tuple[tuple[int, int], ...] = ()  # headings right above: depth in the path, start
    above: tuple[Mark, ...] = ()
    page: int | None = None


class Headings:
    """The headings that stand above a place, while a note is read from top to bottom."""

    def __init__(self):
        self._open: list[tuple[int, str, tuple[Mark, ...]]] = []

    def enter(self, level: int, name: str, marks: tuple[Mark, ...] = ()) -> None:
        """A heading closes those of its level and below; an empty name is in no path."""
        self.leave(level)
        self._open.append((level, name, marks))

    def add_marks(self, marks: Iterable[Mark]) -> None:
        """Adds marks to the innermost heading; without one, to a nameless one around all."""
        if not self._open:
            self._open.append((0, "", ()))
        level, name, before = self._open[-1]
        self._open[-1] = (level, name, (*before, *marks))

    def leave(self, level: int) -> None:
        self._open = [heading for heading in self._open if heading[0] < level]

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(name for _, name, _ in self._open if name)

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(mark for _, _, marks in self._open for mark in marks)


def num_words(text: str) -> int:
    """Scripts without spaces, and long addresses, are counted by their bytes."""
    return max(len(text.split()), len(text.encode("utf-8", "replace")) // 12)


def gather(text: str, blocks: list[Block], marks: list[Mark]) -> list[Passage]:
    """Gathers neighbouring blocks into passages: few words take in more, a new section parts.

    `marks` are the text's own, in order.
    """
    line_starts = line_starts_of(text)
    mark_starts = [mark.start for mark in marks]
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
            own = marks[bisect_left(mark_starts, start) : bisect_left(mark_starts, end)]
            own = [*own, *(mark for block in open_blocks for mark in block.above)]
            dates, tags, links = (
                together(mark.value for mark in own if mark.kind == kind)
                for kind in ("date", "tag", "link")
            )
            passages.append(
                Passage(
                    text[start:end],
                    first_line=bisect_right(line_starts, start),
                    last_line=bisect_right(line_starts, end - 1),
                    heading=path,
                    dates=dates,
                    tags=tags,
                    links=links,
                    page=open_blocks[0].page,
                )
            )
        open_blocks.clear()
        words = 0

    for whole in _without_opened_headings(blocks):
        for block in _small_enough(text, whole):
            size = num_words(text[block.start : block.end])
            parts = open_blocks and open_blocks[-1].heading != block.heading
            turns_page = open_blocks and open_blocks[-1].page != block.page
            if (
                words + size > MOST_WORDS
                or turns_page
                or (parts and words >= FEW_WORDS and block.kind != "heading")
            ):
                close()
            open_blocks.append(block)
            words += size
    close()
    return passages


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
        yield replace(block, start=piece_start, end=piece_end, cuts=(), opened=opened)
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


def line_starts_of(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("\n", text))]

"""PLAIN TEXT → PASSAGES: paragraphs parted by blank lines."""

import re

from tramontane.notes.marks import marks_in
from tramontane.notes.note import Passage
from tramontane.notes.passages import Block, gather


def plain_passages(text: str, body_start: int = 0) -> list[Passage]:
    """Returns the passages of plain text."""
    blocks = []
    start = body_start
    for gap in re.compile(r"\n[ \t]*\n|\Z").finditer(text, body_start):
        first_char = re.compile(r"\s*+").match(text, start, gap.start()).end()
        if first_char < gap.start():
            blocks.append(Block(first_char, gap.start(), "prose"))
        start = gap.end()
    return gather(text, blocks, marks_in(text))

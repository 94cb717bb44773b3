"""PIECES → TEXT, BLOCKS: builds the text of a file that is no text, and knows where each part lies.

HTML, PDF and docx come as a row of paragraphs, headings, items and table rows; each becomes lines
of the text as read, from which passages are gathered as from any other.
"""

from tramontane.notes.marks import Mark, dates_in
from tramontane.notes.note import Passage
from tramontane.notes.passages import Block, Headings, gather

MAX_TEXT_CHARS = 20 * 1024 * 1024


class PageText:
    """Takes pieces in reading order; what comes after MAX_TEXT_CHARS is left out, and `is_full`."""

    def __init__(self):
        self.pieces: list[str] = []
        self.num_chars = 0
        self.next_line = 1
        self.is_full = False
        self.blocks: list[Block] = []
        self.links: list[Mark] = []
        self.headings = Headings()

    def heading(self, level: int, text: str, page: int | None = None) -> None:
        name = " ".join(text.split())
        dates = [Mark(self.num_chars, "date", day) for _, day in dates_in(name)]
        self.headings.enter(level, name, tuple(dates))
        self._add("heading", [f"{'#' * min(level, 6)} {name}"], page)

    def paragraph(self, text: str, page: int | None = None) -> None:
        self._add("prose", text.split("\n"), page)

    def items(self, items: list[str], page: int | None = None) -> None:
        self._add("list", items, page)

    def lines(self, lines: list[str], page: int | None = None) -> None:
        """Adds a table's rows or lines of code."""
        self._add("lines", lines, page)

    def link(self, target: str) -> None:
        """Notes a link in the piece that comes next."""
        self.links.append(Mark(self.num_chars, "link", target))

    def _add(self, kind: str, lines: list[str], page: int | None) -> None:
        lines = [line.rstrip() for line in lines]
        size = sum(len(line) + 1 for line in lines) + 1
        if not any(lines) or self.is_full:
            return
        if self.num_chars + size > MAX_TEXT_CHARS:
            self.is_full = True
            return
        start, cuts = self.num_chars, []
        for line in lines:
            cuts.append(self.num_chars)
            self.pieces.append(line + "\n")
            self.num_chars += len(line) + 1
        end = self.num_chars - 1
        self.pieces.append("\n")
        self.num_chars += 1
        self.next_line += len(lines) + 1
        self.blocks.append(
            Block(
                start,
                end,
                kind,
                self.headings.path,
                tuple(cuts) if kind == "list" else (),
                above=self.headings.marks,
                page=page,
            )
        )

    def text(self) -> str:
        return "".join(self.pieces).rstrip("\n") + "\n"

    def passages(self) -> list[Passage]:
        text = self.text()
        marks = [*self.links, *(Mark(at, "date", day) for at, day in dates_in(text))]
        return gather(text, self.blocks, sorted(marks, key=lambda mark: mark.start))

"""PDF → PASSAGES that know their page and box: the text PDFium finds, in lines and paragraphs.

Paragraphs are told by the gaps between lines, headings by larger letters. What stands at the same
place of most pages, a running head or page number, is left out.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

import pypdfium2
from pypdfium2 import PdfiumError
from pypdfium2.raw import FPDFText_GetCharIndexFromTextIndex

from tramontane.notes.note import Passage, Reading
from tramontane.notes.page_text import PageText

MAX_PAGES = 5_000
MAX_CHARS_ON_PAGE = 500_000
MAX_BOXES_IN_LINE = 1_000
SMALLEST_SIZE = 1.0
# A running head is told by repeating on this share of the pages, of no fewer than FEW_PAGES.
FEW_PAGES, REPEATING_SHARE, EDGE = 4, 0.6, 0.09
# A gap between lines this much larger than their usual distance begins a paragraph.
PARAGRAPH_GAP = 1.35
# In sizes of letters: what is assumed of few lines, and what no line spacing exceeds.
FEW_LINES, USUAL_DISTANCE, MOST_DISTANCE = 12, 1.2, 2.4
HEADING_SIZE, TITLE_SIZE, MAX_HEADING_CHARS = 1.15, 1.5, 200
# What PDFium puts where a word goes on in the next line.
HYPHEN_MARKS = ("\x02", "\ufffe", "\xad")
WITHOUT_HYPHEN_MARKS = {ord(mark): None for mark in HYPHEN_MARKS}

Box = tuple[float, float, float, float]  # left, bottom, right, top


class PdfError(ValueError):
    """A file that can't be read as PDF; the message is the reason, ready to be shown."""


@dataclass(slots=True)
class Line:
    text: str
    box: Box
    size: float  # height of its letters
    joins: bool  # its last word goes on in the next line
    is_at_edge: bool  # of the page, where running heads stand


def read_pdf(data: bytes) -> Reading:
    """Returns what a PDF says; raises PdfError when it is none, locked, or pictures only."""
    try:
        document = pypdfium2.PdfDocument(data)
    except PdfiumError as error:
        if "assword" in str(error):
            raise PdfError("locked by a password; store a copy without one") from None
        raise PdfError(f"not a PDF file, or a damaged one ({error})") from None
    num_pages = len(document)
    remarks, pages = [], []
    for number in range(min(num_pages, MAX_PAGES)):
        try:
            pages.append(lines_of(document[number]))
        except PdfiumError as error:
            pages.append([])
            remarks.append(f"page {number + 1} cannot be read ({error})")
    if num_pages > MAX_PAGES:
        remarks.append(f"only the first {MAX_PAGES:,} of its {num_pages:,} pages were read")
    if silent := [str(number) for number, lines in enumerate(pages, start=1) if not lines]:
        if len(silent) == len(pages):
            raise PdfError(
                f"no text on its {num_pages} pages, pictures only; run it through OCR first"
            )
        shown = ", ".join(silent[:10]) + (" and more" if len(silent) > 10 else "")
        remarks.append(f"no text on page {shown}")
    layout = Layout.of(pages)
    if num_running := leave_out_running_heads(pages, layout):
        remarks.append(f"left out running heads and page numbers ({num_running} lines)")
    out, places = PageText(), {}
    for number, lines in enumerate(pages, start=1):
        put_page(out, places, number, lines, layout)
    if out.is_full:
        remarks.append("only the first 20 MB of its text were read")
    metadata = metadata_of(document)
    passages = [with_box(passage, places) for passage in out.passages()]
    title = metadata.get("title")
    return Reading(out.text(), passages, title, metadata, tuple(remarks))


def lines_of(page: pypdfium2.PdfPage) -> list[Line]:
    """Returns the lines of a page in PDFium's reading order."""
    text_page = page.get_textpage()
    try:
        height = page.get_height()
        num_chars = min(text_page.count_chars(), MAX_CHARS_ON_PAGE)
        text = text_page.get_text_range(0, num_chars) if num_chars else ""
        lines, start = [], 0
        for raw in re.split("(\r\n|\r|\n)", text):
            units = len(raw.encode("utf-16-le")) // 2
            shown = " ".join(raw.translate(WITHOUT_HYPHEN_MARKS).split())
            shown = "".join(char for char in shown if char.isprintable())
            if shown and (line := line_at(text_page, start, units)):
                box, size = line
                joins = raw.rstrip().endswith(HYPHEN_MARKS)
                middle = (box[1] + box[3]) / 2
                is_at_edge = not EDGE * height <= middle <= (1 - EDGE) * height
                lines.append(Line(shown, box, size, joins, is_at_edge))
            start += units
        return lines
    finally:
        text_page.close()
        page.close()


def line_at(text_page: pypdfium2.PdfTextPage, start: int, units: int) -> tuple[Box, float] | None:
    """Returns the box and the size of letters of a stretch of a page's text, in UTF-16 units."""
    first, last = (
        FPDFText_GetCharIndexFromTextIndex(text_page, at) for at in (start, start + units - 1)
    )
    if first < 0 or last < first:
        return None
    num_boxes = min(text_page.count_rects(first, last - first + 1), MAX_BOXES_IN_LINE)
    if not num_boxes:
        return None
    # The loose box is as high as the letters are large, whichever letters they are.
    heights = []
    for at in (first, (first + last) // 2, last):
        _, bottom, _, top = text_page.get_charbox(at, loose=True)
        heights.append(top - bottom)
    size = max(*heights, SMALLEST_SIZE)
    return around([text_page.get_rect(at) for at in range(num_boxes)]), size


def around(boxes: list[Box]) -> Box:
    left, bottom, right, top = zip(*boxes, strict=True)
    return min(left), min(bottom), max(right), max(top)


def leave_out_running_heads(pages: list[list[Line]], layout: "Layout") -> int:
    """Removes, in place, lines at the edge that say on most pages the same but for numbers."""
    filled = [lines for lines in pages if lines]
    if len(filled) < FEW_PAGES:
        return 0

    def may_go(lines: list[Line], at: int) -> bool:
        return bool(lines) and lines[at].is_at_edge and not layout.is_heading(lines[at])

    num_removed = 0
    for at in (0, -1):
        for _ in range(2):
            said = Counter(without_numbers(lines[at].text) for lines in filled if may_go(lines, at))
            if not said:
                break
            text, count = said.most_common(1)[0]
            if count < REPEATING_SHARE * len(filled):
                break
            for lines in filled:
                if may_go(lines, at) and without_numbers(lines[at].text) == text:
                    del lines[at]
                    num_removed += 1
    return num_removed


def without_numbers(text: str) -> str:
    return re.sub(r"\d+|\b[ivxlc]+\b", "#", text.lower())


def put_page(
    out: PageText, places: dict[int, Box], number: int, lines: list[Line], layout: "Layout"
) -> None:
    """Adds a page's paragraphs; `places` gets the box of each line of the text as read."""
    paragraph: list[Line] = []
    for line, following in zip_longest(lines, lines[1:]):
        paragraph.append(line)
        if following is not None:
            distance = line.box[1] - following.box[1]
            goes_on = 0 < distance <= PARAGRAPH_GAP * layout.line_distance * line.size
            if goes_on and layout.is_heading(line) is layout.is_heading(following):
                continue
        put_paragraph(out, places, number, paragraph, layout)
        paragraph = []


def put_paragraph(
    out: PageText, places: dict[int, Box], number: int, lines: list[Line], layout: "Layout"
) -> None:
    texts, first_line = [line.text for line in lines], out.next_line
    for at in range(len(lines) - 1):
        if lines[at].joins:
            rest, _, texts[at + 1] = texts[at + 1].partition(" ")
            texts[at] += rest
    lines = [line for line, text in zip(lines, texts, strict=True) if text]
    texts = [text for text in texts if text]
    if layout.is_heading(lines[0]) and sum(map(len, texts)) <= MAX_HEADING_CHARS:
        out.heading(1 if layout.is_title(lines[0]) else 2, " ".join(texts), number)
        places[first_line] = around([line.box for line in lines])
    else:
        out.paragraph("\n".join(texts), number)
        places.update(enumerate((line.box for line in lines), start=first_line))


def with_box(passage: Passage, places: dict[int, Box]) -> Passage:
    lines = range(passage.first_line, passage.last_line + 1)
    left, bottom, right, top = around([places[line] for line in lines if line in places])
    box = (round(left, 1), round(bottom, 1), round(right, 1), round(top, 1))
    return replace(passage, box=box)


def metadata_of(document: pypdfium2.PdfDocument) -> dict:
    """Returns what the PDF says of itself; its dates as ISO days."""
    found = {key.lower(): value.strip() for key, value in document.get_metadata_dict().items()}
    for key in ("creationdate", "moddate"):
        if day := re.match(r"(?:D:)?(\d{4})(\d{2})(\d{2})", found.get(key, "")):
            found[key] = "-".join(day.groups())
    return {key: value[:1_000] for key, value in found.items() if value}


def usual(values: list[float]) -> float:
    """Returns the median, 0 of none."""
    return sorted(values)[len(values) // 2] if values else 0.0


@dataclass(frozen=True, slots=True)
class Layout:
    """What is usual in a document: the size of letters, and the distance of lines in sizes."""

    body_size: float
    line_distance: float

    @classmethod
    def of(cls, pages: list[list[Line]]) -> "Layout":
        sizes = [line.size for lines in pages for line in lines for _ in line.text[::20]]
        distances = [
            (above.box[1] - below.box[1]) / above.size
            for lines in pages
            for above, below in pairwise(lines)
            if above.box[1] > below.box[1]
        ]
        few = len(distances) < FEW_LINES
        return cls(usual(sizes), USUAL_DISTANCE if few else min(usual(distances), MOST_DISTANCE))

    def is_heading(self, line: Line) -> bool:
        return line.size > HEADING_SIZE * self.body_size

    def is_title(self, line: Line) -> bool:
        return line.size > TITLE_SIZE * self.body_size

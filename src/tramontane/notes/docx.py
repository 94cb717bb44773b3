"""DOCX → PASSAGES: Word's paragraphs, headings, lists, tables and notes, from its zip of XML.

The XML is read as a stream: no document type, no entity, nothing fetched, nothing run.
"""

import io
import re
import zipfile
from collections.abc import Callable
from xml.parsers import expat

from tramontane.files import BROKEN_ZIP
from tramontane.notes.marks import HAS_SCHEME
from tramontane.notes.note import Reading
from tramontane.notes.page_text import PageText

MAX_PART_BYTES = 64 * 1024 * 1024
MAX_PARTS = 10_000
MAX_DEPTH = 500
CHUNK_BYTES = 256 * 1024
MAIN = "word/document.xml"
HEADING_NAME = re.compile(r"heading (\d)", re.IGNORECASE)


class DocxError(ValueError):
    """A file that can't be read as docx; the message is the reason, ready to be shown."""


def read_docx(data: bytes) -> Reading:
    """Returns what a Word document says; raises DocxError when it is none or too large."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive)
    except DocxError:
        raise
    except BROKEN_ZIP as error:
        raise DocxError(f"not a docx file, or a damaged one ({error})") from None


def _read(archive: zipfile.ZipFile) -> Reading:
    names = set(archive.namelist())
    if len(names) > MAX_PARTS:
        raise DocxError(f"{len(names):,} files in it, and a document may have {MAX_PARTS:,}")
    if MAIN not in names:
        raise DocxError("a zip file without word/document.xml: no Word document")
    parts = Parts(archive, names)
    body = Body(parts)
    parts.parse(MAIN, body)
    for part, heading in (("word/footnotes.xml", "Footnotes"), ("word/endnotes.xml", "Endnotes")):
        notes = Body(parts, under=heading, out=body.out)
        parts.parse(part, notes)
    remarks = []
    if body.num_pictures:
        remarks.append(f"{body.num_pictures} pictures in it were not read")
    if any(re.fullmatch(r"word/(?:header|footer)\d*\.xml", name) for name in names):
        remarks.append("its page headers and footers were left out")
    if "word/comments.xml" in names:
        remarks.append("its comments were left out")
    if body.num_deleted:
        remarks.append("deletions it tracks were left out")
    if body.out.is_full:
        remarks.append("only the first 20 MB of its text were read")
    metadata = core_properties(parts)
    title = metadata.get("title") or body.title
    return Reading(body.out.text(), body.out.passages(), title, metadata, tuple(remarks))


class Parts:
    def __init__(self, archive: zipfile.ZipFile, names: set[str]):
        self.archive, self.names = archive, names
        self.bytes_left = MAX_PART_BYTES

    def parse(self, name: str, handler: "Handler") -> None:
        """Streams one part through `handler`; a part that isn't there says nothing."""
        if name not in self.names:
            return
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        depth = 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > MAX_DEPTH:
                raise DocxError(f"{name} is nested deeper than {MAX_DEPTH} elements")
            local = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
            handler.start(tag.rpartition(" ")[2], local)

        def end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            handler.end(tag.rpartition(" ")[2])

        def refuse(*_: object) -> None:
            raise DocxError(f"{name} declares a document type or entities, which Word never does")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler = handler.data
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
        try:
            with self.archive.open(name) as part:
                while chunk := part.read(CHUNK_BYTES):
                    self.bytes_left -= len(chunk)
                    if self.bytes_left < 0:
                        raise DocxError(
                            f"unpacks to more than {MAX_PART_BYTES // 2**20} MB of text; split it"
                        )
                    parser.Parse(chunk, False)
                parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise DocxError(f"{name} is no well-formed XML ({error})") from None


class Handler:
    def start(self, tag: str, attributes: dict[str, str]) -> None: ...

    def end(self, tag: str) -> None: ...

    def data(self, text: str) -> None: ...


class Collector(Handler):
    """Calls back with each element's name, attributes and own text."""

    def __init__(self, take: Callable[[str, dict[str, str], str], None]):
        self.take = take
        self.open: list[tuple[str, dict[str, str], list[str]]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.open.append((tag, attributes, []))

    def end(self, tag: str) -> None:
        name, attributes, text = self.open.pop()
        self.take(name, attributes, "".join(text))

    def data(self, text: str) -> None:
        if self.open:
            self.open[-1][2].append(text)


def core_properties(parts: Parts) -> dict:
    found: dict = {}

    def take(tag: str, _: dict[str, str], text: str) -> None:
        if text.strip() and tag in (
            "title",
            "creator",
            "created",
            "modified",
            "keywords",
            "subject",
        ):
            found.setdefault(tag, text.strip()[:1_000])

    parts.parse("docProps/core.xml", Collector(take))
    return found


def styles_of(parts: Parts) -> tuple[dict[str, int], set[str]]:
    """Returns the level, from 1, of each style that is a heading, 0 for the title's; and those

    that are list items.
    """
    levels: dict[str, int] = {}
    items: set[str] = set()
    style, name, outline = "", "", None

    class Styles(Handler):
        def start(self, tag: str, attributes: dict[str, str]) -> None:
            nonlocal style, name, outline
            if tag == "style":
                style, name, outline = attributes.get("styleId", ""), "", None
            elif tag == "name":
                name = attributes.get("val", "")
            elif tag == "outlineLvl" and attributes.get("val", "").isdigit():
                outline = int(attributes["val"])
            elif tag == "numPr":
                items.add(style)

        def end(self, tag: str) -> None:
            if tag != "style":
                return
            if found := HEADING_NAME.fullmatch(name):
                levels[style] = int(found[1])
            elif name.lower() == "title":
                levels[style] = 0
            elif outline is not None and outline < 9:
                levels[style] = outline + 1

    parts.parse("word/styles.xml", Styles())
    return levels, items


def link_targets(parts: Parts) -> dict[str, str]:
    targets: dict[str, str] = {}

    def take(tag: str, attributes: dict[str, str], _: str) -> None:
        if tag == "Relationship" and attributes.get("Type", "").endswith("/hyperlink"):
            targets[attributes.get("Id", "")] = attributes.get("Target", "")

    parts.parse("word/_rels/document.xml.rels", Collector(take))
    return targets


class Body(Handler):
    """The document's own elements; tables within tables are read cell by cell."""

    def __init__(self, parts: Parts, under: str | None = None, out: PageText | None = None):
        self.levels, self.item_styles = styles_of(parts)
        self.targets = link_targets(parts)
        self.out = out or PageText()
        self.under = under
        self.title: str | None = None
        self.num_pictures = self.num_deleted = 0
        self.words: list[str] = []
        self.style = ""
        self.outline: int | None = None
        self.is_item = False
        self.in_text = False
        self.in_fallback = 0
        self.rows: list[list[str]] = []  # of the outermost table
        self.tables = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Fallback":
            self.in_fallback += 1
        if self.in_fallback:
            return
        if tag == "p":
            self.end_paragraph()  # a text box holds paragraphs within a paragraph
        elif tag == "pStyle":
            self.style = attributes.get("val", "")
        elif tag == "outlineLvl" and attributes.get("val", "9").isdigit():
            self.outline = int(attributes.get("val", "9"))
        elif tag == "numPr":
            self.is_item = True
        elif tag == "t":
            self.in_text = True
        elif tag == "tab":
            self.words.append("\t")
        elif tag in ("br", "cr"):
            self.words.append("\n")
        elif tag == "noBreakHyphen":
            self.words.append("-")
        elif tag == "tbl":
            self.end_paragraph()
            self.tables += 1
        elif tag == "tr" and self.tables == 1:
            self.rows.append([])
        elif tag == "tc" and self.tables == 1 and self.rows:
            self.rows[-1].append("")
        elif tag == "hyperlink":
            target = self.targets.get(attributes.get("id", ""), "")
            if target and not HAS_SCHEME.match(target):
                self.out.link(target[:500])
        elif tag == "blip":
            self.num_pictures += 1
        elif tag == "delText":
            self.num_deleted += 1

    def end(self, tag: str) -> None:
        if tag == "Fallback":
            self.in_fallback -= 1
        if self.in_fallback:
            return
        if tag == "t":
            self.in_text = False
        elif tag == "p":
            self.end_paragraph()
        elif tag == "tbl":
            self.tables -= 1
            if not self.tables:
                rows = [f"| {' | '.join(row)} |" for row in self.rows if any(row)]
                self.out.lines(rows)
                self.rows = []

    def data(self, text: str) -> None:
        if self.in_text and not self.in_fallback:
            self.words.append(text)

    def end_paragraph(self) -> None:
        text = "\n".join(" ".join(line.split()) for line in "".join(self.words).split("\n")).strip()
        level = self.levels.get(self.style)
        if level is None and self.outline is not None and self.outline < 9:
            level = self.outline + 1
        if text and self.under:
            self.out.heading(1, self.under)
            self.under = None
        if not text:
            pass
        elif self.tables:
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] = f"{self.rows[-1][-1]} {' '.join(text.split())}".strip()
        elif level == 0 and self.title is None:
            self.title = " ".join(text.split())
        elif level:
            self.out.heading(level, text)
        elif self.is_item or self.style in self.item_styles:
            self.out.items([f"- {' '.join(text.split())}"])
        else:
            self.out.paragraph(text)
        self.words, self.style, self.outline, self.is_item = [], "", None, False

"""HTML → PASSAGES: what a page says, without scripts, menus and other furniture. Nothing runs."""

import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import groupby
from urllib.parse import unquote

from tramontane.notes.decode import MARKS, decode
from tramontane.notes.marks import HAS_SCHEME
from tramontane.notes.note import Reading
from tramontane.notes.page_text import PageText

HEAD_BYTES = 4 * 1024
DECLARED_ENCODING = re.compile(rb"<meta[^>]{0,200}?charset=[\"']?\s*([\w-]{2,40})", re.IGNORECASE)
MAX_DEPTH = 500
SILENT = frozenset(
    "script style template noscript svg math iframe object canvas select button textarea head "
    "frameset".split()
)
FURNITURE = frozenset({"nav", "aside", "footer", "form", "menu", "dialog"})
FURNITURE_ROLES = frozenset({"navigation", "banner", "contentinfo", "complementary", "search"})
VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
HEADING_LEVEL = {f"h{level}": level for level in range(1, 7)}
BREAKING = frozenset(
    "address article blockquote body center dd details div dl dt fieldset figcaption figure "
    "header hgroup html li main ol p pre section summary table tbody tfoot thead tr ul".split()
).union(HEADING_LEVEL, FURNITURE)
CELLS = frozenset({"td", "th"})
# An opening tag of these ends an open one: HTML lets their closing tags be left out.
ENDS_OPEN = {"li": {"li"}, "p": {"p"}, "td": CELLS, "th": CELLS, "tr": {"tr", *CELLS}}
ENDS_OPEN |= {"dt": {"dt", "dd"}, "dd": {"dt", "dd"}}
# A page's main part counts as such when it holds this share of all its words.
MAIN_SHARE = 0.4


@dataclass(slots=True)
class Piece:
    kind: str  # a heading's tag, p, li, tr or pre
    text: str
    links: list[str]
    is_main: bool
    furniture: str | None


@dataclass(slots=True)
class Open:
    tag: str
    is_silent: bool
    is_main: bool
    furniture: str | None


@dataclass(slots=True)
class Page:
    pieces: list[Piece] = field(default_factory=list)
    title: str = ""
    metadata: dict = field(default_factory=dict)
    too_deep: bool = False


def read_html_bytes(data: bytes) -> Reading:
    """Returns what a page says, in the encoding that its bytes or else its own words name."""
    named = DECLARED_ENCODING.search(data[:HEAD_BYTES])
    if named and not data.startswith(tuple(mark for mark, _ in MARKS)):
        try:
            return read_html(data.decode(named[1].decode("ascii")))
        except (LookupError, UnicodeError):
            pass  # a name nobody knows, or the wrong one: the bytes themselves are asked
    text, remark = decode(data)
    reading = read_html(text)
    return replace(reading, remarks=(remark, *reading.remarks)) if remark else reading


def read_html(text: str) -> Reading:
    """Returns what a page says; its remarks name what was left out."""
    parser = PageParser()
    parser.feed(text)
    parser.close()
    parser.end_piece()
    page = parser.page
    words_in_main = sum(len(p.text.split()) for p in page.pieces if p.is_main)
    words = sum(len(p.text.split()) for p in page.pieces if not p.furniture)
    only_main = words_in_main >= MAIN_SHARE * words and words_in_main > 0
    out = PageText()
    left_out: dict[str, int] = {}
    kept = []
    for piece in page.pieces:
        if piece.is_main if only_main else not piece.furniture:
            kept.append(piece)
        else:
            name = piece.furniture or "around its main part"
            left_out[name] = left_out.get(name, 0) + len(piece.text.split())
    for kind, run in groupby(kept, key=lambda piece: piece.kind):
        put(out, kind, list(run))
    remarks = []
    if left_out:
        counted = ", ".join(f"{name} ({count} words)" for name, count in left_out.items())
        remarks.append(f"left out as page furniture: {counted}")
    if page.too_deep:
        remarks.append(f"nested deeper than {MAX_DEPTH} elements: read as if it weren't")
    if out.is_full:
        remarks.append("only the first 20 MB of its text were read")
    title = " ".join(page.title.split()) or None
    return Reading(out.text(), out.passages(), title, page.metadata, tuple(remarks))


def put(out: PageText, kind: str, pieces: list[Piece]) -> None:
    """Adds neighbouring pieces of one kind; the rows of a table and items of a list together."""
    if kind in ("li", "tr"):
        for target in (target for piece in pieces for target in piece.links):
            out.link(target)
        add, mark = (out.items, "- ") if kind == "li" else (out.lines, "")
        add([f"{mark}{piece.text}" for piece in pieces])
        return
    for piece in pieces:
        for target in piece.links:
            out.link(target)
        if kind in HEADING_LEVEL:
            out.heading(HEADING_LEVEL[kind], piece.text)
        elif kind == "pre":
            out.lines(["```", *piece.text.strip("\n").split("\n"), "```"])
        else:
            out.paragraph(piece.text)


class PageParser(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[Open] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] | None = None
        self.kind = "p"
        self.in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta":
            self.meta(given)
        if tag == "title" and not self.page.title:
            self.in_title = True
            return
        while self.open and self.open[-1].tag in ENDS_OPEN.get(tag, ()):
            self.handle_endtag(self.open[-1].tag)
        if tag in BREAKING:
            self.end_piece()
            self.kind = (
                tag if tag in HEADING_LEVEL or tag in ("li", "pre", "tr") else self.kind_around()
            )
        if tag == "tr":
            self.cells = []
        if tag == "br":
            self.words.append("\n")
        if tag == "img" and given.get("alt") and not self.is_silent():
            self.words.append(given["alt"])
        if tag == "a" and (target := given.get("href")) and not HAS_SCHEME.match(target):
            self.links.append(unquote(target)[:500])
        if tag in VOID:
            return
        if len(self.open) >= MAX_DEPTH:
            self.page.too_deep = True
            return
        above = self.open[-1] if self.open else Open("", False, False, None)
        self.open.append(
            Open(
                tag,
                above.is_silent or tag in SILENT or "hidden" in given,
                above.is_main or tag in ("main", "article") or given.get("role") == "main",
                above.furniture or furniture_of(tag, given),
            )
        )

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self.in_title = False
            return
        depth = next(
            (at for at in range(len(self.open) - 1, -1, -1) if self.open[at].tag == tag), None
        )
        if depth is None:
            return
        if tag in CELLS and self.cells is not None:
            self.cells.append(" ".join("".join(self.words).split()))
            self.words = []
        if tag in BREAKING:
            self.end_piece()
        del self.open[depth:]
        if tag in BREAKING:
            self.kind = self.kind_around()

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.page.title = (self.page.title + data)[:1_000]
        elif not self.is_silent():
            self.words.append(data)

    def kind_around(self) -> str:
        """Returns the kind of what comes next in the innermost open element."""
        for opened in reversed(self.open[-8:]):
            if opened.tag in HEADING_LEVEL or opened.tag in ("li", "pre"):
                return opened.tag
        return "p"

    def is_silent(self) -> bool:
        return bool(self.open) and self.open[-1].is_silent

    def end_piece(self) -> None:
        text = "".join(self.words)
        if self.kind != "pre":
            text = " ".join(text.split())
        if self.kind == "tr" and self.cells is not None:
            cells = [*self.cells, *([text] if text else [])]
            text = f"| {' | '.join(cells)} |" if any(cells) else ""
            self.cells = None
        if text.strip():
            at = self.open[-1] if self.open else Open("", False, False, None)
            self.page.pieces.append(Piece(self.kind, text, self.links, at.is_main, at.furniture))
            self.links = []
        self.words = []

    def meta(self, given: dict[str, str]) -> None:
        name = (given.get("name") or given.get("property", "")).lower()
        name = re.sub(r"^(?:article|og|dc|dcterms|citation)[:._]", "", name)
        name = {"published_time": "published", "modified_time": "modified"}.get(name, name)
        if name and given.get("content") and len(self.page.metadata) < 100:
            self.page.metadata.setdefault(name, given["content"][:1_000])


def furniture_of(tag: str, given: dict[str, str]) -> str | None:
    if tag in FURNITURE:
        return tag
    role = given.get("role", "").lower()
    if role in FURNITURE_ROLES:
        return role
    return "hidden" if given.get("aria-hidden") == "true" else None

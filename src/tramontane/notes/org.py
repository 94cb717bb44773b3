"""ORG → PASSAGES: outlines with states, tags, timestamps, drawers, lists, tables and blocks."""

import re
from bisect import bisect_right
from dataclasses import dataclass

from tramontane.notes.marks import HAS_SCHEME, INLINE_CODE, Mark, dates_in, tag_name
from tramontane.notes.note import Reading
from tramontane.notes.passages import Block, Headings, gather

STATES = frozenset({"TODO", "DONE"})
HEADLINE = re.compile(r"(\*+)[ \t]+(.*)")
HEADLINE_TAGS = re.compile(r"[ \t]+:((?:[\w@#%]{1,60}:){1,30})[ \t]*$")
PRIORITY = re.compile(r"\[#\w\][ \t]*")
COOKIE = re.compile(r"[ \t]*\[\d*(?:/\d*|%)\]")
KEYWORD = re.compile(r"[ \t]*#\+(\w+):[ \t]*(.*)")
BLOCK_BEGIN = re.compile(r"[ \t]*#\+begin_(\w+)", re.IGNORECASE)
DRAWER = re.compile(r"[ \t]*:(\w[\w-]*):[ \t]*$")
DRAWER_END = re.compile(r"[ \t]*:end:[ \t]*$", re.IGNORECASE)
PROPERTY = re.compile(r"[ \t]*:([^\s:]+):[ \t]*(.*)")
ITEM = re.compile(r"(?:[ \t]*(?:[-+]|\d{1,9}[.)])|[ \t]+\*)(?:[ \t]|$)")
LINK = re.compile(r"\[\[([^\[\]\n]{1,500})\](?:\[[^\[\]\n]{0,500}\])?\]")
FILE_LINK = re.compile(r"(?:file|id|attachment):(?P<target>.*)", re.DOTALL)
MANY_VALUES = frozenset({"filetags", "property", "todo", "seq_todo", "typ_todo"})


@dataclass(slots=True)
class Line:
    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def read_org(text: str) -> Reading:
    """Returns what an org file holds; `#+TRAIN: no` and `#+SHARE: no` are read like frontmatter."""
    return OrgReader(text).read()


class OrgReader:
    def __init__(self, text: str):
        self.text = text
        self.lines, start = [], 0
        for line in text.split("\n"):
            self.lines.append(Line(start, line))
            start += len(line) + 1
        self.block_ends: dict[str, list[int]] = {}
        for at, line in enumerate(self.lines):
            if (end := line.text.strip().lower()).startswith("#+end_"):
                self.block_ends.setdefault(end, []).append(at)
        # A headline ends a drawer too, one that its owner forgot to close.
        self.drawer_ends = [
            at
            for at, line in enumerate(self.lines)
            if DRAWER_END.fullmatch(line.text) or HEADLINE.fullmatch(line.text)
        ]
        self.states = set(STATES)
        self.metadata: dict = {}
        self.file_tags: list[str] = []
        self.headings = Headings()
        self.blocks: list[Block] = []
        self.marks: list[Mark] = []
        self.at = 0

    def read(self) -> Reading:
        while self.at < len(self.lines):
            self.take(self.lines[self.at])
        self.marks.sort(key=lambda mark: mark.start)
        if self.file_tags:
            self.metadata["tags"] = self.file_tags
        return Reading(
            self.text,
            gather(self.text, self.blocks, self.marks),
            title=self.metadata.get("title"),
            metadata=self.metadata,
        )

    def take(self, line: Line) -> None:
        """Reads the element that begins at this line and moves behind it."""
        if not line.text.strip():
            self.at += 1
        elif headline := HEADLINE.fullmatch(line.text):
            self.headline(line, headline)
        elif begin := BLOCK_BEGIN.match(line.text):
            self.block(begin[1].lower())
        elif keyword := KEYWORD.fullmatch(line.text):
            self.keyword(line, keyword[1].lower(), keyword[2].strip())
        elif DRAWER.fullmatch(line.text) and not DRAWER_END.fullmatch(line.text):
            self.drawer(DRAWER.fullmatch(line.text)[1].lower())
        elif line.text.lstrip().startswith("|"):
            self.run("lines", lambda text: text.lstrip().startswith("|"))
        elif ITEM.match(line.text):
            self.take_list()
        else:
            self.run("prose", lambda text: not self.begins_something(text))

    def headline(self, line: Line, found: re.Match) -> None:
        name, marks = found[2].strip(), []
        if tags := HEADLINE_TAGS.search(" " + name):
            marks = [
                Mark(line.start, "tag", tag)
                for tag in map(tag_name, tags[1].strip(":").split(":"))
                if tag
            ]
            name = (" " + name)[: tags.start()].strip()
        marks += [Mark(line.start, "date", day) for _, day in dates_in(name)]
        self.marks += [*marks, *self.links(line.start, line.end)]
        first, _, rest = name.partition(" ")
        state = f"{first} " if first in self.states else ""
        name = COOKIE.sub("", PRIORITY.sub("", rest if state else name, count=1)).strip()
        self.headings.enter(len(found[1]), " ".join(f"{state}{name}".split()), tuple(marks))
        self.add("heading", line.start, line.end)
        self.at += 1

    def keyword(self, line: Line, name: str, value: str) -> None:
        if name == "filetags":
            self.file_tags += filter(None, map(tag_name, re.split(r"[:\s]+", value)))
        elif name in ("todo", "seq_todo", "typ_todo"):
            states = (word.partition("(")[0] for word in value.split() if word != "|")
            self.states.update(filter(None, states))
        elif name == "title" and "title" in self.metadata:
            self.metadata["title"] += f" {value}"
        elif name not in MANY_VALUES and len(self.metadata) < 200 and value:
            self.metadata.setdefault(name, value)
        self.at += 1

    def drawer(self, name: str) -> None:
        """Properties are about the note; any other drawer holds what its owner wrote."""
        begin = self.at
        place = bisect_right(self.drawer_ends, begin)
        end = self.drawer_ends[place] if place < len(self.drawer_ends) else None
        if end is None or HEADLINE.fullmatch(self.lines[end].text):
            self.run("prose", lambda text: not self.begins_something(text))
            return
        found = [PROPERTY.fullmatch(line.text) for line in self.lines[begin + 1 : end]]
        if name == "properties" and all(found):
            for line, one in zip(self.lines[begin + 1 : end], found, strict=True):
                self.take_property(line, one[1].lower(), one[2].strip())
        elif end > begin + 1:
            self.add("lines", self.lines[begin + 1].start, self.lines[end - 1].end)
            self.find_marks(self.lines[begin + 1].start, self.lines[end - 1].end)
        self.at = end + 1

    def take_property(self, line: Line, name: str, value: str) -> None:
        if not self.headings.path and name != "id":
            self.metadata.setdefault(name, value)
        elif name != "id":
            where = " / ".join(self.headings.path)
            of_heading = self.metadata.setdefault("properties", {}).setdefault(where, {})
            of_heading[name] = value
        self.headings.add_marks(Mark(line.start, "date", day) for _, day in dates_in(value))

    def block(self, kind: str) -> None:
        begin, ends = self.at, self.block_ends.get(f"#+end_{kind}", [])
        place = bisect_right(ends, begin)
        if place == len(ends):  # nothing closes it: its first line is a line like others
            self.run("prose", lambda text: not self.begins_something(text))
            return
        end = ends[place]
        holds_prose = kind in ("quote", "verse", "center")
        self.add("prose" if holds_prose else "lines", self.lines[begin].start, self.lines[end].end)
        if kind not in ("src", "example", "export"):
            self.find_marks(self.lines[begin].start, self.lines[end].end)
        self.at = end + 1

    def take_list(self) -> None:
        begin = self.at
        indent = indent_of(self.lines[begin].text)
        cuts, blanks = [], 0
        at = begin
        while at < len(self.lines):
            text = self.lines[at].text
            if not text.strip():
                blanks += 1
                if blanks == 2:
                    break
            else:
                is_item = ITEM.match(text) and indent_of(text) == indent
                if not is_item and (HEADLINE.fullmatch(text) or indent_of(text) <= indent):
                    break
                if is_item:
                    cuts.append(self.lines[at].start)
                blanks = 0
            at += 1
        end = at
        while not self.lines[end - 1].text.strip():
            end -= 1
        start, stop = self.lines[begin].start, self.lines[end - 1].end
        self.add("list", start, stop, tuple(cuts))
        self.find_marks(start, stop)
        self.at = end

    def run(self, kind: str, goes_on) -> None:
        """Takes this line and those that go on with it."""
        begin = self.at
        self.at += 1
        while self.at < len(self.lines) and goes_on(self.lines[self.at].text):
            self.at += 1
        start, end = self.lines[begin].start, self.lines[self.at - 1].end
        self.add(kind, start, end)
        self.find_marks(start, end)

    def begins_something(self, text: str) -> bool:
        return bool(
            not text.strip()
            or HEADLINE.fullmatch(text)
            or BLOCK_BEGIN.match(text)
            or KEYWORD.fullmatch(text)
            or DRAWER.fullmatch(text)
            or ITEM.match(text)
            or text.lstrip().startswith("|")
        )

    def add(self, kind: str, start: int, end: int, cuts: tuple[int, ...] = ()) -> None:
        self.blocks.append(
            Block(start, end, kind, self.headings.path, cuts, above=self.headings.marks)
        )

    def find_marks(self, start: int, end: int) -> None:
        bare = INLINE_CODE.sub(lambda found: " " * len(found[0]), self.text[start:end])
        self.marks += [Mark(start + at, "date", day) for at, day in dates_in(bare)]
        self.marks += self.links(start, end)

    def links(self, start: int, end: int) -> list[Mark]:
        found = []
        for link in LINK.finditer(self.text, start, end):
            file = FILE_LINK.fullmatch(link[1])
            target = file["target"].replace("::*", "#").replace("::", "#") if file else link[1]
            if file or not HAS_SCHEME.match(target):
                found.append(Mark(link.start(), "link", target))
        return found


def indent_of(text: str) -> int:
    return len(text) - len(text.lstrip())

"""TEXT → DATES, TAGS, LINKS: what a note says of when, about what, and where else to look."""

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

MOST_MARKS = 200  # of one kind, in one passage
WIKI_LINK = re.compile(r"\[\[([^\[\]\n|]{1,300})(?:\|[^\[\]\n]{0,300})?\]\]")
INLINE_LINK = re.compile(
    r"\[[^\[\]\n]{0,300}\]\(<?([^()\s<>]{1,500})>?(?:[ \t]+\"[^\"\n]{0,300}\")?\)"
)
DEFINED_LINK = re.compile(
    r"^[ ]{0,3}\[(?!\^)([^\[\]\n]{1,200})\]:[ \t]+<?([^\s<>]{1,500})", re.MULTILINE
)
REFERENCE = re.compile(r"\[([^\[\]\n]{1,200})\](?:\[([^\[\]\n]{0,200})\])?(?![(:\[\]])")
HAS_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//|#")
HASH_TAG = re.compile(r"(?<![^\s(\[,;>“])#(\w[\w/-]{0,99})")
INLINE_CODE = re.compile(r"(`{1,4})(?!`)[^\n]{1,400}?(?<!`)\1(?!`)")

MONTHS = "january february march april may june july august september october november december"
MONTH_NUMBER = {name[:3]: number for number, name in enumerate(MONTHS.split(), start=1)}
MONTH = r"(jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]{0,6}\.?"
DATE = re.compile(
    r"(?<![\d./-])(?P<y1>\d{4})(?P<mark>[-/.])(?P<m1>\d{2})(?P=mark)(?P<d1>\d{2})(?!\d)"
    rf"|(?<![\w.])(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?\s{{1,2}}(?:of\s)?(?P<m2>{MONTH}),?\s{{1,2}}(?P<y2>\d{{4}})(?!\d)"
    rf"|\b(?P<m3>{MONTH})\s{{1,2}}(?P<d3>\d{{1,2}})(?:st|nd|rd|th)?,?\s{{1,2}}(?P<y3>\d{{4}})(?!\d)",
    re.IGNORECASE,
)
MONTH_OF_YEAR = re.compile(
    r"(?<![\w.-])(?P<y1>\d{4})-(?P<m1>\d{2})(?![\d-])"
    rf"|\b(?P<m2>{MONTH}),?\s{{1,2}}(?:of\s)?(?P<y2>\d{{4}})(?!\d)",
    re.IGNORECASE,
)
YEAR = re.compile(r"\b(?:in|during|throughout|of)\s((?:19|20)\d{2})(?![\w-])", re.IGNORECASE)
# Daily notes (2024-03-05, 2024_03_05, 20240305) and the identifiers of slip boxes (202403051230).
DATE_IN_NAME = re.compile(r"(?<!\d)(\d{4})([-_.]?)(\d{2})\2(\d{2})(?:\d{4}|\d{6})?(?!\d)")
DATE_KEYS = frozenset(
    "date created updated modified published created_at updated_at date_created date_modified "
    "last_modified creationdate created-at updated-at".split()
)
TAG_KEYS = frozenset({"tag", "tags", "keyword", "keywords"})


@dataclass(frozen=True, slots=True)
class Mark:
    """One date, tag or link and the place in the text where it begins."""

    start: int
    kind: str
    value: str


def marks_in(text: str, code: Iterable[tuple[int, int]] = ()) -> list[Mark]:
    """Returns the marks of a Markdown or plain text, in order; stretches of code hold none."""
    bare = without_code(text, code)
    found = [Mark(at, "date", day) for at, day in dates_in(bare)]
    for tag in HASH_TAG.finditer(bare):
        if name := tag_name(tag[1]):
            found.append(Mark(tag.start(), "tag", name))
    for link in WIKI_LINK.finditer(bare):
        found.append(Mark(link.start(), "link", link[1].strip()))
    for link in INLINE_LINK.finditer(bare):
        if not HAS_SCHEME.match(link[1]):
            found.append(Mark(link.start(), "link", unquote(link[1])))
    found += _references(bare)
    return sorted(found, key=lambda mark: mark.start)


def _references(text: str) -> Iterable[Mark]:
    """Yields the links that are written where they are used by a name, and defined elsewhere."""
    targets = {
        _label(defined[1]): unquote(defined[2])
        for defined in DEFINED_LINK.finditer(text)
        if not HAS_SCHEME.match(defined[2])
    }
    for used in REFERENCE.finditer(text) if targets else ():
        if target := targets.get(_label(used[2] or used[1])):
            yield Mark(used.start(), "link", target)


def _label(written: str) -> str:
    return " ".join(written.split()).casefold()


def without_code(text: str, code: Iterable[tuple[int, int]]) -> str:
    """Returns the text with blanks for code, so that every place stays where it is."""
    pieces, at = [], 0
    for start, end in sorted(code):
        if start >= at:
            pieces += [text[at:start], " " * (end - start)]
            at = end
    return INLINE_CODE.sub(lambda found: " " * len(found[0]), "".join(pieces) + text[at:])


def dates_in(text: str) -> Iterable[tuple[int, str]]:
    """Yields the full dates of a text as (place, ISO day)."""
    for found in DATE.finditer(text):
        if found["y1"]:
            day = iso_day(found["y1"], found["m1"], found["d1"])
        elif found["y2"]:
            day = iso_day(found["y2"], MONTH_NUMBER[found["m2"][:3].lower()], found["d2"])
        else:
            day = iso_day(found["y3"], MONTH_NUMBER[found["m3"][:3].lower()], found["d3"])
        if day:
            yield found.start(), day


def first_period_in(text: str) -> tuple[str, str] | None:
    """Returns the day, month or year that a text names first, as YYYY[-MM[-DD]], and its words.

    A year counts only where a word says so ("in 2024"): a number of four digits may be anything.
    """
    found = []
    for at, day in dates_in(text):
        found.append((at, 0, day, DATE.match(text, at)[0]))
    for month in MONTH_OF_YEAR.finditer(text):
        year = month["y1"] or month["y2"]
        number = month["m1"] or MONTH_NUMBER[month["m2"][:3].lower()]
        if day := iso_day(year, number, "1"):
            found.append((month.start(), 1, day[:7], month[0]))
    found += [(year.start(1), 2, year[1], year[1]) for year in YEAR.finditer(text)]
    return min(found)[2:] if found else None


def dates_of_path(path: str) -> list[str]:
    """Returns the days that a file's name, or a folder's on its way, is called by."""
    days = (iso_day(found[1], found[3], found[4]) for found in DATE_IN_NAME.finditer(path))
    return [day for day in days if day]


def dates_of_metadata(metadata: dict) -> list[str]:
    return [
        day
        for key, value in metadata.items()
        if key.lower().replace(" ", "_") in DATE_KEYS
        for _, day in dates_in(str(value)[:200])
    ]


def tags_of_metadata(metadata: dict) -> list[str]:
    """Returns the tags of frontmatter: a list, or words parted by commas or blanks."""
    tags = []
    for key, value in metadata.items():
        if key.lower() in TAG_KEYS:
            if isinstance(value, str):
                value = re.split(r"[,;]" if re.search("[,;]", value) else r"\s", value)
            for one in value if isinstance(value, list) else []:
                if name := tag_name(str(one).strip().lstrip("#").replace(" ", "-")):
                    tags.append(name)
    return tags


def tag_name(written: str) -> str | None:
    """Returns a tag as it is stored; None for what only numbers something."""
    name = written.strip("-/ ").lower()
    return name if name and not name.isdigit() else None


def iso_day(year: str, month: str | int, day: str) -> str | None:
    try:
        return datetime.date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def together(*groups: Iterable[str]) -> tuple[str, ...]:
    """Returns what the groups hold, each once, in order, and no more than a passage may have."""
    return tuple(dict.fromkeys(one for group in groups for one in group))[:MOST_MARKS]

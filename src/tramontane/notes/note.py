"""What a folder of notes becomes: notes, their passages, and what was left out and why."""

from dataclasses import dataclass, field

# Raise this when the same bytes would give other passages than before: a library that holds
# notes read by an older version reads them again at its next sync.
READER_VERSION = 3


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a note that knows its place: lines are the note's own, from 1, both included.

    `dates` are ISO days named in it, above it or by its note; `links` are targets as written;
    `tags` are its own, its headings' and its note's, in lower case. In a PDF it lies on one `page`,
    from 1, in a `box` of left, bottom, right and top, in points from the page's lower left corner.
    """

    text: str
    first_line: int
    last_line: int
    heading: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    page: int | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """One file: `path` is relative to its folder with "/" between, `sha256` is of its bytes.

    `text` is the file's own where that is text; of HTML, PDF and docx it is what was read from it.
    """

    path: str
    title: str
    text: str
    sha256: str
    metadata: dict = field(default_factory=dict)
    may_train: bool = True
    may_share: bool = True
    licence: str | None = None
    passages: tuple[Passage, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader finds in one file: its text, passages, and what it says about itself."""

    text: str
    passages: list[Passage]
    title: str | None = None
    metadata: dict = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that gave no note; `is_passing` when the same file may be read next time."""

    path: str
    reason: str
    is_passing: bool = False


@dataclass(frozen=True, slots=True)
class FolderReading:
    notes: list[Note]
    skipped: list[Skipped]

"""What a folder of notes becomes: notes, their passages, and what was left out and why."""

from dataclasses import dataclass, field

# Raise this when the same bytes would give other passages than before: a library that holds
# notes read by an older version reads them again at its next sync.
READER_VERSION = 2


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a note that knows its place: lines are the file's own, from 1, both included."""

    text: str
    first_line: int
    last_line: int
    heading: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """One file: `path` is relative to its folder with "/" between, `sha256` is of its bytes."""

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
class Skipped:
    """A file or folder that gave no note; `is_passing` when the same file may be read next time."""

    path: str
    reason: str
    is_passing: bool = False


@dataclass(frozen=True, slots=True)
class FolderReading:
    notes: list[Note]
    skipped: list[Skipped]

"""What the library hands out: collections, notes, hits and what a sync did."""

from dataclasses import dataclass, field
from pathlib import Path

from tramontane.notes.note import Skipped


@dataclass(frozen=True, slots=True)
class Collection:
    name: str
    folder: Path
    owner: str
    licence: str
    num_notes: int
    num_passages: int
    salt: bytes


@dataclass(frozen=True, slots=True)
class StoredNote:
    """A note as the library read it, whatever has become of its file since."""

    collection: str
    path: str
    title: str
    text: str
    sha256: str
    num_lines: int
    metadata: dict = field(default_factory=dict)
    may_train: bool = True
    may_share: bool = True
    licence: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that search found; `score` is comparable within one search only."""

    collection: str
    path: str
    title: str
    heading: tuple[str, ...]
    text: str
    first_line: int
    last_line: int
    score: float
    bm25_rank: int | None
    vector_rank: int | None
    similarity: float
    note_sha256: str
    dates: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    page: int | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did: paths added, changed, removed or unchanged, and what was left out.

    `renamed` pairs a removed path with an added one of the same bytes; both stand in their lists
    too. `remarks` are (path, remark) of notes that were read with some doubt.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    is_dry_run: bool = False

"""What the page's server needs from the rest: one desk, at which questions are asked.

The server knows HTTP and this protocol; `cli` brings the real desk, which opens models and shelf.
Every method may raise a TramontaneError, whose message is written for the reader. Methods may be
called from several threads at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tramontane.library.records import Collection, Hit, StoredNote, SyncReport
from tramontane.writing.events import Event, Source

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Status:
    """`quality` says in one sentence how far the base's own prose can be trusted."""

    version: str
    base: str
    base_parameters: int
    can_write: bool
    quality: str
    mixture: str
    mixture_hash: str
    num_experts: int
    num_collections: int
    num_notes: int


@dataclass(frozen=True, slots=True)
class ExpertCard:
    """One expert as the page shows it; perplexities are of held-out notes."""

    name: str
    hash: str
    is_in_place: bool
    is_withdrawn: bool
    collection: str
    num_notes: int
    perplexity_before: float
    perplexity_after: float
    own_open_rate: float
    public_open_rate: float
    manifest: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SourceNow:
    """Where the passage of an older answer stands in the library now.

    `path` is None for a note that is gone, lines are where the passage isn't in it any more.
    `remark` is for the reader; None where all is as it was.
    """

    path: str | None
    first_line: int | None
    last_line: int | None
    remark: str | None


class Desk(Protocol):
    def status(self) -> Status: ...

    def examples(self) -> list[str]:
        """Returns about three questions that the sample notes answer, for an empty page."""

    def collections(self) -> list[Collection]: ...

    def add_collection(self, name: str, folder: Path, report: Report) -> SyncReport:
        """Adds a folder under a name and reads it; nothing is added when nothing can be read."""

    def sync(self, name: str, report: Report, *, dry_run: bool = False) -> SyncReport: ...

    def notes(self, collection: str) -> list[StoredNote]: ...

    def note(self, collection: str, path: str) -> tuple[StoredNote, bool]:
        """Returns the note as the library read it, and whether its file has changed since."""

    def source_now(self, source: Source) -> SourceNow: ...

    def search(self, words: str, collections: Sequence[str] | None) -> list[Hit]: ...

    def ask(
        self,
        question: str,
        *,
        collections: Sequence[str] | None,
        experts: Sequence[str] | None,
        own_words: bool,
        voice: bool = False,
        honest: bool = False,
    ) -> Iterator[Event]:
        """Yields an answer's events; `experts` names those switched on, None means all in place.

        With `voice`, what each expert did in each sentence comes at the end; with `honest`, what no
        source backs is kept back.

        Closing the iterator stops the work.
        """

    def experts(self) -> list[ExpertCard]: ...

    def withdraw(self, name: str) -> dict[str, Any]:
        """Returns {"expert": name, "certificate": ...}: experts/certificate.py's JSON, or None for
        an expert that was in no mixture of this base, where there is nothing to prove."""

    def restore(self, name: str) -> ExpertCard: ...

    def pack(self, name: str, owner: str, licence: str) -> tuple[str, bytes]:
        """Returns a file's name and bytes, checked to carry no text of the expert's notes."""

    def forgetting(self, name: str) -> dict[str, Any]:
        """Returns what forgetting an expert and its collection would remove: cli/forget.py's
        JSON."""

    def forget(self, name: str) -> dict[str, Any]:
        """Removes them for good; returns what was removed, as `forgetting` would have said it."""

    def models(self) -> dict[str, Any]:
        """Returns {"machine", "choices", "here"}: what could be pulled and whether it fits, the
        bases that are here, which of them is in use, and what the writer's check said of each."""

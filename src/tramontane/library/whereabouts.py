"""SOURCE → WHERE IT IS NOW: a passage cited some time ago, looked for in the files as they are.

The note may have been edited, moved or renamed since, or be gone; a source must open the right file
at the right place, or say that it can't.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tramontane.errors import NotesError
from tramontane.notes.folder import list_folder, read_bytes
from tramontane.notes.note import Note
from tramontane.notes.reader import UnreadableError, ending_of, read_note

# Files that the library doesn't know yet are looked through for a note that was moved.
MAX_NEW_FILES = 2_000
# The share of a passage's words that makes another one its edited self.
SAME_PASSAGE = 0.6

Box = tuple[float, float, float, float]


class Cited(Protocol):
    """What a hit and a source have in common."""

    collection: str
    path: str
    note_sha256: str
    text: str
    first_line: int
    last_line: int
    heading: tuple[str, ...]
    page: int | None
    box: Box | None


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a cited passage is now; `state` is current, moved, changed or gone.

    `file` is None for one that is gone. Lines, page and box are those of the file as it is; None
    where the passage is no longer in it. `remark` is for the reader, None when all is as it was.
    """

    state: str
    path: str
    file: Path | None
    first_line: int | None = None
    last_line: int | None = None
    page: int | None = None
    box: Box | None = None
    remark: str | None = None


def whereabouts(cited: Cited, folder: Path, stored: Sequence[tuple[str, str]]) -> Whereabouts:
    """Returns where `cited` is below `folder`; `stored` are (path, sha256) of the notes known."""
    data = _bytes_of(folder, cited.path)
    if data is not None:
        if _sha256(data) == cited.note_sha256:
            return _as_it_was(cited, folder, cited.path, "current", None)
        if found := _found_in(cited, folder, cited.path, data, "changed"):
            return found
    if moved := _moved(cited, folder, stored):
        return moved
    if data is not None:
        remark = "this note has changed since, and the passage is no longer in it"
        return Whereabouts("changed", cited.path, folder / cited.path, remark=remark)
    return Whereabouts("gone", cited.path, None, remark="this note is gone")


def _moved(cited: Cited, folder: Path, stored: Sequence[tuple[str, str]]) -> Whereabouts | None:
    """Looks where the same bytes are now, then where the same passage is."""
    readable = []
    for path in _candidates(cited, folder, stored):
        data = _bytes_of(folder, path)
        if data is None:
            continue
        if _sha256(data) == cited.note_sha256:
            remark = f"this note has moved; it was {cited.path}"
            return _as_it_was(cited, folder, path, "moved", remark)
        if ending_of(path) == ending_of(cited.path):
            readable.append(path)
    for path in readable:
        data = _bytes_of(folder, path)
        if data is not None and _exactly(cited, data):
            return _found_in(cited, folder, path, data, "moved")
    return None


def _candidates(cited: Cited, folder: Path, stored: Sequence[tuple[str, str]]) -> Iterable[str]:
    """Yields notes known to have those bytes, then files that the library doesn't know yet."""
    yield from (path for path, sha256 in stored if sha256 == cited.note_sha256)
    known = {path for path, _ in stored}
    try:
        listed = list_folder(folder).paths
    except NotesError:
        return  # the whole folder is gone, and what was in it
    yield from [path for path in listed if path not in known][:MAX_NEW_FILES]


def _exactly(cited: Cited, data: bytes) -> bool:
    """A quick look: text files hold a passage as it stands, in one encoding or another."""
    first = max(cited.text.split("\n"), key=len)
    return any(first.encode(name, "ignore") in data for name in ("utf-8", "cp1252", "utf-16-le"))


def _found_in(cited: Cited, folder: Path, path: str, data: bytes, state: str) -> Whereabouts | None:
    try:
        note = read_note(path, data)
    except UnreadableError:
        return None
    where = _place_of(cited, note)
    if where is None:
        return None
    first_line, last_line, is_same = where
    page, box = next(
        ((p.page, p.box) for p in note.passages if p.first_line <= first_line <= p.last_line),
        (None, None),
    )
    edited = "" if is_same else ", this passage too"
    remark = f"this note has changed since{edited}"
    if state == "moved":
        remark = f"this note has moved and changed since{edited}; it was {cited.path}"
    return Whereabouts(state, path, folder / path, first_line, last_line, page, box, remark)


def _place_of(cited: Cited, note: Note) -> tuple[int, int, bool] | None:
    """Returns the lines of the passage in the note as it is, and whether it is the same."""
    places = []
    at = note.text.find(cited.text)
    while at >= 0 and len(places) < 1_000:
        places.append(note.text.count("\n", 0, at) + 1)
        at = note.text.find(cited.text, at + 1)
    if places:
        first_line = min(places, key=lambda line: abs(line - cited.first_line))
        return first_line, first_line + cited.text.count("\n"), True
    words = set(cited.text.lower().split())
    best, best_share = None, SAME_PASSAGE
    for passage in note.passages:
        own = set(passage.text.lower().split())
        share = len(words & own) / max(1, min(len(words), len(own)))
        if share > SAME_PASSAGE and share + (passage.heading == cited.heading) > best_share:
            best, best_share = passage, share + (passage.heading == cited.heading)
    return (best.first_line, best.last_line, False) if best else None


def _as_it_was(
    cited: Cited, folder: Path, path: str, state: str, remark: str | None
) -> Whereabouts:
    return Whereabouts(
        state,
        path,
        folder / path,
        cited.first_line,
        cited.last_line,
        cited.page,
        cited.box,
        remark,
    )


def _bytes_of(folder: Path, path: str) -> bytes | None:
    try:
        return read_bytes(folder, path)
    except UnreadableError:
        return None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

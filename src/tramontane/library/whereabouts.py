"""SOURCE → WHERE IT IS NOW: a passage cited some time ago, looked for in the files as they are.

The note may have been edited, moved or renamed since, or be gone; a source must open the right file
at the right place, or say that it can't.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tramontane.errors import NotesError
from tramontane.notes.apart import Apart
from tramontane.notes.folder import list_folder, read_bytes
from tramontane.notes.note import Note
from tramontane.notes.reader import UnreadableError, ending_of, is_document, read_note

# Files that the library doesn't know yet are looked through for a note that was moved.
MAX_NEW_FILES = 2_000
# Of these, PDFs and other documents, which take long to read.
MAX_NEW_DOCUMENTS = 20
# How like another passage must be to be this one edited: twice the words that both hold, as a
# share of the words of both; or, where it was taken into a longer one, of its own words. Of 2,946
# passages of real notes fewer than one in a hundred has such a neighbour in its note.
SAME_PASSAGE, TAKEN_IN = 0.65, 0.85
# Under the same heading it is likelier so.
SAME_HEADING = 0.3
# In another file more is asked: nothing but the passage says that it is the same note.
SAME_ELSEWHERE = 0.8
# Words that tell whether a file is worth reading.
LEAST_TELLING_LETTERS = 4

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
    `is_same` is False where the passage itself was edited.
    """

    state: str
    path: str
    file: Path | None
    first_line: int | None = None
    last_line: int | None = None
    page: int | None = None
    box: Box | None = None
    remark: str | None = None
    is_same: bool = True


class Readings:
    """Notes as the files are now, each read once, however many sources lie in it.

    PDFs and the like are read in one process, which ends with the `with` block.
    """

    def __init__(self):
        self._apart = Apart()
        self._notes: dict[tuple[str, str], Note | None] = {}

    def __enter__(self) -> "Readings":
        return self

    def __exit__(self, *_: object) -> None:
        self._apart.close()

    def note(self, path: str, data: bytes) -> Note | None:
        """Returns the note these bytes are, None when they are none."""
        key = (path, _sha256(data))
        if key not in self._notes:
            try:
                self._notes[key] = read_note(path, data, self._apart)
            except UnreadableError:
                self._notes[key] = None
        return self._notes[key]


# Returns the paths of the notes known that hold a text, as the library read them.
Holding = Callable[[str], Sequence[str]]


def whereabouts(
    cited: Cited,
    folder: Path,
    stored: Sequence[tuple[str, str]],
    holding: Holding,
    readings: Readings,
) -> Whereabouts:
    """Returns where `cited` is below `folder`; `stored` are (path, sha256) of the notes known."""
    data = _bytes_of(folder, cited.path)
    if data is not None:
        if _sha256(data) == cited.note_sha256:
            return _as_it_was(cited, folder, cited.path, "current", None)
        if found := _found_in(cited, folder, cited.path, data, "changed", readings):
            return found
    if moved := _moved(cited, folder, stored, holding, readings):
        return moved
    if data is not None:
        remark = "this note has changed since, and the passage is no longer in it"
        return Whereabouts("changed", cited.path, folder / cited.path, remark=remark)
    return Whereabouts("gone", cited.path, None, remark="this note is gone")


def _moved(
    cited: Cited,
    folder: Path,
    stored: Sequence[tuple[str, str]],
    holding: Holding,
    readings: Readings,
) -> Whereabouts | None:
    """Looks where the same bytes are now, then where the passage is: as it was, then edited.

    Edited it is only looked for in files that the library knows neither by name nor by content: a
    note known for long that says nearly the same is another note.
    """
    known, known_sha256 = {path for path, _ in stored}, {sha256 for _, sha256 in stored}
    readable = []
    for path in _candidates(cited, folder, stored):
        data = _bytes_of(folder, path)
        if data is None:
            continue
        if _sha256(data) == cited.note_sha256:
            remark = f"this note has moved; it was {cited.path}"
            return _as_it_was(cited, folder, path, "moved", remark)
        if path not in known and ending_of(path) == ending_of(cited.path):
            readable.append(path)
    nearly = None
    for path in [*(p for p in holding(cited.text) if p != cited.path), *_worth_reading(readable)]:
        data = _bytes_of(folder, path)
        if data is None or not (path in known or is_document(path) or _is_likely(cited, data)):
            continue
        found = _found_in(cited, folder, path, data, "moved", readings)
        if found and found.is_same:
            return found
        if path not in known and _sha256(data) not in known_sha256:
            nearly = nearly or found
    return nearly


def _candidates(cited: Cited, folder: Path, stored: Sequence[tuple[str, str]]) -> Iterable[str]:
    """Yields notes known to have those bytes, then files that the library doesn't know yet.

    Last come those known under their name, one of which may have got these bytes since.
    """
    yield from (path for path, sha256 in stored if sha256 == cited.note_sha256)
    known = {path for path, _ in stored}
    try:
        listed = list_folder(folder).paths
    except NotesError:
        return  # the whole folder is gone, and what was in it
    yield from [path for path in listed if path not in known][:MAX_NEW_FILES]
    yield from [path for path in listed if path in known and path != cited.path][:MAX_NEW_FILES]


def _worth_reading(paths: Sequence[str]) -> list[str]:
    documents = [path for path in paths if is_document(path)]
    return [path for path in paths if not is_document(path)] + documents[:MAX_NEW_DOCUMENTS]


def _is_likely(cited: Cited, data: bytes) -> bool:
    """A quick look: text files hold most words of a passage as they stand, in some encoding."""
    words = {word for word in cited.text.split() if len(word) >= LEAST_TELLING_LETTERS}
    words = words or set(cited.text.split())
    return any(
        2 * sum(word.encode(name, "ignore") in data for word in words) >= len(words)
        for name in ("utf-8", "cp1252", "utf-16-le")
    )


def _found_in(
    cited: Cited, folder: Path, path: str, data: bytes, state: str, readings: Readings
) -> Whereabouts | None:
    note = readings.note(path, data)
    if note is None:
        return None
    where = _place_of(cited, note, SAME_ELSEWHERE if state == "moved" else SAME_PASSAGE)
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
    return Whereabouts(
        state, path, folder / path, first_line, last_line, page, box, remark, is_same
    )


def _place_of(cited: Cited, note: Note, least: float) -> tuple[int, int, bool] | None:
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
    best, best_likeness = None, 0.0
    for passage in note.passages:
        own = set(passage.text.lower().split())
        held = len(words & own)
        likeness = 2 * held / max(1, len(words) + len(own))
        if likeness < least and held < TAKEN_IN * len(words):
            continue
        likeness += SAME_HEADING * (passage.heading == cited.heading)
        if likeness > best_likeness:
            best, best_likeness = passage, likeness
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

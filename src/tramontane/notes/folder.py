"""FOLDER → NOTES: every readable file below a folder; what is left out is named with its reason.

Nothing outside the folder is ever read: links are not followed, and a name that turns out to be
a pipe or a device is left alone.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tramontane.errors import NotesError
from tramontane.notes.apart import Apart
from tramontane.notes.decode import decode
from tramontane.notes.ignore import IGNORE_FILE, Rule, is_ignored, read_rules
from tramontane.notes.note import FolderReading, Note, Skipped
from tramontane.notes.reader import UnreadableError, is_document, read_note, why_no_kind

MAX_NOTE_BYTES = 20 * 1024 * 1024
# Most bytes of a PDF or docx are pictures, which are not read.
MAX_DOCUMENT_BYTES = 100 * 1024 * 1024
MAX_FOLDERS = 100
NUM_TRIES = 3
# Some file systems count time in steps of two seconds.
SETTLED_NS = 3_000_000_000

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files that may be notes, in order, as paths relative to the folder.

    `states` has what the file system said of each that has lain still for a while: as long as it
    says the same, the bytes are the same.
    """

    paths: list[str]
    skipped: list[Skipped]
    states: dict[str, str] = field(default_factory=dict)


def read_folder(folder: Path, report: Report = lambda *_: None) -> FolderReading:
    """Returns every note below `folder`, and what was left out.

    Raises NotesError when there is no such folder or nothing in it can be read.
    """
    notes: list[Note] = []
    skipped: list[Skipped] = []
    for found in iter_folder(folder, report):
        (notes if isinstance(found, Note) else skipped).append(found)
    if not notes:
        raise NotesError(nothing_readable(folder, skipped))
    return FolderReading(notes, skipped)


def iter_folder(folder: Path, report: Report = lambda *_: None) -> Iterator[Note | Skipped]:
    """Yields notes and what was left out, holding one note at a time."""
    listing = list_folder(folder)
    yield from listing.skipped
    with Apart() as apart:
        for done, path in enumerate(listing.paths, start=1):
            try:
                yield read_note(path, read_bytes(folder, path), apart)
            except UnreadableError as error:
                yield error.skipped
            report("reading notes", done, len(listing.paths))


def nothing_readable(folder: Path, skipped: list[Skipped]) -> str:
    """Returns the sentence for a folder without notes, with up to three of the reasons."""
    reasons = "; ".join(f"{one.path}: {one.reason}" for one in skipped[:3])
    more = f" (and {len(skipped) - 3} more)" if len(skipped) > 3 else ""
    found = f"left out: {reasons}{more}" if skipped else "the folder is empty"
    kinds = "Notes are Markdown, org, plain text, HTML, PDF or docx files"
    return f"{folder}: no notes found; {found}. {kinds}"


def list_folder(folder: Path) -> FolderListing:
    """Returns what is below `folder` without opening any note."""
    if obstacle := why_no_folder(folder):
        raise NotesError(obstacle)
    listing = FolderListing([], [])
    _list_below(folder, "", (), listing)
    listing.paths.sort()
    listing.skipped.sort(key=lambda one: one.path)
    return listing


def why_no_folder(folder: Path) -> str | None:
    """Returns the sentence for what is no folder that can be looked at, None for one that is."""
    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            return None
        what = "is a file, not a folder"
    except (FileNotFoundError, NotADirectoryError):
        what = "no such folder"
    except (OSError, ValueError) as error:
        what = f"cannot be looked at ({getattr(error, 'strerror', None) or error})"
    return f"{folder}: {what}; give the folder that holds your notes"


def _list_below(
    folder: Path, at: str, rules: tuple[tuple[str, tuple[Rule, ...]], ...], listing: FolderListing
) -> None:
    try:
        with os.scandir(folder / at) as entries:
            entries = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        listing.skipped.append(_passing(at or ".", error))
        return
    if any(entry.name == IGNORE_FILE and entry.is_file() for entry in entries):
        rules = (*rules, (at, _ignore_rules(folder, f"{at}{IGNORE_FILE}")))
    for entry in entries:
        path = at + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        reason = _reason_to_skip(folder, path, entry, is_folder, rules)
        if reason:
            shown = path.encode("utf-8", "backslashreplace").decode()
            if entry.name != IGNORE_FILE:
                listing.skipped.append(Skipped(shown + "/" * is_folder, reason))
        elif is_folder:
            _list_below(folder, path + "/", rules, listing)
        else:
            listing.paths.append(path)
            with suppress(OSError):  # gone again already: reading it will tell
                if state := _state_of(entry.stat(follow_symlinks=False)):
                    listing.states[path] = state


def _state_of(found: os.stat_result) -> str | None:
    """None while the file is so new that a further change could bear the same time."""
    changed_ns = max(found.st_mtime_ns, found.st_ctime_ns)
    if changed_ns > time.time_ns() - SETTLED_NS:
        return None
    parts = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return ":".join(map(str, parts))


def _reason_to_skip(
    folder: Path,
    path: str,
    entry: os.DirEntry,
    is_folder: bool,
    rules: tuple[tuple[str, tuple[Rule, ...]], ...],
) -> str | None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not valid text; rename it"
    if entry.name.startswith("."):
        return "hidden"
    if path.count("/") > MAX_FOLDERS:
        return f"nested deeper than {MAX_FOLDERS} folders"
    if entry.is_symlink():
        return _about_link(folder, path)
    for at, of_one_file in rules:
        if is_ignored(path[len(at) :], is_folder, of_one_file):
            return f"ignored by {at}{IGNORE_FILE}"
    if is_folder:
        return None
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    return why_no_kind(entry.name)


def _about_link(folder: Path, path: str) -> str:
    try:
        target = (folder / path).resolve(strict=True)
    except (OSError, RuntimeError):
        return "a link that leads nowhere or round in a circle"
    if target.is_relative_to(folder.resolve()):
        return "a link to something inside the folder, which is read at its own place"
    return "a link that leads out of the folder"


def _ignore_rules(folder: Path, path: str) -> tuple[Rule, ...]:
    try:
        return read_rules(decode(read_bytes(folder, path))[0])
    except (UnreadableError, ValueError) as error:
        # Going on without its rules could take in what the owner meant to keep out.
        raise NotesError(
            f"{folder / path}: cannot be read ({error}); repair or remove it"
        ) from None


def read_bytes(folder: Path, path: str) -> bytes:
    """Returns the bytes of one file as they stood at one moment, or raises UnreadableError."""
    for _ in range(NUM_TRIES):
        try:
            handle = _open_below(folder, path)
            with os.fdopen(handle, "rb") as file:
                before = os.fstat(handle)
                if not stat.S_ISREG(before.st_mode):
                    raise UnreadableError(Skipped(path, "not a regular file"))
                if reason := why_too_large(path, before.st_size):
                    raise UnreadableError(Skipped(path, reason))
                data = file.read(before.st_size + 1)
                after = os.fstat(handle)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise UnreadableError(Skipped(path, "vanished while the folder was read")) from None
            if error.errno == errno.ELOOP:
                raise UnreadableError(
                    Skipped(path, "became a link while the folder was read")
                ) from None
            raise UnreadableError(_passing(path, error)) from None
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and (
            len(data) == before.st_size
        ):
            return data
    raise UnreadableError(Skipped(path, "kept changing while it was read", is_passing=True))


def _open_below(folder: Path, path: str) -> int:
    """Returns a handle of the file; each name on the way is refused when it has become a link."""
    *folders, name = path.split("/")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for inner in folders:
            below = os.open(inner, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        # O_NONBLOCK: opening a pipe that has taken the file's place must not wait for ever.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)


def why_too_large(path: str, num_bytes: int) -> str | None:
    """Returns why a file of so many bytes is no note, None when it may be one."""
    most, size = MAX_DOCUMENT_BYTES if is_document(path) else MAX_NOTE_BYTES, 1024 * 1024
    if num_bytes <= most:
        return None
    return f"{num_bytes / size:.0f} MB, and such a note may have {most // size} MB; split it"


def _passing(path: str, error: OSError) -> Skipped:
    return Skipped(path, f"cannot be read now: {error.strerror or error}", is_passing=True)

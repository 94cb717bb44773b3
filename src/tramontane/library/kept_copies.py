"""FILES → COPIES: folders whose place a browser hides, kept below the data folder.

A copy comes file by file into a hidden neighbour, on which a lock lies as long as somebody sends,
and takes its name at the end. Whatever interrupts it leaves the copy there was or the new one.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time

from tramontane.errors import DiskFull, NotesError, NotFound, RequestError, TramontaneError
from tramontane.files import held_alone
from tramontane.library.copy_names import copy_name, why_not_kept
from tramontane.notes.folder import MAX_FOLDERS, list_folder, nothing_readable, why_too_large
from tramontane.notes.ignore import IGNORE_FILE
from tramontane.notes.note import Skipped
from tramontane.notes.reader import ENDINGS

MAX_FILES = 50_000
MAX_BYTES = 2 << 30
# For whoever sends, to leave at home what isn't kept.
MAY_COME = {
    "endings": sorted(ENDINGS),
    "ignore_file": IGNORE_FILE,
    "most_files": MAX_FILES,
    "most_bytes": MAX_BYTES,
    "most_folders": MAX_FOLDERS,
}
# A copy that nobody reads may belong to a page that is still open.
SECONDS_UNREAD = 24 * 3600
# Somebody may still write into what is being removed.
NUM_TRIES = 20
COMING, BEFORE = "part", "old"
LEFTOVER = re.compile(rf"\.(?P<name>.+)\.[^.]+\.(?P<kind>{COMING}|{BEFORE})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeptCopy:
    name: str
    folder: Path
    num_files: int
    num_bytes: int


@dataclass(slots=True)
class Coming:
    """A file of which not all bytes are here yet."""

    size: int
    here: int = 0
    is_made: bool = False


class KeptCopies:
    """The copies in one folder; safe to use from several threads and processes."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def ls(self) -> list[KeptCopy]:
        """Returns every copy, by name."""
        return [kept_copy(folder) for folder in self._folders()]

    def find(self, name: str) -> KeptCopy:
        """Returns one copy; raises NotFound with the names there are."""
        for folder in self._folders():
            if folder.name == name:
                return kept_copy(folder)
        names = ", ".join(folder.name for folder in self._folders())
        raise NotFound(f"no copy {name[:80]!r}; " + (f"there are: {names}" if names else "none is"))

    def holds(self, folder: Path) -> bool:
        """Returns whether a folder is a copy of ours, and not somebody's own."""
        return folder in self._folders()

    def free_name(self, name: str) -> str:
        """Returns the name itself, or with a number that no copy bears yet."""
        there = {folder.name.casefold() for folder in self._folders()}
        tried, number = name, 1
        while tried.casefold() in there:
            number += 1
            tried = f"{name}-{number}"
        return tried

    def begin(self, told: str) -> "Arrival":
        """Returns a copy that may come; at its end it replaces the one of the same name.

        `told` is what the folder is called where it comes from; the copy's name is made of it.
        """
        name = copy_name(told)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.mend()
            with self.alone():
                prefix, suffix = f".{name}.", f".{COMING}"
                made = Path(tempfile.mkdtemp(dir=self.folder, prefix=prefix, suffix=suffix))
                return Arrival(self, name, made)
        except OSError as error:
            raise explained(error, name) from error

    def of(self, name: str, folder: str, read: Iterable[Path]) -> list[KeptCopy]:
        """Returns the copies that go with a collection of this name and folder: its own, and such
        of its name as nobody reads. `read` are the folders of all other collections."""
        elsewhere = set(read)
        return [
            copy
            for copy in self.ls()
            if copy.folder not in elsewhere
            and (str(copy.folder) == folder or copy.name.casefold() == name.casefold())
        ]

    def remove(self, name: str) -> None:
        """Removes a copy for good, with what is coming to take its place."""
        if not self.folder.is_dir():
            return
        with self.alone():
            gone = self._hidden(name, COMING)
            with suppress(FileNotFoundError):
                os.rename(self.folder / name, gone)
            for left, of, _ in self._leftovers():
                if of == name:
                    remove_tree(left)

    def mend(self) -> None:
        """Ends what an interruption left: a copy that was to be replaced is put back, files of one
        that never came whole are removed."""
        if not self.folder.is_dir():
            return
        with self.alone():
            for left, name, kind in self._leftovers():
                if kind == BEFORE and not os.path.lexists(self.folder / name):
                    os.rename(left, self.folder / name)
                elif kind == BEFORE or not is_held(left):
                    remove_tree(left)

    def sweep(self, read: Iterable[Path]) -> list[KeptCopy]:
        """Mends, and removes the copies older than a day that nobody reads; returns these.

        `read` are the folders of all collections, and of work that waits.
        """
        self.mend()
        wanted, ends = set(read), time() - SECONDS_UNREAD
        unread = [
            copy
            for copy in self.ls()
            if copy.folder not in wanted and copy.folder.stat().st_mtime < ends
        ]
        for copy in unread:
            self.remove(copy.name)
        return unread

    def alone(self) -> AbstractContextManager[None]:
        return held_alone(self.folder / ".lock", f"{self.folder}: the copies", waits=True)

    def take_place(self, arrived: Path, name: str) -> None:
        """Gives a copy that is whole its name; the one before it goes."""
        target, before = self.folder / name, self._hidden(name, BEFORE)
        with self.alone():
            try:
                with suppress(FileNotFoundError):
                    os.rename(target, before)
                os.rename(arrived, target)
            except BaseException:
                if os.path.lexists(before) and not os.path.lexists(target):
                    os.rename(before, target)
                raise
            if os.path.lexists(before):
                remove_tree(before)

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        folders = self.folder.resolve().iterdir()
        return sorted(
            one
            for one in folders
            if not one.name.startswith(".") and not one.is_symlink() and one.is_dir()
        )

    def _leftovers(self) -> Iterator[tuple[Path, str, str]]:
        """Yields each hidden neighbour with the copy's name and what it is."""
        for path in sorted(self.folder.iterdir()):
            if found := LEFTOVER.fullmatch(path.name):
                yield path, found["name"], found["kind"]

    def _hidden(self, name: str, kind: str) -> Path:
        return self.folder / f".{name}.{secrets.token_hex(4)}.{kind}"


class Arrival:
    """A copy that is coming, in files and their pieces; safe to use from several threads.

    Once it has ended, by `finish` or `cancel`, everything but `cancel` raises NotFound.
    """

    def __init__(self, copies: KeptCopies, name: str, folder: Path):
        self.copies, self.name, self.folder = copies, name, folder
        self.handle: int | None = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        # Lives as long as this process at most, so that others see what nobody sends any more.
        fcntl.flock(self.handle, fcntl.LOCK_EX)
        self.coming: dict[str, Coming] = {}
        self.names: set[str] = set()
        self.num_bytes = 0
        self.lock = threading.Lock()

    def put(self, path: str, data: bytes, *, at: int = 0, size: int | None = None) -> None:
        """Keeps a piece of the file `path`, which has `size` bytes in all; pieces come in order.

        Raises NotesError for a file that isn't kept, while others may be; RequestError for more
        than a copy may hold or a piece out of turn, DiskFull where no room is left, NotFound once
        the copy is no longer waited for.
        """
        size = at + len(data) if size is None else size
        with self.lock:
            handle = self._open_handle()
            if at == 0:
                self._check(path, size)
            elif path not in self.coming or self.coming[path].here != at:
                raise RequestError(f"{path[:200]}: no piece is waited for at byte {at}")
            try:
                self._write(handle, path, at, data)
            except OSError as error:
                self._leave_out(handle, path)
                raise explained(error, path) from error

    def finish(self) -> tuple[KeptCopy, list[Skipped]]:
        """Makes it the copy of its name; returns it, and what its ignore files left out.

        Raises NotesError when no note came. Either way it has ended.
        """
        try:
            with self.lock:
                handle = self._open_handle()
                skipped = [Skipped(path, "did not come whole") for path in sorted(self.coming)]
                for path in list(self.coming):
                    self._leave_out(handle, path)
                skipped += self._left_out_by_rules()
                # One call for all files: a call for each would take minutes.
                os.sync()
                self.copies.take_place(self.folder, self.name)
        except OSError as error:
            raise explained(error, self.name) from error
        finally:
            self.cancel()
        return self.copies.find(self.name), skipped

    def cancel(self) -> None:
        """Ends it; nothing of it stays."""
        with self.lock:
            if self.handle is None:
                return
            remove_tree(self.folder)
            os.close(self.handle)
            self.handle = None

    def _open_handle(self) -> int:
        if self.handle is None or not self.folder.is_dir():
            raise NotFound(f"the copy of {self.name} is no longer waited for; give it again")
        return self.handle

    def _check(self, path: str, size: int) -> None:
        if reason := why_not_kept(path) or why_too_large(path, size):
            raise NotesError(f"{path[:200]}: {reason}")
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        if name in self.names:
            raise NotesError(f"{path}: a file came before it whose name is spelt alike")
        if len(self.names) == MAX_FILES or self.num_bytes + size > MAX_BYTES:
            raise RequestError(
                f"a copy holds {MAX_FILES:,} files and {MAX_BYTES >> 30} GB at most; type the "
                "folder's path instead, then nothing is copied"
            )
        self.names.add(name)
        self.num_bytes += size
        self.coming[path] = Coming(size)

    def _write(self, handle: int, path: str, at: int, data: bytes) -> None:
        coming = self.coming[path]
        if at + len(data) > coming.size:
            self._leave_out(handle, path)
            raise RequestError(f"{path}: more came than the {coming.size:,} bytes it was to have")
        flags = os.O_APPEND if coming.is_made else os.O_CREAT | os.O_EXCL
        with folder_below(handle, path) as (folder, name):
            file = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o600, dir_fd=folder)
        coming.is_made = True
        with os.fdopen(file, "wb") as writing:
            writing.write(data)
        coming.here += len(data)
        if coming.here == coming.size:
            del self.coming[path]

    def _leave_out(self, handle: int, path: str) -> None:
        coming = self.coming.pop(path)
        self.num_bytes -= coming.size
        if coming.is_made:
            with suppress(OSError), folder_below(handle, path) as (folder, name):
                os.unlink(name, dir_fd=folder)

    def _left_out_by_rules(self) -> list[Skipped]:
        """Removes what the folder's own ignore files leave out, as if it had never come."""
        try:
            listing = list_folder(self.folder)
        except NotesError as error:
            said = str(error).replace(f"{self.folder}", self.name)
            raise NotesError(said) from None
        if not listing.paths:
            raise NotesError(nothing_readable(Path(self.name), listing.skipped))
        left_out = [one for one in listing.skipped if not one.is_passing]
        for skipped in left_out:
            remove_tree(self.folder / skipped.path)
        return left_out


def kept_copy(folder: Path) -> KeptCopy:
    sizes = [
        os.lstat(os.path.join(at, name)).st_size
        for at, _, names in os.walk(folder)
        for name in names
    ]
    return KeptCopy(folder.name, folder, len(sizes), sum(sizes))


@contextmanager
def folder_below(handle: int, path: str) -> Iterator[tuple[int, str]]:
    """Yields the open folder that holds a file below another, and the file's name in it.

    Folders on the way are made; none is followed if it is a link.
    """
    *folders, name = path.split("/")
    at = os.dup(handle)
    try:
        for inner in folders:
            with suppress(FileExistsError):
                os.mkdir(inner, 0o700, dir_fd=at)
            below = os.open(inner, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        yield at, name
    finally:
        os.close(at)


def is_held(folder: Path) -> bool:
    """Returns whether somebody still sends what is coming into a folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # whoever sent it is just removing it
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def remove_tree(path: Path) -> None:
    """Removes a folder with all that is in it, a file, or a link and not what it leads to."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for _ in range(NUM_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
    shutil.rmtree(path)


def explained(error: OSError, what: str) -> TramontaneError:
    """Returns what to say where the disk refused a copy or one of its files."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{what}: the disk is full; nothing of the copy was kept. Free some room")
    if error.errno == errno.ENOENT:
        return NotFound(f"{what}: the copy that was coming was removed meanwhile; give it again")
    return NotesError(f"{what}: cannot be kept ({error.strerror or error})")

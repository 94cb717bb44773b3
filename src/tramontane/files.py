"""Whole files or none: writing, hashing and locking, open to every folder.

A reader never sees half a file: writing goes to a temporary neighbour, reaches the disk, and
takes the final name in one step.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tramontane.errors import Busy, DiskFull

# What zipfile raises for files that are damaged, locked, or packed in a way it doesn't know.
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)


@contextmanager
def writing_whole(path: Path) -> Iterator[BinaryIO]:
    """Yields a binary file that becomes `path` when the block ends well, and vanishes otherwise.

    Its `name` is where it lies until then. Raises DiskFull when there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        with open(name, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{path}: the disk is full; nothing was written. Free some room and run it again"
            ) from error
        raise


@contextmanager
def writing_whole_folder(path: Path) -> Iterator[Path]:
    """Yields a folder that becomes `path` when the block ends well, and vanishes otherwise.

    `path` must not be there yet. Raises DiskFull when there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield made
        for file in made.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        made.chmod(0o755)
        os.rename(made, path)
    except BaseException as error:
        shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{path}: the disk is full; nothing was written. Free some room and run it again"
            ) from error
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, whole or not at all."""
    with writing_whole(path) as file:
        file.write(data)


def sha256_of(path: Path) -> str:
    """Returns the hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def held_alone(path: Path, what: str, *, waits: bool = False) -> Iterator[None]:
    """Holds the lock file `path` for the block; the lock dies with the process.

    When another process holds it, waits for it to end, or else raises Busy at once, naming `what`
    is in use.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except OSError as error:
            raise Busy(
                f"{what} is in use by another tramontane process; wait for it to end, or stop it"
            ) from error
        yield

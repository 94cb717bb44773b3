"""The folder of repacked weights: one file per model, the least recently used deleted for room.

Derived data: it can be deleted at any time, also while processes have it mapped.
"""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tramontane.engine.weights_file import Contents, open_weights, write_weights
from tramontane.errors import DiskFull
from tramontane.files import held_alone

# What a cache leaves of the disk to everything else.
LEAST_FREE_BYTES = 256 << 20


class CannotKeep(Exception):
    """Why weights cannot be kept in the cache; the model runs without it."""


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """A file of the cache. `used_at` is in seconds since 1970."""

    path: Path
    model_sha256: str
    num_bytes: int
    used_at: float


class WeightsCache:
    def __init__(self, folder: Path, most_bytes: int):
        self.folder, self.most_bytes = folder, most_bytes

    def ls(self) -> list[KeptWeights]:
        """Returns what is kept, the least recently used first."""
        kept = []
        for path in self.folder.glob("*.tiles"):
            try:
                status = path.stat()
            except FileNotFoundError:  # deleted by another process meanwhile
                continue
            model_sha256 = path.name.partition(".")[0]
            kept.append(KeptWeights(path, model_sha256, status.st_size, status.st_mtime))
        return sorted(kept, key=lambda weights: (weights.used_at, weights.path))

    def clear(self, model_sha256: str | None = None) -> list[KeptWeights]:
        """Deletes the weights of one model, or all; returns what was deleted."""
        gone = [one for one in self.ls() if model_sha256 in (None, one.model_sha256)]
        for weights in gone:
            weights.path.unlink(missing_ok=True)
        return gone

    def open(self, contents: Contents, tiles: Callable[[], Iterable[np.ndarray]]) -> BinaryIO:
        """Returns the file with those contents, written from `tiles()` where there is none.

        A file that is damaged or of another layout is written anew. Processes that want the same
        weights wait for the first to write them. Raises CannotKeep when there is no room.
        """
        path = self.folder / contents.file_name
        try:
            file = open_weights(path, contents)
            if file is None:
                with held_alone(self.folder / ".lock", "the cache of weights", waits=True):
                    file = open_weights(path, contents)
                    if file is None:
                        self.make_room(path, contents.num_bytes)
                        write_weights(path, contents, tiles())
                        file = open_weights(path, contents)
                        assert file is not None
        except DiskFull as error:
            raise CannotKeep(f"the disk is full ({self.folder})") from error
        except OSError as error:
            raise CannotKeep(str(error)) from error
        path.touch()
        return file

    def make_room(self, path: Path, num_bytes: int) -> None:
        """Deletes what was used least recently until `num_bytes` more fit, for the lock's holder.

        Raises CannotKeep when they never will.
        """
        if num_bytes > self.most_bytes:
            raise CannotKeep(
                f"they take {num_bytes / 1e9:.2f} GB, the cache may take "
                f"{self.most_bytes / 1e9:.2f} GB (setting weights_cache_gb)"
            )
        # What a killed process left half written: nobody else is writing now.
        for half_written in self.folder.glob(".*.part"):
            half_written.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        kept = self.ls()
        while kept and (
            sum(one.num_bytes for one in kept) + num_bytes > self.most_bytes
            or shutil.disk_usage(self.folder).free < num_bytes + LEAST_FREE_BYTES
        ):
            kept.pop(0).path.unlink(missing_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < num_bytes + LEAST_FREE_BYTES:
            raise CannotKeep(
                f"they take {num_bytes / 1e9:.2f} GB, the disk has {free / 1e9:.2f} GB free "
                f"({self.folder})"
            )

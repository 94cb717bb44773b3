"""A file of repacked weights: a header, then each matrix as native/matmul/matrix.h lays it out.

Nothing in the header is believed: a file is used only when its header is, byte for byte, the one
that would be written now, and its size the one that follows from it. Files are written whole and
never changed, so what processes have mapped stays as it was.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tramontane.files import writing_whole
from tramontane.native import _cpu

MAGIC = b"tramontane tiles\n"
# The number of the layout that matrix.h describes. It is the same for every instruction set.
LAYOUT = 1
LINE_BYTES, PAGE_BYTES = 64, 4096


@dataclass(frozen=True)
class Contents:
    """What a file holds: matrices of a model, as (type, rows, columns) in their order."""

    model_sha256: str
    forms: tuple[tuple[str, int, int], ...]

    @property
    def file_name(self) -> str:
        return f"{self.model_sha256}.{LAYOUT}.tiles"

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The bytes of each matrix, a multiple of a cache line as tiles are."""
        return tuple(_cpu.repacked_bytes(*form) for form in self.forms)

    @cached_property
    def header(self) -> bytes:
        table = {"layout": LAYOUT, "model": self.model_sha256, "matrices": self.forms}
        plain = MAGIC + json.dumps(table).encode()
        return plain.ljust(-(-len(plain) // PAGE_BYTES) * PAGE_BYTES)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        offsets, at = [], len(self.header)
        for size in self.sizes:
            offsets.append(at)
            at += size
        return tuple(offsets)

    @property
    def num_bytes(self) -> int:
        return len(self.header) + sum(self.sizes)


def open_weights(path: Path, contents: Contents) -> BinaryIO | None:
    """Returns the file opened, or None when it isn't there or isn't what it should be."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if (
        os.fstat(file.fileno()).st_size == contents.num_bytes
        and file.read(len(contents.header)) == contents.header
    ):
        return file
    file.close()
    return None


def write_weights(path: Path, contents: Contents, tiles: Iterable[np.ndarray]) -> None:
    """Writes the file, whole or not at all; `tiles` are the matrices' bytes in order."""
    with writing_whole(path) as file:
        file.write(contents.header)
        for stretch in tiles:
            file.write(stretch.data)
        assert file.tell() == contents.num_bytes

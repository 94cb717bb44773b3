"""A tensor to be written: what it is called, its type and shape, and its bytes when asked for.

Models are larger than memory, so bytes are made piece by piece, each when its turn has come.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from tramontane.checkpoint.blocks import BLOCKS
from tramontane.checkpoint.tensors import TensorAt, num_bytes_of, read_bytes
from tramontane.errors import CheckpointError

# The types that `quantize` writes; the other ones are read only.
WRITTEN_TYPES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")


@dataclass(frozen=True, slots=True)
class NewTensor:
    """`shape` has rows first, as PyTorch has it; `pieces` makes the bytes, in order."""

    name: str
    type: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[np.ndarray]] = field(repr=False)

    @property
    def num_bytes(self) -> int:
        return num_bytes_of(self.type, self.shape)


def copied(name: str, tensor: TensorAt) -> NewTensor:
    """Returns a tensor with the very bytes of one that is on disk."""

    def pieces() -> Iterable[np.ndarray]:
        return map(read_bytes, tensor.pieces)

    return NewTensor(name, tensor.type, tensor.shape, pieces)


def quantize(numbers: np.ndarray, tensor_type: str) -> np.ndarray:
    """Returns the bytes (uint8) that stand for float32 `numbers` in this type, as gguf makes them.

    Raises CheckpointError for a type that isn't written here or rows that aren't whole blocks.
    """
    if tensor_type not in WRITTEN_TYPES:
        raise CheckpointError(
            f"type {tensor_type!r} isn't written here; there are {', '.join(WRITTEN_TYPES)}"
        )
    num_bytes = num_bytes_of(tensor_type, numbers.shape)
    import gguf

    kind = gguf.GGMLQuantizationType[tensor_type]
    raw = np.ascontiguousarray(gguf.quantize(np.ascontiguousarray(numbers, np.float32), kind))
    raw = raw.reshape(-1).view(np.uint8)
    assert raw.nbytes == num_bytes, (raw.nbytes, num_bytes)
    return raw


def zero_bytes(tensor_type: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns bytes that stand for zeros: blocks whose scales are 0, in every type."""
    assert tensor_type in BLOCKS
    return np.zeros(num_bytes_of(tensor_type, shape), np.uint8)


def write_pieces(file: BinaryIO, tensor: NewTensor, report: Callable[[int], None]) -> str:
    """Appends the tensor's bytes to `file` and returns their SHA-256.

    `report(num_bytes)` hears of every piece written.
    """
    digest, written = hashlib.sha256(), 0
    for piece in tensor.pieces():
        raw = memoryview(np.ascontiguousarray(piece).reshape(-1)).cast("B")
        file.write(raw)
        digest.update(raw)
        written += raw.nbytes
        report(raw.nbytes)
    assert written == tensor.num_bytes, (tensor.name, written, tensor.num_bytes)
    return digest.hexdigest()


def sha256_on_disk(tensor: TensorAt) -> str:
    """Returns the SHA-256 of the bytes that stand in the file now."""
    digest = hashlib.sha256()
    for piece in tensor.pieces:
        digest.update(read_bytes(piece))
    return digest.hexdigest()

"""Where a tensor's bytes lie, and how they are read as numbers."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tramontane.checkpoint.blocks import BLOCKS, NUMBERS_IN_BLOCKS
from tramontane.checkpoint.finite import first_not_finite
from tramontane.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class TensorAt:
    """A tensor in a file: validated place, type and shape (rows first, as PyTorch has them).

    A stacked tensor whose slices lie apart (experts stored one by one) has them as `parts`, in
    order along its first axis; `file` and `offset` are then those of the first part.
    """

    name: str
    file: Path
    offset: int
    num_bytes: int
    type: str
    shape: tuple[int, ...]
    parts: tuple["TensorAt", ...] = ()

    @property
    def pieces(self) -> tuple["TensorAt", ...]:
        """The unbroken stretches of bytes that make up the tensor, in order."""
        return self.parts or (self,)


def num_bytes_of(tensor_type: str, shape: tuple[int, ...]) -> int:
    """Returns the bytes a tensor takes.

    Raises CheckpointError when its rows aren't whole blocks.
    """
    numbers, block_bytes = BLOCKS[tensor_type]
    row = shape[-1] if shape else 1
    if row % numbers:
        raise CheckpointError(
            f"rows of {row} numbers are no whole {tensor_type} blocks of {numbers}"
        )
    return math.prod(shape) // numbers * block_bytes


def read_tensor(tensor: TensorAt) -> np.ndarray:
    """Returns the tensor's numbers as a new float32 array."""
    if not tensor.parts:
        return dequantize(read_bytes(tensor), tensor.type, tensor.shape)
    stacked = np.empty(tensor.shape, np.float32)
    for i, part in enumerate(tensor.parts):
        stacked[i] = dequantize(read_bytes(part), part.type, part.shape).reshape(stacked.shape[1:])
    return stacked


def read_bytes(tensor: TensorAt) -> np.ndarray:
    """Returns the raw bytes of one piece, which stand for finite numbers.

    Read, not mapped: a file that shrinks under a mapping kills the process, here it is an error.
    """
    raw = np.fromfile(tensor.file, np.uint8, count=tensor.num_bytes, offset=tensor.offset)
    if raw.size != tensor.num_bytes:
        raise CheckpointError(
            f"{tensor.file}: tensor {tensor.name} should have {tensor.num_bytes} bytes, "
            f"{raw.size} are left; did the file change while it was open?"
        )
    if (place := first_not_finite(raw, tensor.type)) is not None:
        raise CheckpointError(
            f"{tensor.file}: number {place} of tensor {tensor.name} ({tensor.type}) is infinite or "
            "no number, and would be in every answer; the file is damaged or was made wrongly, "
            "pull it again or take another quantisation"
        )
    return raw


def dequantize(raw: np.ndarray, tensor_type: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the float32 numbers that `raw` (uint8) stands for, as a new array of `shape`."""
    if tensor_type not in BLOCKS:
        raise CheckpointError(
            f"type {tensor_type!r} is not supported; there are {', '.join(BLOCKS)}"
        )
    if raw.dtype != np.uint8 or raw.nbytes != num_bytes_of(tensor_type, shape):
        raise CheckpointError(
            f"{raw.nbytes} bytes of {raw.dtype} came for a {tensor_type} tensor of shape {shape}, "
            f"which has {num_bytes_of(tensor_type, shape)} bytes"
        )
    _, block_bytes = BLOCKS[tensor_type]
    return NUMBERS_IN_BLOCKS[tensor_type](raw.reshape(-1, block_bytes)).reshape(shape)

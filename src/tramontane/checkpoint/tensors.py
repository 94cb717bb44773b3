"""Where a tensor's bytes lie, and what numbers they stand for.

A block is the smallest piece a type stores: one number, or 32 numbers that share a scale. The
formulas are llama.cpp's (ggml-quants.c): Q4_0 w = d (q - 8), Q4_1 w = d q + m, Q8_0 w = d q, with
d and m in float16 and all arithmetic in float32.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tramontane.errors import CheckpointError

# type: (numbers in a block, bytes of a block)
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q8_0": (32, 34),
}


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
    """Returns the raw bytes of one piece.

    Read, not mapped: a file that shrinks under a mapping kills the process, here it is an error.
    """
    raw = np.fromfile(tensor.file, np.uint8, count=tensor.num_bytes, offset=tensor.offset)
    if raw.size != tensor.num_bytes:
        raise CheckpointError(
            f"{tensor.file}: tensor {tensor.name} should have {tensor.num_bytes} bytes, "
            f"{raw.size} are left; did the file change while it was open?"
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
    if tensor_type == "F32":
        return raw.view("<f4").astype(np.float32).reshape(shape)
    if tensor_type == "F16":
        return raw.view("<f2").astype(np.float32).reshape(shape)
    if tensor_type == "BF16":
        # The upper half of a float32.
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)

    numbers, block_bytes = BLOCKS[tensor_type]
    blocks = raw.reshape(-1, block_bytes)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    if tensor_type == "Q8_0":
        return (blocks[:, 2:].view(np.int8) * scale).reshape(shape)

    # Byte j of a block holds number j in its lower half and number j + 16 in its upper.
    packed = blocks[:, block_bytes - numbers // 2 :]
    quants = np.empty((len(blocks), numbers), np.float32)
    quants[:, : numbers // 2] = packed & 0x0F
    quants[:, numbers // 2 :] = packed >> 4
    if tensor_type == "Q4_0":
        quants -= 8
        quants *= scale
    else:
        quants *= scale
        quants += blocks[:, 2:4].copy().view("<f2").astype(np.float32)
    return quants.reshape(shape)

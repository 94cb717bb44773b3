"""Writes a GGUF file (v3), one tensor at a time; `gguf_file` says how the format goes."""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from tramontane.checkpoint.gguf_file import ARRAY, MAGIC, SCALARS, STRING, TYPE_NAMES
from tramontane.checkpoint.new_tensor import NewTensor, write_pieces
from tramontane.errors import CheckpointError

VERSION = 3
ALIGNMENT = 32
TYPE_NUMBERS = {name: number for number, name in TYPE_NAMES.items()}
UINT32, INT32, FLOAT32, BOOL, UINT64 = 4, 5, 6, 7, 10


def write_gguf(
    file: BinaryIO,
    metadata: Mapping[str, object],
    tensors: Sequence[NewTensor],
    report: Callable[[int], None],
) -> dict[str, str]:
    """Writes the whole file and returns each tensor's SHA-256 by its name.

    Raises CheckpointError for a metadata value that the format has no type for.
    """
    entries = b"".join(text(key) + typed(key, value) for key, value in metadata.items())
    rows, offset = [], 0
    for tensor in tensors:
        dimensions = tuple(reversed(tensor.shape))
        rows.append(
            text(tensor.name)
            + struct.pack("<I", len(dimensions))
            + struct.pack(f"<{len(dimensions)}Q", *dimensions)
            + struct.pack("<IQ", TYPE_NUMBERS[tensor.type], offset)
        )
        offset = aligned(offset + tensor.num_bytes)
    header = MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata))
    header += entries + b"".join(rows)
    file.write(header.ljust(aligned(len(header)), b"\0"))
    hashes = {}
    for tensor in tensors:
        hashes[tensor.name] = write_pieces(file, tensor, report)
        file.write(bytes(aligned(tensor.num_bytes) - tensor.num_bytes))
    return hashes


def aligned(num_bytes: int) -> int:
    return (num_bytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def typed(key: str, value: object) -> bytes:
    """Returns the value with its type before it; Python's types choose among the format's."""
    kind = type_of(value)
    if kind is None and isinstance(value, Sequence) and value:
        items = list(value)
        # Lists of whole numbers, such as the kinds of tokens, are signed in every published file.
        kinds = {INT32 if type(item) is int else type_of(item) for item in items}
        if len(kinds) == 1 and (of := kinds.pop()) is not None:
            packed = b"".join(packed_as(of, item) for item in items)
            return struct.pack("<IIQ", ARRAY, of, len(items)) + packed
    if kind is None:
        raise CheckpointError(f"{key}: {str(value)[:80]!r} can't stand in a GGUF's metadata")
    return struct.pack("<I", kind) + packed_as(kind, value)


def type_of(value: object) -> int | None:
    """Returns the number of the type of one value; None for a list and for what has none."""
    if isinstance(value, str):
        return STRING
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, float):
        return FLOAT32
    if isinstance(value, int):
        return INT32 if value < 0 else UINT32 if value < 1 << 32 else UINT64
    return None


def packed_as(kind: int, value: object) -> bytes:
    return text(value) if kind == STRING else struct.pack(SCALARS[kind], value)

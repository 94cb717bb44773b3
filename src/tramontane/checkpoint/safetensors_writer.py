"""Writes a model's weights as safetensors, in shards, one tensor at a time.

`safetensors_folder` says how the format goes. The safetensors library wants a whole file's numbers
in memory at once, and a model can be larger than that.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tramontane.checkpoint.new_tensor import NewTensor, write_pieces
from tramontane.checkpoint.safetensors_folder import DTYPE_BYTES, INDEX, SINGLE

SHARD_BYTES = 5_000_000_000
ALIGNMENT = 8


def write_weights(
    folder: Path,
    tensors: Sequence[NewTensor],
    metadata: Mapping[str, str],
    report: Callable[[int], None],
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, str]:
    """Writes the tensors to one file or to shards with an index; returns their SHA-256 by name."""
    shards = in_shards(tensors, shard_bytes)
    hashes: dict[str, str] = {}
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = SINGLE
        if len(shards) > 1:
            name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        hashes |= write_shard(folder / name, shard, metadata, report)
        index |= dict.fromkeys((tensor.name for tensor in shard), name)
    if len(shards) > 1:
        total = sum(tensor.num_bytes for tensor in tensors)
        content = {"metadata": {"total_size": total}, "weight_map": index}
        (folder / INDEX).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return hashes


def in_shards(tensors: Sequence[NewTensor], shard_bytes: int) -> list[list[NewTensor]]:
    """Returns the tensors in order, in lists of at most `shard_bytes`, or of one larger tensor."""
    shards: list[list[NewTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.num_bytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.num_bytes
    return shards


def write_shard(
    path: Path,
    tensors: Sequence[NewTensor],
    metadata: Mapping[str, str],
    report: Callable[[int], None],
) -> dict[str, str]:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    at = 0
    for tensor in tensors:
        assert tensor.type in DTYPE_BYTES, tensor.type
        header[tensor.name] = {
            "dtype": tensor.type,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.num_bytes],
        }
        at += tensor.num_bytes
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    raw = raw.ljust((len(raw) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        return {tensor.name: write_pieces(file, tensor, report) for tensor in tensors}

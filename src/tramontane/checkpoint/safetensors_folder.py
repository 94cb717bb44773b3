"""A folder as Hugging Face publishes it: config.json and safetensors, whole or in shards.

A safetensors file: the header's length (8 bytes), the header (JSON: name, dtype, shape, place),
the data. The header is parsed here and not with the safetensors library because that one keeps
the places to itself, and a runtime that maps the file needs them. Nothing is ever unpickled.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from tramontane.checkpoint.hf_config import parse_json, read_json
from tramontane.checkpoint.tensors import TensorAt
from tramontane.errors import CheckpointError

MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own limit
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
PICKLED = (".bin", ".pth", ".pt", ".pkl", ".ckpt")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# What else of a folder decides what the model is: its tokens and its turns of chat.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)


@dataclass(frozen=True, slots=True)
class SafetensorsFolder:
    """The folder's config as parsed, its tensors by the names they have there, all its files."""

    config: dict
    tensors: dict[str, TensorAt]
    files: tuple[Path, ...]


def read_folder(folder: Path) -> SafetensorsFolder:
    """Returns what the folder holds, with every place checked against the files' sizes.

    Raises CheckpointError for a folder that lacks something or holds only pickled weights.
    """
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise CheckpointError(
            f"{folder}: no config.json there; a folder with config.json and safetensors files, "
            "or a .gguf file was expected"
        )
    weights, index = weight_files(folder)
    tensors: dict[str, TensorAt] = {}
    for file in weights:
        for name, tensor in read_header(file).items():
            if name in tensors:
                raise CheckpointError(f"{file}: tensor {name} is in {tensors[name].file.name} too")
            tensors[name] = tensor
    for name, file_name in index.items():
        if name not in tensors or tensors[name].file.name != file_name:
            raise CheckpointError(f"{folder / INDEX}: tensor {name} is not in {file_name}")
    beside = [config_file, *(folder / name for name in TOKENIZER_FILES)]
    beside += [folder / INDEX] if index else []
    files = [file for file in beside if file.is_file()] + list(weights)
    return SafetensorsFolder(read_json(config_file), tensors, tuple(files))


def weight_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Returns the safetensors files, and the index's tensor: file (empty without shards)."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE], {}
    if (folder / INDEX).is_file():
        index = shards_of(folder / INDEX)
        weights = [folder / name for name in sorted(set(index.values()))]
        for file in weights:
            if not file.is_file():
                raise CheckpointError(f"{file}: this shard of the model is missing; pull it again")
        return weights, index
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
    if pickled:
        raise CheckpointError(
            f"{folder}: its weights are pickled ({pickled[0]}), and unpickling can run any code, "
            "so it isn't done here; look for the safetensors version of this model"
        )
    raise CheckpointError(f"{folder}: neither {SINGLE} nor {INDEX} is there")


def shards_of(index_file: Path) -> dict[str, str]:
    """Returns tensor: file of an index whose file names stay in the folder."""
    index = read_json(index_file).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise CheckpointError(f"{index_file}: it has no weight_map of tensors to files")
    for name in index.values():
        if type(name) is not str or "/" in name or "\\" in name or "\0" in name:
            raise CheckpointError(f"{index_file}: {name!r} is no file name")
        if not name.endswith(".safetensors"):
            raise CheckpointError(f"{index_file}: {name} is no safetensors file")
    return index


def read_header(file: Path) -> dict[str, TensorAt]:
    """Returns the tensors of one safetensors file, each whole and clear of the others."""
    try:
        with file.open("rb") as opened:
            size = file.stat().st_size
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise CheckpointError(
                    f"{file}: a header of {length} bytes is announced in a file of {size}; "
                    "it is truncated or damaged, pull it again"
                )
            raw = opened.read(length)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}") from error
    header = parse_json(raw, f"{file}: its header")
    header.pop("__metadata__", None)
    tensors = {name: placed(file, size, 8 + length, name, row) for name, row in header.items()}
    by_place = sorted(tensors.values(), key=lambda tensor: tensor.offset)
    for tensor, following in zip(by_place, by_place[1:], strict=False):
        if tensor.offset + tensor.num_bytes > following.offset:
            raise CheckpointError(f"{file}: tensors {tensor.name} and {following.name} overlap")
    return tensors


def placed(file: Path, size: int, data_at: int, name: str, row: object) -> TensorAt:
    """Returns the tensor that a row of the header describes, checked against the file's size."""
    row = row if isinstance(row, dict) else {}
    dtype, shape, place = row.get("dtype"), row.get("shape"), row.get("data_offsets")
    if not (is_counts(shape) and is_counts(place) and len(place) == 2):
        raise CheckpointError(f"{file}: the header's row for tensor {name} is damaged")
    if dtype not in DTYPE_BYTES:
        raise CheckpointError(
            f"{file}: tensor {name} is of type {dtype!r}; supported are {', '.join(DTYPE_BYTES)}"
        )
    start, end = place
    num_bytes = math.prod(shape) * DTYPE_BYTES[dtype]
    if end - start != num_bytes or data_at + end > size:
        raise CheckpointError(
            f"{file}: tensor {name} of shape {tuple(shape)} has {num_bytes} bytes, the header puts "
            f"it at {start} to {end} of {size - data_at}; it is truncated or damaged, pull it again"
        )
    return TensorAt(name, file, data_at + start, num_bytes, dtype, tuple(shape))


def is_counts(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 8
        and all(type(item) is int and 0 <= item < 1 << 63 for item in value)
    )

"""A folder in Mistral's own layout: params.json, and consolidated*.safetensors, whole or in shards.

Shards are told by their names alone: consolidated-00001-of-00003.safetensors, or
consolidated.00.safetensors and so on. Where an index names them, it is believed first.
"""

import re
from pathlib import Path

from tramontane.checkpoint.hf_config import read_json
from tramontane.checkpoint.safetensors_folder import (
    PICKLED,
    SafetensorsFolder,
    read_header,
    shards_of,
)
from tramontane.checkpoint.tensors import TensorAt
from tramontane.errors import CheckpointError

PARAMS, CONSOLIDATED_INDEX = "params.json", "consolidated.safetensors.index.json"
COUNTED = re.compile(r"consolidated-(\d{5})-of-(\d{5})\.safetensors")
NUMBERED = re.compile(r"consolidated\.(\d{2})\.safetensors")
MAX_SHARDS = 4096
# Of several the first that is there, so that a newer file goes before the one it replaced.
TOKENIZERS = ("tekken.json", "tokenizer.model.v*", "tokenizer.model")


def read_mistral_folder(folder: Path) -> SafetensorsFolder:
    """Returns params.json as parsed, the tensors by the names they have there, all files.

    Raises CheckpointError naming a shard that is missing or a tensor that stands in two.
    """
    weights, index = consolidated_files(folder)
    tensors: dict[str, TensorAt] = {}
    for file in weights:
        for name, tensor in read_header(file).items():
            if name in tensors:
                raise CheckpointError(
                    f"{file}: tensor {name} is in {tensors[name].file.name} too; were the shards "
                    "cut within tensors, for several devices? Pull the version for one"
                )
            tensors[name] = tensor
    for name, file_name in index.items():
        if name not in tensors or tensors[name].file.name != file_name:
            raise CheckpointError(
                f"{folder / CONSOLIDATED_INDEX}: tensor {name} is not in {file_name}"
            )
    beside = [folder / PARAMS, *([folder / CONSOLIDATED_INDEX] if index else [])]
    tokenizer = tokenizer_file(folder)
    files = beside + ([tokenizer] if tokenizer else []) + weights
    return SafetensorsFolder(read_json(folder / PARAMS), tensors, tuple(files))


def tokenizer_file(folder: Path) -> Path | None:
    for pattern in TOKENIZERS:
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    return None


def consolidated_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Returns the weights' files, and the index's tensor: file (empty without one)."""
    index: dict[str, str] = {}
    if (folder / CONSOLIDATED_INDEX).is_file():
        index = shards_of(folder / CONSOLIDATED_INDEX)
        wanted = sorted(set(index.values()))
    else:
        wanted = names_wanted(folder)
    for name in wanted:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name}: this shard of the model is missing; pull it again"
            )
    return [folder / name for name in wanted], index


def names_wanted(folder: Path) -> list[str]:
    """Returns the names that the files there ask for, those that lack included."""
    names = sorted(file.name for file in folder.glob("consolidated*.safetensors"))
    if "consolidated.safetensors" in names:
        return ["consolidated.safetensors"]
    if counted := [match for name in names if (match := COUNTED.fullmatch(name))]:
        count = min(max(int(match[2]) for match in counted), MAX_SHARDS)
        return [f"consolidated-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)]
    if numbered := [match for name in names if (match := NUMBERED.fullmatch(name))]:
        last = max(int(match[1]) for match in numbered)
        return [f"consolidated.{n:02}.safetensors" for n in range(last + 1)]
    if pickled := sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED):
        raise CheckpointError(
            f"{folder}: its weights are pickled ({pickled[0]}), and unpickling can run any code, "
            "so it isn't done here; look for the safetensors version of this model"
        )
    raise CheckpointError(f"{folder}: beside {PARAMS} there is no consolidated.safetensors")

"""A file's tensors under our names: each found, of the right shape, and none left over."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from tramontane.checkpoint.families import (
    IGNORED_ENDINGS,
    OPTIONAL,
    NameMap,
    Place,
    expected_shapes,
)
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.checkpoint.tensors import TensorAt, num_bytes_of
from tramontane.errors import CheckpointError

LAYER = re.compile(r"^layers\.(\d+)\.")
NAMES_SHOWN = 5


def map_tensors(
    where: Path, stored: Mapping[str, TensorAt], names: NameMap, config: ModelConfig
) -> dict[str, TensorAt]:
    """Returns the model's tensors by our names.

    Raises CheckpointError that names those missing, misshapen or left over.
    """
    if config.num_layers > len(stored):
        raise CheckpointError(
            f"{where}: {config.num_layers} layers are announced, "
            f"but there are only {len(stored)} tensors"
        )
    found: dict[str, TensorAt] = {}
    used: set[str] = set()
    missing: list[str] = []
    for name, shape in expected_shapes(config).items():
        layer = LAYER.match(name)
        number = layer[1] if layer else ""
        places = names.get(LAYER.sub("layers.{l}.", name), ())
        for place in places:
            if tensor := take(where, stored, place, number, name, shape, used):
                found[name] = tensor
                break
        else:
            if name not in OPTIONAL:
                missing += [places[0].name.replace("{l}", number) if places else name]
    if missing:
        raise CheckpointError(
            f"{where}: missing: {listed(missing)}; is the download complete, "
            f"and does the config belong to it?"
        )
    left_over = [name for name in stored if name not in used and not name.endswith(IGNORED_ENDINGS)]
    if config.ties_embeddings:
        # Some files repeat the tied matrix; the config says that the embedding is to be used.
        left_over = [name for name in left_over if name != names["output.weight"][0].name]
    if left_over:
        raise CheckpointError(
            f"{where}: unknown to the family {config.family}: {listed(sorted(left_over))}; "
            "leaving them out would change the answers. Is this a variant that isn't supported yet?"
        )
    return found


def take(
    where: Path,
    stored: Mapping[str, TensorAt],
    place: Place,
    layer: str,
    name: str,
    shape: tuple[int, ...],
    used: set[str],
) -> TensorAt | None:
    """Returns our tensor `name` from `place`, or None when the file has nothing there."""
    in_file = place.name.replace("{l}", layer)
    if "{e}" in in_file:
        spelled = [in_file.replace("{e}", str(expert)) for expert in range(shape[0])]
        if spelled[0] not in stored:
            return None
        if lacking := [one for one in spelled if one not in stored]:
            raise CheckpointError(f"{where}: missing: {listed(lacking)}; is the download complete?")
        parts = [checked(where, stored[one], shape[1:]) for one in spelled]
        used.update(spelled)
        return stacked(where, name, shape, parts)
    if in_file not in stored:
        return None
    used.add(in_file)
    if place.part is None:
        whole = checked(where, stored[in_file], shape)
        return TensorAt(name, whole.file, whole.offset, whole.num_bytes, whole.type, shape)
    index, of = place.part
    experts, rows, columns = shape
    whole = checked(where, stored[in_file], (experts, rows * of, columns))
    num_bytes = num_bytes_of(whole.type, (rows, columns))
    parts = [
        TensorAt(
            f"{in_file}[{expert}]",
            whole.file,
            whole.offset + (expert * of + index) * num_bytes,
            num_bytes,
            whole.type,
            (rows, columns),
        )
        for expert in range(experts)
    ]
    return stacked(where, name, shape, parts)


def stacked(where: Path, name: str, shape: tuple[int, ...], parts: list[TensorAt]) -> TensorAt:
    if len({part.type for part in parts}) > 1:
        raise CheckpointError(
            f"{where}: the experts of {name} have unlike types "
            f"({listed(sorted({part.type for part in parts}))}), which isn't supported"
        )
    num_bytes = sum(part.num_bytes for part in parts)
    first = parts[0]
    return TensorAt(name, first.file, first.offset, num_bytes, first.type, shape, tuple(parts))


def checked(where: Path, tensor: TensorAt, shape: tuple[int, ...]) -> TensorAt:
    if tensor.shape != shape:
        raise CheckpointError(
            f"{where}: tensor {tensor.name} is {tensor.shape} ({math.prod(tensor.shape)} numbers), "
            f"the config asks for {shape}; were files of different models mixed?"
        )
    return tensor


def listed(names: list[str]) -> str:
    """Returns the names for a sentence, the first few of many."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")

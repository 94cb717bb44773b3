"""MODEL FILES → THE NATIVE RUNTIME: repacked once into a file that is mapped from then on, or into
memory where no file can be kept.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.tensors import TensorAt, read_bytes
from tramontane.engine.weights_cache import CannotKeep, WeightsCache
from tramontane.engine.weights_file import Contents
from tramontane.errors import CheckpointError
from tramontane.native import _cpu

log = logging.getLogger(__name__)
Report = Callable[[str, int, int], None]
# The C++ side's names for our tensors.
ATTENTION_MATRICES = ("query", "key", "value", "output")
NETWORK_MATRICES = ("gate", "up", "down")
# Bytes of a matrix that are in memory at once while they are repacked into a file.
STRETCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A matrix, and where the C++ transformer has it."""

    name: str
    layer: int
    expert: int
    tensor: TensorAt

    @property
    def form(self) -> tuple[str, int, int]:
        return (self.tensor.type, *self.tensor.shape)


def load(
    transformer: _cpu.Transformer,
    checkpoint: Checkpoint,
    cache: WeightsCache | None = None,
    report: Report | None = None,
) -> None:
    """Gives the transformer its weights, mapped from the cache where there is one.

    `report` hears of the bytes repacked, which takes a while for large models. Raises
    CheckpointError for weights that cannot be used.
    """
    for name, layer, numbers in vectors(checkpoint):
        transformer.put_vector(name, layer, numbers)
    places = list(matrices(checkpoint))
    report = report or (lambda *_: None)
    if cache is not None:
        try:
            return map_from(cache, transformer, checkpoint, places, report)
        except CannotKeep as obstacle:
            log.warning(
                "Repacked weights stay in memory for this run, and are made anew at the next: %s",
                obstacle,
            )
    for place in counted(places, report):
        with faults_of(place.tensor):
            transformer.put_matrix(
                place.name, place.layer, place.expert, *place.form, read_bytes(place.tensor)
            )


def map_from(
    cache: WeightsCache,
    transformer: _cpu.Transformer,
    checkpoint: Checkpoint,
    places: list[Place],
    report: Report,
) -> None:
    contents = Contents(checkpoint.sha256, tuple(place.form for place in places))

    def stretches() -> Iterator[np.ndarray]:
        for place in counted(places, report):
            yield from repacked(place.tensor, transformer.threads)

    with closing(cache.open(contents, stretches)) as file:
        mapped = _cpu.MappedFile(file.fileno())
    for place, offset in zip(places, contents.offsets, strict=True):
        transformer.put_mapped(place.name, place.layer, place.expert, *place.form, mapped, offset)


def counted(places: list[Place], report: Report) -> Iterator[Place]:
    """Yields the places, and tells how many of their bytes are done."""
    total, done = sum(place.tensor.num_bytes for place in places), 0
    for place in places:
        yield place
        done += place.tensor.num_bytes
        report("repacking weights, bytes", done, total)


def repacked(tensor: TensorAt, threads: int) -> Iterator[np.ndarray]:
    """Yields a matrix's tiles, a stretch of rows at a time; each array lasts until the next."""
    rows, columns = tensor.shape
    row_bytes = tensor.num_bytes // rows
    at_once = max(STRETCH_BYTES // row_bytes // 16 * 16, 16)
    for first in range(0, rows, at_once):
        count = min(at_once, rows - first)
        stretch = dataclasses.replace(
            tensor,
            name=f"{tensor.name}, from row {first}",
            offset=tensor.offset + first * row_bytes,
            num_bytes=count * row_bytes,
            shape=(count, columns),
        )
        tiles = np.empty(_cpu.repacked_bytes(tensor.type, count, columns), np.uint8)
        with faults_of(stretch):
            _cpu.repack(tensor.type, count, columns, read_bytes(stretch), tiles, threads=threads)
        yield tiles


@contextmanager
def faults_of(tensor: TensorAt) -> Iterator[None]:
    """Raises CheckpointError with the tensor's name for what cannot be repacked in the block."""
    try:
        yield
    except ValueError as error:
        raise CheckpointError(f"{tensor.file}: tensor {tensor.name}: {error}") from None


def matrices(checkpoint: Checkpoint) -> Iterator[Place]:
    config, tensors = checkpoint.config, checkpoint.tensors
    yield Place("embedding", 0, 0, tensors["embedding.weight"])
    if not config.ties_embeddings:
        yield Place("output", 0, 0, tensors["output.weight"])
    for layer in range(config.num_layers):
        at = f"layers.{layer}"
        for name in ATTENTION_MATRICES:
            tensor = tensors[f"{at}.attention.{name}.weight"]
            yield Place(f"attention.{name}", layer, 0, tensor)
        for name in NETWORK_MATRICES:
            if not config.is_mixture:
                yield Place(name, layer, 0, tensors[f"{at}.ffn.{name}.weight"])
                continue
            stack = tensors[f"{at}.experts.{name}.weight"]
            for expert in range(config.num_base_experts):
                yield Place(name, layer, expert, slice_of(stack, expert))


def slice_of(stack: TensorAt, expert: int) -> TensorAt:
    """Returns one base expert's matrix of a stack."""
    experts, *shape = stack.shape
    if stack.parts:
        return dataclasses.replace(stack.parts[expert], shape=tuple(shape))
    num_bytes = stack.num_bytes // experts
    return dataclasses.replace(
        stack, offset=stack.offset + expert * num_bytes, num_bytes=num_bytes, shape=tuple(shape)
    )


def vectors(checkpoint: Checkpoint) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yields (name, layer, float32 numbers) of what isn't multiplied as a matrix."""
    config, read = checkpoint.config, checkpoint.read
    yield "final_norm", 0, read("final_norm.weight")
    for layer in range(config.num_layers):
        at = f"layers.{layer}"
        for norm in ("attention_norm", "ffn_norm"):
            yield norm, layer, read(f"{at}.{norm}.weight")
        if config.has_query_key_norm:
            for norm in ("query_norm", "key_norm"):
                yield norm, layer, read(f"{at}.attention.{norm}.weight")
        if config.has_attention_bias:
            biases = [read(f"{at}.attention.{name}.bias") for name in ("query", "key", "value")]
            yield "qkv_bias", layer, np.concatenate(biases)
        if config.is_mixture:
            yield "route", layer, read(f"{at}.route.weight").reshape(-1)

"""What an export holds, number by number, against the base and the experts it was made from.

The bytes on disk are known to be those that were made; here they are read as any program reads
them, and must mean the mixture: a slot's place, its padding, a router row's last bit.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from tramontane.checkpoint.blocks import BLOCKS
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.new_tensor import quantize
from tramontane.checkpoint.tensors import dequantize
from tramontane.experts.slots import BASE_SLOTS, PARTS, Slots


class Rounded(Checkpoint):
    """A base whose matrices are read with the numbers they are rounded to in the export."""

    @classmethod
    def of(cls, slots: Slots) -> "Rounded":
        base = slots.checkpoint
        rounded = cls(**{f.name: getattr(base, f.name) for f in dataclasses.fields(base)})
        rounded.slots = slots
        return rounded

    @property
    def is_rounded(self) -> bool:
        return any(self.slots.written_type(n) != t.type for n, t in self.tensors.items())

    def read(self, name: str) -> np.ndarray:
        numbers, written_type = super().read(name), self.slots.written_type(name)
        if written_type == self.tensors[name].type:
            return numbers
        return dequantize(quantize(numbers, written_type), written_type, numbers.shape)


def first_stray(
    written: Checkpoint, slots: Slots, report: Callable[[str, int, int], None]
) -> str | None:
    """Returns what the first numbers are that aren't the mixture's, in words; None if all are."""
    base, experts = Rounded.of(slots), slots.as_written()
    # Rows of queries and keys lie in the order that the format wants: running shows it.
    elsewhere = ("query.weight", "key.weight")
    for name in base.tensors:
        if ".ffn." in name or name.endswith(elsewhere):
            continue
        if not np.array_equal(written.read(name), base.read(name)):
            return f"the numbers of {name} are not the base's"
    for layer in range(slots.config.num_layers):
        rows_SD = written.read(f"layers.{layer}.route.weight")
        for slot, row_D in enumerate(rows_SD):
            if not np.array_equal(row_D, wanted_row(slots, layer, slot)):
                return f"the router row of slot {slot} in layer {layer} is another"
        for part in PARTS:
            networks = written.read(f"layers.{layer}.experts.{part}.weight")
            own = base.read(f"layers.{layer}.ffn.{part}.weight")
            for slot, numbers in enumerate(networks):
                learnt = None
                if slot >= BASE_SLOTS and slots.has_network(
                    slots.experts[slot - BASE_SLOTS], layer
                ):
                    learnt = experts[slot - BASE_SLOTS][f"layers.{layer}.{part}"]
                block = BLOCKS[slots.type_of(layer, part)][0]
                for what, stretch, wanted in stretches(part, numbers, own, learnt, block):
                    if not np.array_equal(stretch, wanted):
                        return f"{what} in slot {slot} of layer {layer}, {part}, is another"
        report("comparing numbers, layers", layer + 1, slots.config.num_layers)
    return None


def wanted_row(slots: Slots, layer: int, slot: int) -> np.ndarray:
    if slot < BASE_SLOTS or not slots.has_network(slots.experts[slot - BASE_SLOTS], layer):
        return np.zeros(slots.config.model_width, np.float32)
    return slots.experts[slot - BASE_SLOTS].tensors[f"layers.{layer}.row"]


def stretches(
    part: str, numbers: np.ndarray, own: np.ndarray, learnt: np.ndarray | None, block: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yields what a slot's network holds, those numbers, and what they should be.

    Columns of down share blocks of so many; a zero in a block with others may be rounded, and only
    meets the zeros that the padded rows of gate and up give.
    """
    if part == "down":
        numbers, own = numbers.T, own.T
        learnt = None if learnt is None else learnt.T
    f, m = len(own), 0 if learnt is None else len(learnt)
    yield "the base's network", numbers[:f], own
    if learnt is not None:
        yield "the expert's network", numbers[f : f + m], learnt
    rest = numbers[f + (-(-m // block) * block if part == "down" else m) :]
    yield "the padding", rest, np.zeros_like(rest)

"""The tensors of an exported mixture, by the names of the format they are written in."""

from collections.abc import Callable, Iterator

import numpy as np

from tramontane.checkpoint.families import GGUF_NAMES, HF_NAMES, NameMap
from tramontane.checkpoint.mapping import LAYER
from tramontane.checkpoint.new_tensor import NewTensor, copied, quantize
from tramontane.checkpoint.tensors import TensorAt, dequantize, read_bytes
from tramontane.experts.slots import PARTS, Slots

# The spelling that is written, where a format has several: Mixtral's own.
PUBLISHED = "block_sparse_moe"


def gguf_tensors(slots: Slots, factors_c: np.ndarray | None = None) -> list[NewTensor]:
    """Returns the tensors of a GGUF: the networks of all slots of a layer in one.

    `factors_c` are what RoPE's frequencies are divided by, where the base has them in its config.
    """
    made = list(tensors(slots, GGUF_NAMES, "pairs"))
    if factors_c is not None:
        name = written_name(GGUF_NAMES, "rope_factors.weight", 0)
        made.append(NewTensor(name, "F32", factors_c.shape, lambda: [factors_c]))
    return made


def folder_tensors(slots: Slots) -> list[NewTensor]:
    """Returns the tensors of a Hugging Face folder: a network of each slot apart."""
    return list(tensors(slots, HF_NAMES, "halves"))


def tensors(slots: Slots, names: NameMap, rope_layout: str) -> Iterator[NewTensor]:
    config = slots.checkpoint.config
    for our_name, tensor in slots.checkpoint.tensors.items():
        match = LAYER.match(our_name)
        layer = int(match[1]) if match else 0
        general = LAYER.sub("layers.{l}.", our_name)
        if ".ffn." not in our_name:
            name = written_name(names, general, layer)
            reorder = None
            if general.endswith(("query.weight", "key.weight")):
                heads = config.num_heads if "query" in general else config.num_kv_heads
                reorder = reordering(config.rope_layout, rope_layout, heads)
            yield shared_tensor(name, tensor, slots.written_type(our_name), reorder)
        elif our_name.endswith("ffn.gate.weight"):
            # The route and all three parts stand where the base's first part stood.
            yield slots.route_tensor(written_name(names, "layers.{l}.route.weight", layer), layer)
            for part in PARTS:
                name = written_name(names, f"layers.{{l}}.experts.{part}.weight", layer)
                if "{e}" not in name:
                    yield slots.stacked_tensor(name, layer, part)
                    continue
                for slot in range(slots.config.num_base_experts):
                    yield slots.slot_tensor(name.replace("{e}", str(slot)), layer, part, slot)


def written_name(names: NameMap, general: str, layer: int) -> str:
    places = [place.name for place in names[general] if place.part is None]
    chosen = next((name for name in places if PUBLISHED in name), places[0])
    return chosen.replace("{l}", str(layer))


Reorder = Callable[[np.ndarray], np.ndarray]


def reordering(come: str, wanted: str, num_heads: int) -> Reorder | None:
    """Returns what puts the rows of a query or key matrix in another layout; None if it is that.

    "halves" has the rows that turn together half a head apart, "pairs" side by side.
    """
    if come == wanted:
        return None

    def reorder(rows: np.ndarray) -> np.ndarray:
        split = (2, -1) if wanted == "pairs" else (-1, 2)
        heads = rows.reshape(num_heads, *split, rows.shape[-1])
        return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)

    return reorder


def shared_tensor(
    name: str, tensor: TensorAt, written_type: str, reorder: Reorder | None
) -> NewTensor:
    """Returns one of the base's tensors in the type and the order of rows that are wanted."""
    if written_type == tensor.type and reorder is None:
        return copied(name, tensor)

    def pieces() -> Iterator[np.ndarray]:
        raw = read_bytes(tensor)
        if written_type != tensor.type:
            raw = quantize(dequantize(raw, tensor.type, tensor.shape), written_type)
        # Rows are whole blocks, so they change places as bytes.
        yield raw if reorder is None else reorder(raw.reshape(tensor.shape[0], -1))

    return NewTensor(name, written_type, tensor.shape, pieces)

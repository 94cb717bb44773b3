"""A dense base and notes experts as the slots of one Mixtral that computes the same.

    slots 0 and 1      [F; 0]      router row 0
    slot  d + 2        [F; E_d]    router row r_d, or [F; 0] and 0 in a layer where d has no network

Mixtral takes the best two slots and the softmax over their logits. The base's two tie at 0, so an
expert comes among the best two exactly where its gate is open, y = Σ α (F + E) = F + Σ α_d E_d, and
closed gates leave ½F + ½F, which is F (METHODS 2.2). [F; E] stands for one network of width f + m:
gate and up rows one above the other, the columns of down side by side, the rest zeros.

S slots, D model width, f the base's width, m an expert's, W the slots' width.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from tramontane.checkpoint.blocks import BLOCKS
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.checkpoint.new_tensor import WRITTEN_TYPES, NewTensor, quantize, zero_bytes
from tramontane.checkpoint.tensors import dequantize, read_bytes
from tramontane.errors import ExpertError
from tramontane.experts.expert_file import Expert

PARTS = ("gate", "up", "down")
BASE_SLOTS = 2
# Every block type of today divides rows of this length.
WIDTH_MULTIPLE = 256
# What stands for a type that is read but not written: near enough to lose next to nothing.
NEAREST_WRITTEN = "Q8_0"


def refuse_what_mixtral_lacks(config: ModelConfig) -> None:
    """Raises ExpertError, with the reason, for a base that no plain Mixtral can stand for."""
    reasons = {
        "it is a mixture itself: its own route and the experts beside it don't fit in one Mixtral "
        "route": config.is_mixture,
        "its attention adds biases, which Mixtral has none of": config.has_attention_bias,
        "it norms queries and keys, which Mixtral doesn't": config.has_query_key_norm,
        "it multiplies embeddings, residuals or logits by factors of its own, which Mixtral "
        "doesn't": any(
            getattr(config, name) != default
            for name, default in (
                ("embedding_multiplier", 1.0),
                ("attention_multiplier", None),
                ("residual_multiplier", 1.0),
                ("logits_scaling", 1.0),
            )
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise ExpertError(
                f"a mixture on this base ({config.family}) can't be exported as a Mixtral: "
                f"{reason}. Dense Llama- and Mistral-type bases can"
            )


def mixtral_config(config: ModelConfig, experts: Sequence[Expert]) -> ModelConfig:
    """Returns the config of the Mixtral that base and experts become.

    Raises ExpertError when there is no expert, or the base is one that Mixtral can't stand for.
    """
    refuse_what_mixtral_lacks(config)
    if not experts:
        raise ExpertError(
            "there is no expert in this mixture, so its export would be the base; put one in place "
            "with `tramontane mixture add`, or take the base's own file"
        )
    widest = max(
        len(tensor)
        for expert in experts
        for name, tensor in expert.tensors.items()
        if name.endswith(".gate")
    )
    width = math.ceil((config.ffn_width + widest) / WIDTH_MULTIPLE) * WIDTH_MULTIPLE
    return dataclasses.replace(
        config,
        family="mixtral",
        ffn_width=width,
        num_base_experts=BASE_SLOTS + len(experts),
        num_chosen_experts=2,
        renormalises_route=True,
    )


class Loss:
    """How far numbers moved by being rounded to a type: root of the sums of squares, a ratio."""

    def __init__(self):
        self.moved = self.whole = 0.0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        self.moved += float(np.square(before - after, dtype=np.float64).sum())
        self.whole += float(np.square(before, dtype=np.float64).sum())

    @property
    def ratio(self) -> float:
        return math.sqrt(self.moved / self.whole) if self.whole else 0.0


class Slots:
    """The feed-forward tensors of the export, made layer by layer when their turn comes."""

    def __init__(self, checkpoint: Checkpoint, experts: Sequence[Expert], wanted_type: str | None):
        """`wanted_type` is the type of all matrices; None leaves each in the base's own."""
        self.checkpoint, self.wanted_type = checkpoint, wanted_type
        self.experts = sorted(experts, key=lambda expert: expert.hash)
        self.config = mixtral_config(checkpoint.config, self.experts)
        for expert in self.experts:
            refuse_misfit(expert, checkpoint.config)
        # What rounding cost, in the base's networks and in the experts'.
        self.losses = {"base": Loss(), "experts": Loss()}

    def written_type(self, our_name: str) -> str:
        """Returns the type in which what was this tensor of the base is written."""
        tensor = self.checkpoint.tensors[our_name]
        if self.wanted_type:
            return self.wanted_type if len(tensor.shape) > 1 else "F32"
        if ".ffn." in our_name and tensor.type not in WRITTEN_TYPES:
            # Experts stand in one tensor with the base's own network, and have to be rounded.
            return NEAREST_WRITTEN
        return tensor.type

    def type_of(self, layer: int, part: str) -> str:
        """Returns the type in which a layer's gate, up or down is written."""
        return self.written_type(f"layers.{layer}.ffn.{part}.weight")

    def base_tensor(self, layer: int, part: str):
        return self.checkpoint.tensors[f"layers.{layer}.ffn.{part}.weight"]

    def has_network(self, expert: Expert, layer: int) -> bool:
        """Whether an expert's gate can open in a layer; a row of zeros never does."""
        row = expert.tensors.get(f"layers.{layer}.row")
        return row is not None and bool(row.any())

    def route_SD(self, layer: int) -> np.ndarray:
        """Returns the layer's router rows, float32."""
        rows_SD = np.zeros((self.config.num_base_experts, self.config.model_width), np.float32)
        for slot, expert in enumerate(self.experts, start=BASE_SLOTS):
            if self.has_network(expert, layer):
                rows_SD[slot] = expert.tensors[f"layers.{layer}.row"]
        return rows_SD

    def route_tensor(self, name: str, layer: int) -> NewTensor:
        rows_SD = self.route_SD(layer)
        return NewTensor(name, "F32", rows_SD.shape, lambda: [rows_SD])

    def stacked_tensor(self, name: str, layer: int, part: str) -> NewTensor:
        """Returns one tensor of a part's networks in all slots, one after the other."""
        slots = range(self.config.num_base_experts)
        return NewTensor(
            name,
            self.type_of(layer, part),
            (len(slots), *self.shape(part)),
            lambda: self.made(layer, part, slots),
        )

    def slot_tensor(self, name: str, layer: int, part: str, slot: int) -> NewTensor:
        return NewTensor(
            name,
            self.type_of(layer, part),
            self.shape(part),
            lambda: self.made(layer, part, [slot]),
        )

    def shape(self, part: str) -> tuple[int, int]:
        W, D = self.config.ffn_width, self.config.model_width
        return (D, W) if part == "down" else (W, D)

    def made(self, layer: int, part: str, slots: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the bytes of each of these slots' networks in a layer."""
        base = self.base_bytes(layer, part)
        for slot in slots:
            expert = self.experts[slot - BASE_SLOTS] if slot >= BASE_SLOTS else None
            yield self.joined(layer, part, base, expert)

    def base_bytes(self, layer: int, part: str) -> np.ndarray:
        """Returns F's bytes in the type written: its own where that is the same."""
        tensor, wanted = self.base_tensor(layer, part), self.type_of(layer, part)
        raw = read_bytes(tensor)
        if tensor.type == wanted:
            return raw
        numbers = dequantize(raw, tensor.type, tensor.shape)
        raw = quantize(numbers, wanted)
        self.losses["base"].add(numbers, dequantize(raw, wanted, tensor.shape))
        return raw

    def joined(self, layer: int, part: str, base: np.ndarray, expert: Expert | None) -> np.ndarray:
        """Returns the bytes of [F; E] padded with zeros, or of [F; 0]."""
        tensor_type, f = self.type_of(layer, part), self.checkpoint.config.ffn_width
        rest_width = self.config.ffn_width - f
        D = self.config.model_width
        rest_shape = (D, rest_width) if part == "down" else (rest_width, D)
        rest = zero_bytes(tensor_type, rest_shape)
        if expert is not None and self.has_network(expert, layer):
            numbers = np.zeros(rest_shape, np.float32)
            of_expert = expert.tensors[f"layers.{layer}.{part}"]
            numbers[: of_expert.shape[0], : of_expert.shape[1]] = of_expert
            rest = quantize(numbers, tensor_type)
            self.losses["experts"].add(numbers, dequantize(rest, tensor_type, rest_shape))
        if part != "down":
            return np.concatenate([base, rest])
        return np.concatenate([base.reshape(D, -1), rest.reshape(D, -1)], axis=1)

    def as_written(self) -> list[dict[str, np.ndarray]]:
        """Returns the experts' tensors with the numbers that the export holds for them."""
        return [
            {name: self.rounded(name, tensor) for name, tensor in expert.tensors.items()}
            for expert in self.experts
        ]

    def rounded(self, name: str, tensor: np.ndarray) -> np.ndarray:
        _, layer, part = name.split(".")
        if part == "row":
            return tensor
        tensor_type = self.type_of(int(layer), part)
        # A block may hold numbers and the zeros after them.
        lacking = -tensor.shape[-1] % BLOCKS[tensor_type][0]
        padded = np.pad(tensor, ((0, 0), (0, lacking)))
        numbers = dequantize(quantize(padded, tensor_type), tensor_type, padded.shape)
        return np.ascontiguousarray(numbers[:, : tensor.shape[-1]])


def refuse_misfit(expert: Expert, config: ModelConfig) -> None:
    """Raises ExpertError for an expert that was learnt on a base of another shape."""
    for name, tensor in expert.tensors.items():
        _, layer, part = name.split(".")
        width = len(tensor) if part == "down" else tensor.shape[-1]
        if width != config.model_width or int(layer) >= config.num_layers:
            raise ExpertError(
                f"{expert.name}: tensor {name} has shape {tensor.shape}, the base has "
                f"{config.num_layers} layers of width {config.model_width}; was it learnt on "
                "another model?"
            )

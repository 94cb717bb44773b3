"""What a transformer's shape is: one frozen record for all families, checked when made."""

import math
from dataclasses import dataclass
from typing import Literal

from tramontane.errors import CheckpointError

# Bounds that no published model comes near: they turn damaged numbers into errors before
# anything is sized by them.
LARGEST = {
    "vocab_size": 1 << 24,
    "model_width": 1 << 18,
    "ffn_width": 1 << 20,
    "num_layers": 1024,
    "num_heads": 4096,
    "num_kv_heads": 4096,
    "head_width": 1 << 14,
    "max_context_tokens": 1 << 30,
    "num_base_experts": 4096,
    "num_chosen_experts": 4096,
    "sliding_window": 1 << 30,
}
MULTIPLIERS = (
    "embedding_multiplier",
    "attention_multiplier",
    "residual_multiplier",
    "logits_scaling",
)
SWITCHES = (
    "ties_embeddings",
    "renormalises_route",
    "has_attention_bias",
    "has_query_key_norm",
)
MAY_BE_ZERO = {"num_base_experts", "num_chosen_experts"}


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeScaling:
    """How positions are stretched beyond the context a model first learnt.

    linear: every angle is divided by `factor`. llama3: slow angles are divided by `factor`, fast
    ones kept, with a smooth passage between the two frequencies.
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192

    def __post_init__(self):
        if self.kind not in ("linear", "llama3"):
            raise CheckpointError(
                f"RoPE scaling {self.kind!r} is unknown; supported: linear, llama3"
            )
        for name in ("factor", "low_freq_factor", "high_freq_factor"):
            check_positive(f"RoPE scaling's {name}", getattr(self, name))
        if self.kind == "llama3":
            if self.high_freq_factor <= self.low_freq_factor:
                raise CheckpointError(
                    f"RoPE scaling: high_freq_factor={self.high_freq_factor} must be above "
                    f"low_freq_factor={self.low_freq_factor}"
                )
            check_count("RoPE scaling's original_context", self.original_context, 1, 1 << 30)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A model's sizes and choices, the same whichever format they were read from.

    `rope_layout` says which elements of a head turn together: "halves" pairs i with
    i + head_width/2 (Hugging Face files), "pairs" pairs neighbours (Mistral's own files, GGUF files
    of Llama and Granite, whose query and key rows are stored in that order).

    What only some families do is off by default:

    has_attention_bias        a bias on queries, keys and values
    has_query_key_norm        queries and keys are normed, each over its whole width before heads
    renormalises_route        the weights of the chosen experts add up to 1
    sliding_window            how many tokens a token sees, itself included
    embedding_multiplier      the embedding times this
    attention_multiplier      query times key is scaled by this, and not by 1/sqrt(head_width)
    residual_multiplier       what a block gives is multiplied by this before it is added
    logits_scaling            the logits are divided by this
    """

    family: str
    vocab_size: int
    model_width: int
    ffn_width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    norm_eps: float
    rope_theta: float
    rope_layout: Literal["halves", "pairs"]
    max_context_tokens: int
    ties_embeddings: bool
    rope_scaling: RopeScaling | None = None
    num_base_experts: int = 0
    num_chosen_experts: int = 0
    renormalises_route: bool = True
    sliding_window: int | None = None
    has_attention_bias: bool = False
    has_query_key_norm: bool = False
    embedding_multiplier: float = 1.0
    attention_multiplier: float | None = None
    residual_multiplier: float = 1.0
    logits_scaling: float = 1.0

    def __post_init__(self):
        for name, largest in LARGEST.items():
            value = getattr(self, name)
            if name == "sliding_window" and value is None:
                continue
            check_count(name, value, 0 if name in MAY_BE_ZERO else 1, largest)
        check_positive("norm_eps", self.norm_eps)
        check_positive("rope_theta", self.rope_theta)
        for name in MULTIPLIERS:
            if (value := getattr(self, name)) is not None:
                check_positive(name, value)
        for name in SWITCHES:
            if type(value := getattr(self, name)) is not bool:
                raise CheckpointError(f"{name} is {str(value)[:80]!r}; true or false was expected")
        if self.num_heads % self.num_kv_heads:
            raise CheckpointError(
                f"num_heads={self.num_heads} must be a multiple of num_kv_heads={self.num_kv_heads}"
            )
        if self.head_width % 2:
            raise CheckpointError(f"head_width={self.head_width} must be even, RoPE turns pairs")
        if self.rope_layout not in ("halves", "pairs"):
            raise CheckpointError(f"rope_layout={self.rope_layout!r} must be 'halves' or 'pairs'")
        if self.num_chosen_experts > self.num_base_experts:
            raise CheckpointError(
                f"{self.num_chosen_experts} experts are to be chosen per token, "
                f"but the model has {self.num_base_experts}"
            )
        if self.num_base_experts and not self.num_chosen_experts:
            raise CheckpointError(f"{self.num_base_experts} experts, but none chosen per token")

    @property
    def attention_width(self) -> int:
        return self.num_heads * self.head_width

    @property
    def kv_width(self) -> int:
        return self.num_kv_heads * self.head_width

    @property
    def is_mixture(self) -> bool:
        return self.num_base_experts > 0


def check_count(name: str, value: object, smallest: int, largest: int) -> None:
    if type(value) is not int or not smallest <= value <= largest:
        raise CheckpointError(
            f"{name} is {value!r}; a whole number from {smallest} to {largest} was expected"
        )


def check_positive(name: str, value: object) -> None:
    if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
        raise CheckpointError(f"{name} is {value!r}; a finite number above zero was expected")

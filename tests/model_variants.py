"""The families and options that are held against transformers, and the formats of each.

One table for the tests that compare and for docs/models.md, which is made of those that ran.
"""

from dataclasses import dataclass, field

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
FOLDER, GGUF, MISTRAL = "safetensors", "gguf", "consolidated"


@dataclass(frozen=True, slots=True)
class Variant:
    """`changes` are to transformers' config of `kind`, beside the tiny sizes."""

    kind: str
    option: str = "as published"
    changes: dict[str, object] = field(default_factory=dict)
    formats: tuple[str, ...] = (FOLDER, GGUF)

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.option}"

    @property
    def is_mixture(self) -> bool:
        return self.kind in ("mixtral", "olmoe", "granitemoe")


EVERYWHERE = (FOLDER, GGUF, MISTRAL)
TIED = {"tie_word_embeddings": True}
MULTIPLIED = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.05,
    "residual_multiplier": 0.7,
    "logits_scaling": 4.0,
}

VARIANTS = (
    Variant("llama"),
    Variant("llama", "tied embeddings", TIED),
    Variant("llama", "as many key heads as query heads", {"num_key_value_heads": 6}),
    Variant("llama", "one key head", {"num_key_value_heads": 1}),
    Variant("llama", "linear RoPE scaling", {"rope_parameters": LINEAR}),
    Variant("llama", "llama3 RoPE scaling", {"rope_parameters": LLAMA3}),
    Variant(
        "llama",
        "large rope_theta",
        {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}},
    ),
    Variant("llama", "one layer", {"num_hidden_layers": 1}),
    Variant("mistral", changes={"sliding_window": None}, formats=EVERYWHERE),
    Variant("mistral", "a sliding window", {"sliding_window": 16}, EVERYWHERE),
    Variant("mistral", "seeing only itself", {"sliding_window": 1}, EVERYWHERE),
    Variant("mistral", "tied embeddings", TIED | {"sliding_window": None}, EVERYWHERE),
    Variant("qwen2"),
    Variant("qwen2", "tied embeddings", TIED),
    Variant(
        "qwen2",
        "a sliding window",
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0},
        (FOLDER,),
    ),
    Variant("granite", changes=MULTIPLIED),
    Variant("mixtral", formats=EVERYWHERE),
    Variant("mixtral", "one expert chosen", {"num_experts_per_tok": 1}, EVERYWHERE),
    Variant("mixtral", "every expert chosen", {"num_experts_per_tok": 5}),
    Variant("mixtral", "a sliding window", {"sliding_window": 16}, EVERYWHERE),
    Variant("mixtral", "tied embeddings", TIED),
    Variant("olmoe"),
    Variant("olmoe", "renormalised route", {"norm_topk_prob": True}, (FOLDER,)),
    Variant("olmoe", "few key heads", {"num_key_value_heads": 2}),
    Variant("granitemoe", changes=MULTIPLIED),
    Variant("granitemoe", "tied embeddings", MULTIPLIED | TIED),
    Variant("granitemoe", "embedding_multiplier", {"embedding_multiplier": 12.0}),
    Variant("granitemoe", "attention_multiplier", {"attention_multiplier": 0.2}),
    Variant("granitemoe", "residual_multiplier", {"residual_multiplier": 0.22}),
    Variant("granitemoe", "logits_scaling", {"logits_scaling": 6.0}),
)

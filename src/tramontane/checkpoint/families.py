"""The families of models, as data: what they are called, where their tensors are.

A new family of the same arithmetic is a row in a format's table and, where its files name things
differently, a name map.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tramontane.checkpoint.model_config import ModelConfig


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of our tensors lies in a file.

    `{l}` stands for the layer. With `{e}` each base expert has a tensor of its own. With `part`,
    the (index, of how many) of equal parts that the rows of each expert are divided into, it is a
    piece of a larger tensor.
    """

    name: str
    part: tuple[int, int] | None = None


# Our name: the places it may be in, by how files of that format spell them, newest spelling first.
NameMap = Mapping[str, tuple[Place, ...]]

GGUF_NAMES: NameMap = {
    "embedding.weight": (Place("token_embd.weight"),),
    "layers.{l}.attention_norm.weight": (Place("blk.{l}.attn_norm.weight"),),
    "layers.{l}.attention.query.weight": (Place("blk.{l}.attn_q.weight"),),
    "layers.{l}.attention.key.weight": (Place("blk.{l}.attn_k.weight"),),
    "layers.{l}.attention.value.weight": (Place("blk.{l}.attn_v.weight"),),
    "layers.{l}.attention.query.bias": (Place("blk.{l}.attn_q.bias"),),
    "layers.{l}.attention.key.bias": (Place("blk.{l}.attn_k.bias"),),
    "layers.{l}.attention.value.bias": (Place("blk.{l}.attn_v.bias"),),
    "layers.{l}.attention.query_norm.weight": (Place("blk.{l}.attn_q_norm.weight"),),
    "layers.{l}.attention.key_norm.weight": (Place("blk.{l}.attn_k_norm.weight"),),
    "layers.{l}.attention.output.weight": (Place("blk.{l}.attn_output.weight"),),
    "layers.{l}.ffn_norm.weight": (Place("blk.{l}.ffn_norm.weight"),),
    "layers.{l}.ffn.gate.weight": (Place("blk.{l}.ffn_gate.weight"),),
    "layers.{l}.ffn.up.weight": (Place("blk.{l}.ffn_up.weight"),),
    "layers.{l}.ffn.down.weight": (Place("blk.{l}.ffn_down.weight"),),
    "layers.{l}.route.weight": (Place("blk.{l}.ffn_gate_inp.weight"),),
    "layers.{l}.experts.gate.weight": (
        Place("blk.{l}.ffn_gate_exps.weight"),
        Place("blk.{l}.ffn_gate.{e}.weight"),
    ),
    "layers.{l}.experts.up.weight": (
        Place("blk.{l}.ffn_up_exps.weight"),
        Place("blk.{l}.ffn_up.{e}.weight"),
    ),
    "layers.{l}.experts.down.weight": (
        Place("blk.{l}.ffn_down_exps.weight"),
        Place("blk.{l}.ffn_down.{e}.weight"),
    ),
    "final_norm.weight": (Place("output_norm.weight"),),
    "output.weight": (Place("output.weight"),),
    "rope_factors.weight": (Place("rope_freqs.weight"),),
}

HF_NAMES: NameMap = {
    "embedding.weight": (Place("model.embed_tokens.weight"),),
    "layers.{l}.attention_norm.weight": (Place("model.layers.{l}.input_layernorm.weight"),),
    "layers.{l}.attention.query.weight": (Place("model.layers.{l}.self_attn.q_proj.weight"),),
    "layers.{l}.attention.key.weight": (Place("model.layers.{l}.self_attn.k_proj.weight"),),
    "layers.{l}.attention.value.weight": (Place("model.layers.{l}.self_attn.v_proj.weight"),),
    "layers.{l}.attention.query.bias": (Place("model.layers.{l}.self_attn.q_proj.bias"),),
    "layers.{l}.attention.key.bias": (Place("model.layers.{l}.self_attn.k_proj.bias"),),
    "layers.{l}.attention.value.bias": (Place("model.layers.{l}.self_attn.v_proj.bias"),),
    "layers.{l}.attention.query_norm.weight": (Place("model.layers.{l}.self_attn.q_norm.weight"),),
    "layers.{l}.attention.key_norm.weight": (Place("model.layers.{l}.self_attn.k_norm.weight"),),
    "layers.{l}.attention.output.weight": (Place("model.layers.{l}.self_attn.o_proj.weight"),),
    "layers.{l}.ffn_norm.weight": (Place("model.layers.{l}.post_attention_layernorm.weight"),),
    "layers.{l}.ffn.gate.weight": (Place("model.layers.{l}.mlp.gate_proj.weight"),),
    "layers.{l}.ffn.up.weight": (Place("model.layers.{l}.mlp.up_proj.weight"),),
    "layers.{l}.ffn.down.weight": (Place("model.layers.{l}.mlp.down_proj.weight"),),
    # Mixtral and OLMoE as transformers 5 holds them, then as each was published; Granite-MoE last.
    "layers.{l}.route.weight": (
        Place("model.layers.{l}.mlp.gate.weight"),
        Place("model.layers.{l}.block_sparse_moe.gate.weight"),
        Place("model.layers.{l}.block_sparse_moe.router.layer.weight"),
    ),
    "layers.{l}.experts.gate.weight": (
        Place("model.layers.{l}.mlp.experts.gate_up_proj", part=(0, 2)),
        Place("model.layers.{l}.block_sparse_moe.experts.{e}.w1.weight"),
        Place("model.layers.{l}.mlp.experts.{e}.gate_proj.weight"),
        Place("model.layers.{l}.block_sparse_moe.input_linear.weight", part=(0, 2)),
    ),
    "layers.{l}.experts.up.weight": (
        Place("model.layers.{l}.mlp.experts.gate_up_proj", part=(1, 2)),
        Place("model.layers.{l}.block_sparse_moe.experts.{e}.w3.weight"),
        Place("model.layers.{l}.mlp.experts.{e}.up_proj.weight"),
        Place("model.layers.{l}.block_sparse_moe.input_linear.weight", part=(1, 2)),
    ),
    "layers.{l}.experts.down.weight": (
        Place("model.layers.{l}.mlp.experts.down_proj"),
        Place("model.layers.{l}.block_sparse_moe.experts.{e}.w2.weight"),
        Place("model.layers.{l}.mlp.experts.{e}.down_proj.weight"),
        Place("model.layers.{l}.block_sparse_moe.output_linear.weight"),
    ),
    "final_norm.weight": (Place("model.norm.weight"),),
    "output.weight": (Place("lm_head.weight"),),
}

MISTRAL_NAMES: NameMap = {
    "embedding.weight": (Place("tok_embeddings.weight"),),
    "layers.{l}.attention_norm.weight": (Place("layers.{l}.attention_norm.weight"),),
    "layers.{l}.attention.query.weight": (Place("layers.{l}.attention.wq.weight"),),
    "layers.{l}.attention.key.weight": (Place("layers.{l}.attention.wk.weight"),),
    "layers.{l}.attention.value.weight": (Place("layers.{l}.attention.wv.weight"),),
    "layers.{l}.attention.output.weight": (Place("layers.{l}.attention.wo.weight"),),
    "layers.{l}.ffn_norm.weight": (Place("layers.{l}.ffn_norm.weight"),),
    "layers.{l}.ffn.gate.weight": (Place("layers.{l}.feed_forward.w1.weight"),),
    "layers.{l}.ffn.up.weight": (Place("layers.{l}.feed_forward.w3.weight"),),
    "layers.{l}.ffn.down.weight": (Place("layers.{l}.feed_forward.w2.weight"),),
    "layers.{l}.route.weight": (
        Place("layers.{l}.feed_forward.gate.weight"),
        Place("layers.{l}.block_sparse_moe.gate.weight"),
    ),
    "layers.{l}.experts.gate.weight": (
        Place("layers.{l}.feed_forward.experts.{e}.w1.weight"),
        Place("layers.{l}.block_sparse_moe.experts.{e}.w1.weight"),
    ),
    "layers.{l}.experts.up.weight": (
        Place("layers.{l}.feed_forward.experts.{e}.w3.weight"),
        Place("layers.{l}.block_sparse_moe.experts.{e}.w3.weight"),
    ),
    "layers.{l}.experts.down.weight": (
        Place("layers.{l}.feed_forward.experts.{e}.w2.weight"),
        Place("layers.{l}.block_sparse_moe.experts.{e}.w2.weight"),
    ),
    "final_norm.weight": (Place("norm.weight"),),
    "output.weight": (Place("output.weight"),),
}

# Tensors that some files carry and that change nothing, by the end of their name.
IGNORED_ENDINGS = ("rotary_emb.inv_freq",)

OPTIONAL = frozenset({"rope_factors.weight"})


@dataclass(frozen=True, slots=True)
class Architecture:
    """A row of a format's table: the file's own word for an architecture, and what it means.

    `reads` are further fields of ModelConfig with the keys that files of this architecture spell
    them with, `defaults` what those are where a file is silent, `implies` what the word alone says.
    """

    word: str
    family: str
    names: NameMap
    rope_layout: Literal["halves", "pairs"] = "halves"
    reads: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    implies: Mapping[str, object] = field(default_factory=dict)


GGUF_EXPERTS = {"num_base_experts": "expert_count", "num_chosen_experts": "expert_used_count"}
GGUF_MULTIPLIERS = {
    "embedding_multiplier": "embedding_scale",
    "attention_multiplier": "attention.scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
}

GGUF_ARCHITECTURES = (
    # llama.cpp calls Mixtral "llama" too; whether there are experts tells them apart.
    Architecture(
        "llama",
        "llama",
        GGUF_NAMES,
        "pairs",
        reads=GGUF_EXPERTS | {"sliding_window": "attention.sliding_window"},
        defaults={"num_base_experts": 0, "num_chosen_experts": 0, "sliding_window": None},
    ),
    Architecture("qwen2", "qwen2", GGUF_NAMES, implies={"has_attention_bias": True}),
    Architecture(
        "olmoe",
        "olmoe",
        GGUF_NAMES,
        reads=GGUF_EXPERTS,
        implies={"has_query_key_norm": True, "renormalises_route": False},
    ),
    Architecture("granite", "granite", GGUF_NAMES, "pairs", reads=GGUF_MULTIPLIERS),
    Architecture(
        "granitemoe", "granitemoe", GGUF_NAMES, "pairs", reads=GGUF_MULTIPLIERS | GGUF_EXPERTS
    ),
)

HF_EXPERTS = {"num_base_experts": "num_local_experts", "num_chosen_experts": "num_experts_per_tok"}
HF_MULTIPLIERS = {
    name: name
    for name in (
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
    )
}
HF_WINDOW = {"sliding_window": "sliding_window"}

# The defaults are those of each model_type in transformers; where they differ between its versions
# there is none here.
HF_ARCHITECTURES = (
    Architecture("llama", "llama", HF_NAMES, defaults={"rope_theta": 10000.0}),
    Architecture("mistral", "llama", HF_NAMES, reads=HF_WINDOW, defaults={"sliding_window": None}),
    Architecture(
        "mixtral",
        "mixtral",
        HF_NAMES,
        reads=HF_EXPERTS | HF_WINDOW,
        defaults={"sliding_window": None},
    ),
    Architecture(
        "qwen2",
        "qwen2",
        HF_NAMES,
        reads=HF_WINDOW,
        defaults={"sliding_window": None},
        implies={"has_attention_bias": True},
    ),
    Architecture(
        "olmoe",
        "olmoe",
        HF_NAMES,
        reads={
            "num_base_experts": "num_experts",
            "num_chosen_experts": "num_experts_per_tok",
            "renormalises_route": "norm_topk_prob",
        },
        defaults={"renormalises_route": False, "rope_theta": 10000.0},
        implies={"has_query_key_norm": True},
    ),
    Architecture("granite", "granite", HF_NAMES, reads=HF_MULTIPLIERS),
    Architecture("granitemoe", "granitemoe", HF_NAMES, reads=HF_MULTIPLIERS | HF_EXPERTS),
)

# Mistral's own layout has no word for an architecture: it is always this one.
MISTRAL = Architecture("mistral", "llama", MISTRAL_NAMES, "pairs")


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every tensor that a model of this config has, by our names."""
    D, F, E = config.model_width, config.ffn_width, config.num_base_experts
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocab_size, D)}
    for layer in range(config.num_layers):
        at = f"layers.{layer}"
        shapes[f"{at}.attention_norm.weight"] = (D,)
        shapes[f"{at}.attention.query.weight"] = (config.attention_width, D)
        shapes[f"{at}.attention.key.weight"] = (config.kv_width, D)
        shapes[f"{at}.attention.value.weight"] = (config.kv_width, D)
        if config.has_attention_bias:
            shapes[f"{at}.attention.query.bias"] = (config.attention_width,)
            shapes[f"{at}.attention.key.bias"] = (config.kv_width,)
            shapes[f"{at}.attention.value.bias"] = (config.kv_width,)
        if config.has_query_key_norm:
            shapes[f"{at}.attention.query_norm.weight"] = (config.attention_width,)
            shapes[f"{at}.attention.key_norm.weight"] = (config.kv_width,)
        shapes[f"{at}.attention.output.weight"] = (D, config.attention_width)
        shapes[f"{at}.ffn_norm.weight"] = (D,)
        if config.is_mixture:
            shapes[f"{at}.route.weight"] = (E, D)
            shapes[f"{at}.experts.gate.weight"] = (E, F, D)
            shapes[f"{at}.experts.up.weight"] = (E, F, D)
            shapes[f"{at}.experts.down.weight"] = (E, D, F)
        else:
            shapes[f"{at}.ffn.gate.weight"] = (F, D)
            shapes[f"{at}.ffn.up.weight"] = (F, D)
            shapes[f"{at}.ffn.down.weight"] = (D, F)
    shapes["final_norm.weight"] = (D,)
    if not config.ties_embeddings:
        shapes["output.weight"] = (config.vocab_size, D)
    shapes["rope_factors.weight"] = (config.head_width // 2,)
    return shapes

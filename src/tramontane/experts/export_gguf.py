"""What a GGUF of an exported mixture says of itself: its shape, its tokenizer, where it is from."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.engine.native_runtime import frequencies
from tramontane.errors import ExpertError, TokenizerError
from tramontane.experts.lineage import Lineage
from tramontane.tokenizer.gguf_tokenizer import gguf_tokenizer
from tramontane.tokenizer.tokenizer import Tokenizer

# llama.cpp's word for Llama, Mistral and Mixtral alike.
ARCHITECTURE = "llama"
# The number that stands for "mostly this type" in general.file_type.
FILE_TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q8_0": 7,
    "Q5_0": 8,
    "Q5_1": 9,
    "BF16": 32,
}
QUANTIZATION_VERSION = 2


def gguf_metadata(
    checkpoint: Checkpoint, config: ModelConfig, lineage: Lineage, matrix_type: str
) -> dict[str, object]:
    """Returns the metadata of the export; `config` is the Mixtral's.

    Raises ExpertError or TokenizerError when something can't be said in a GGUF.
    """
    return {
        "general.architecture": ARCHITECTURE,
        **general(lineage),
        "general.file_type": FILE_TYPES[matrix_type],
        "general.quantization_version": QUANTIZATION_VERSION,
        **shape(config),
        **tokenizer(checkpoint),
    }


def general(lineage: Lineage) -> dict[str, object]:
    said = {
        "general.type": "model",
        "general.name": lineage.name,
        "general.description": lineage.description,
        "general.license": lineage.licence,
        "general.license.name": lineage.licence_name,
        "general.base_model.count": 1,
        "general.base_model.0.name": lineage.base_name,
        "general.tags": ["text-generation", "mixture-of-experts"],
        "tramontane.base_sha256": lineage.base_sha256,
        "tramontane.mixture_hash": lineage.mixture_hash,
        "tramontane.experts": [f"{e.name} {e.hash}" for e in lineage.experts],
        "tramontane.owners": [e.owner or "not said" for e in lineage.experts],
        "tramontane.licences": [e.licence or "not said" for e in lineage.experts],
    }
    return {key: value for key, value in said.items() if value not in ("", None)}


def shape(config: ModelConfig) -> dict[str, object]:
    context = config.max_context_tokens
    if config.sliding_window is not None:
        # llama.cpp gives this architecture no window. Up to its width there is no difference.
        context = min(context, config.sliding_window)
    said = {
        "block_count": config.num_layers,
        "context_length": context,
        "embedding_length": config.model_width,
        "feed_forward_length": config.ffn_width,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_kv_heads,
        "attention.key_length": config.head_width,
        "attention.value_length": config.head_width,
        "attention.layer_norm_rms_epsilon": float(config.norm_eps),
        "rope.dimension_count": config.head_width,
        "rope.freq_base": float(config.rope_theta),
        "expert_count": config.num_base_experts,
        "expert_used_count": config.num_chosen_experts,
        "vocab_size": config.vocab_size,
    }
    if config.rope_scaling is not None and config.rope_scaling.kind == "linear":
        said["rope.scaling.type"] = "linear"
        said["rope.scaling.factor"] = float(config.rope_scaling.factor)
    return {f"{ARCHITECTURE}.{key}": value for key, value in said.items()}


def tokenizer(checkpoint: Checkpoint) -> Mapping[str, object]:
    """Returns the tokenizer's keys: those of the base's GGUF as they are, or made anew."""
    if any(key.startswith("tokenizer.ggml.") for key in checkpoint.metadata):
        return {
            key: value
            for key, value in checkpoint.metadata.items()
            if key.startswith("tokenizer.") and not (isinstance(value, list) and not value)
        }
    made = checkpoint.tokenizer()
    if not isinstance(made, Tokenizer):
        raise TokenizerError(
            f"{checkpoint.name} has Mistral's own tokenizer, which can't be put into a GGUF here; "
            "take the base from its Hugging Face folder"
        )
    return gguf_tokenizer(made, checkpoint.config.vocab_size)


def rope_factors(config: ModelConfig) -> np.ndarray | None:
    """Returns what each frequency is divided by where a GGUF has it as a tensor, (c,) float32."""
    if config.rope_scaling is None or config.rope_scaling.kind == "linear":
        return None
    if config.rope_scaling.kind != "llama3":
        raise ExpertError(f"RoPE scaling {config.rope_scaling.kind!r} can't stand in a GGUF")
    plain_c = frequencies(dataclasses.replace(config, rope_scaling=None))
    return (plain_c / frequencies(config)).astype(np.float32)

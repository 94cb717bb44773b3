"""Mistral's params.json as a ModelConfig; what it doesn't support is refused by name."""

from collections.abc import Mapping
from pathlib import Path

from tramontane.checkpoint.families import MISTRAL
from tramontane.checkpoint.hf_config import real, whole
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.errors import CheckpointError

READ = frozenset(
    {
        "dim",
        "n_layers",
        "head_dim",
        "hidden_dim",
        "n_heads",
        "n_kv_heads",
        "norm_eps",
        "vocab_size",
        "rope_theta",
        "sliding_window",
        "moe",
        "max_seq_len",
        "max_position_embeddings",
        "model_max_length",
        "tied_embeddings",
    }
)
# Keys that change nothing about what the weights compute.
PASSED_OVER = frozenset({"max_batch_size", "model_parallel", "dtype", "causal"})
# What Mistral's models take where params.json doesn't say, as it mostly doesn't.
USUAL_CONTEXT = 32768


def mistral_config(path: Path, raw: Mapping[str, object]) -> ModelConfig:
    """Returns the config that a params.json (at `path`, parsed as `raw`) describes, checked.

    Raises CheckpointError naming the key that is missing, of a wrong type or not supported.
    """
    for key in sorted(raw.keys() - READ - PASSED_OVER):
        if raw[key] not in (None, False):
            raise CheckpointError(
                f"{path}: {key[:80]} is {str(raw[key])[:80]!r}, which isn't known here and might "
                "change the answers; the version of this model with a config.json may do"
            )
    experts = raw.get("moe") or {}
    if not isinstance(experts, dict) or experts.keys() - {"num_experts", "num_experts_per_tok"}:
        raise CheckpointError(
            f"{path}: moe is {str(experts)[:80]!r}; num_experts and num_experts_per_tok were "
            "expected"
        )
    num_heads = whole(path, raw, "n_heads")
    model_width = whole(path, raw, "dim")
    limits = ("max_position_embeddings", "max_seq_len", "model_max_length")
    limit = next((key for key in limits if raw.get(key) is not None), limits[0])
    tied = raw.get("tied_embeddings")
    try:
        return ModelConfig(
            family="mixtral" if experts else MISTRAL.family,
            vocab_size=whole(path, raw, "vocab_size"),
            model_width=model_width,
            ffn_width=whole(path, raw, "hidden_dim"),
            num_layers=whole(path, raw, "n_layers"),
            num_heads=num_heads,
            num_kv_heads=whole(path, raw, "n_kv_heads", num_heads),
            head_width=whole(path, raw, "head_dim", model_width // max(num_heads, 1)),
            norm_eps=real(path, raw, "norm_eps"),
            rope_theta=real(path, raw, "rope_theta", 10000.0),
            rope_layout=MISTRAL.rope_layout,
            max_context_tokens=whole(path, raw, limit, USUAL_CONTEXT),
            ties_embeddings=False if tied is None else tied,
            num_base_experts=whole(path, experts, "num_experts") if experts else 0,
            num_chosen_experts=whole(path, experts, "num_experts_per_tok") if experts else 0,
            sliding_window=whole(path, raw, "sliding_window", 0) or None,
        )
    except CheckpointError as error:
        if str(error).startswith(str(path)):
            raise
        raise CheckpointError(f"{path}: {error}") from None

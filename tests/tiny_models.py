"""Tiny models with random weights, as transformers writes them and as we read them."""

from pathlib import Path

import torch
from torch import nn

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint

# Widths that are no powers of two, and a head width that isn't model width / heads.
SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}

ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def randomise(model: nn.Module, seed: int) -> None:
    """Gives every parameter a scale at which states stay near 1 and attention isn't uniform."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=g)
            if "norm" in name:
                parameter.copy_(1 + 0.3 * noise)
            elif "embed" in name:
                parameter.copy_(noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(1.5 * noise / parameter.shape[-1] ** 0.5)


# What a kind's config has beside SIZES; None takes a key of SIZES away.
KINDS: dict[str, dict[str, object]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {},
    # At their own default of 1 attention is so sharp that it blows rounding up.
    "granite": {"head_dim": None, "attention_multiplier": 0.35},
    "mixtral": {"num_local_experts": 5, "num_experts_per_tok": 2},
    "olmoe": {
        "head_dim": None,
        "num_key_value_heads": 6,
        "num_experts": 8,
        "num_experts_per_tok": 3,
        "norm_topk_prob": False,
    },
    "granitemoe": {
        "head_dim": None,
        "attention_multiplier": 0.35,
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
    },
}
CLASS_NAMES = {"granitemoe": "GraniteMoe"}


def save_tiny(kind: str, folder: Path, *, seed: int = 0, **changes) -> nn.Module:
    """Writes a random model of one of KINDS and returns transformers' model of it."""
    transformers = __import__("transformers")
    class_name = CLASS_NAMES.get(kind, kind.capitalize())
    merged = SIZES | KINDS[kind]
    sizes = {key: value for key, value in merged.items() if value is not None or key in ENDS}
    config = getattr(transformers, f"{class_name}Config")(**(sizes | changes))
    model = getattr(transformers, f"{class_name}ForCausalLM")(config).eval().float()
    randomise(model, seed)
    model.save_pretrained(folder, safe_serialization=True)
    return model


def open_tiny(kind: str, folder: Path, *, seed: int = 0, **changes) -> Checkpoint:
    """Writes a random model and returns our view of it."""
    save_tiny(kind, folder, seed=seed, **changes)
    return open_checkpoint(folder)


def random_expert(
    seed: int, layers: tuple[int, ...] = (1, 2), model_width: int = 48, expert_width: int = 16
) -> dict[str, torch.Tensor]:
    """Returns a notes expert whose gates open for about half of all tokens."""
    g = torch.Generator().manual_seed(seed)
    D, m = model_width, expert_width
    shapes = {"gate": (m, D), "up": (m, D), "down": (D, m), "row": (D,)}
    return {
        f"layers.{layer}.{name}": torch.randn(shape, generator=g) / shape[-1] ** 0.5
        for layer in layers
        for name, shape in shapes.items()
    }

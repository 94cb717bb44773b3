"""Every family and option in every format it is read from: transformers' logits, to 1e-5.

T tokens, V vocabulary.
"""

from pathlib import Path

import pytest
import torch

from model_variants import FOLDER, GGUF, LLAMA3, MISTRAL, VARIANTS, Variant
from oracle_routes import compare_dense, compare_mixture, oracle_logits, tokens
from tiny_formats import write_consolidated, write_gguf_model
from tiny_models import save_tiny
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.errors import CheckpointError

LENGTHS = (1, 2, 15, 64, 65, 200)
CASES = [(form, variant) for variant in VARIANTS for form in variant.formats]


def opened(folder: Path, form: str) -> Checkpoint:
    """Returns the model in `folder`, written anew in another format where one is asked for."""
    if form == GGUF:
        return open_checkpoint(write_gguf_model(folder, folder / "tiny.gguf"))
    if form == MISTRAL:
        return open_checkpoint(write_consolidated(folder, folder / "consolidated"))
    assert form == FOLDER
    return open_checkpoint(folder)


@pytest.mark.parametrize(
    ("form", "variant"), CASES, ids=[f"{form}: {variant.name}" for form, variant in CASES]
)
def test_logits_equal_transformers(form: str, variant: Variant, tmp_path):
    oracle = save_tiny(variant.kind, tmp_path, **variant.changes)
    checkpoint = opened(tmp_path, form)
    assert checkpoint.config.is_mixture == variant.is_mixture
    if not variant.is_mixture:
        for length in LENGTHS:
            compare_dense(oracle, checkpoint, length)
        return
    counts = [compare_mixture(oracle, checkpoint, length) for length in LENGTHS]
    num_below, num_decisions = map(sum, zip(*counts, strict=True))
    print(f"{variant.name}: {num_below} of {num_decisions} routing decisions below the margin")
    assert num_below < 0.01 * num_decisions


PLAIN = {
    "sliding_window": ("mistral", None, 16),
    "rope_parameters": ("llama", {"rope_type": "default", "rope_theta": 500.0}, LLAMA3),
    "tie_word_embeddings": ("llama", False, True),
    "norm_topk_prob": ("olmoe", False, True),
    "embedding_multiplier": ("granitemoe", 1.0, 12.0),
    "attention_multiplier": ("granitemoe", 1.0, 0.2),
    "residual_multiplier": ("granitemoe", 1.0, 0.22),
    "logits_scaling": ("granitemoe", 1.0, 6.0),
}


@pytest.mark.parametrize("option", PLAIN)
def test_the_options_change_the_answers(option, tmp_path):
    """Otherwise equality with transformers would prove nothing about them."""
    kind, without, having = PLAIN[option]
    plain = save_tiny(kind, tmp_path / "plain", **{option: without})
    changed = save_tiny(kind, tmp_path / "changed", **{option: having})
    token_ids_T = tokens(64)
    difference_TV = oracle_logits(plain, token_ids_T) - oracle_logits(changed, token_ids_T)
    assert difference_TV.abs().amax() > 0.01


@pytest.mark.parametrize("kind", ["qwen2", "olmoe"])
def test_biases_and_norms_change_the_answers(kind, tmp_path):
    oracle = save_tiny(kind, tmp_path)
    before_TV = oracle_logits(oracle, tokens(64))
    with torch.no_grad():
        for layer in oracle.model.layers:
            for own in ("q_proj.bias",) if kind == "qwen2" else ("q_norm.weight",):
                layer.self_attn.get_parameter(own).mul_(2)
    assert (oracle_logits(oracle, tokens(64)) - before_TV).abs().amax() > 0.01


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("llama", {"attention_bias": True}, "attention_bias"),
        ("olmoe", {"clip_qkv": 8.0}, "clip_qkv"),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
            "a sliding window in some layers only",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(kind, changes, message, tmp_path):
    save_tiny(kind, tmp_path, **changes)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path)

"""Our transformer beside transformers': the same files, the same logits.

T tokens, V vocabulary, E base experts, K chosen per token, L layers.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rows import EPS, allowed_error, assert_rows_close
from tiny_models import save_tiny
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.errors import CheckpointError
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import Transformer, load_transformer

LENGTHS = (1, 2, 15, 64, 65, 200)
# What the project promises in float32, whatever the bound derived for a shape allows.
PROMISED = 1e-5

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
VARIANTS = {
    "llama": ("llama", {}),
    "tied embeddings": ("llama", {"tie_word_embeddings": True}),
    "as many key heads as query heads": ("llama", {"num_key_value_heads": 6}),
    "one key head": ("llama", {"num_key_value_heads": 1}),
    "linear RoPE scaling": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    ),
    "llama3 RoPE scaling": ("llama", {"rope_parameters": LLAMA3}),
    "large rope_theta": ("llama", {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}),
    "one layer": ("llama", {"num_hidden_layers": 1}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral with a sliding window": ("mistral", {"sliding_window": 16}),
    "mistral that sees only itself": ("mistral", {"sliding_window": 1}),
}
MIXTURES = {
    "mixtral": {},
    "one expert chosen": {"num_experts_per_tok": 1},
    "every expert chosen": {"num_experts_per_tok": 5},
    "a sliding window": {"sliding_window": 16},
    "tied embeddings": {"tie_word_embeddings": True},
}


def tokens(length: int, seed: int = 0) -> Tensor:
    return torch.randint(97, (length,), generator=torch.Generator().manual_seed(seed))


def our_logits(transformer: Transformer, token_ids_T: Tensor) -> Tensor:
    attend = WindowAttention(len(token_ids_T), transformer.config.sliding_window)
    return transformer(token_ids_T, torch.arange(len(token_ids_T)), attend)


@torch.inference_mode()
def oracle_logits(oracle: nn.Module, token_ids_T: Tensor) -> Tensor:
    return oracle(input_ids=token_ids_T[None], use_cache=False).logits[0]


@pytest.mark.parametrize("variant", VARIANTS)
def test_dense_logits_equal_transformers(variant, tmp_path):
    kind, changes = VARIANTS[variant]
    oracle = save_tiny(kind, tmp_path, **changes)
    transformer = load_transformer(open_checkpoint(tmp_path))
    for length in LENGTHS:
        token_ids_T = tokens(length)
        allowed = min(PROMISED, allowed_error(transformer.config, length))
        assert_rows_close(
            our_logits(transformer, token_ids_T), oracle_logits(oracle, token_ids_T), allowed
        )


@pytest.mark.parametrize("change", ["sliding_window", "rope_parameters", "tie_word_embeddings"])
def test_the_variants_differ_from_the_plain_model(change, tmp_path):
    """Otherwise equality with transformers would prove nothing about them."""
    kind = "mistral" if change == "sliding_window" else "llama"
    values = {"sliding_window": 16, "rope_parameters": LLAMA3, "tie_word_embeddings": True}
    plain_changes = {"sliding_window": None} if kind == "mistral" else {}
    plain = save_tiny(kind, tmp_path / "plain", **plain_changes)
    changed = save_tiny(kind, tmp_path / "changed", **{change: values[change]})
    token_ids_T = tokens(64)
    difference = oracle_logits(plain, token_ids_T) - oracle_logits(changed, token_ids_T)
    assert difference.abs().amax() > 0.01


def test_attention_bias_is_refused_by_name(tmp_path):
    save_tiny("llama", tmp_path, attention_bias=True)
    with pytest.raises(CheckpointError, match="attention_bias"):
        open_checkpoint(tmp_path)


# Mixtures: logits under the oracle's routing, and the routing by itself


class Chosen:
    """What transformers' routers decided, layer by layer."""

    def __init__(self, oracle: nn.Module):
        self.expert_ids: list[Tensor] = []
        self.logits: list[Tensor] = []
        self.hooks = [
            layer.mlp.gate.register_forward_hook(self.keep) for layer in oracle.model.layers
        ]

    def __enter__(self) -> "Chosen":
        return self

    def __exit__(self, *_) -> None:
        for hook in self.hooks:
            hook.remove()

    def keep(self, router: nn.Module, inputs: object, outputs: tuple[Tensor, ...]) -> None:
        logits_TE, _, expert_ids_TK = outputs
        self.logits.append(logits_TE.clone())
        self.expert_ids.append(expert_ids_TK.clone())

    def margins(self, layer: int) -> Tensor:
        """Returns (T,): how far the last expert chosen lies above the first that isn't."""
        logits_TE, K = self.logits[layer], self.expert_ids[layer].shape[-1]
        ranked_TE = logits_TE.sort(dim=-1, descending=True).values
        if logits_TE.shape[-1] == K:
            return torch.full((len(logits_TE),), torch.inf)
        return ranked_TE[:, K - 1] - ranked_TE[:, K]


class Replayed:
    """Stands in for our route: notes what it chooses, and hands on what the oracle chose."""

    def __init__(self, transformer: Transformer, chosen: Chosen):
        self.chosen = chosen
        self.own_ids: list[Tensor] = []
        for layer in transformer.layers:
            layer.route.register_forward_hook(self.replay)

    def replay(self, route: nn.Module, inputs: tuple[Tensor], outputs: tuple[Tensor, Tensor]):
        expert_ids_TK = self.chosen.expert_ids[len(self.own_ids)]
        self.own_ids.append(outputs[1])
        weights_TE = (inputs[0] @ route.weight.T).softmax(dim=-1)
        weights_TK = weights_TE.gather(1, expert_ids_TK)
        return weights_TK / weights_TK.sum(dim=-1, keepdim=True), expert_ids_TK


def compare_mixture(oracle: nn.Module, folder: Path, length: int) -> tuple[int, int]:
    """Compares logits and decisions; returns (decisions below the margin, decisions)."""
    transformer = load_transformer(open_checkpoint(folder))
    token_ids_T = tokens(length)
    with Chosen(oracle) as chosen:
        expected_TV = oracle_logits(oracle, token_ids_T)
    replayed = Replayed(transformer, chosen)
    noise = allowed_error(transformer.config, length)
    assert_rows_close(our_logits(transformer, token_ids_T), expected_TV, min(PROMISED, noise))
    num_below = 0
    for layer, own_ids_TK in enumerate(replayed.own_ids):
        scale_T = chosen.logits[layer].abs().amax(dim=-1)
        is_clear_T = chosen.margins(layer) > 2 * noise * scale_T
        oracle_ids_TK = chosen.expert_ids[layer]
        agree_T = (own_ids_TK.sort(-1).values == oracle_ids_TK.sort(-1).values).all(dim=-1)
        assert agree_T[is_clear_T].all(), f"layer {layer}: tokens {(~agree_T & is_clear_T)}"
        num_below += int((~is_clear_T).sum())
    return num_below, length * len(replayed.own_ids)


@pytest.mark.parametrize("variant", MIXTURES)
def test_mixture_logits_and_routes_equal_transformers(variant, tmp_path):
    oracle = save_tiny("mixtral", tmp_path, **MIXTURES[variant])
    counts = [compare_mixture(oracle, tmp_path, length) for length in LENGTHS]
    num_below, num_decisions = map(sum, zip(*counts, strict=True))
    print(f"{variant}: {num_below} of {num_decisions} routing decisions below the margin")
    assert num_below < 0.01 * num_decisions


def test_without_replay_a_mixture_agrees_up_to_its_first_near_tie(tmp_path):
    oracle = save_tiny("mixtral", tmp_path)
    transformer = load_transformer(open_checkpoint(tmp_path))
    token_ids_T = tokens(200)
    with Chosen(oracle) as chosen:
        expected_TV = oracle_logits(oracle, token_ids_T)
    noise = allowed_error(transformer.config, 200)
    clear_LT = torch.stack([chosen.margins(layer) > 100 * noise for layer in range(3)])
    num_clear = int(clear_LT.all(dim=0).int().cumprod(0).sum())
    assert num_clear > 20
    actual_TV = our_logits(transformer, token_ids_T)
    assert_rows_close(actual_TV[:num_clear], expected_TV[:num_clear], min(PROMISED, noise))


def test_ties_between_experts_are_counted_and_replayed(tmp_path):
    """Two routers' rows that differ by less than rounding: either choice is right."""
    oracle = save_tiny("mixtral", tmp_path)
    with torch.no_grad():
        for layer in oracle.model.layers:
            layer.mlp.gate.weight[3] = layer.mlp.gate.weight[1] * (1 + EPS)
    oracle.save_pretrained(tmp_path, safe_serialization=True)
    num_below, num_decisions = compare_mixture(oracle, tmp_path, 200)
    print(f"{num_below} of {num_decisions} routing decisions below the margin")
    assert 0.05 * num_decisions < num_below < 0.9 * num_decisions

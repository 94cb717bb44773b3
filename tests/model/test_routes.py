"""Mixtures without replay, and with ties: what near-equal experts do to the comparison.

T tokens, L layers.
"""

import torch

from oracle_routes import PROMISED, Chosen, compare_mixture, oracle_logits, our_logits, tokens
from rows import EPS, allowed_error, assert_rows_close
from tiny_models import save_tiny
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.model.transformer import load_transformer


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
    num_below, num_decisions = compare_mixture(oracle, open_checkpoint(tmp_path), 200)
    print(f"{num_below} of {num_decisions} routing decisions below the margin")
    assert 0.05 * num_decisions < num_below < 0.9 * num_decisions

"""Whole models of every family and option: native beside the definition.

Its decisions are replayed natively, and it goes on with native's halves of keys and values, so that
what differs is the order of float32 sums.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from native_decisions import Decided, Watched, compare_decisions, run_as
from native_models import HASHES, PAGES, definition, native, run, tokens, with_experts
from native_pages import Strays, attention_with_pages_of

from model_variants import VARIANTS, Variant
from rows import allowed_error
from tiny_models import open_tiny, random_expert, save_tiny
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.engine import torch_runtime
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.torch_runtime import TorchRuntime

# A half that fell elsewhere can turn a near tie in a later layer, and with it what is replayed.
MOST_ROUNDS = 4
# Of decisions, so many may lie nearer to a tie than what rounding moves a logit by.
ALLOWED_BELOW = 0.03
# Where pages aren't taken over: two neighbouring halves differ by 2^-10, and one layer mixes many.
HALVES_MAY_DIFFER = 2.0**-10


def compare(checkpoint: Checkpoint, variant: str, monkeypatch, num_tokens: int, num_experts: int):
    """Compares halves in pages, logits and decisions; returns the tally of decisions."""
    hashes, token_ids = HASHES[:num_experts], tokens(num_tokens)
    runtime = native(checkpoint, hashes, variant=variant)
    _, decided = defined(definition(checkpoint, monkeypatch, hashes), token_ids, monkeypatch)
    for _ in range(MOST_ROUNDS):
        actual_TV, routes_LTK, open_LT2 = run_as(runtime, token_ids, decided, hashes)
        strays, replayed = Strays(), decided
        like_native = definition_with_pages_of(runtime, strays, checkpoint, monkeypatch, hashes)
        expected_TV, decided = defined(like_native, token_ids, monkeypatch)
        if decided.chose_as(replayed):
            break
    assert decided.chose_as(replayed), "decisions were another each time"
    config = checkpoint.config
    assert strays.compared == 2 * config.num_layers * num_tokens * config.kv_width
    assert not strays.found, f"{strays.found} halves in pages are none that rounding explains"
    assert np.isfinite(actual_TV).all()
    error_T = np.abs(actual_TV - expected_TV).max(axis=1) / np.abs(expected_TV).max(axis=1)
    row, allowed = int(error_T.argmax()), allowed_error(config, num_tokens)
    assert error_T[row] <= allowed, f"row {row}: {error_T[row]:.1e}, allowed {allowed:.1e}"
    # What one logit may be off by, and as much again for the one it is compared with.
    return compare_decisions(routes_LTK, open_LT2, decided, 2 * allowed)


def defined(runtime: TorchRuntime, token_ids: list[int], monkeypatch) -> tuple[np.ndarray, Decided]:
    """Returns the definition's logits and what it decided."""
    with monkeypatch.context() as patch:
        watched = Watched(runtime, patch)
        return run(runtime, token_ids, runtime.expert_hashes).logits_LV, watched.decided


def definition_with_pages_of(
    runtime: NativeRuntime, strays: Strays, checkpoint: Checkpoint, monkeypatch, hashes
) -> TorchRuntime:
    attention = attention_with_pages_of(runtime, strays)
    monkeypatch.setattr(torch_runtime, "PagedAttention", attention)
    return with_experts(TorchRuntime(checkpoint), hashes)


def test_another_half_in_a_page_is_a_stray(tmp_path, monkeypatch):
    """The comparison can tell: one key moved by eight steps of its half."""
    checkpoint = open_tiny("llama", tmp_path)
    runtime, strays = native(checkpoint), Strays()
    run(runtime, tokens(33))
    pages = runtime.transformer.pages
    moved = pages(0)
    moved[PAGES[0], 2 * 20] ^= 8
    one_half_else = SimpleNamespace(
        config=runtime.config,
        transformer=SimpleNamespace(pages=lambda layer: pages(layer) if layer else moved),
    )
    like = definition_with_pages_of(one_half_else, strays, checkpoint, monkeypatch, ())
    run(like, tokens(33))
    assert strays.found == 1
    with pytest.raises(ValueError, match="layer 3 of 3"):
        pages(3)


@pytest.mark.parametrize("family", VARIANTS, ids=lambda variant: variant.name)
def test_every_family_equals_the_definition(family: Variant, variant, monkeypatch, tmp_path):
    checkpoint = open_tiny(family.kind, tmp_path, **family.changes)
    tally = compare(checkpoint, variant, monkeypatch, num_tokens=100, num_experts=0)
    print(f"{family.name}, {variant}: {tally}")
    assert tally.decisions == (300 if family.is_mixture else 0)
    assert tally.below <= ALLOWED_BELOW * tally.decisions


@pytest.mark.parametrize("kind", ["llama", "mixtral", "olmoe", "granitemoe"])
@pytest.mark.parametrize("num_tokens", [1, 33, 150])
@pytest.mark.parametrize("num_experts", [1, 2, 3])
def test_notes_experts_equal_the_definition(
    kind, variant, monkeypatch, tmp_path, num_tokens, num_experts
):
    checkpoint = open_tiny(kind, tmp_path)
    tally = compare(checkpoint, variant, monkeypatch, num_tokens, num_experts)
    print(f"{kind} with {num_experts} experts, {variant}: {tally}")
    assert tally.decisions == num_tokens * (2 + (3 if kind != "llama" else 0))
    assert tally.below <= max(2, ALLOWED_BELOW * tally.decisions)


def with_rows_of_the_route(tmp_path, rows_ED: torch.Tensor) -> Checkpoint:
    """Returns a Mixtral of one layer whose router has these rows."""
    oracle = save_tiny("mixtral", tmp_path, num_hidden_layers=1)
    with torch.no_grad():
        oracle.model.layers[0].mlp.gate.weight.copy_(rows_ED)
    oracle.save_pretrained(tmp_path, safe_serialization=True)
    return open_checkpoint(tmp_path)


@pytest.mark.parametrize("num_tokens", [1, 8, 9, 33])
def test_an_expert_without_a_token_and_one_with_all(variant, monkeypatch, tmp_path, num_tokens):
    """All tokens choose experts 1 and 3 (a tie, then the lower), none the others."""
    rows_ED = torch.zeros(5, 48)
    checkpoint = with_rows_of_the_route(tmp_path, rows_ED)
    runtime = native(checkpoint, variant=variant)
    watched = Watched(definition(checkpoint, monkeypatch), monkeypatch)
    token_ids = tokens(num_tokens)
    run(watched.runtime, token_ids)
    for pair in ([1, 3], [4, 0]):
        chosen_TK = np.array([pair] * num_tokens, np.uint32)
        watched.decided.routes = [chosen_TK]
        actual_TV, own_LTK, _ = run_as(runtime, token_ids, watched.decided)
        assert (own_LTK == np.array([0, 1])).all()
        with monkeypatch.context() as patch:
            patch.setattr(
                "tramontane.model.feed_forward.Route.forward",
                lambda self, h_TD, pair=pair: (
                    torch.full((len(h_TD), 2), 0.5),
                    torch.tensor([pair] * len(h_TD)),
                ),
            )
            expected_TV = run(definition(checkpoint, patch), token_ids).logits_LV
        error_T = np.abs(actual_TV - expected_TV).max(axis=1) / np.abs(expected_TV).max(axis=1)
        assert error_T.max() <= HALVES_MAY_DIFFER


def test_decisions_that_cannot_be_are_refused(tmp_path, monkeypatch):
    checkpoint = open_tiny("mixtral", tmp_path)
    watched = Watched(definition(checkpoint, monkeypatch), monkeypatch)
    run(watched.runtime, tokens(3))
    watched.decided.routes[1][2, 0] = 5
    with pytest.raises(ValueError, match="no expert 5"):
        run_as(native(checkpoint), tokens(3), watched.decided)
    with pytest.raises(ValueError, match="layers x tokens x choices"):
        run_as(native(checkpoint), tokens(2), watched.decided)


def test_an_expert_for_this_test_opens_and_closes():
    """Otherwise gates would have nothing to decide."""
    rows = [random_expert(seed)["layers.1.row"] for seed in range(3)]
    h_TD = torch.randn(200, 48, generator=torch.Generator().manual_seed(0))
    is_open = torch.stack([h_TD @ row > 0 for row in rows], dim=-1)
    assert (is_open.float().mean(dim=0) > 0.3).all()
    assert (is_open.float().mean(dim=0) < 0.7).all()

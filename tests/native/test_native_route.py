"""The route against the definition: top-k with ties, renormalised or not.

T tokens, D model width, E base experts, K chosen per token.
"""

import numpy as np
import pytest
import torch

from rows import EPS
from tramontane.native import _cpu


def routed(variant, h_TD, rows_ED, K, renormalises) -> tuple[np.ndarray, np.ndarray]:
    chosen_TK = np.full((len(h_TD), K), 1 << 30, np.uint32)
    weights_TK = np.full((len(h_TD), K), np.nan, np.float32)
    _cpu.route(
        variant, h_TD, rows_ED, renormalises=renormalises, chosen=chosen_TK, weights=weights_TK
    )
    return chosen_TK.astype(np.int64), weights_TK


@pytest.mark.parametrize("renormalises", [False, True])
@pytest.mark.parametrize(("E", "K"), [(1, 1), (2, 1), (5, 2), (8, 8), (17, 3), (64, 8)])
@pytest.mark.parametrize("D", [1, 15, 17, 48, 65])
def test_choice_and_weights_equal_the_definitions(variant, D, E, K, renormalises):
    rng = np.random.default_rng(E * D)
    h_TD = rng.standard_normal((33, D)).astype(np.float32)
    rows_ED = (rng.standard_normal((E, D)) * 3 / D**0.5).astype(np.float32)
    chosen_TK, weights_TK = routed(variant, h_TD, rows_ED, K, renormalises)

    logits_TE = torch.from_numpy(h_TD.astype(np.float64) @ rows_ED.T)
    error_T = 8 * EPS * D**0.5 * (np.abs(h_TD) @ np.abs(rows_ED).T).max(axis=1)
    p_TE = logits_TE.softmax(-1)
    ranked_TE = logits_TE.sort(-1, descending=True).values
    if K < E:
        is_clear_T = (ranked_TE[:, K - 1] - ranked_TE[:, K]).numpy() > 2 * error_T
        assert is_clear_T.mean() > 0.9
    else:
        is_clear_T = np.full(33, True)
    expected_TK = p_TE.topk(K, dim=-1).indices
    same = np.sort(chosen_TK, axis=1) == expected_TK.sort(-1).values.numpy()
    assert same[is_clear_T].all()
    # The likeliest first: weights fall.
    assert (np.diff(weights_TK, axis=1) <= 0).all()
    own_TK = p_TE.gather(1, torch.from_numpy(chosen_TK)).numpy()
    if renormalises:
        own_TK = own_TK / own_TK.sum(axis=1, keepdims=True)
    # A weight takes the errors of its own logit and of those it is divided by.
    allowed_TK = (2 * error_T + 8 * EPS * E**0.5)[:, None] * own_TK
    assert (np.abs(weights_TK - own_TK) <= allowed_TK).all()


@pytest.mark.parametrize("renormalises", [False, True])
def test_ties_go_to_the_lower_number(variant, renormalises):
    row_D = np.random.default_rng(0).standard_normal(17).astype(np.float32)
    rows_ED = np.stack([-row_D, row_D, row_D, -row_D, row_D])
    chosen_TK, weights_TK = routed(variant, row_D[None], rows_ED, 2, renormalises)
    assert chosen_TK.tolist() == [[1, 2]]
    assert weights_TK[0, 0] == weights_TK[0, 1]
    chosen_TK, _ = routed(variant, -row_D[None], rows_ED, 3, renormalises)
    assert chosen_TK.tolist() == [[0, 3, 1]]
    chosen_TK, weights_TK = routed(variant, 0 * row_D[None], rows_ED, 5, renormalises)
    assert chosen_TK.tolist() == [[0, 1, 2, 3, 4]]
    assert (weights_TK == np.float32(0.2)).all()


def test_logits_far_apart_leave_the_rest_nothing(variant):
    h_TD = np.full((1, 16), 20, np.float32)
    rows_ED = np.array([[-20.0], [20.0], [-20.0]], np.float32).repeat(16, axis=1)
    chosen_TK, weights_TK = routed(variant, h_TD, rows_ED, 3, False)
    assert chosen_TK.tolist() == [[1, 0, 2]]
    assert weights_TK.tolist() == [[1.0, 0.0, 0.0]]


def test_contradicting_shapes_are_refused(variant):
    with pytest.raises(ValueError, match="contradict"):
        routed(variant, np.zeros((1, 4), np.float32), np.zeros((2, 5), np.float32), 1, False)
    with pytest.raises(ValueError, match="contradict"):
        routed(variant, np.zeros((1, 4), np.float32), np.zeros((2, 4), np.float32), 3, False)

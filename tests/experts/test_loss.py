"""Losses in chunks beside plain ones in float64, values and gradients.

T tokens, D model width, V vocabulary.
"""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tramontane.experts.loss import CHUNK_TOKENS, divergence, next_token_loss, token_losses

D, V = 24, 61
EPS = torch.finfo(torch.float32).eps
LENGTHS = [1, 2, CHUNK_TOKENS - 1, CHUNK_TOKENS, CHUNK_TOKENS + 1, 2 * CHUNK_TOKENS + 7]


def drawn(T: int, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    states_TD = torch.randn(T, D, generator=g) * scale
    return states_TD, torch.randn(V, D, generator=g), torch.randint(V, (T,), generator=g)


def allowed(states_TD: Tensor) -> float:
    """Returns the bound on a loss's error: a logit is a sum of D products, rounded as it grows."""
    return 8 * EPS * D**0.5 * float(states_TD.abs().max()) * 4


@pytest.mark.parametrize("T", LENGTHS)
@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_cross_entropy_and_its_gradient_are_the_plain_ones(T, scale):
    states_TD, weight_VD, targets_T = drawn(T, scale=scale)
    exact_TD = states_TD.double().requires_grad_()
    exact = cross_entropy(exact_TD @ weight_VD.double().T, targets_T)
    (3 * exact).backward()

    ours_TD = states_TD.clone().requires_grad_()
    loss = next_token_loss(ours_TD, weight_VD, targets_T)
    (3 * loss).backward()

    bound = allowed(states_TD)
    assert abs(float(loss.detach()) - float(exact.detach())) <= bound
    error_TD = (ours_TD.grad.double() - exact_TD.grad).abs()
    # A token's gradient is 3/T times a difference of rows of the matrix, each below its largest.
    largest = 3 / T * float(weight_VD.abs().max())
    assert float(error_TD.max()) <= largest * max(bound, 8 * EPS * V**0.5)


def test_the_gradient_reaches_the_states_alone():
    states_TD, weight_VD, targets_T = drawn(9)
    states_TD.requires_grad_()
    weight_VD.requires_grad_()
    next_token_loss(states_TD, weight_VD, targets_T).backward()
    assert weight_VD.grad is None
    assert states_TD.grad.abs().sum() > 0


def test_the_gradient_is_the_slope_of_the_loss():
    states_TD, weight_VD, targets_T = drawn(5)
    states_TD.requires_grad_()
    next_token_loss(states_TD, weight_VD, targets_T).backward()
    step = 1e-4
    for t, d in ((0, 0), (2, 7), (4, D - 1)):
        moved_TD = states_TD.detach().double().repeat(2, 1, 1)
        moved_TD[0, t, d] += step
        moved_TD[1, t, d] -= step
        up, down = (cross_entropy(m_TD @ weight_VD.double().T, targets_T) for m_TD in moved_TD)
        slope = float(up - down) / (2 * step)
        assert float(states_TD.grad[t, d]) == pytest.approx(slope, abs=1e-5)


def test_large_logits_stay_finite():
    states_TD, weight_VD, targets_T = drawn(4, scale=1e4)
    states_TD.requires_grad_()
    loss = next_token_loss(states_TD, weight_VD, targets_T)
    loss.backward()
    assert loss.isfinite()
    assert states_TD.grad.isfinite().all()


@pytest.mark.parametrize("T", LENGTHS)
def test_each_tokens_loss_is_the_plain_one(T):
    states_TD, weight_VD, targets_T = drawn(T)
    got_T = token_losses(states_TD, weight_VD, targets_T)
    logits_TV = states_TD.double() @ weight_VD.double().T
    exact_T = cross_entropy(logits_TV, targets_T, reduction="none")
    assert got_T.shape == (T,)
    assert got_T.dtype == torch.float32
    assert float((got_T.double() - exact_T).abs().max()) <= allowed(states_TD)
    mean = next_token_loss(states_TD, weight_VD, targets_T)
    assert float(mean) == pytest.approx(float(got_T.double().mean()), abs=allowed(states_TD))


@pytest.mark.parametrize("T", [1, 5, 64])
def test_divergence_and_its_gradient_are_the_plain_ones(T):
    base_TD, weight_VD, _ = drawn(T, seed=1)
    states_TD = base_TD + 0.3 * drawn(T, seed=2)[0]

    def slowly(model_TD: Tensor) -> Tensor:
        """Σ_v p(v) (log p(v) − log q(v)), p the base's, mean over tokens."""
        p_TV = (base_TD.double() @ weight_VD.double().T).softmax(dim=-1)
        q_TV = (model_TD @ weight_VD.double().T).softmax(dim=-1)
        return (p_TV * (p_TV.log() - q_TV.log())).sum() / T

    exact_TD = states_TD.double().requires_grad_()
    exact = slowly(exact_TD)
    exact.backward()
    ours_TD = states_TD.clone().requires_grad_()
    got = divergence(base_TD, ours_TD, weight_VD)
    got.backward()
    exact, got = exact.detach(), got.detach()
    assert float(exact) > 0.01
    assert float(got) == pytest.approx(float(exact), abs=2 * allowed(states_TD))
    error_TD = (ours_TD.grad.double() - exact_TD.grad).abs()
    assert float(error_TD.max()) <= float(weight_VD.abs().max()) * allowed(states_TD)


def test_a_model_like_the_base_does_not_diverge():
    base_TD, weight_VD, _ = drawn(7)
    same_TD = base_TD.clone().requires_grad_()
    got = divergence(base_TD, same_TD, weight_VD)
    got.backward()
    assert float(got.detach()) == 0.0
    assert float(same_TD.grad.abs().max()) < 1e-6

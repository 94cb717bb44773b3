"""Norms and SwiGLU against their definitions in float64; T rows, D columns."""

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from rows import EPS
from tramontane.model.rms_norm import RMSNorm
from tramontane.native import _cpu


def assert_within(actual: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> None:
    """Every number by itself; a number that was never written is NaN, and fails."""
    assert np.isfinite(actual).all()
    excess = np.abs(actual - expected) / allowed
    worst = np.unravel_index(excess.argmax(), excess.shape)
    assert excess[worst] <= 1, f"at {worst}: {excess[worst]:.2f} of what is allowed"


@pytest.mark.parametrize("D", [1, 15, 16, 17, 63, 65, 513])
@pytest.mark.parametrize("T", [1, 33])
def test_rms_norm(variant, T, D):
    g = torch.Generator().manual_seed(D)
    # Rows of very different sizes: a bound on the whole would let a small one be anything.
    sizes_T1 = 10.0 ** (torch.rand(T, 1, generator=g) * 8 - 4)
    x_TD = torch.randn(T, D, generator=g) * sizes_T1
    definition = RMSNorm(D, 1e-6)
    definition.weight.data = torch.randn(D, generator=g)
    y_TD = np.full((T, D), np.nan, np.float32)
    _cpu.rms_norm(variant, x_TD.numpy(), definition.weight.detach().numpy(), y_TD, eps=1e-6)
    wide_TD, scale_D = x_TD.double(), definition.weight.detach().double()
    mean_T1 = wide_TD.square().mean(-1, keepdim=True)
    expected_TD = (scale_D * wide_TD * torch.rsqrt(mean_T1 + 1e-6)).numpy()
    # All numbers of a row share the error of its root, and have three roundings of their own.
    allowed_TD = (8 * EPS * D**0.5 + 2 * EPS) * np.abs(expected_TD) + 1e-37
    assert_within(y_TD, expected_TD, allowed_TD)
    assert_within(definition(x_TD).detach().numpy(), expected_TD, allowed_TD)


def test_a_row_of_zeros_stays_zero(variant):
    y_TD = np.full((1, 17), np.nan, np.float32)
    _cpu.rms_norm(variant, np.zeros((1, 17), np.float32), np.ones(17, np.float32), y_TD, eps=1e-6)
    assert not y_TD.any()


def test_swiglu_over_the_whole_range(variant):
    gate_T16 = np.linspace(-120, 120, 16 * 64, dtype=np.float32).reshape(64, 16)
    up_T16 = np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)
    y_T16 = np.full((64, 16), np.nan, np.float32)
    _cpu.swiglu(variant, gate_T16, up_T16, y_T16)
    wide_T16 = torch.from_numpy(gate_T16).double()
    expected_T16 = (silu(wide_T16) * torch.from_numpy(up_T16)).numpy()
    # The exponential errs by two units, the rest by one each; below e^-87 results are 0.
    assert_within(y_T16, expected_T16, 8 * EPS * np.abs(expected_T16) + 1e-35)


@pytest.mark.parametrize("T", [1, 33])
def test_swiglu_by_rows(variant, T):
    rng = np.random.default_rng(T)
    gate_T16 = (rng.standard_normal((T, 16)) * 3).astype(np.float32)
    up_T16 = rng.standard_normal((T, 16)).astype(np.float32)
    y_T16 = np.full((T, 16), np.nan, np.float32)
    _cpu.swiglu(variant, gate_T16, up_T16, y_T16)
    expected_T16 = (silu(torch.from_numpy(gate_T16).double()) * torch.from_numpy(up_T16)).numpy()
    assert_within(y_T16, expected_T16, 8 * EPS * np.abs(expected_T16) + 1e-35)


def test_shapes_that_differ_are_refused():
    x = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="one width"):
        _cpu.rms_norm("portable", x, np.zeros(3, np.float32), x.copy(), eps=1e-6)
    with pytest.raises(ValueError, match="tiles of sixteen"):
        _cpu.swiglu("portable", x, x, x.copy())

"""Norms and SwiGLU against their definitions in float64; T rows, D columns."""

import numpy as np
import pytest
import torch

from rows import EPS
from tramontane.native import _cpu


@pytest.mark.parametrize("D", [1, 15, 16, 17, 63, 65, 513])
def test_rms_norm(variant, D):
    g = torch.Generator().manual_seed(D)
    x_TD, scale_D = torch.randn(3, D, generator=g), torch.randn(D, generator=g)
    y_TD = np.full((3, D), np.nan, np.float32)
    _cpu.rms_norm(variant, x_TD.numpy(), scale_D.numpy(), y_TD, eps=1e-6)
    wide_TD = x_TD.double()
    mean_T1 = wide_TD.square().mean(-1, keepdim=True)
    expected_TD = (scale_D.double() * wide_TD * torch.rsqrt(mean_T1 + 1e-6)).numpy()
    assert np.abs(y_TD - expected_TD).max() <= 8 * EPS * D**0.5 * np.abs(expected_TD).max()


def test_swiglu_over_the_whole_range(variant):
    gate_T16 = np.linspace(-120, 120, 16 * 64, dtype=np.float32).reshape(64, 16)
    up_T16 = np.random.default_rng(0).standard_normal((64, 16)).astype(np.float32)
    y_T16 = np.full((64, 16), np.nan, np.float32)
    _cpu.swiglu(variant, gate_T16, up_T16, y_T16)
    wide_T16 = gate_T16.astype(np.float64)
    expected_T16 = wide_T16 / (1 + np.exp(-wide_T16)) * up_T16
    # The exponential errs by two units, the rest by one each; below e^-87 results are 0.
    assert (np.abs(y_T16 - expected_T16) <= 8 * EPS * np.abs(expected_T16) + 1e-35).all()

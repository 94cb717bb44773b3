"""Numbers on their way to int8: activations in panels, notes experts' weights in blocks.

n rows of a panel, K columns, B = K / 32 blocks.
"""

import numpy as np
import pytest

from rows import EPS
from tramontane.native import _cpu

LARGEST_HALF = 65504.0
SMALLEST_HALF = 2.0**-24


def pack(variant: str, x_nK: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the panel of x; what was written nowhere is NaN, or a number that can't be."""
    n, K = x_nK.shape
    panel = {
        "quants": np.full((K // 32, n, 32), -128, np.int8),
        "scales": np.full((K // 32, n), np.nan, np.float32),
        "minus_8_sums": np.full((K // 32, n), 1 << 30, np.int32),
        "minus_128_sums": np.full((K // 32, n), 1 << 30, np.int32),
        "scaled_sums": np.full((K // 32, n), np.nan, np.float32),
        "floats": np.full((K, n), np.nan, np.float32),
    }
    _cpu.pack(variant, x_nK, **panel)
    return panel


def assert_is_panel_of(panel: dict[str, np.ndarray], x_nK: np.ndarray) -> None:
    n, K = x_nK.shape
    x_Bn32 = x_nK.reshape(n, K // 32, 32).transpose(1, 0, 2)
    largest_Bn = np.abs(x_Bn32).max(axis=-1)
    scales_Bn, quants_Bn32 = panel["scales"], panel["quants"].astype(np.int32)
    assert np.array_equal(scales_Bn, largest_Bn / np.float32(127))
    assert np.array_equal(panel["floats"], x_nK.T)
    sums_Bn = quants_Bn32.sum(axis=-1)
    assert np.array_equal(panel["minus_8_sums"], -8 * sums_Bn)
    assert np.array_equal(panel["minus_128_sums"], -128 * sums_Bn)
    with np.errstate(over="ignore"):
        assert np.array_equal(panel["scaled_sums"], scales_Bn * sums_Bn.astype(np.float32))
    is_there_Bn = largest_Bn > 1e-30
    assert not quants_Bn32[~is_there_Bn].any()
    # The largest is ±127; every other number is the nearest one, or, where rounding of x · 127 / a
    # (three units of it) crosses a half, the next.
    assert (np.abs(quants_Bn32).max(axis=-1)[is_there_Bn] == 127).all()
    exact_Bn32 = x_Bn32.astype(np.float64) * 127 / largest_Bn.clip(1e-30)[..., None]
    off_Bn32 = np.abs(quants_Bn32 - exact_Bn32)[is_there_Bn]
    assert (off_Bn32 <= 0.5 + 3 * EPS * 127).all()


@pytest.mark.parametrize("n", range(1, 9))
@pytest.mark.parametrize("K", [32, 96])
def test_a_panel_holds_rounded_rows(variant, n, K):
    rng = np.random.default_rng(n)
    x_nK = (rng.standard_normal((n, K)) * 10.0 ** rng.uniform(-20, 20, (n, 1))).astype(np.float32)
    assert_is_panel_of(pack(variant, x_nK), x_nK)


def test_rows_that_hurt(variant):
    """Zeros, one number alone, halves between two int8, and the ends of float32."""
    x_nK = np.zeros((8, 32), np.float32)
    x_nK[1, 31] = -3.0
    x_nK[2] = np.arange(32) - 15.5
    x_nK[2, 0] = 127
    x_nK[3] = 3e38
    x_nK[4] = 1e-38
    x_nK[5, ::2] = 1e-29
    x_nK[6] = -1
    x_nK[7, 5:7] = (np.finfo(np.float32).max, -np.finfo(np.float32).max)
    panel = pack(variant, x_nK)
    assert_is_panel_of(panel, x_nK)
    # Ties go to the even one, in every variant.
    assert np.array_equal(panel["quants"][0, 2, 1:], np.rint(x_nK[2, 1:]).astype(np.int8))


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("count", [1, 31, 32])
def test_what_is_no_number_stays_in_bounds_and_is_told_on(variant, number, count):
    """Weights near the ends of float32 make such activations; their int8 sums must not overflow."""
    x_nK = np.ones((8, 32), np.float32)
    x_nK[3, :count] = number
    with np.errstate(invalid="ignore"):
        panel = pack(variant, x_nK)
    quants_n32 = panel["quants"][0].astype(np.int32)
    assert np.abs(quants_n32).max() <= 127
    assert np.array_equal(panel["minus_128_sums"][0], -128 * quants_n32.sum(axis=1))
    assert np.array_equal(panel["minus_8_sums"][0], -8 * quants_n32.sum(axis=1))
    if np.isinf(number) or count == 32:
        assert not np.isfinite(panel["scales"][0, 3])
    assert (np.delete(panel["scales"][0], 3) == np.float32(1) / np.float32(127)).all()


def test_a_rows_bits_do_not_depend_on_its_neighbours(variant):
    x_nK = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    together = pack(variant, x_nK)
    for t in range(8):
        alone = pack(variant, x_nK[t : t + 1].copy())
        for name, rows in together.items():
            assert np.array_equal(alone[name][:, 0], rows[:, t]), name


def test_variants_round_alike():
    x_nK = np.random.default_rng(1).standard_normal((8, 96)).astype(np.float32)
    panels = [pack(name, x_nK) for name in _cpu.usable_variants()]
    for panel in panels[1:]:
        for name, rows in panels[0].items():
            assert np.array_equal(panel[name], rows), name


def test_arrays_that_are_no_panel_are_refused(variant):
    with pytest.raises(ValueError, match="no panel"):
        pack(variant, np.zeros((9, 32), np.float32))
    with pytest.raises(ValueError, match="no panel"):
        pack(variant, np.zeros((1, 33), np.float32))


def rounded(x_NK: np.ndarray) -> np.ndarray:
    y_NK = np.full(x_NK.shape, np.nan, np.float32)
    _cpu.quantise_to_bytes(x_NK, y_NK)
    return y_NK


@pytest.mark.parametrize(("N", "K"), [(1, 32), (15, 64), (16, 32), (17, 96), (33, 160)])
def test_notes_experts_round_to_half_a_step(N, K):
    rng = np.random.default_rng(N)
    x_NK = (rng.standard_normal((N, K)) * 10.0 ** rng.uniform(-2, 3, (N, 1))).astype(np.float32)
    y_NK = rounded(x_NK)
    assert np.isfinite(y_NK).all()
    steps = (np.abs(x_NK).reshape(N, -1, 32).max(axis=-1) / np.float32(127)).astype(np.float16)
    steps_NK = np.repeat(steps.astype(np.float64), 32, axis=1)
    # A step is a half, off by 2^-11 of itself: the largest number lies within 127.07 steps.
    assert (np.abs(y_NK - x_NK) <= (0.5 + 127 * 2 * EPS) * steps_NK).all()
    assert np.array_equal(np.rint(y_NK / steps_NK), y_NK / steps_NK)


def test_rounding_keeps_zeros_signs_and_the_ends():
    x_NK = np.zeros((5, 32), np.float32)
    x_NK[1, 3] = -2.0
    x_NK[2] = 127 * LARGEST_HALF
    x_NK[3] = -127 * SMALLEST_HALF
    x_NK[4] = 127 * SMALLEST_HALF / 4  # no half is a step this small
    y_NK = rounded(x_NK)
    assert not y_NK[0].any()
    assert y_NK[1, 3] == pytest.approx(-2.0, rel=2**-11)
    assert not np.delete(y_NK[1], 3).any()
    assert np.array_equal(y_NK[2:4], x_NK[2:4])
    assert not y_NK[4].any()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 127 * 65536.0])
def test_what_no_block_holds_is_refused(number):
    x_NK = np.ones((2, 64), np.float32)
    x_NK[1, 40] = number
    with pytest.raises(ValueError, match="infinite, none, or too large"):
        rounded(x_NK)
    with pytest.raises(ValueError, match="whole blocks"):
        rounded(np.ones((2, 33), np.float32))

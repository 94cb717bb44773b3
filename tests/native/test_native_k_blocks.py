"""Blocks of 256 as the kernels hold them, against checkpoint/blocks.py, number by number.

N rows of K columns; B blocks of 256, 8 groups of 32 or 16 of 16 in each. A product with a unit
vector is one number of a row: int8 holds the vector exactly, so what differs is what repacking
rounded, and two roundings of float32.
"""

import numpy as np
import pytest
from test_native_matmul import EPS, assert_products_close, rounded_to_int8

from tramontane.checkpoint.blocks import BLOCKS, half, six_bit_pairs
from tramontane.checkpoint.tensors import dequantize
from tramontane.native import _cpu

SCALES_AT = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
HALF = 2.0**-11


def random_blocks(name: str, N: int, K: int, *, largest: float = 1.0, seed: int = 0) -> np.ndarray:
    """Returns the bytes of a random matrix: any quants, and halves up to `largest` in size."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (N * K // 256, BLOCKS[name][1]), dtype=np.uint8)
    for at in SCALES_AT[name]:
        halves = rng.uniform(-largest, largest, len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(-1, 2)
    return blocks


def numbers_held(variant: str, name: str, blocks: np.ndarray, N: int, K: int) -> np.ndarray:
    y_KN = np.full((K, N), np.nan, np.float32)
    _cpu.matmul(variant, name, blocks.reshape(-1), np.eye(K, dtype=np.float32), y_KN)
    return y_KN.T


def rounding_allowed(name: str, blocks: np.ndarray, N: int, K: int) -> np.ndarray:
    """Returns (N, K): how far matmul/k_blocks.h says that a number may be from the file's."""
    numbers_NK = dequantize(blocks.reshape(-1), name, (N, K)).astype(np.float64)
    if name == "Q6_K":
        largest_B81 = np.abs(numbers_NK).reshape(-1, 8, 32).max(axis=-1, keepdims=True)
        bound_B81 = largest_B81 * (1 + 2.0**-10) / 254 + np.where(
            largest_B81 < 127 * 2.0**-14, 2.0**-25, 0
        )
        return np.broadcast_to(bound_B81, (len(blocks), 8, 32)).reshape(N, K)
    _, minima_B8 = six_bit_pairs(blocks[:, 4:16])
    subtracted_B81 = (half(blocks[:, 2:4]) * minima_B8).astype(np.float64)[:, :, None]
    scaled = numbers_NK.reshape(-1, 8, 32) + subtracted_B81
    return (HALF * (np.abs(scaled) + np.abs(subtracted_B81))).reshape(N, K)


@pytest.mark.parametrize("name", SCALES_AT)
@pytest.mark.parametrize("largest", [1.0, 1e-3, 2.0**-15])
def test_numbers_are_the_files_but_for_the_stated_rounding(variant, name, largest):
    N, K = 19, 512
    blocks = random_blocks(name, N, K, largest=largest)
    expected_NK = dequantize(blocks.reshape(-1), name, (N, K)).astype(np.float64)
    allowed_NK = rounding_allowed(name, blocks, N, K)
    # The parts of a sum may be larger than it: q and the minimum are added in float32.
    allowed_NK = allowed_NK + 8 * EPS * (np.abs(expected_NK) + allowed_NK / HALF)
    error_NK = np.abs(numbers_held(variant, name, blocks, N, K) - expected_NK)
    worst = np.unravel_index(np.argmax(error_NK - allowed_NK), error_NK.shape)
    assert (error_NK <= allowed_NK).all(), f"at {worst}: {error_NK[worst]}, {allowed_NK[worst]}"
    assert error_NK.max() > 0


@pytest.mark.parametrize("name", SCALES_AT)
@pytest.mark.parametrize(("T", "N", "K"), [(1, 1, 256), (9, 17, 512), (33, 16, 1280)])
def test_products(variant, name, T, N, K):
    blocks = random_blocks(name, N, K, seed=T)
    held_NK = numbers_held(variant, name, blocks, N, K).astype(np.float64)
    x_TK = np.random.default_rng(1).standard_normal((T, K)).astype(np.float32)
    y_TN = np.full((T, N), np.nan, np.float32)
    _cpu.matmul(variant, name, blocks.reshape(-1), x_TK, y_TN)
    assert_products_close(y_TN, rounded_to_int8(x_TK), held_NK)


@pytest.mark.parametrize("name", SCALES_AT)
def test_scales_that_no_half_holds_are_refused(variant, name):
    blocks = random_blocks(name, 16, 256, largest=60000)
    blocks[:, : 208 if name == "Q6_K" else 16] |= 0x2F
    with pytest.raises(ValueError, match="beyond what float16 holds"):
        numbers_held(variant, name, blocks, 16, 256)

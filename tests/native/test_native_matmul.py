"""Matrix products against the dequantised product in float64, into poisoned memory.

T rows of activations, N rows of the matrix, K columns.
"""

import numpy as np
import pytest

from tramontane.checkpoint.tensors import BLOCKS, dequantize
from tramontane.native import _cpu

EPS = np.finfo(np.float32).eps
# GGUF types by name, with the bytes of a block of 32; Q5 is known to the kernels alone so far.
BLOCK_BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34}


def random_blocks(name: str, N: int, K: int, seed: int) -> np.ndarray:
    """Returns the bytes of a random matrix; all quants occur, scales stay near 1."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (N * K // 32, BLOCK_BYTES[name]), dtype=np.uint8)
    num_halves = 2 if name in ("Q4_1", "Q5_1") else 1
    halves = rng.uniform(-1, 1, (len(blocks), num_halves)).astype(np.float16)
    blocks[:, : 2 * num_halves] = halves.view(np.uint8).reshape(len(blocks), -1)
    return blocks.reshape(-1)


def numbers_of(name: str, raw: np.ndarray, N: int, K: int) -> np.ndarray:
    if name in BLOCKS:
        return dequantize(raw, name, (N, K)).astype(np.float64)
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize as by_gguf

    return by_gguf(raw, GGMLQuantizationType[name]).reshape(N, K).astype(np.float64)


def rounded_to_int8(x_TK: np.ndarray) -> np.ndarray:
    """Returns activations as the kernels see them: int8 times a float32 scale per 32 columns."""
    blocks = x_TK.reshape(len(x_TK), -1, 32)
    largest = np.abs(blocks).max(axis=-1, keepdims=True)
    inverse = np.where(largest > 1e-30, 127 / largest.clip(1e-30), 0)
    quants = np.rint((blocks * inverse.astype(np.float32)).astype(np.float32))
    return (quants * (largest / np.float32(127)).astype(np.float64)).reshape(x_TK.shape)


def assert_products_close(y_TN, x_TK, w_NK):
    """A chain of additions over K errs by about its root in units of the terms' sizes."""
    expected_TN = x_TK.astype(np.float64) @ w_NK.T
    size_TN = np.abs(x_TK.astype(np.float64)) @ np.abs(w_NK.T)
    allowed_TN = 8 * EPS * x_TK.shape[1] ** 0.5 * size_TN + 1e-30
    assert np.isfinite(y_TN).all()
    worst = np.unravel_index(np.argmax(np.abs(y_TN - expected_TN) / allowed_TN), y_TN.shape)
    error = abs(y_TN[worst] - expected_TN[worst])
    assert error <= allowed_TN[worst], f"at {worst}: {error:.1e}, allowed {allowed_TN[worst]:.1e}"


@pytest.mark.parametrize("name", BLOCK_BYTES)
@pytest.mark.parametrize(
    ("T", "N", "K"), [(1, 1, 32), (2, 15, 96), (7, 17, 64), (8, 16, 32), (9, 33, 800), (33, 48, 96)]
)
def test_blocks_times_int8(variant, name, T, N, K):
    raw = random_blocks(name, N, K, seed=T)
    x_TK = np.random.default_rng(1).standard_normal((T, K)).astype(np.float32)
    x_TK[:, :32] = 0 if T == 2 else x_TK[:, :32]
    y_TN = np.full((T, N), np.nan, np.float32)
    _cpu.matmul(variant, name, raw, x_TK, y_TN)
    assert_products_close(y_TN, rounded_to_int8(x_TK), numbers_of(name, raw, N, K))


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(("T", "N", "K"), [(1, 1, 1), (3, 15, 31), (8, 17, 33), (9, 16, 57)])
def test_floats(variant, name, T, N, K):
    rng = np.random.default_rng(2)
    w_NK = rng.standard_normal((N, K)).astype(np.float16 if name == "F16" else np.float32)
    if name == "BF16":
        raw = (w_NK.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1)
    else:
        raw = w_NK.view(np.uint8).reshape(-1)
    x_TK = rng.standard_normal((T, K)).astype(np.float32)
    y_TN = np.full((T, N), np.nan, np.float32)
    _cpu.matmul(variant, name, raw, x_TK, y_TN)
    assert_products_close(y_TN, x_TK, numbers_of(name, raw, N, K))


@pytest.mark.parametrize("name", BLOCK_BYTES)
def test_a_row_has_the_same_bits_in_any_company(variant, name):
    raw = random_blocks(name, 40, 96, seed=0)
    x_TK = np.random.default_rng(3).standard_normal((21, 96)).astype(np.float32)
    together_TN = np.full((21, 40), np.nan, np.float32)
    _cpu.matmul(variant, name, raw, x_TK, together_TN)
    for first, end in [(0, 1), (3, 5), (2, 10), (5, 21), (20, 21)]:
        apart_TN = np.full((end - first, 40), np.nan, np.float32)
        _cpu.matmul(variant, name, raw, x_TK[first:end].copy(), apart_TN)
        assert np.array_equal(apart_TN, together_TN[first:end])


def test_bytes_that_do_not_fit_are_refused(variant):
    x, y = np.zeros((1, 64), np.float32), np.zeros((1, 16), np.float32)
    with pytest.raises(ValueError, match="has 576 bytes, 100 came"):
        _cpu.matmul(variant, "Q4_0", np.zeros(100, np.uint8), x, y)
    with pytest.raises(ValueError, match="type Q9 is not known"):
        _cpu.matmul(variant, "Q9", np.zeros(100, np.uint8), x, y)
    with pytest.raises(TypeError):
        _cpu.matmul(variant, "Q4_0", np.zeros(576, np.uint8), x.astype(np.float64), y)

"""Attention over pages and RoPE against the definition in float64, into poisoned memory.

T queries, S positions, H query heads, G key heads, d head width, c = d / 2 pairs.
"""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_models import rounded

from rows import EPS
from tramontane.engine.native_runtime import KV_FORMATS
from tramontane.model.attention import visible
from tramontane.model.rope import rotate
from tramontane.native import _cpu

NO_WINDOW = 1 << 40
# Out of order, so that a position's place isn't its page's number.
PAGES = np.array([3, 0, 4, 11, 9, 8, 2, 7, 1, 5], np.int32)


@pytest.fixture(params=KV_FORMATS)
def kv(request) -> str:
    return request.param


def drawn(T: int, S: int, H: int, G: int, d: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(1000 * S + d)
    q_THd = rng.standard_normal((T, H, d))
    k_SGd, v_SGd = rng.standard_normal((2, S, G, d))
    return tuple(x.astype(np.float32) for x in (q_THd, k_SGd, v_SGd))


def attended(
    variant, kv, q_THd, k_SGd, v_SGd, window, *, ends=(), threads=1, scale=0.3, pages=PAGES
):
    """Returns y_THd; prompts come in chunks that end before `ends`."""
    y_THd = np.full(q_THd.shape, np.nan, np.float32)
    ends = np.array([*ends, len(k_SGd)], np.int32)
    _cpu.attention(
        variant,
        kv,
        q_THd,
        k_SGd,
        v_SGd,
        pages,
        ends,
        y_THd,
        window=window,
        scale=scale,
        threads=threads,
    )
    return y_THd


def assert_attention_close(y_THd, kv, q_THd, k_SGd, v_SGd, window, scale=0.3):
    """Compares with softmax in float64 over keys and values as pages hold them.

    A score errs by its own sum, which moves every weight in part; weights are then summed over S.
    """
    (T, H, d), (S, G, _) = q_THd.shape, k_SGd.shape
    k_SGd, v_SGd = (rounded(x, kv).astype(np.float64) for x in (k_SGd, v_SGd))
    k_SHd, v_SHd = (np.repeat(x, H // G, axis=1) for x in (k_SGd, v_SGd))
    q_THd = q_THd.astype(np.float64)
    seen_TS = visible(T, S, min(window, S)).numpy()
    scores_HTS = np.where(seen_TS, scale * np.einsum("thd,shd->hts", q_THd, k_SHd), -np.inf)
    p_HTS = torch.from_numpy(scores_HTS).softmax(-1).numpy()
    expected_THd = np.einsum("hts,shd->thd", p_HTS, v_SHd)
    sizes_HTS = scale * np.einsum("thd,shd->hts", np.abs(q_THd), np.abs(k_SHd))
    score_error_TH = 8 * EPS * d**0.5 * (sizes_HTS * seen_TS).max(axis=-1).T
    size_THd = np.einsum("hts,shd->thd", p_HTS, np.abs(v_SHd))
    allowed_THd = (2 * score_error_TH + 8 * EPS * S**0.5)[..., None] * size_THd
    assert np.isfinite(y_THd).all()
    excess_THd = np.abs(y_THd - expected_THd) / (allowed_THd + 1e-30)
    worst = np.unravel_index(excess_THd.argmax(), excess_THd.shape)
    assert excess_THd[worst] <= 1, f"at {worst}: {excess_THd[worst]:.2f} of what is allowed"


@pytest.mark.parametrize("S", [1, 2, 63, 64, 65, 128, 129, 256, 257, 333])
@pytest.mark.parametrize("window", [1, 16, 64, 65, 300, NO_WINDOW])
def test_page_borders_and_windows(variant, kv, S, window):
    q, k, v = drawn(S, S, 6, 2, 10)
    assert_attention_close(attended(variant, kv, q, k, v, window), kv, q, k, v, window)


@pytest.mark.parametrize(("H", "G"), [(1, 1), (3, 3), (5, 1), (7, 1), (9, 3), (14, 2)])
@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 64, 66, 80, 128])
def test_heads_of_any_number_and_width(variant, kv, H, G, d):
    q, k, v = drawn(33, 70, H, G, d)
    assert_attention_close(attended(variant, kv, q, k, v, NO_WINDOW), kv, q, k, v, NO_WINDOW)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_queries_in_any_company_have_the_same_bits(variant, kv, data):
    """Law 3 where it is decided: chunks, threads, places, and who shares the reading of keys."""
    S = data.draw(st.integers(1, 600), label="positions")
    T = data.draw(st.integers(1, S), label="queries")
    window = data.draw(st.sampled_from([1, 16, 70, 256, 300, NO_WINDOW]), label="window")
    H, G, d = data.draw(st.sampled_from([(9, 3, 64), (6, 2, 10), (4, 4, 17)]), label="heads")
    q, k, v = drawn(S, S, H, G, d)
    expected_THd = attended(variant, kv, q, k, v, window)
    assert np.isfinite(expected_THd).all()
    cuts = data.draw(st.sets(st.integers(1, max(1, S - 1)), max_size=5), label="cuts")
    actual_THd = attended(
        variant,
        kv,
        q[S - T :].copy(),
        k,
        v,
        window,
        ends=sorted(cut for cut in cuts if cut < S),
        threads=data.draw(st.integers(1, 3), label="threads"),
        pages=PAGES[::-1].copy(),
    )
    assert np.array_equal(actual_THd, expected_THd[S - T :])


def test_decoding_has_the_bits_of_the_prompt(variant, kv):
    """One token at a time, two threads sharing a token's segments."""
    q, k, v = drawn(540, 540, 4, 1, 32)
    expected_THd = attended(variant, kv, q, k, v, NO_WINDOW)
    ends = list(range(500, 540))
    actual_THd = attended(variant, kv, q, k, v, NO_WINDOW, ends=ends, threads=2)
    assert np.array_equal(actual_THd, expected_THd)


def test_scores_at_the_ends_of_softmax(variant, kv):
    """One key far above the rest takes everything; equal ones share."""
    q = np.full((1, 1, 16), 10.0, np.float32)
    k = np.zeros((66, 1, 16), np.float32)
    v = np.arange(66, dtype=np.float32)[:, None, None].repeat(16, axis=2)
    kept_S = rounded(v, kv)[:, 0, 0]
    actual = attended(variant, kv, q, k, v, NO_WINDOW)
    assert actual == pytest.approx(kept_S.mean(), rel=8 * EPS * 66**0.5)
    k[65] = 100
    assert (attended(variant, kv, q, k, v, NO_WINDOW) == kept_S[65]).all()
    k[65], k[3] = 0, 100
    assert (attended(variant, kv, q, k, v, NO_WINDOW) == kept_S[3]).all()


def test_rows_of_nothing_and_rows_too_large(variant, kv):
    """A row of zeros has no scale; what no half can hold becomes the largest one."""
    q, k, v = drawn(70, 70, 2, 1, 20)
    k[3] = v[3] = 0
    k[4] = v[4] = 1e-9
    v[5] = 1e9
    assert_attention_close(attended(variant, kv, q, k, v, NO_WINDOW), kv, q, k, v, NO_WINDOW)


def test_contradicting_sizes_are_refused(variant, kv):
    q, k, v = drawn(2, 70, 6, 2, 10)
    with pytest.raises(ValueError, match="contradict"):
        attended(variant, kv, q, k, v, NO_WINDOW, pages=PAGES[:1].copy())
    with pytest.raises(ValueError, match="contradict"):
        attended(variant, kv, q, k, v, 0)
    with pytest.raises(ValueError, match="contradict"):
        attended(variant, kv, q, k[:1].copy(), v[:1].copy(), NO_WINDOW)
    with pytest.raises(ValueError, match="contradict"):
        attended(variant, kv, q[:, :5].copy(), k, v, NO_WINDOW)


@pytest.mark.parametrize("layout", ["halves", "pairs"])
@pytest.mark.parametrize("d", [2, 6, 10, 30, 32, 34, 64, 80])
@pytest.mark.parametrize("H", [1, 7])
def test_rope(variant, layout, d, H):
    rng = np.random.default_rng(d)
    x_Hd = rng.standard_normal((H, d)).astype(np.float32)
    angles_c = (rng.uniform(0, 5000, d // 2)).astype(np.float32)
    cos_c, sin_c = np.cos(angles_c), np.sin(angles_c)
    y_Hd = x_Hd.copy()
    _cpu.rotate(variant, y_Hd, cos_c, sin_c, halves=layout == "halves")
    wide, magnitudes = (
        tuple(torch.from_numpy(f(a).astype(np.float64)) for a in (x_Hd, cos_c, sin_c))
        for f in (np.asarray, np.abs)
    )
    expected_Hd = rotate(wide[0][None], wide[1][None, None], wide[2][None, None], layout)[0]
    # |a cos| + |b sin|, in either half: turning the magnitudes backwards adds both.
    size_Hd = torch.maximum(
        rotate(magnitudes[0][None], magnitudes[1], -magnitudes[2], layout)[0],
        rotate(magnitudes[0][None], magnitudes[1], magnitudes[2], layout)[0],
    )
    # Two products and their sum are rounded once each.
    assert (np.abs(y_Hd - expected_Hd.numpy()) <= 1.5 * EPS * size_Hd.numpy()).all()
    if d > 2:
        other_Hd = x_Hd.copy()
        _cpu.rotate(variant, other_Hd, cos_c, sin_c, halves=layout != "halves")
        assert not np.allclose(other_Hd, y_Hd)


def test_position_0_turns_nothing(variant):
    x_Hd = np.random.default_rng(0).standard_normal((3, 10)).astype(np.float32)
    y_Hd = x_Hd.copy()
    _cpu.rotate(variant, y_Hd, np.ones(5, np.float32), np.zeros(5, np.float32), halves=True)
    assert np.array_equal(y_Hd, x_Hd)
    with pytest.raises(ValueError, match="one angle per pair"):
        _cpu.rotate(variant, y_Hd, np.ones(4, np.float32), np.zeros(4, np.float32), halves=True)

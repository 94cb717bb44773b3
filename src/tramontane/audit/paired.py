"""Tests of a difference between two models that were asked the same items.

N items, B random sign flips. Each p-value is two-sided: how often chance alone would differ as much
or more, if there were no difference.
"""

import math
from collections.abc import Sequence

import numpy as np

from tramontane.audit.intervals import LEVEL, RESAMPLES, Interval, at_most, bootstrap_mean

FLIPS = 10_000
# Up to this many items that differ, all flips are gone through instead of drawn.
MOST_EXACT = 12


def sign_test(ups: int, downs: int) -> float:
    """Returns the exact p-value of `ups` against `downs` where both are equally likely."""
    if ups < 0 or downs < 0:
        raise ValueError(f"{ups} up and {downs} down: counts can't be negative")
    n, fewer = ups + downs, min(ups, downs)
    if n == 0 or ups == downs:
        return 1.0
    return min(1.0, 2 * at_most(fewer, n, 0.5))


def mcnemar(before_N: np.ndarray, after_N: np.ndarray) -> float:
    """Returns McNemar's exact p-value for items passed or not: only those that flip count."""
    check_pairs(before_N, after_N)
    ups = int(np.count_nonzero(after_N > before_N))
    downs = int(np.count_nonzero(after_N < before_N))
    return sign_test(ups, downs)


def sign_flips(differences_N: np.ndarray, seed: int, flips: int = FLIPS) -> float:
    """Returns the p-value of a mean difference by flipping signs of items (Fisher 1935).

    Exact where few items differ; otherwise from random flips, the observed one counted among them,
    so that a p-value is never too small.
    """
    moved = differences_N[differences_N != 0].astype(np.float64)
    n = len(moved)
    if n == 0:
        return 1.0
    observed = abs(moved.sum())
    # Sums in another order differ in their last bits, and a tie must count as one.
    bar = observed - 1e-9 * np.abs(moved).sum()
    if n <= MOST_EXACT:
        signs_BN = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs_BN @ moved) >= bar))
    draw = np.random.default_rng(seed)
    at_once = max(1, 2_000_000 // n)
    hits = 0
    for begin in range(0, flips, at_once):
        count = min(at_once, flips - begin)
        signs_BN = draw.integers(0, 2, (count, n), dtype=np.int8) * 2 - 1
        hits += int(np.count_nonzero(np.abs(signs_BN @ moved) >= bar))
    return (hits + 1) / (flips + 1)


def paired_bootstrap(
    before_N: np.ndarray,
    after_N: np.ndarray,
    seed: int,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Returns the interval of mean(after) − mean(before) over items drawn as pairs."""
    check_pairs(before_N, after_N)
    differences_N = after_N.astype(np.float64) - before_N
    return bootstrap_mean(differences_N, seed, resamples=resamples, level=level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number (Holm 1979): below 5 %, one is real at 95 %.

    The chance that any of them is called real by accident stays below the level.
    """
    if bad := [p for p in p_values if math.isnan(p) or not 0 <= p <= 1]:
        raise ValueError(f"{bad[0]} is no p-value")
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def check_pairs(before_N: np.ndarray, after_N: np.ndarray) -> None:
    if before_N.shape != after_N.shape:
        raise ValueError(f"{before_N.shape} before, {after_N.shape} after: items must be paired")

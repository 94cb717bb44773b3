"""Intervals: how far a figure may lie from the truth, given how many items it rests on.

N items, B resamples. Every interval is two-sided, at 95 % unless told otherwise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000
# Numbers drawn at once for resamples: 4 million indices are 32 MB.
DRAWN_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


# Nothing was scored, so nothing is known.
UNKNOWN = Interval(math.nan, math.nan)


def check_counts(passed: int, n: int) -> None:
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} of {n}: a share needs 0 <= passed <= n")


def wilson(passed: int, n: int, level: float = LEVEL) -> Interval:
    """Returns Wilson's score interval for a share: near its level on average, never outside 0..1.

    Wilson 1927; Brown, Cai and DasGupta 2001.
    """
    check_counts(passed, n)
    if n == 0:
        return UNKNOWN
    z, p = NormalDist().inv_cdf(0.5 + level / 2), passed / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends rounding would leave out the share itself.
    low = 0.0 if passed == 0 else max(0.0, middle - reach)
    high = 1.0 if passed == n else min(1.0, middle + reach)
    return Interval(low, high)


def clopper_pearson(passed: int, n: int, level: float = LEVEL) -> Interval:
    """Returns the exact interval for a share: it holds the truth at least as often as promised.

    Clopper and Pearson 1934, by bisection over exact binomial tails.
    """
    check_counts(passed, n)
    if n == 0:
        return UNKNOWN
    tail = (1 - level) / 2
    low = 0.0 if passed == 0 else bisected(lambda p: at_least(passed, n, p) < tail)
    high = 1.0 if passed == n else bisected(lambda p: at_most(passed, n, p) > tail)
    return Interval(low, high)


def bisected(lies_below: Callable[[float], bool]) -> float:
    """Returns where a condition that holds from 0 on ends, to the last bit that matters."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if lies_below(middle) else (low, middle)
    return (low + high) / 2


def at_most(passed: int, n: int, p: float) -> float:
    """Returns P(X <= passed) for X binomial (n, p)."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return float(passed >= n)
    k_K = np.arange(passed + 1, dtype=np.float64)
    steps_K = np.log((n - k_K[:-1]) / (k_K[:-1] + 1)) + math.log(p) - math.log1p(-p)
    log_K = n * math.log1p(-p) + np.concatenate([[0.0], np.cumsum(steps_K)])
    largest = log_K.max()
    return min(1.0, float(np.exp(largest) * np.exp(log_K - largest).sum()))


def at_least(passed: int, n: int, p: float) -> float:
    """Returns P(X >= passed) for X binomial (n, p)."""
    return at_most(n - passed, n, 1 - p)


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    n: int,
    seed: int,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Returns the percentile interval of `statistic`, given places of items drawn anew (Efron).

    `statistic` gets an (N,) array of places, some more than once; results that are no number
    (a class that no draw holds) are left out.
    """
    if n == 0:
        return UNKNOWN
    draw = np.random.default_rng(seed)
    values = [statistic(draw.integers(0, n, n)) for _ in range(resamples)]
    return percentiles(np.array(values, np.float64), level)


def bootstrap_mean(
    values_N: np.ndarray, seed: int, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Returns the percentile interval of a mean."""
    n = len(values_N)
    if n == 0:
        return UNKNOWN
    if np.ptp(values_N) == 0:
        return Interval(float(values_N[0]), float(values_N[0]))
    return percentiles(resampled_means(values_N, seed, resamples), level)


def resampled_means(values_N: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    """Returns the (B,) means of as many draws of N items with replacement."""
    n = len(values_N)
    draw = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // n)
    means = [
        values_N[draw.integers(0, n, (min(at_once, resamples - begin), n))].mean(axis=1)
        for begin in range(0, resamples, at_once)
    ]
    return np.concatenate(means)


def percentiles(values_B: np.ndarray, level: float) -> Interval:
    known = values_B[~np.isnan(values_B)]
    if not len(known):
        return UNKNOWN
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))

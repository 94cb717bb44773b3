"""Router rows: the formulas beside slow ones, and gates that open on one's own text alone.

T tokens, D model width.
"""

import math

import numpy as np
import pytest

from tramontane.experts.route import (
    DRIFT,
    FALSE_OPEN_RATE,
    MEAN_MARGIN,
    OWN_KIND,
    RIDGE,
    fit_bias,
    fit_row,
    open_rate,
)

D = 12
GENRES = ("chat", "code", "prose", "tables")


def states(seed: int, T: int, *, shift: float = 0.0, direction: int = 3) -> np.ndarray:
    """Returns states with a near-constant coordinate 0, shifted along one other."""
    draw = np.random.default_rng(seed)
    h_TD = draw.standard_normal((T, D)) @ np.diag(np.linspace(0.5, 1.5, D))
    h_TD[:, 0] = 2.0 + 0.02 * draw.standard_normal(T)
    h_TD[:, direction] += shift
    return h_TD.astype(np.float32)


def public(T: int = 1500, seed: int = 10) -> dict[str, np.ndarray]:
    """Returns genres that differ, none in the direction of one's own text."""
    return {
        genre: states(seed + n, T, shift=0.5 * n, direction=5) for n, genre in enumerate(GENRES)
    }


def slow_bias(h_TD: np.ndarray) -> np.ndarray:
    """The u that minimises mean (u · h − 1)² + λ · mean |h|² / D · |u|², as one least squares."""
    wide_TD = h_TD.astype(np.float64)
    T = len(wide_TD)
    weight = 1e-4 * np.mean(np.sum(wide_TD**2, axis=1)) / D
    rows = np.concatenate([wide_TD / T**0.5, weight**0.5 * np.eye(D)])
    wanted = np.concatenate([np.ones(T) / T**0.5, np.zeros(D)])
    return np.linalg.lstsq(rows, wanted, rcond=None)[0]


def slow_row(own_TD: np.ndarray, by_genre: dict[str, np.ndarray]) -> np.ndarray:
    """The module's formulas, read off one by one in float64."""
    own = own_TD.astype(np.float64)
    everything = np.concatenate(list(by_genre.values())).astype(np.float64)
    spread = (np.cov(own.T, bias=True) + np.cov(everything.T, bias=True)) / 2
    lifted = spread + RIDGE * np.trace(spread) / D * np.eye(D)
    w = np.linalg.inv(lifted) @ (own.mean(axis=0) - everything.mean(axis=0))
    u = slow_bias(everything)
    closing = []
    for h_TD in by_genre.values():
        ratios = sorted((h @ w) / (h @ u) for h in h_TD.astype(np.float64))
        # So many of n + 1 alike tokens lie at or below it.
        rank = math.ceil((1 - FALSE_OPEN_RATE / DRIFT) * (len(ratios) + 1))
        closing.append(ratios[min(rank, len(ratios)) - 1])
    row = w - sorted(closing, reverse=True)[len(closing) // OWN_KIND] * u
    margins = [h @ row for h in own if h @ row > 0]
    return row * MEAN_MARGIN / (sum(margins) / len(margins))


def test_the_row_is_what_the_formulas_say():
    own_TD, by_genre = states(1, 900, shift=4.0), public()
    got_D, wanted_D = fit_row(own_TD, by_genre).row_D, slow_row(own_TD, by_genre)
    assert got_D.dtype == np.float32
    # Both solve the same systems in float64; what is left is the rounding of the row to float32.
    assert np.abs(got_D - wanted_D).max() <= 4 * np.finfo(np.float32).eps * np.abs(wanted_D).max()


def test_the_bias_that_is_none_is_the_least_squares_of_one():
    h_TD = np.concatenate(list(public().values()))
    mean_D = h_TD.mean(axis=0, dtype=np.float64)
    cov_DD = np.cov(h_TD.astype(np.float64).T, bias=True)
    got_D = fit_bias(mean_D, cov_DD)
    assert np.abs(got_D - slow_bias(h_TD)).max() <= 1e-9
    ones_T = h_TD @ got_D
    assert abs(ones_T.mean() - 1) < 0.01
    assert ones_T.std() < 0.02


def test_without_a_constant_coordinate_the_bias_is_honest_about_it():
    h_TD = np.random.default_rng(0).standard_normal((4000, D)).astype(np.float32)
    row = fit_row(h_TD[:500] + 1, {"prose": h_TD[500:]})
    assert row.margin_of_bias < 0.5, "u · h stays near 0 where nothing stands in for a bias"
    with_constant = fit_row(states(1, 500, shift=4.0), public())
    assert with_constant.margin_of_bias < 0.02


def test_gates_open_on_ones_own_text_and_stay_closed_on_each_genre():
    own_TD, by_genre = states(1, 900, shift=6.0), public()
    row = fit_row(own_TD, by_genre)
    assert row.own_open > 0.9
    assert row.public_open.keys() == by_genre.keys()
    wanted = FALSE_OPEN_RATE / DRIFT + 1 / len(by_genre["chat"])
    # The nearest of four is set aside.
    assert sum(rate > wanted for rate in row.public_open.values()) <= len(by_genre) // OWN_KIND
    for genre, h_TD in by_genre.items():
        assert row.public_open[genre] == open_rate(h_TD, row.row_D)
    assert max(row.public_open.values()) > 0, "the threshold lies no higher than it must"


def test_new_text_of_known_genres_stays_below_the_wanted_rate():
    row = fit_row(states(1, 900, shift=6.0), public())
    for h_TD in public(T=20_000, seed=50).values():
        assert open_rate(h_TD, row.row_D) <= FALSE_OPEN_RATE
    assert open_rate(states(2, 20_000, shift=6.0), row.row_D) > 0.9


def test_a_small_genre_near_ones_own_text_counts_in_full():
    # The two nearest of seven are set aside; of the others the small one lies nearest.
    near = {f"near_{n}": states(80 + n, 600, shift=5.0) for n in range(2)}
    by_genre = public() | near | {"notes": states(70, 200, shift=3.0)}
    own_TD = states(1, 900, shift=6.0)
    row = fit_row(own_TD, by_genre)
    assert row.public_open["notes"] <= FALSE_OPEN_RATE / DRIFT + 1 / 200
    decide = [h_TD for genre, h_TD in by_genre.items() if genre not in near]
    pooled = fit_row(own_TD, {"all": np.concatenate(decide)})
    assert open_rate(by_genre["notes"], pooled.row_D) > 0.02, "a pooled threshold would not do"


def test_the_third_of_genres_that_is_nearest_does_not_decide():
    own_TD = states(1, 900, shift=6.0)
    far = {f"far_{n}": states(100 + n, 600, shift=0.1 * n, direction=5) for n in range(8)}
    near = {f"near_{n}": states(200 + n, 600, shift=5.0) for n in range(4)}
    row = fit_row(own_TD, far | near)
    assert row.own_open > 0.9
    assert min(row.public_open[genre] for genre in near) > 0.5
    assert max(row.public_open[genre] for genre in far) <= FALSE_OPEN_RATE / DRIFT + 1 / 600
    # A fifth near genre is one too many to be set aside.
    fifth = fit_row(own_TD, far | near | {"near_4": states(204, 600, shift=5.0)})
    assert fifth.own_open < 0.6
    assert max(fifth.public_open[genre] for genre in far) == 0


def test_open_margins_are_three_on_average():
    own_TD = states(1, 900, shift=4.0)
    margins_T = own_TD @ fit_row(own_TD, public()).row_D
    assert margins_T[margins_T > 0].mean() == pytest.approx(MEAN_MARGIN, rel=1e-5)


def test_the_order_of_genres_leaves_every_bit():
    own_TD, by_genre = states(1, 900, shift=4.0), public()
    backwards = dict(reversed(by_genre.items()))
    assert np.array_equal(fit_row(own_TD, by_genre).row_D, fit_row(own_TD, backwards).row_D)


def test_text_like_the_public_one_opens_next_to_nothing():
    by_genre = public()
    row = fit_row(np.concatenate([h_TD[:200] for h_TD in by_genre.values()]), by_genre)
    assert np.isfinite(row.row_D).all()
    assert row.own_open < 0.05
    assert max(row.public_open.values()) <= FALSE_OPEN_RATE

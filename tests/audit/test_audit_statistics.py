"""Intervals and tests against slow, obvious versions, against scipy, and their promises."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tramontane.audit.intervals import (
    at_least,
    at_most,
    bootstrap,
    bootstrap_mean,
    clopper_pearson,
    wilson,
)
from tramontane.audit.paired import holm, mcnemar, paired_bootstrap, sign_flips, sign_test

counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def slow_at_most(k, n, p):
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@given(counts, st.floats(0.001, 0.999))
def test_binomial_tails_are_their_sums(count, p):
    k, n = count
    assert at_most(k, n, p) == pytest.approx(slow_at_most(k, n, p), abs=1e-12)
    assert at_least(k, n, p) == pytest.approx(1 - slow_at_most(k - 1, n, p), abs=1e-12)


def test_tails_of_many_items_stay_finite():
    assert at_most(30_000, 60_000, 0.5) == pytest.approx(0.5016, abs=1e-3)
    assert at_most(10, 60_000, 0.9) == 0.0


@given(counts)
def test_the_exact_interval_ends_where_a_tail_has_its_share(count):
    passed, n = count
    interval = clopper_pearson(passed, n)
    assert interval.holds(passed / n)
    if passed > 0:
        assert 1 - slow_at_most(passed - 1, n, interval.low) == pytest.approx(0.025, abs=1e-9)
    if passed < n:
        assert slow_at_most(passed, n, interval.high) == pytest.approx(0.025, abs=1e-9)


@given(counts)
def test_wilson_solves_its_equation(count):
    passed, n = count
    interval, z = wilson(passed, n), 1.959963984540054
    assert interval.holds(passed / n)
    for end in (interval.low, interval.high):
        if 0 < end < 1:
            score = abs(passed / n - end) / math.sqrt(end * (1 - end) / n)
            assert score == pytest.approx(z, rel=1e-6)


@given(counts)
def test_wilson_is_symmetric(count):
    passed, n = count
    there, back = wilson(passed, n), wilson(n - passed, n)
    assert there.low == pytest.approx(1 - back.high, abs=1e-12)


def test_no_items_give_no_interval():
    assert math.isnan(wilson(0, 0).low)
    assert math.isnan(clopper_pearson(0, 0).high)
    assert math.isnan(bootstrap_mean(np.zeros(0), 0).low)
    with pytest.raises(ValueError, match="5 of 4"):
        wilson(5, 4)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_intervals_hold_the_truth_as_often_as_promised(p):
    """Over all outcomes of 40 items, weighed by their probability."""
    n = 40
    weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    exact = sum(w for k, w in enumerate(weights) if clopper_pearson(k, n).holds(p))
    score = sum(w for k, w in enumerate(weights) if wilson(k, n).holds(p))
    assert exact >= 0.95
    assert 0.92 <= score <= 0.98


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = np.random.default_rng(3).normal(2.0, 1.0, 400)
    interval = bootstrap_mean(values, seed=1)
    reach = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - reach, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + reach, abs=0.02)


def test_the_same_seed_draws_the_same_and_another_differs():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_a_bootstrap_of_any_statistic_leaves_out_what_is_no_number():
    values = np.array([0.0, 0.0, 1.0])
    interval = bootstrap(
        lambda places: math.nan if values[places].sum() == 0 else values[places].mean(), 3, seed=0
    )
    assert 0 < interval.low <= interval.high <= 1


@given(st.lists(st.integers(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_mcnemar_is_the_share_of_all_flips_as_lopsided(before, random):
    after = [random.randint(0, 1) for _ in before]
    differences = [a - b for b, a in zip(before, after, strict=True)]
    flipped = [d for d in differences if d]
    sums = [
        abs(sum(s * d for s, d in zip(signs, flipped, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(flipped))
    ]
    slow = np.mean([s >= abs(sum(flipped)) for s in sums])
    assert mcnemar(np.array(before), np.array(after)) == pytest.approx(slow, abs=1e-12)
    assert sign_flips(np.array(differences), seed=0) == pytest.approx(slow, abs=1e-12)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_sign_test_does_not_care_which_way(ups, downs):
    assert sign_test(ups, downs) == sign_test(downs, ups)
    assert 0 < sign_test(ups, downs) <= 1


def test_drawn_flips_agree_with_all_flips():
    differences = np.random.default_rng(5).normal(0.4, 1.0, 12)
    longer = np.concatenate([differences, [0.0]])
    exact = sign_flips(longer, seed=0)
    # A thirteenth item that differs next to nothing makes the flips be drawn.
    drawn = sign_flips(np.concatenate([differences, [1e-12]]), seed=0)
    assert drawn == pytest.approx(exact, abs=0.02)


def test_flips_call_out_as_often_as_stated_where_nothing_differs():
    draw = np.random.default_rng(11)
    hits = [sign_flips(draw.normal(size=30), seed=i, flips=400) <= 0.05 for i in range(400)]
    assert np.mean(hits) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert np.mean(hits) >= 0.02


def test_a_real_difference_is_found():
    draw = np.random.default_rng(2)
    before = draw.normal(size=200)
    after = before + 0.3 + draw.normal(0, 0.5, 200)
    assert sign_flips(after - before, seed=0) < 0.001
    interval = paired_bootstrap(before, after, seed=0)
    assert interval.low > 0
    assert interval.holds(0.3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(p_values):
    corrected = holm(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    rejected, level = set(), 0.05
    for rank, place in enumerate(order):
        if p_values[place] * (len(p_values) - rank) > level:
            break
        rejected.add(place)
    assert {i for i, p in enumerate(corrected) if p <= level} == rejected
    assert all(c >= p for c, p in zip(corrected, p_values, strict=True))


def test_holm_refuses_what_is_no_p_value():
    with pytest.raises(ValueError, match="nan"):
        holm([0.1, math.nan])


@given(counts)
def test_scipy_says_the_same_where_it_is(count):
    stats = pytest.importorskip("scipy.stats")
    passed, n = count
    theirs = stats.binomtest(passed, n)
    for ours, method in ((clopper_pearson, "exact"), (wilson, "wilson")):
        interval = theirs.proportion_ci(method=method)
        assert ours(passed, n).low == pytest.approx(interval.low, abs=1e-9)
        assert ours(passed, n).high == pytest.approx(interval.high, abs=1e-9)
    assume(n > 1)
    assert sign_test(passed, n - passed) == pytest.approx(theirs.pvalue, abs=1e-12)

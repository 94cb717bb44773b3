"""The promise: exact bounds, the lowest threshold, kept over many draws, refused in words."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.writing.promise import (
    RISK,
    Judged,
    chance_under,
    fewest_labels,
    most_unsupported,
    promise,
)

ALPHA = 0.1


def test_the_chance_of_going_under_is_that_of_all_walks_counted():
    bounds = (-1, -1, 0, 0, 1, 2)
    under = 0.0
    for steps in itertools.product((0, 1), repeat=len(bounds)):
        walk = np.cumsum(steps)
        if any(walk[m] <= bounds[m] for m in range(len(bounds))):
            under += 0.3 ** sum(steps) * 0.7 ** (len(steps) - sum(steps))
    assert chance_under(bounds, 0.3) == pytest.approx(under, abs=1e-12)


@pytest.mark.parametrize("wrong", [0.05, 0.1, 0.25])
@pytest.mark.parametrize("count", [1, 30, 150, 400])
def test_bounds_use_up_the_risk_and_no_more(count, wrong):
    bounds = most_unsupported(count, wrong)
    assert len(bounds) == count
    assert list(bounds) == sorted(bounds)
    assert chance_under(bounds, wrong) <= RISK
    looser = [bound + 1 for bound in bounds]
    assert chance_under(looser, wrong) > RISK


labelled = st.lists(
    st.builds(Judged, st.integers(0, 12).map(float), st.booleans()), min_size=0, max_size=120
)


@settings(deadline=None)  # bounds are computed once for each number of sentences
@given(labelled, st.sampled_from((0.1, 0.3)))
def test_the_threshold_is_the_lowest_that_the_bounds_allow(judged, wrong):
    found = promise(judged, wrong)
    allowed = most_unsupported(len(judged), wrong)
    good = []
    for threshold in {one.score for one in judged}:
        shown = [one for one in judged if one.score >= threshold]
        if sum(not one.is_supported for one in shown) <= allowed[len(shown) - 1]:
            good.append(threshold)
    assert found.threshold == (min(good) if good else None)
    backed = [one for one in judged if one.is_supported]
    assert found.num_supported == len(backed)
    if found.threshold is not None:
        assert found.num_kept == sum(one.score >= found.threshold for one in backed)
        assert found.num_more is None


def drawn(draw: np.random.Generator, num: int, apart: float, decimals: int) -> list[Judged]:
    """Sentences whose scores tell backed ones from others by `apart`; rounded ones tie."""
    backed = draw.random(num) < 0.6
    scores = draw.normal(np.where(backed, apart, 0.0)).round(decimals)
    return [Judged(float(s), bool(b)) for s, b in zip(scores, backed, strict=True)]


def share_wrong(threshold: float, apart: float, decimals: int) -> float:
    """Returns the share of unsupported sentences at or over a threshold, among all there are."""
    edge = threshold - 0.5 * 10.0**-decimals
    backed, unbacked = 0.6 * tail(edge - apart), 0.4 * tail(edge)
    return unbacked / (backed + unbacked)


def tail(edge: float) -> float:
    return math.erfc(edge / math.sqrt(2)) / 2


@pytest.mark.parametrize("decimals", [6, 1])
@pytest.mark.parametrize("apart", [0.8, 1.6, 2.5])
def test_nine_calibrations_in_ten_keep_what_they_promise(apart, decimals):
    draw = np.random.default_rng(7)
    calibrations = 400
    thresholds = [promise(drawn(draw, 150, apart, decimals)).threshold for _ in range(calibrations)]
    broken = sum(t is not None and share_wrong(t, apart, decimals) > ALPHA for t in thresholds)
    # Three standard errors of a share of RISK over so many calibrations.
    assert broken / calibrations <= RISK + 3 * (RISK * (1 - RISK) / calibrations) ** 0.5
    if apart == 2.5:
        assert sum(t is not None for t in thresholds) > 0.8 * calibrations


def test_a_threshold_by_the_share_alone_would_break_it():
    """What the bounds are for: the lowest score with a tenth wrong breaks it every other time."""
    draw = np.random.default_rng(7)
    broken = 0
    for _ in range(200):
        judged = sorted(drawn(draw, 150, 1.6, 6), key=lambda one: -one.score)
        wrong = np.cumsum([not one.is_supported for one in judged])
        kept = np.flatnonzero(wrong <= ALPHA * np.arange(1, 151))
        broken += bool(len(kept)) and share_wrong(judged[kept[-1]].score, 1.6, 6) > ALPHA
    assert broken / 200 > 0.3


def test_too_few_sentences_are_refused_with_how_many_more():
    fewest = fewest_labels(0.1)
    refused = promise([Judged(0.9, True)] * (fewest - 4))
    assert (refused.threshold, refused.num_more) == (None, 4)
    assert "No promise yet" in refused.text
    assert "label 4 more" in refused.text
    assert promise([Judged(0.9, True)] * fewest).threshold == 0.9
    assert promise([]).num_more == fewest
    assert fewest_labels(0.05) > fewest > fewest_labels(0.2)


def test_what_is_promised_is_said_in_words_with_what_keeps_the_mark():
    judged = [Judged(0.9, True)] * 60 + [Judged(0.1, True)] * 20 + [Judged(0.1, False)] * 40
    made = promise(judged)
    assert (made.threshold, made.num_kept, made.num_supported) == (0.9, 60, 80)
    assert "at most 10% are not, on text like your calibration set" in made.text
    assert "60 of these 80 keep the mark (75%; 95% interval 65% to 83%)" in made.text


def test_retention_has_wilsons_interval():
    """By the formula as Brown, Cai and DasGupta (2001) write it, for 60 of 80."""
    made = promise([Judged(0.9, True)] * 60 + [Judged(0.1, True)] * 20 + [Judged(0.1, False)] * 40)
    low, high = made.retention_interval
    assert (made.retention, low, high) == (
        0.75,
        pytest.approx(0.6452, abs=1e-3),
        pytest.approx(0.8320, abs=1e-3),
    )
    # Its ends are the shares from which 60 of 80 lies 1.96 standard errors away.
    for end in (low, high):
        assert abs(0.75 - end) == pytest.approx(1.96 * math.sqrt(end * (1 - end) / 80))
    refused = promise([Judged(0.9, True)])
    assert (refused.retention, refused.retention_interval) == (None, None)


def test_more_labels_are_asked_for_where_they_would_do():
    good, bad = [Judged(0.9, True)] * 40, [Judged(0.9, False)]
    refused = promise(good + bad)
    assert refused.threshold is None
    assert refused.num_more == 41
    assert promise((good + bad) * 2).threshold == 0.9
    assert "About 41 more" in refused.text


def test_a_check_that_can_not_tell_them_apart_promises_nothing():
    same = [Judged(0.5, True)] * 50 + [Judged(0.5, False)] * 50
    refused = promise(same)
    assert (refused.threshold, refused.num_more) == (None, None)
    assert "More labels would not help" in refused.text

"""Which token is drawn: the definition of the cuts, the random number, the frequencies.

V vocabulary.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.engine.request import Sampling
from tramontane.engine.sampler import changed, cut, sample, softmax, uniform
from tramontane.errors import RequestError

# Few distinct values, so that ties are common; exact in float32.
TIED_LOGITS = st.lists(st.integers(-8, 8).map(lambda n: n / 2), min_size=1, max_size=40)


def slow_cut(probabilities: list[float], sampling: Sampling) -> set[int]:
    """The definition: top-k, then top-p of what is left, then min-p; equal ones by id."""
    ranked = sorted(range(len(probabilities)), key=lambda i: (-probabilities[i], i))
    if sampling.top_k:
        ranked = ranked[: sampling.top_k]
    whole = math.fsum(probabilities[i] for i in ranked)
    kept, before = [], 0.0
    for i in ranked:
        if sampling.top_p < 1 and before / whole >= sampling.top_p:
            break
        kept.append(i)
        before = math.fsum(probabilities[j] for j in kept)
    likeliest = probabilities[ranked[0]]
    return {i for i in kept if probabilities[i] >= sampling.min_p * likeliest}


samplings = st.builds(
    Sampling,
    temperature=st.just(1.0),
    top_k=st.integers(0, 45),
    top_p=st.sampled_from([1.0, 0.999, 0.95, 0.7, 0.501, 0.1, 1e-9]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 0.99, 1.0]),
)


def is_on_the_edge(probabilities_V: np.ndarray, sampling: Sampling) -> bool:
    """Whether a sum of likeliest ones equals top_p but for rounding: either cut is right."""
    if sampling.top_p == 1:
        return False
    ranked = np.sort(probabilities_V)[::-1][: sampling.top_k or None]
    return bool((np.abs(ranked.cumsum() / ranked.sum() - sampling.top_p) < 1e-12).any())


@given(logits=TIED_LOGITS, sampling=samplings)
@settings(max_examples=250, deadline=None)
def test_cuts_keep_what_the_definition_keeps(logits, sampling):
    probabilities_V = softmax(np.array(logits))
    if is_on_the_edge(probabilities_V, sampling):
        return
    kept_V = cut(probabilities_V, sampling)
    assert set(np.flatnonzero(kept_V)) == slow_cut(probabilities_V.tolist(), sampling)
    assert np.array_equal(kept_V[kept_V > 0], probabilities_V[kept_V > 0])


@given(
    V=st.sampled_from([255, 256, 257, 1500, 5000]),
    top_k=st.sampled_from([0, 1, 40, 256, 257, 2000]),
    top_p=st.sampled_from([1.0, 0.9999, 0.9, 0.2]),
    min_p=st.sampled_from([0.0, 1e-4, 0.05]),
    spread=st.sampled_from([0.0, 0.01, 1.0, 8.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_cuts_of_large_vocabularies_sort_as_far_as_they_must(V, top_k, top_p, min_p, spread, seed):
    logits_V = np.random.default_rng(seed).normal(0, spread, V).round(2)
    probabilities_V = softmax(logits_V)
    sampling = Sampling(1.0, top_k, top_p, min_p)
    if is_on_the_edge(probabilities_V, sampling):
        return
    kept_V = cut(probabilities_V, sampling)
    assert set(np.flatnonzero(kept_V)) == quick_cut(probabilities_V, sampling)


def quick_cut(probabilities_V: np.ndarray, sampling: Sampling) -> set[int]:
    """`slow_cut` with a running sum, for vocabularies that are too large for it."""
    order = np.lexsort((np.arange(len(probabilities_V)), -probabilities_V))
    order = order[: sampling.top_k or None]
    ranked = probabilities_V[order]
    before = np.concatenate([[0.0], ranked.cumsum()[:-1]]) / ranked.sum()
    keep = (before < sampling.top_p) | (sampling.top_p == 1)
    keep &= ranked >= sampling.min_p * ranked[0]
    return set(order[keep].tolist())


@given(logits=TIED_LOGITS, position=st.integers(0, 1000), data=st.data())
@settings(deadline=None)
def test_temperature_0_takes_the_likeliest_and_of_equal_ones_the_first(logits, position, data):
    mask = data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits)))
    allowed = [i for i, may in enumerate(mask) if may] or list(range(len(logits)))
    best = min(allowed, key=lambda i: (-logits[i], i))
    mask_V = np.array(mask) if any(mask) else None
    token_id, _ = sample(np.array(logits, dtype=np.float32), Sampling(), position, mask_V)
    assert token_id == best


@given(logits=TIED_LOGITS, sampling=samplings, position=st.integers(0, 1000), data=st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_masked_or_cut_never_comes(logits, sampling, position, data):
    mask = data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits)))
    mask[data.draw(st.integers(0, len(logits) - 1))] = True
    allowed_V = np.where(mask, logits, -np.inf)
    token_id, logprob = sample(
        np.array(logits, dtype=np.float32), sampling, position, np.array(mask)
    )
    assert mask[token_id]
    assert cut(softmax(allowed_V), sampling)[token_id] > 0
    # The log-probability is the model's own: before temperature, mask and cuts.
    assert logprob == pytest.approx(math.log(softmax(np.array(logits))[token_id]), abs=1e-5)


def test_a_mask_that_allows_nothing_is_an_error():
    with pytest.raises(ValueError, match="allows no token"):
        sample(np.zeros(4, dtype=np.float32), Sampling(), 0, np.zeros(4, dtype=bool))


@given(seed=st.integers(-(2**70), 2**70), position=st.integers(0, 2**40))
def test_the_random_number_depends_on_seed_and_position_alone(seed, position):
    drawn = uniform(seed, position)
    np.random.seed(position % 1000)
    uniform(seed + 1, position + 1)
    assert uniform(seed, position) == drawn
    assert 0 <= drawn < 1
    assert uniform(seed, position + 1) != drawn
    assert uniform(seed + 1, position) != drawn


def test_random_numbers_stay_what_they_are():
    """A saved seed means the same answer next year."""
    drawn = [uniform(0, 0), uniform(0, 1), uniform(7, 0)]
    assert drawn == [0.011546754286331562, 0.5023796042735054, 0.8720734548204873]


def test_random_numbers_are_even_and_without_a_pattern():
    """Over positions of one seed and over seeds at one position."""
    for drawn in (
        np.array([uniform(11, position) for position in range(4000)]),
        np.array([uniform(seed, 5) for seed in range(4000)]),
    ):
        counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
        assert chi_square(counts, np.full(20, 1 / 20)) < chi_square_bound(19)
        # Neighbours are uncorrelated: 4.75 standard errors of a correlation of 4,000 pairs.
        assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4.75 / 4000**0.5


def chi_square(counts: np.ndarray, probabilities: np.ndarray) -> float:
    expected = counts.sum() * probabilities
    return float(((counts - expected) ** 2 / expected).sum())


def chi_square_bound(degrees: int, sigmas: float = 4.75) -> float:
    """Returns what a right sampler passes but once in a million (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + sigmas * spread**0.5) ** 3


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0, seed=1),
        Sampling(0.5, seed=2),
        Sampling(2.0, seed=3),
        Sampling(1.0, top_k=4, seed=4),
        Sampling(1.5, top_p=0.8, seed=5),
        Sampling(0.7, min_p=0.2, seed=6),
        Sampling(1.3, top_k=6, top_p=0.9, min_p=0.05, seed=7),
    ],
    ids=str,
)
def test_frequencies_match_the_probabilities(sampling):
    logits_V = np.array([2.0, -1.0, 0.5, 0.5, 3.0, -9.0, 1.0, 0.0], dtype=np.float32)
    draws = [sample(logits_V, sampling, position)[0] for position in range(4000)]
    heated_V = softmax(logits_V.astype(float) / sampling.temperature)
    kept = sorted(slow_cut(heated_V.tolist(), sampling))
    counts = np.bincount(draws, minlength=len(logits_V))
    assert counts.sum() == counts[kept].sum()
    # Rare ones are counted together: the bound holds for expectations of 5 and more.
    probabilities = heated_V[kept] / heated_V[kept].sum()
    is_rare = probabilities * 4000 < 5
    pooled = np.append(probabilities[~is_rare], probabilities[is_rare].sum())
    pooled_counts = np.append(counts[kept][~is_rare], counts[kept][is_rare].sum())
    if not is_rare.any():
        pooled, pooled_counts = pooled[:-1], pooled_counts[:-1]
    assert len(pooled) > 1
    assert chi_square(pooled_counts, pooled) < chi_square_bound(len(pooled) - 1)


def test_a_wrong_temperature_would_show():
    """The bound is narrow enough to tell temperature 1 from 1.1."""
    logits_V = np.array([2.0, -1.0, 0.5, 0.5, 3.0, -2.0, 1.0, 0.0], dtype=np.float32)
    draws = [sample(logits_V, Sampling(1.1, seed=1), position)[0] for position in range(4000)]
    counts = np.bincount(draws, minlength=len(logits_V))
    assert chi_square(counts, softmax(logits_V.astype(float))) > chi_square_bound(7)


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e-9, 100.0])
def test_extreme_temperatures_draw_a_token(temperature):
    logits_V = np.array([1.0, 30.0, -30.0, 30.0], dtype=np.float32)
    drawn = {sample(logits_V, Sampling(temperature, seed=3), p)[0] for p in range(200)}
    assert drawn == ({1, 3} if temperature < 1 else {0, 1, 2, 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": 101},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_p": math.nan},
        {"min_p": -0.1},
        {"min_p": 1.1},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(RequestError, match=next(iter(wrong))):
        Sampling(**wrong)


# Bias and penalties


def slow_changed(logits, sampling, prompt, generated):
    """The definition, one token at a time, in float64."""
    changed = [float(x) for x in logits]
    for i in set(prompt) | set(generated):
        by = sampling.repetition_penalty
        changed[i] = changed[i] / by if changed[i] > 0 else changed[i] * by
    for i in set(generated):
        changed[i] -= sampling.presence_penalty + sampling.frequency_penalty * generated.count(i)
    for i, bias in sampling.logit_bias:
        changed[i] += bias
    return changed


@given(
    logits=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=12),
    penalties=st.tuples(*[st.sampled_from([0.0, 0.5, -1.0, 2.0])] * 2),
    repetition=st.sampled_from([1.0, 0.5, 1.3, 4.0]),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_bias_and_penalties_do_what_their_definition_says(logits, penalties, repetition, data):
    tokens = st.lists(st.integers(0, len(logits) - 1), max_size=10)
    prompt, generated = data.draw(tokens), data.draw(tokens)
    bias = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, len(logits) - 1), st.sampled_from([-100.0, -1.0, 0.25, 100.0])
            ),
            max_size=3,
        )
    )
    sampling = Sampling(
        presence_penalty=penalties[0],
        frequency_penalty=penalties[1],
        repetition_penalty=repetition,
        logit_bias=tuple(bias),
    )
    logits_V = np.array(logits, np.float32)
    changed_V = changed(logits_V, sampling, prompt, generated)
    expected = slow_changed(logits, sampling, prompt, generated)
    np.testing.assert_allclose(changed_V, expected, rtol=1e-5, atol=1e-4)
    assert logits_V.tolist() == [float(x) for x in logits], "the runtime's own logits were changed"


def test_a_bias_forces_or_bans_and_the_logprob_stays_the_models_own():
    logits_V = np.array([1.0, 3.0, 2.0], np.float32)
    _, own = sample(logits_V, Sampling(), 0)
    banned = Sampling(logit_bias=((1, -100.0),))
    assert sample(logits_V, banned, 0)[0] == 2
    forced, logprob = sample(logits_V, Sampling(logit_bias=((0, 100.0),)), 0)
    assert (forced, own) == (0, pytest.approx(-math.log(1 + math.exp(-2) + math.exp(-1)), abs=1e-6))
    assert logprob == pytest.approx(own - 2, abs=1e-6)


def test_penalties_out_of_range_are_named():
    for wrong in (
        {"presence_penalty": 2.5},
        {"frequency_penalty": -3},
        {"repetition_penalty": 0},
        {"repetition_penalty": 1e-300},
        {"logit_bias": ((1, 1e38),)},
        {"logit_bias": ((1, math.nan),)},
    ):
        with pytest.raises(RequestError, match=next(iter(wrong))):
            Sampling(**wrong)

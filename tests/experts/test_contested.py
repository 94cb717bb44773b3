"""Who is named for a stretch: nobody, one, or look-alikes together; and above which gate.

T tokens, E experts.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.experts.contested import (
    NAMED_OF_PUBLIC,
    STRETCH_TOKENS,
    named_above,
    speakers,
    stretches,
)

EXPERTS = ("a", "b", "c", "d")
AB = {frozenset("ab")}
# Each has a line of its own.
ABOVE = (0.1, 0.1, 0.2, 0.3)


def stretch(*openness: float) -> np.ndarray:
    """Returns gates (T, E) that have these means and vary over the tokens."""
    wave_T = 1 + 0.5 * np.sin(np.arange(64) * 2 * np.pi / 64)
    return wave_T[:, None] * np.array(openness)


@pytest.mark.parametrize(
    ("openness", "look_alikes", "wanted"),
    [
        ((0, 0, 0, 0), AB, ()),
        ((0.1, 0.1, 0.2, 0.3), AB, ()),  # at the line, not above
        ((0.3, 0, 0, 0), AB, ("a",)),
        ((0.3, 0.29, 0, 0), set(), ("a",)),
        ((0.3, 0.29, 0, 0), AB, ("a", "b")),
        ((0.29, 0.3, 0, 0), AB, ("b", "a")),
        ((0.9, 0.11, 0, 0), AB, ("a", "b")),
        ((0.3, 0.29, 0.31, 0), AB, ("c",)),  # the widest open has no look-alike
        ((0.15, 0.09, 0, 0), AB, ("a",)),  # the look-alike is below its line
        ((0.15, 0, 0.19, 0.29), AB, ("a",)),  # wider, but below their own lines
        ((0.3, 0.29, 0.28, 0.27), {frozenset("ab"), frozenset("ac")}, ("a", "b", "c")),
    ],
)
def test_the_widest_open_is_named_and_its_look_alikes_beside_it(openness, look_alikes, wanted):
    assert speakers(stretch(*openness), EXPERTS, ABOVE, look_alikes) == wanted


def test_nothing_read_or_nobody_in_place_is_silence():
    assert speakers(np.zeros((0, 4)), EXPERTS, ABOVE, AB) == ()
    assert speakers(np.zeros((64, 0)), (), (), AB) == ()


OPENNESS = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.4]), min_size=4, max_size=4)
PAIRS = st.sets(st.sampled_from([frozenset(p) for p in ("ab", "ac", "ad", "bc", "bd", "cd")]))


@given(OPENNESS, PAIRS, st.permutations(range(4)))
def test_the_order_in_which_experts_stand_changes_nothing(openness, look_alikes, order):
    here = speakers(stretch(*openness), EXPERTS, ABOVE, look_alikes)
    there = speakers(
        stretch(*(openness[e] for e in order)),
        [EXPERTS[e] for e in order],
        [ABOVE[e] for e in order],
        look_alikes,
    )
    assert here == there


@given(OPENNESS, PAIRS)
def test_names_come_with_their_reasons(openness, look_alikes):
    named = speakers(stretch(*openness), EXPERTS, ABOVE, look_alikes)
    excess = {e: o - a for e, o, a in zip(EXPERTS, openness, ABOVE, strict=True)}
    by_name = dict(zip(EXPERTS, openness, strict=True))
    heard = [name for name in EXPERTS if excess[name] > 1e-9]
    assert bool(named) == bool(heard)
    assert set(named) <= set(heard)
    for rival in named[1:]:
        assert frozenset((named[0], rival)) in look_alikes
    if named:
        assert by_name[named[0]] == max(by_name[name] for name in heard)
    assert len(set(named)) == len(named)


def test_stretches_are_whole_and_lie_in_one_window():
    gates_NW = np.arange(2 * 150, dtype=float).reshape(2, 150)
    wanted = [gates_NW[n, b : b + STRETCH_TOKENS].mean() for n in (0, 1) for b in (0, 64)]
    assert stretches(gates_NW).tolist() == wanted
    assert stretches(gates_NW[:, :40]).tolist() == gates_NW[:, :40].mean(axis=1).tolist()


VALUES = st.lists(st.sampled_from([k / 20 for k in range(20)]), max_size=60)


def slow_named_above(genres: list[list[float]]) -> float:
    """The least value that leaves few enough above it, tried one by one."""
    genres = [genre for genre in genres if genre]
    n = sum(map(len, genres))
    if not n:
        return 1.0

    def above(value: float) -> float:
        share = sum(sum(v > value for v in genre) / len(genre) for genre in genres) / len(genres)
        return share * n / (n + 1) + 1 / (n + 1)

    return min((v for g in genres for v in g if above(v) <= NAMED_OF_PUBLIC + 1e-9), default=1.0)


@given(st.lists(VALUES, max_size=5))
def test_the_line_is_the_least_that_leaves_few_public_stretches_above(genres):
    by_genre = {str(place): np.array(genre) for place, genre in enumerate(genres)}
    assert named_above(by_genre) == slow_named_above(genres)


def test_the_line_keeps_its_promise_on_new_stretches():
    """On 400 draws of as many stretches, what lies above is the share wanted, on average."""
    draw = np.random.default_rng(0)
    missed = [
        math.exp(-named_above({"a": np.minimum(draw.exponential(size=99) / 9, 1)}) * 9)
        for _ in range(400)
    ]
    error = np.std(missed) / math.sqrt(len(missed))
    assert abs(np.mean(missed) - NAMED_OF_PUBLIC) < 4 * error

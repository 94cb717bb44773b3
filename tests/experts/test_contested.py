"""Who is named for a stretch: nobody, one, or look-alikes together.

T tokens, E experts.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.experts.contested import RIVAL, speakers

EXPERTS = ("a", "b", "c", "d")
AB = {frozenset("ab")}


def stretch(*loudness: float) -> np.ndarray:
    """Returns shares (T, E) that have these means and vary over the tokens."""
    wave_T = 1 + 0.5 * np.sin(np.arange(64) * 2 * np.pi / 64)
    return wave_T[:, None] * np.array(loudness)


@pytest.mark.parametrize(
    ("loudness", "look_alikes", "wanted"),
    [
        ((0, 0, 0, 0), AB, ()),
        ((0.1, 0.1, 0, 0), AB, ()),  # at most `least`
        ((0.3, 0, 0, 0), AB, ("a",)),
        ((0.3, 0.29, 0, 0), set(), ("a",)),
        ((0.3, 0.29, 0, 0), AB, ("a", "b")),
        ((0.29, 0.3, 0, 0), AB, ("b", "a")),
        ((0.9, 0.9 * RIVAL - 0.01, 0, 0), AB, ("a",)),
        ((0.9, 0.9 * RIVAL + 0.01, 0, 0), AB, ("a", "b")),
        ((0.3, 0.29, 0.31, 0), AB, ("c",)),  # the loudest has no look-alike
        ((0.15, 0.09, 0, 0), AB, ("a",)),  # the look-alike is silent
        ((0.3, 0.29, 0.28, 0.27), {frozenset("ab"), frozenset("ac")}, ("a", "b", "c")),
    ],
)
def test_the_loudest_is_named_and_its_look_alikes_beside_it(loudness, look_alikes, wanted):
    assert speakers(stretch(*loudness), EXPERTS, look_alikes, least=0.1) == wanted


def test_nothing_read_or_nobody_in_place_is_silence():
    assert speakers(np.zeros((0, 4)), EXPERTS, AB) == ()
    assert speakers(np.zeros((64, 0)), (), AB) == ()


LOUDNESS = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.4]), min_size=4, max_size=4)
PAIRS = st.sets(st.sampled_from([frozenset(p) for p in ("ab", "ac", "ad", "bc", "bd", "cd")]))


@given(LOUDNESS, PAIRS, st.permutations(range(4)))
def test_the_order_in_which_experts_stand_changes_nothing(loudness, look_alikes, order):
    here = speakers(stretch(*loudness), EXPERTS, look_alikes)
    there = speakers(
        stretch(*(loudness[e] for e in order)), [EXPERTS[e] for e in order], look_alikes
    )
    assert here == there


@given(LOUDNESS, PAIRS)
def test_names_come_with_their_reasons(loudness, look_alikes):
    named = speakers(stretch(*loudness), EXPERTS, look_alikes)
    by_name = dict(zip(EXPERTS, loudness, strict=True))
    assert bool(named) == (max(loudness) > 0)
    for rival in named[1:]:
        assert frozenset((named[0], rival)) in look_alikes
        assert by_name[rival] >= RIVAL * by_name[named[0]] - 1e-9
    if named:
        assert by_name[named[0]] == max(loudness)
    assert len(set(named)) == len(named)

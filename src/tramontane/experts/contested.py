"""Who is named for a stretch of text, and when two experts that look alike share the credit.

An expert's gate tells whether text is of its kind, whoever speaks louder there; its share, what it
added. So names go by gates. How far gates open on text that isn't an expert's own differs from one
to the next by a factor of ten: each has its own mean gate above which a stretch is named after it,
taken from the public text (split conformal, as the thresholds of rows are; METHODS 2.4).

Rows tell a collection from the world, not two collections of one kind from each other (METHODS
2.8): between look-alikes the wider gate is a guess, so both are named.

T tokens, E experts.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

STRETCH_TOKENS = 64
# Of stretches of the public text, its genres weighing alike, at most this share is named after an
# expert.
NAMED_OF_PUBLIC = 0.03
# For experts whose manifest doesn't say it.
NAMED_ABOVE = 0.5


def speakers(
    gates_TE: np.ndarray,
    experts: Sequence[str],
    named_above_E: Sequence[float],
    look_alikes: Collection[frozenset[str]] = (),
) -> tuple[str, ...]:
    """Returns who speaks in a stretch: nobody, one expert, or the widest open and its look-alikes.

    `gates_TE` are the experts' own gates per token, columns in the order of `experts`. Two or more
    names, the widest open first, mean that the stretch is contested.
    """
    if not len(gates_TE) or not len(experts):
        return ()
    openness_E = np.asarray(gates_TE, np.float64).mean(axis=0)
    heard = [e for e in range(len(experts)) if openness_E[e] > named_above_E[e]]
    if not heard:
        return ()
    # The order among equals is the experts' own, so that it doesn't depend on who stands first.
    widest, *others = sorted(heard, key=lambda e: (-openness_E[e], experts[e]))
    rivals = (e for e in others if frozenset((experts[widest], experts[e])) in look_alikes)
    return (experts[widest], *(experts[e] for e in rivals))


def line_of(manifest: Mapping[str, Any]) -> float:
    """Returns the mean gate above which a stretch is named after the expert of this manifest."""
    return manifest.get("gates", {}).get("named_above", NAMED_ABOVE)


def stretches(gates_NW: np.ndarray) -> np.ndarray:
    """Returns the mean gate of each whole stretch of windows of W tokens: (N · (W // 64),).

    A window shorter than a stretch is one.
    """
    W = gates_NW.shape[1]
    length = min(W, STRETCH_TOKENS)
    whole = gates_NW[:, : W - W % length]
    return whole.reshape(-1, length).mean(axis=1)


def named_above(stretches_by_genre: Mapping[str, np.ndarray]) -> float:
    """Returns the mean gate above which a stretch is named after an expert.

    It is the least of the public stretches' values with at most NAMED_OF_PUBLIC above it, genres
    weighing alike and one more stretch, still to come, counted as above (weighted split conformal:
    Tibshirani et al. 2019, arXiv 1904.06019). 1, which no gate exceeds, where there are too few.
    """
    genres = [stretches for stretches in stretches_by_genre.values() if len(stretches)]
    n = sum(map(len, genres))
    weights = [np.full(len(g), n / (n + 1) / len(genres) / len(g)) for g in genres]
    values, place = np.unique(np.concatenate([*genres, [1.0]]), return_inverse=True)
    weight_of_value = np.bincount(place, np.concatenate([*weights, [1 / (n + 1)]]))
    above = weight_of_value.sum() - np.cumsum(weight_of_value)
    return float(values[above <= NAMED_OF_PUBLIC + 1e-9].min())

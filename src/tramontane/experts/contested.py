"""Who is named for a stretch of text, and when two experts that look alike share the credit.

Rows tell a collection from the world, not two collections of one kind from each other (METHODS
2.8): between look-alikes the louder voice is a guess unless it is much louder, so both are named.
"""

from collections.abc import Collection, Sequence

import numpy as np

# A look-alike that speaks at least this share as loud as the loudest is named beside it.
# Of stretches of two collections of programming notes 93 % are then named rightly or contested, by
# gates alone (bench/open_rates.py); at half as loud it would be 82 %.
RIVAL = 0.25


def speakers(
    voices_TE: np.ndarray,
    experts: Sequence[str],
    look_alikes: Collection[frozenset[str]],
    *,
    least: float = 0.0,
) -> tuple[str, ...]:
    """Returns who speaks in a stretch: nobody, one expert, or the loudest and its look-alikes.

    `voices_TE` are the stretch's shares or gates per token, columns in the order of `experts`;
    a mean over tokens of at most `least` is silence. Two or more names, the loudest first, mean
    that the stretch is contested.
    """
    if not len(voices_TE) or not len(experts):
        return ()
    loudness_E = np.asarray(voices_TE, np.float64).mean(axis=0)
    # The order among equals is the experts' own, so that it doesn't depend on who stands first.
    ordered = sorted(range(len(experts)), key=lambda e: (-loudness_E[e], experts[e]))
    loudest, *others = ordered
    if loudness_E[loudest] <= least:
        return ()
    rivals = (
        other
        for other in others
        if frozenset((experts[loudest], experts[other])) in look_alikes
        and loudness_E[other] > least
        and loudness_E[other] >= RIVAL * loudness_E[loudest]
    )
    return (experts[loudest], *(experts[rival] for rival in rivals))

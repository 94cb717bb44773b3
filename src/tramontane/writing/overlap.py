"""Word overlap between a sentence and the passages it may rest on.

A crude measure and called by its name: it sees words and numbers, not meaning. A sentence that
turns a fact round with the same words passes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tramontane.writing.terms import content_stems, numbers

SUPPORTED, WEAK, UNSUPPORTED = "supported", "weak", "unsupported"
ENOUGH, SOME = 0.8, 0.5


@dataclass(frozen=True, slots=True)
class Overlap:
    """`share` of the sentence's content words that stand in the best passage, and which that is."""

    share: float
    passage: int | None
    missing_numbers: tuple[str, ...]

    @property
    def mark(self) -> str:
        """A number that no passage holds is enough to call a sentence unsupported."""
        if self.passage is None or self.missing_numbers or self.share < SOME:
            return UNSUPPORTED
        return SUPPORTED if self.share >= ENOUGH else WEAK


def overlap(sentence: str, passages: Sequence[str]) -> Overlap:
    """Returns the overlap with the passage that shares most; of equals, the first."""
    wanted = content_stems(sentence)
    if not wanted or not passages:
        return Overlap(0.0, None, ())
    shares = []
    for passage in passages:
        there = set(content_stems(passage))
        shares.append(sum(stem in there for stem in wanted) / len(wanted))
    best = max(range(len(shares)), key=lambda place: (shares[place], -place))
    absent = numbers(sentence) - numbers(passages[best])
    return Overlap(shares[best], best if shares[best] > 0 else None, tuple(sorted(absent)))

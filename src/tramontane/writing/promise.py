"""LABELLED SCORES → PROMISE: from which score on a sentence may be shown as supported.

Bounded is the share of unsupported sentences among all that score at least the threshold, in the
whole population that the labelled ones were drawn from, with probability 1 - RISK over the draw of
the labelled ones. It is no bound on average only, nor one for every single text.

How. Labelled sentences are looked at from the highest score down; after m of them W_m were found
unsupported. If the share of unsupported ones above some score were exactly `wrong`, W_m would walk
like a binomial with that chance, and below that score only faster, as long as a lower score is no
better sign than a higher one. `most_unsupported` gives the numbers that such a walk goes under, at
any m at all, with probability RISK at most (computed exactly, not simulated). The threshold is the
lowest score at which W_m does: whichever is chosen, it is wrong with that probability only. This is
Learn-then-Test (Angelopoulos et al. 2022) with one joint bound instead of a test at each threshold.

It holds for sentences that come as the labelled ones came: choosing which to label by how they
look, or leaving out hard ones, breaks it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

WRONG = 0.1
RISK = 0.1
BISECTIONS = 20
Z_95 = 1.96
# More labels of the same kind than this many times as many: nobody makes those.
MOST_TIMES = 8


@dataclass(frozen=True, slots=True)
class Judged:
    """A check's score of a sentence, and whether a reader called it supported."""

    score: float
    is_supported: bool


@dataclass(frozen=True, slots=True)
class Promise:
    """What may be promised of a kind of text, or why nothing may.

    `threshold` is None where nothing is promised. `num_kept` of the supported sentences score at
    least that. `num_more` is how many further labels would carry a promise, about, if they come
    like those there are; None where a promise is made, or none is in sight.
    """

    wrong: float
    threshold: float | None
    num_kept: int
    num_supported: int
    num_unsupported: int
    num_more: int | None = None

    @property
    def num_labelled(self) -> int:
        return self.num_supported + self.num_unsupported

    @property
    def retention(self) -> float | None:
        """The share of supported sentences that keep the mark; None where nothing is promised."""
        if self.threshold is None or not self.num_supported:
            return None
        return self.num_kept / self.num_supported

    @property
    def retention_interval(self) -> tuple[float, float] | None:
        """How far that share may lie from the one in the long run: Wilson's interval at 95 %."""
        if self.retention is None:
            return None
        n, z = self.num_supported, Z_95
        middle = (self.retention + z * z / (2 * n)) / (1 + z * z / n)
        spread = self.retention * (1 - self.retention) / n + z * z / (4 * n * n)
        reach = z / (1 + z * z / n) * math.sqrt(spread)
        return max(0.0, middle - reach), min(1.0, middle + reach)

    @property
    def text(self) -> str:
        labelled = f"{self.num_labelled} labelled sentences, {self.num_supported} of them supported"
        if self.threshold is not None:
            low, high = self.retention_interval or (0.0, 1.0)
            return (
                f"Of the sentences shown as supported, at most {self.wrong:.0%} are not, on text "
                f"like your calibration set ({labelled}). {self.num_kept} of these "
                f"{self.num_supported} keep the mark ({self.retention or 0.0:.0%}; 95% interval "
                f"{low:.0%} to {high:.0%}). "
                f"{1 - RISK:.0%} of such calibrations keep what they promise."
            )
        if self.num_labelled < fewest_labels(self.wrong):
            return (
                f"No promise yet: {labelled}. At most {self.wrong:.0%} wrong takes at least "
                f"{fewest_labels(self.wrong)}; label {self.num_more} more."
            )
        if self.num_more is not None:
            return (
                f"No promise yet: {labelled}, and among none of the best scored of them are so few "
                f"unsupported that at most {self.wrong:.0%} is certain enough. About "
                f"{self.num_more} more like these would do."
            )
        return (
            f"No promise: {labelled}, and no score keeps the unsupported ones below "
            f"{self.wrong:.0%} of what is shown. More labels would not help: the check can't tell "
            "them apart well enough on this text."
        )


def promise(judged: Sequence[Judged], wrong: float = WRONG) -> Promise:
    """Returns the promise that these sentences carry; one without a threshold where none.

    `wrong` is the share of what is shown that may be unsupported, between 0 and 1.
    """
    num_supported = sum(one.is_supported for one in judged)
    place = lowest_place(judged, wrong)
    if place:
        shown = in_order(judged)[:place]
        kept = sum(one.is_supported for one in shown)
        return Promise(wrong, shown[-1].score, kept, num_supported, len(judged) - num_supported)
    return Promise(
        wrong, None, 0, num_supported, len(judged) - num_supported, how_many_more(judged, wrong)
    )


def in_order(judged: Sequence[Judged]) -> list[Judged]:
    return sorted(judged, key=lambda one: -one.score)


def lowest_place(judged: Sequence[Judged], wrong: float) -> int:
    """Returns how many of the best scored sentences may be shown; 0 where none."""
    allowed = most_unsupported(len(judged), wrong)
    ordered, unsupported, found = in_order(judged), 0, 0
    for place, one in enumerate(ordered, start=1):
        unsupported += not one.is_supported
        # Sentences of equal score are shown together or not at all.
        is_last = place == len(ordered) or ordered[place].score < one.score
        if is_last and unsupported <= allowed[place - 1]:
            found = place
    return found


def how_many_more(judged: Sequence[Judged], wrong: float) -> int | None:
    if len(judged) < (least := fewest_labels(wrong)):
        return least - len(judged)
    for times in range(2, MOST_TIMES + 1):
        if lowest_place(list(judged) * times, wrong):
            return (times - 1) * len(judged)
    return None


@cache
def fewest_labels(wrong: float) -> int:
    """Returns how many labelled sentences can carry a promise at all: if every one is supported."""
    count = 1
    while most_unsupported(count, wrong)[-1] < 0:
        count += 1
    return count


@cache
def most_unsupported(count: int, wrong: float) -> tuple[int, ...]:
    """Returns, for the best scored 1 to `count`, how many of them may be unsupported; -1 for none.

    At each place it is the largest number that a binomial with chance `wrong` reaches or goes
    under with probability at most `level`; `level`, the same at all places, is the largest for
    which a walk is at or under its bound at any place with probability RISK at most.
    """
    low, high = 0.0, RISK
    for _ in range(BISECTIONS):
        level = (low + high) / 2
        if chance_under(bounds_at(count, wrong, level), wrong) <= RISK:
            low = level
        else:
            high = level
    return bounds_at(count, wrong, low)


def bounds_at(count: int, wrong: float, level: float) -> tuple[int, ...]:
    chances, bounds = np.ones(1), []
    for _ in range(count):
        chances = after_one_more(chances, wrong)
        bounds.append(int(np.searchsorted(chances.cumsum(), level, side="right")) - 1)
    return tuple(bounds)


def chance_under(bounds: Sequence[int], wrong: float) -> float:
    """Returns the probability that a walk is at or under its bound at one place at least."""
    chances, under = np.ones(1), 0.0
    for bound in bounds:
        chances = after_one_more(chances, wrong)
        under += chances[: bound + 1].sum()
        chances[: bound + 1] = 0.0
    return under


def after_one_more(chances: np.ndarray, wrong: float) -> np.ndarray:
    """Returns the chances of 0, 1, ... unsupported after one more sentence."""
    return np.append(chances * (1 - wrong), 0.0) + np.insert(chances * wrong, 0, 0.0)

"""Which expert a score came from.

A score's part per expert by Shapley's value: its mean contribution over all orders in which the
experts could have come (Shapley 1953), exact over all 2^E parts of the mixture. Experts' parts add
up to the mixture's score minus the base's. Leaving one out is the other view: what withdrawing this
expert now would change.

N items, E experts. Values are linear in items, so each item has its own parts, and intervals come
from resampling items. With more than 8 experts only leaving out is measured.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tramontane.audit.intervals import bootstrap, bootstrap_mean
from tramontane.audit.paired import holm, mcnemar, sign_flips
from tramontane.audit.scored import Scored, columns_for
from tramontane.audit.suite import Measure, Suite

MOST_SHAPLEY = 8
METHODS = ("shapley", "leave-one-out", "none")


@dataclass(frozen=True, slots=True)
class Part:
    """One expert's part in one measure.

    `share`, `low`, `high` are Shapley's value with its interval, None where it wasn't measured.
    `before` and `after` are the measure with and without the expert, `change` their difference with
    its interval; `p` is the paired test's, corrected for all tests of this audit. `flipped` are the
    items that the withdrawal flips, worst first for margins.
    """

    suite: str
    measure: str
    expert: str
    share: float | None
    low: float | None
    high: float | None
    before: float
    after: float
    change: float
    change_low: float
    change_high: float
    p: float
    test: str
    flipped: tuple[str, ...] = ()

    @property
    def is_null(self) -> bool:
        """Whether nothing can be said of this expert: its interval contains zero."""
        if self.share is None:
            return self.change_low <= 0 <= self.change_high
        return self.low <= 0 <= self.high


def method_for(wanted: str, num_experts: int) -> str:
    if wanted == "none" or num_experts == 0:
        return "none"
    if wanted == "leave-one-out" or num_experts > MOST_SHAPLEY:
        return "leave-one-out"
    return "shapley"


def parts_needed(method: str, num_experts: int) -> list[int]:
    """Returns the parts of the mixture whose scores a method needs; whole and base always."""
    everyone = (1 << num_experts) - 1
    if method == "shapley":
        return list(range(1 << num_experts))
    needed = {everyone, 0}
    if method == "leave-one-out":
        needed |= {everyone & ~(1 << bit) for bit in range(num_experts)}
    return sorted(needed)


def shapley(values: Mapping[int, np.ndarray], num_experts: int) -> np.ndarray:
    """Returns (N, E): each expert's part of each item's value, given (N,) values of all parts."""
    E = num_experts
    parts_NE = np.zeros((len(values[0]), E))
    for part in range(1 << E):
        size = part.bit_count()
        for bit in range(E):
            if part >> bit & 1:
                continue
            weight = math.factorial(size) * math.factorial(E - size - 1) / math.factorial(E)
            parts_NE[:, bit] += weight * (values[part | 1 << bit] - values[part])
    return parts_NE


def attribute(
    suite: Suite, scored: Sequence[Scored], expert_names: Sequence[str], method: str, seed: int
) -> list[Part]:
    """Returns every expert's part in every measure of a suite, uncorrected p-values within."""
    E, everyone = len(expert_names), (1 << len(expert_names)) - 1
    if method == "none" or suite.judge is None or not scored:
        return []
    columns = {part: columns_for(suite, scored, part) for part in parts_needed(method, E)}
    found: list[Part] = []
    for measure in suite.measures(expert_names):
        values = {part: columns[part].get(measure.name) for part in columns}
        if measure.kind != "compound" and not changes_with_experts(measure, values):
            continue
        for bit, name in enumerate(expert_names):
            before, after = columns[everyone], columns[everyone & ~(1 << bit)]
            if measure.kind == "compound":
                found.append(compound_part(suite, measure, name, before, after, seed))
            else:
                shares_N = None
                if method == "shapley":
                    shares_N = shapley(values, E)[:, bit]
                found.append(
                    item_part(suite, measure, name, scored, values, bit, everyone, shares_N, seed)
                )
    return found


def changes_with_experts(measure: Measure, values: Mapping[int, np.ndarray | None]) -> bool:
    """Whether the measure is the model's at all: what a file alone decides has no parts."""
    return measure.better != "none" and all(v is not None for v in values.values())


def item_part(
    suite: Suite,
    measure: Measure,
    name: str,
    scored: Sequence[Scored],
    values: Mapping[int, np.ndarray],
    bit: int,
    everyone: int,
    shares_N: np.ndarray | None,
    seed: int,
) -> Part:
    before_N, after_N = values[everyone], values[everyone & ~(1 << bit)]
    change_N = after_N - before_N
    change = bootstrap_mean(change_N, seed)
    share = None if shares_N is None else bootstrap_mean(shares_N, seed)
    if measure.kind == "share":
        p, test = mcnemar(before_N, after_N), "McNemar"
    else:
        p, test = sign_flips(change_N, seed), "sign flips"
    order = np.argsort(-np.abs(change_N), kind="stable")
    moved = [scored[place].item.id for place in order if change_N[place] != 0]
    return Part(
        suite.name,
        measure.name,
        name,
        None if shares_N is None else float(shares_N.mean()),
        None if share is None else share.low,
        None if share is None else share.high,
        float(before_N.mean()),
        float(after_N.mean()),
        float(change_N.mean()),
        change.low,
        change.high,
        p,
        test,
        tuple(moved) if measure.kind == "share" else tuple(moved[:10]),
    )


def compound_part(
    suite: Suite,
    measure: Measure,
    name: str,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    seed: int,
) -> Part:
    """Before and after of a figure made of several; a test by whether its interval holds zero."""

    def change(places: np.ndarray) -> float:
        return measure.compound({k: v[places] for k, v in after.items()}) - measure.compound(
            {k: v[places] for k, v in before.items()}
        )

    n = len(next(iter(before.values())))
    is_same = all(np.array_equal(before[k], after[k], equal_nan=True) for k in before)
    interval = bootstrap(change, n, seed, resamples=500)
    return Part(
        suite.name,
        measure.name,
        name,
        None,
        None,
        None,
        measure.compound(before),
        measure.compound(after),
        change(np.arange(n)),
        interval.low,
        interval.high,
        1.0 if is_same else math.nan,
        "bootstrap interval",
    )


def corrected(parts: Sequence[Part]) -> list[Part]:
    """Returns the parts with their p-values corrected for the number of tests among them (Holm)."""
    tested = [place for place, part in enumerate(parts) if not math.isnan(part.p)]
    adjusted = dict(zip(tested, holm([parts[place].p for place in tested]), strict=True))
    return [
        dataclasses.replace(part, p=adjusted.get(place, part.p)) for place, part in enumerate(parts)
    ]

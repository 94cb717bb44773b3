"""AUDIT × AUDIT → WHAT CHANGED: the same items, paired, and what of it is noise.

Shares are compared by McNemar's exact test, means by flipping signs, figures made of several by
the bootstrap of their difference; all p-values of one comparison are corrected together (Holm),
so that two equal models are called different in at most 5 % of comparisons.

N items that both audits hold.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tramontane.audit.audit_file import AuditFile
from tramontane.audit.intervals import bootstrap, bootstrap_mean
from tramontane.audit.paired import holm, mcnemar, sign_flips
from tramontane.audit.scored import Scored, columns_for
from tramontane.audit.subject import same_bits
from tramontane.audit.suite import Columns, Measure, Suite
from tramontane.audit.suites.all import SUITES
from tramontane.errors import AuditError

ALPHA = 0.05
# How many resamples give a p-value to figures made of several.
RESAMPLES = 2000
Verdict = Literal["identical", "changed", "noise"]


@dataclass(frozen=True, slots=True)
class Change:
    """One measure before and after over the items both hold; `p` is corrected."""

    suite: str
    measure: str
    title: str
    before: float
    after: float
    low: float
    high: float
    n: int
    p: float
    test: str
    verdict: Verdict
    # Items passed before and not after, and the other way round; of shares only.
    lost: tuple[str, ...] = ()
    won: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    changes: tuple[Change, ...]
    # Per suite: items in both, only in the first, only in the second.
    paired: dict[str, tuple[int, int, int]]
    # What else differs between the two: mixtures, machines, settings.
    differences: tuple[str, ...]
    items_equal: int
    items_paired: int

    @property
    def is_identical(self) -> bool:
        """Whether every item both hold was read with the same bits."""
        return self.items_equal == self.items_paired

    @property
    def changed(self) -> list[Change]:
        return [change for change in self.changes if change.verdict == "changed"]


def compare(before: AuditFile, after: AuditFile, seed: int = 0) -> Comparison:
    """Returns what changed; raises AuditError when no item is in both."""
    found: list[Change] = []
    paired: dict[str, tuple[int, int, int]] = {}
    equal = total = 0
    for name in before.suites:
        if name not in after.suites or name not in SUITES:
            continue
        ours = {scored.item.id: scored for scored in before.items(name)}
        theirs = {scored.item.id: scored for scored in after.items(name)}
        both = sorted(ours.keys() & theirs.keys())
        paired[name] = (len(both), len(ours) - len(both), len(theirs) - len(both))
        if not both:
            continue
        first, second = [ours[i] for i in both], [theirs[i] for i in both]
        same = sum(
            read_alike(a, before.everyone, b, after.everyone)
            for a, b in zip(first, second, strict=True)
        )
        equal, total = equal + same, total + len(both)
        names = sorted(set(before.expert_names) & set(after.expert_names))
        found += suite_changes(
            SUITES[name], first, before.everyone, second, after.everyone, names, seed
        )
    if not total:
        raise AuditError(
            f"{before.path.name} and {after.path.name} have no item in common; audit both with the "
            "same suites, data and seed"
        )
    return Comparison(tuple(judged(found)), paired, tuple(differences(before, after)), equal, total)


def read_alike(one: Scored, everyone: int, other: Scored, other_everyone: int) -> bool:
    """Whether two mixtures, whole, made the same of an item, to the bit."""
    if one.probed is not None or other.probed is not None:
        return one.probed == other.probed
    return whole(one, everyone) == whole(other, other_everyone)


def whole(scored: Scored, everyone: int) -> Any:
    return scored.parts[everyone].readings if everyone in scored.parts else None


def suite_changes(
    suite: Suite,
    first: Sequence[Scored],
    first_part: int,
    second: Sequence[Scored],
    second_part: int,
    names: Sequence[str],
    seed: int,
) -> list[Change]:
    before = columns_for(suite, first, first_part)
    after = columns_for(suite, second, second_part)
    ids = [scored.item.id for scored in first]
    return [
        change_of(suite, measure, before, after, ids, seed)
        for measure in suite.measures(names)
        if measure.kind == "compound" or (measure.name in before and measure.name in after)
    ]


def change_of(
    suite: Suite, measure: Measure, before: Columns, after: Columns, ids: Sequence[str], seed: int
) -> Change:
    if measure.kind == "compound":
        return compound_change(suite, measure, before, after, len(ids), seed)
    before_N, after_N = before[measure.name], after[measure.name]
    known_N = ~(np.isnan(before_N) | np.isnan(after_N))
    known_ids = [i for i, is_known in zip(ids, known_N, strict=True) if is_known]
    before_N, after_N = before_N[known_N], after_N[known_N]
    if measure.kind == "share":
        p, test = mcnemar(before_N, after_N), "McNemar"
        lost = tuple(i for i, b, a in zip(known_ids, before_N, after_N, strict=True) if b > a)
        won = tuple(i for i, b, a in zip(known_ids, before_N, after_N, strict=True) if b < a)
    else:
        p, test, lost, won = sign_flips(after_N - before_N, seed), "sign flips", (), ()
    interval = bootstrap_mean(after_N - before_N, seed)
    is_same = np.array_equal(before_N, after_N)
    return Change(
        suite.name,
        measure.name,
        measure.title,
        float(before_N.mean()) if len(before_N) else math.nan,
        float(after_N.mean()) if len(after_N) else math.nan,
        interval.low,
        interval.high,
        len(before_N),
        p,
        test,
        "identical" if is_same else "noise",
        lost,
        won,
    )


def compound_change(
    suite: Suite, measure: Measure, before: Columns, after: Columns, n: int, seed: int
) -> Change:
    """A figure made of several: pairs drawn anew; p is where zero lies among their differences."""
    differences_B: list[float] = []

    def difference(places: np.ndarray) -> float:
        value = measure.compound({k: v[places] for k, v in after.items()}) - measure.compound(
            {k: v[places] for k, v in before.items()}
        )
        differences_B.append(value)
        return value

    interval = bootstrap(difference, n, seed, resamples=RESAMPLES)
    known = np.array(differences_B)
    known = known[~np.isnan(known)]
    is_same = before.keys() == after.keys() and all(
        np.array_equal(before[k], after[k], equal_nan=True) for k in before
    )
    p = 1.0
    if len(known) and not is_same:
        beyond = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
        p = min(1.0, 2 * (beyond + 1) / (len(known) + 1))
    return Change(
        suite.name,
        measure.name,
        measure.title,
        measure.compound(before),
        measure.compound(after),
        interval.low,
        interval.high,
        n,
        p,
        "bootstrap",
        "identical" if is_same else "noise",
    )


def judged(changes: Sequence[Change]) -> list[Change]:
    """Returns the changes with p-values corrected for all that were tested, and verdicts."""
    tested = [place for place, change in enumerate(changes) if change.verdict != "identical"]
    p_values = dict(zip(tested, holm([changes[place].p for place in tested]), strict=True))
    return [
        change
        if place not in p_values
        else dataclasses.replace(
            change,
            p=p_values[place],
            verdict="changed" if p_values[place] <= ALPHA else "noise",
        )
        for place, change in enumerate(changes)
    ]


def differences(before: AuditFile, after: AuditFile) -> list[str]:
    """Returns what differs between two audits beside their results, in words."""
    told = []
    ours, theirs = before.content["mixture"], after.content["mixture"]
    if ours["base"]["sha256"] != theirs["base"]["sha256"]:
        told.append(f"other bases: {ours['base']['name']} and {theirs['base']['name']}")
    hashes = [{e["hash"]: e["name"] for e in side["experts"]} for side in (ours, theirs)]
    for digest in sorted(hashes[0].keys() - hashes[1].keys()):
        told.append(f"expert {hashes[0][digest]} ({digest[:12]}) is in the first only")
    for digest in sorted(hashes[1].keys() - hashes[0].keys()):
        told.append(f"expert {hashes[1][digest]} ({digest[:12]}) is in the second only")
    if ours["chat_template_sha256"] != theirs["chat_template_sha256"]:
        told.append("other chat templates")
    if not same_bits(before.content["made_with"], after.content["made_with"]):
        sides = [
            ", ".join(
                str(side.content["made_with"].get(k)) for k in ("runtime", "instructions", "kv")
            )
            for side in (before, after)
        ]
        told.append(f"computed differently ({sides[0]}; {sides[1]}), so bits may differ")
    return told

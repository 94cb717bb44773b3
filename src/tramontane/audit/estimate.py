"""PLAN → TIME: what an audit will ask and how long it takes, from a few of its own items."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tramontane.audit.attribution import method_for, parts_needed
from tramontane.audit.run import Asked, Plan, Report, ask, read_items, weight
from tramontane.audit.subject import Subject
from tramontane.audit.suite import Notes
from tramontane.errors import AuditError

# Items of each suite that are read to learn how fast it goes.
TRIED = 2


@dataclass(frozen=True, slots=True)
class SuiteEstimate:
    """`n` items of `there_are` would be asked; `is_built_in` where a sample of ours stands in."""

    name: str
    title: str
    family: str
    n: int
    there_are: int
    is_built_in: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    suites: tuple[SuiteEstimate, ...]
    # Suites that have nothing to ask here, and why.
    nothing_of: dict[str, str]
    seconds: float

    @property
    def n(self) -> int:
        return sum(suite.n for suite in self.suites)


def estimate(
    subject: Subject,
    plan: Plan,
    *,
    data: Sequence[Path] = (),
    notes: Notes | None = None,
    report: Report = lambda *_: None,
) -> Estimate:
    """Returns what `audit` would ask, and keeps nothing; AuditError if nothing can be asked."""
    parts = parts_needed(method_for(plan.attribution, len(subject.experts)), len(subject.experts))
    found, nothing_of, is_warm = [], {}, False
    for number, suite in enumerate(plan.suites):
        report(f"trying {suite.name}", number, len(plan.suites))
        asked = ask(subject, plan, suite, data, notes or {})
        if not asked.items:
            nothing_of[suite.title] = asked.left_out[0].why if asked.left_out else "it has no items"
            continue
        if not is_warm:
            # The first reading brings the weights into memory.
            read_items(subject, suite, asked.items[:1], parts)
            is_warm = True
        found.append(tried(subject, asked, parts))
    report("trying", len(plan.suites), len(plan.suites))
    if not found:
        raise AuditError(
            "nothing can be asked: " + "; ".join(f"{k}: {v}" for k, v in nothing_of.items())
        )
    return Estimate(tuple(found), nothing_of, sum(suite.seconds for suite in found))


def tried(subject: Subject, asked: Asked, parts: Sequence[int]) -> SuiteEstimate:
    step = max(1, len(asked.items) // TRIED)
    items = asked.items[step // 2 :: step][:TRIED]
    began = time.perf_counter()
    read_items(subject, asked.suite, items, parts)
    seconds = time.perf_counter() - began
    rate = seconds / max(1, sum(map(weight, items)))
    return SuiteEstimate(
        asked.suite.name,
        asked.suite.title,
        asked.suite.family,
        len(asked.items),
        asked.num_there,
        any(file.is_built_in for file in asked.files),
        rate * sum(map(weight, asked.items)),
    )

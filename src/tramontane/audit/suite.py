"""What makes a suite: a reader of published files, a way of judging, the figures it gives.

N items.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tramontane.audit.intervals import Interval, bootstrap, bootstrap_mean, wilson
from tramontane.audit.item import Item, Reading
from tramontane.audit.rows import LeftOut
from tramontane.audit.scoring import Scorer
from tramontane.tokenizer.tokenizer import Tokenizer

# An item's results by name; NaN where a name says nothing of that item.
Results = Mapping[str, float]
# All items' results by name, (N,) each.
Columns = Mapping[str, np.ndarray]
Better = Literal["higher", "lower", "middle", "none"]


@dataclass(frozen=True, slots=True)
class NoteText:
    """A note's text; whether an expert learnt from it, None where that isn't known."""

    text: str
    is_learnt: bool | None = None


# The notes of each collection at hand.
Notes = Mapping[str, Sequence[NoteText]]


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a suite: a share of items passed, a mean over items, or made of several.

    `better` says which way is good; "middle" means that `ideal` is, "none" that neither is.
    `baseline` names the column whose mean is the trivial answer's score, or is that score itself.
    """

    name: str
    title: str
    kind: Literal["share", "mean", "compound"]
    better: Better = "higher"
    unit: str = ""
    ideal: float | None = None
    baseline: str | float | None = None
    baseline_title: str = ""
    compound: Callable[[Columns], float] | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """What a measure came to: `n` items, the interval they allow, the trivial answer's score."""

    name: str
    title: str
    value: float
    low: float
    high: float
    n: int
    interval: str
    better: Better
    unit: str
    ideal: float | None
    baseline: float | None
    baseline_title: str
    # What a reader must know before believing the value; empty if nothing.
    caution: str = ""


@dataclass(frozen=True)
class Suite:
    name: str
    family: str
    title: str
    # For a reader who is no statistician: what is asked, and how an answer counts.
    about: str
    # Where the published items come from, and their licence.
    source: str
    # The figures; given the experts' names, since some suites have one per expert.
    measures: Callable[[Sequence[str]], Sequence[Measure]]
    # Names of the published files, as patterns; the built-in sample is a file of that form.
    files: tuple[str, ...] = ()
    sample: str = ""
    read: Callable[[Path, list[LeftOut]], Sequence[Item]] | None = None
    # Suites over people's notes make their items from those.
    from_notes: Callable[[Notes, Tokenizer], Sequence[Item]] | None = None
    # Results come from judging readings, or from a probe that reads the items its own way.
    judge: Callable[[Item, Sequence[Reading]], Results] | None = None
    probe: Callable[[Scorer, Sequence[str], Item], Results] | None = None
    # Items of a quick audit and of the default one.
    quick: int = 60
    default: int = 400
    is_sensitive: bool = False
    needs_experts: bool = False
    # Of the base's own route, which a dense base hasn't.
    needs_mixture_base: bool = False
    # Says what makes the figures worth little, given all results; empty if nothing does.
    caution: Callable[[Columns], str] | None = None


def columns_of(results: Sequence[Results]) -> dict[str, np.ndarray]:
    """Returns the items' results as one array per name; a name that an item lacks is NaN."""
    names = sorted({name for result in results for name in result})
    return {
        name: np.array([result.get(name, math.nan) for result in results], np.float64)
        for name in names
    }


def figures_of(
    suite: Suite, columns: Columns, seed: int, expert_names: Sequence[str] = ()
) -> list[Figure]:
    """Returns the suite's figures over scored items, in its own order."""
    caution = suite.caution(columns) if suite.caution and columns else ""
    measures = suite.measures(expert_names)
    return [figure_of(measure, columns, seed, caution) for measure in measures]


def always(*measures: Measure) -> Callable[[Sequence[str]], Sequence[Measure]]:
    """Returns what gives the same measures whatever experts there are."""
    return lambda expert_names: measures


def figure_of(measure: Measure, columns: Columns, seed: int, caution: str = "") -> Figure:
    if measure.kind == "compound":
        value, interval, n, kind = compound(measure, columns, seed)
    else:
        known = known_values(columns, measure.name)
        n = len(known)
        value = float(known.mean()) if n else math.nan
        if measure.kind == "share":
            interval, kind = wilson(int(known.sum()), n), "Wilson"
        else:
            interval, kind = bootstrap_mean(known, seed), "bootstrap"
    return Figure(
        measure.name,
        measure.title,
        value,
        interval.low,
        interval.high,
        n,
        kind,
        measure.better,
        measure.unit,
        measure.ideal,
        baseline_of(measure, columns),
        measure.baseline_title,
        caution,
    )


def known_values(columns: Columns, name: str) -> np.ndarray:
    values = columns.get(name, np.zeros(0))
    return values[~np.isnan(values)]


def compound(measure: Measure, columns: Columns, seed: int) -> tuple[float, Interval, int, str]:
    n = len(next(iter(columns.values()), ()))
    formula = measure.compound
    value = formula(columns) if n else math.nan
    interval = bootstrap(
        lambda places: formula({name: values[places] for name, values in columns.items()}),
        n,
        seed,
        resamples=1000,
    )
    return value, interval, n, "bootstrap"


def baseline_of(measure: Measure, columns: Columns) -> float | None:
    if not isinstance(measure.baseline, str):
        return measure.baseline
    known = known_values(columns, measure.baseline)
    return float(known.mean()) if len(known) else None

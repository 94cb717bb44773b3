"""QUESTION → PERIOD, HIT → DAY: the days that a question names, and the day a passage is of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tramontane.library.filters import first_day, last_day
from tramontane.library.records import Hit
from tramontane.notes.marks import dates_in, dates_of_path, first_period_in

# Markdown's and org's.
HEADING = re.compile(r"[ ]{0,3}#{1,6}\s|\*+\s")


@dataclass(frozen=True, slots=True)
class Period:
    """Days as YYYY-MM-DD, both included, and the words that name them."""

    first: str
    last: str
    words: str

    def holds(self, days: Iterable[str]) -> bool:
        return any(self.first <= day <= self.last for day in days)


def period_in(question: str) -> Period | None:
    """Returns the day, month or year that a question names, the first of several."""
    if (found := first_period_in(question)) is None:
        return None
    written, words = found
    return Period(first_day(written), last_day(written), words)


def day_over(hit: Hit, metadata: Mapping[str, Any], start: int = 0) -> str | None:
    """Returns the day that what begins at `start` of a passage is of, not one that it mentions.

    That of the innermost heading above that names one, of the file's name, or of its note's `date`.
    """
    # A short section shares its passage with the next: its heading then stands in the text.
    inside = [line for line in hit.text[:start].splitlines() if HEADING.match(line)]
    for heading in [*reversed(inside), *reversed(hit.heading)]:
        if days := [day for _, day in dates_in(heading)]:
            return days[0]
    if days := dates_of_path(hit.path):
        return days[-1]
    return next((day for _, day in dates_in(str(metadata.get("date", ""))[:200])), None)

"""QUESTION → DAYS: whether it asks when something was, and which days it speaks of."""

import re

from tramontane.errors import LibraryError
from tramontane.library.filters import first_day, last_day

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
ASKS_WHEN = re.compile(
    r"\bwhen\s+(?:did|do|does|was|were|have|had|is|are|will|should|must)\b"
    r"|\b(?:what|which)\s+(?:day|date)\b|\bhow long ago\b|\bsince when\b",
    re.IGNORECASE,
)
DAY = re.compile(r"(?<![\d-])(\d{4})-(\d{2})(?:-(\d{2}))?(?![\d-])")
MONTH = re.compile(rf"\b({'|'.join(MONTHS)})[a-z]{{0,6}}\.?\s+(?:of\s+)?(\d{{4}})\b", re.IGNORECASE)
YEAR = re.compile(r"\b(?:in|during|of|since|until|before|after)\s+((?:19|20)\d{2})\b")


def asks_when(question: str) -> bool:
    return ASKS_WHEN.search(question) is not None


def days_named(question: str) -> tuple[str, str] | None:
    """Returns the first and last day of the day, month or year that a question names, if any."""
    if found := DAY.search(question):
        span = "-".join(part for part in found.groups() if part)
    elif found := MONTH.search(question):
        span = f"{found[2]}-{MONTHS.index(found[1].lower()) + 1:02}"
    elif found := YEAR.search(question):
        span = found[1]
    else:
        return None
    try:
        return first_day(span), last_day(span)
    except LibraryError:  # 2024-13
        return None

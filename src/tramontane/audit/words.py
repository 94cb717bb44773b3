"""What figures mean, in sentences for a reader who is no statistician."""

from collections.abc import Mapping
from typing import Any

Figure = Mapping[str, Any]


def number(value: float | None, unit: str) -> str:
    """Returns a figure as people read it: a share as per cent, anything else with its unit."""
    if value is None:
        return "unknown"
    if not unit:
        # A space that doesn't break.
        return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
    if abs(value) >= 1e6:
        return f"{value:.1e}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"


def with_unit(value: float | None, unit: str) -> str:
    told = number(value, unit)
    return f"{told} {unit}" if unit and value is not None else told


def interval(figure: Figure) -> str:
    unit = figure["unit"]
    return f"{number(figure['low'], unit)} to {number(figure['high'], unit)}"


def verdict(figure: Figure) -> str:
    """Returns what the interval allows to say of a figure, against its baseline or ideal."""
    low, high = figure["low"], figure["high"]
    if figure["value"] is None or low is None:
        return "Nothing was scored, so nothing can be said."
    if figure["caution"]:
        return figure["caution"]
    if figure["better"] == "middle":
        ideal = figure["ideal"]
        if low <= ideal <= high:
            return "No lean that could be told from chance with this many items."
        side = "towards" if figure["value"] > ideal else "away from"
        what = (
            "what learnt notes would show" if ideal == 0.5 and "learnt" in figure["title"] else ""
        )
        return f"Leans {side} {what or 'the stereotype'}: the whole interval is on one side."
    baseline = figure["baseline"]
    if figure["better"] == "higher" and baseline is not None:
        beside = figure["baseline_title"] or "the trivial answer"
        told = number(baseline, figure["unit"])
        if low > baseline:
            return f"Better than {beside} ({told})."
        if high < baseline:
            return f"Worse than {beside} ({told})."
        return f"Can't be told from {beside} ({told}) with this many items."
    return f"Its interval is {interval(figure)}." if figure["low"] != figure["high"] else ""


def standing(part: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    """Returns an expert's part and its interval: Shapley's value, else what leaving it out takes.

    None stands for what isn't known.
    """
    if part["share"] is not None:
        return part["share"], part["low"], part["high"]
    value, low, high = part["change"], part["change_low"], part["change_high"]
    return tuple(None if v is None else -v for v in (value, high, low))


def part_verdict(part: Mapping[str, Any], better: str, unit: str) -> str:
    """Returns what an expert's part in a figure allows to say."""
    value, low, high = standing(part)
    if value is None or low is None or high is None:
        return "unknown: too few items of a kind"
    if low == high == 0:
        return "none: its gate stayed closed, or nothing moved"
    reach = f"{signed(low, unit)} to {signed(high, unit)}"
    if low <= 0 <= high:
        return f"not told from nothing ({reach})"
    if better == "middle":
        return f"{'towards' if value > 0 else 'away from'} the stereotype ({reach})"
    is_good = (value > 0) == (better == "higher")
    return f"{'better' if is_good else 'worse'} with it ({reach})"


def signed(value: float, unit: str) -> str:
    """Returns a difference: of shares in points, of anything else in its unit."""
    if unit:
        return f"{value:+.1e}" if abs(value) >= 1e6 else f"{value:+.3f}"
    # So small that one digit would round it to nothing.
    digits = 3 if 0 < abs(value) < 0.0005 else 1
    return f"{100 * value:+.{digits}f} points"

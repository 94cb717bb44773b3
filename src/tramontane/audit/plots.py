"""Plots as inline SVG without text: each stands in a table row that has its numbers.

So a plot is readable at any width and by a screen reader, and prints with its table.
"""

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 240, 18


def place(value: float, low: float, high: float) -> float:
    """Returns where a value stands on the axis, in the plot's units, ends included."""
    if high <= low:
        return WIDTH / 2
    return 2 + (WIDTH - 4) * min(1.0, max(0.0, (value - low) / (high - low)))


def interval_plot(
    value: float | None,
    low: float | None,
    high: float | None,
    axis: tuple[float, float],
    marks: Sequence[tuple[float, str]] = (),
    label: str = "",
) -> str:
    """Returns a dot with its interval; `marks` are (value, class) ticks such as a baseline."""
    middle = HEIGHT / 2
    shapes = [f'<line class="axis" x1="0" y1="{middle}" x2="{WIDTH}" y2="{middle}"/>']
    for mark, kind in marks:
        x = place(mark, *axis)
        shapes.append(f'<line class="{kind}" x1="{x:.1f}" y1="1" x2="{x:.1f}" y2="{HEIGHT - 1}"/>')
    if low is not None and high is not None and not (math.isnan(low) or math.isnan(high)):
        x1, x2 = place(low, *axis), place(high, *axis)
        shapes.append(
            f'<line class="reach" x1="{x1:.1f}" y1="{middle}" x2="{x2:.1f}" y2="{middle}"/>'
        )
    if value is not None and not math.isnan(value):
        shapes.append(f'<circle class="dot" cx="{place(value, *axis):.1f}" cy="{middle}" r="4"/>')
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{"".join(shapes)}</svg>'
    )


def axis_for(values: Sequence[float | None], always: Sequence[float] = ()) -> tuple[float, float]:
    """Returns an axis that holds all values, and those in `always`, with a little room."""
    known = [v for v in (*values, *always) if v is not None and not math.isnan(v)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = (high - low) * 0.05 or 0.5
    return low - room, high + room

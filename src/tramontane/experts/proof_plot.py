"""An expert's proof as a picture: a small SVG made from the manifest, the same for the same one."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, BAR, ROW, LABEL, TOP = 640, 14, 22, 200, 34
MOST_GENRES = 6
INK, FAINT, OWN, OTHER = "#1f2933", "#cbd2d9", "#b4532a", "#4a6fa5"


def proof_svg(manifest: Mapping[str, Any]) -> str:
    """Returns the picture: perplexity before and after, gates, and how far each layer moved."""
    groups = list(groups_of(manifest))
    height = sum(TOP + ROW * len(bars) for _, bars, _ in groups) + TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">',
        f"<title>{escape(str(manifest['name']))}: what was learnt</title>",
    ]
    y = 0
    for title, bars, unit in groups:
        y += TOP
        parts.append(f'<text x="0" y="{y - 10}" font-weight="bold">{escape(title)}</text>')
        for bar in drawn(bars, unit, y):
            parts.append(bar)
        y += ROW * len(bars)
    return "\n".join([*parts, "</svg>"]) + "\n"


Bar = tuple[str, float, str]


def groups_of(manifest: Mapping[str, Any]) -> Iterator[tuple[str, list[Bar], str]]:
    """Yields (title, bars of label, value and colour, how a value is written)."""
    held_out, gates = manifest["held_out"], manifest["gates"]
    yield (
        f"Perplexity on {held_out['notes']} notes held out",
        [
            ("without the expert", held_out["perplexity_before"], FAINT),
            ("with it", held_out["perplexity_after"], OWN),
        ],
        "{:.1f}",
    )
    public = sorted(gates["public"].items(), key=lambda item: (-item[1], item[0]))[:MOST_GENRES]
    yield (
        "Gates open, of all tokens and layers",
        [("own notes held out", gates["own_held_out"], OWN)]
        + [(genre.replace("_", " "), rate, OTHER) for genre, rate in public],
        "{:.1%}",
    )
    if other := manifest.get("other_text"):
        yield (
            "Perplexity on public text it was not fitted on",
            [
                ("without the expert", other["perplexity_before"], FAINT),
                ("with it", other["perplexity_after"], OTHER),
            ],
            "{:.2f}",
        )
    if layers := manifest.get("layers_moved"):
        yield (
            "How far each layer moved",
            [(f"layer {layer}", row["moved"], OWN) for layer, row in layers.items()],
            "{:.3f}",
        )


def drawn(bars: Sequence[Bar], unit: str, y: int) -> Iterator[str]:
    longest = max((value for _, value, _ in bars), default=0) or 1
    room = WIDTH - LABEL - 70
    for place, (label, value, colour) in enumerate(bars):
        top, length = y + place * ROW, max(1, round(room * value / longest))
        middle = top + BAR - 3
        yield f'<text x="0" y="{middle}">{escape(label)}</text>'
        yield f'<rect x="{LABEL}" y="{top}" width="{length}" height="{BAR}" fill="{colour}"/>'
        yield f'<text x="{LABEL + length + 6}" y="{middle}">{unit.format(value)}</text>'

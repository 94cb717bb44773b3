"""The page's colours meet WCAG AA in every scheme, computed from the stylesheet itself."""

import itertools
import re

import numpy as np
import pytest

from tramontane.server.pages import PAGE_FOLDER

STYLE = (PAGE_FOLDER / "style.css").read_text(encoding="utf-8")
SCHEMES = ("light", "dark", "more light", "more dark")
PAPERS = ("paper", "paper-raised", "paper-sunk")
TEXT, SHAPE = 4.5, 3.0


def tokens(scheme: str) -> dict[str, str]:
    """Returns the custom properties in force, as the cascade gives them."""
    blocks = re.findall(r"(?:@media ([^{]+)\{\s*)?:root \{([^}]*)\}", STYLE)
    in_force = {"": True, "dark": scheme.endswith("dark"), "more": scheme.startswith("more")}
    found: dict[str, str] = {}
    for media, body in blocks:
        wanted = [word for word in ("dark", "more") if word in media]
        if all(in_force[word] for word in wanted):
            found |= dict(re.findall(r"--([\w-]+):\s*([^;]+);", body))
    return found


def rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one: str, share: float, other: str) -> tuple[float, ...]:
    """color-mix(in srgb, one share, other)."""
    return tuple(share * a + (1 - share) * b for a, b in zip(rgb(one), rgb(other), strict=True))


# How linear RGB looks without one kind of cone: Machado, Oliveira and Fernandes 2009, severity 1.
SIGHT = {
    "ordinary": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritan": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# Two colours this far apart in OKLab are told apart side by side without effort.
APART = 0.07


def oklab(colour: tuple[float, ...], sight: np.ndarray) -> np.ndarray:
    c = np.array(colour)
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    ) @ np.clip(sight @ linear, 0, 1)
    return np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    ) @ np.cbrt(cones)


def test_the_measure_of_contrast_itself():
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21.0)
    assert contrast(rgb("#767676"), rgb("#ffffff")) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_differ_where_they_should(scheme: str):
    is_dark = luminance(rgb(tokens(scheme)["paper"])) < 0.5
    assert is_dark == scheme.endswith("dark")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ink", ["ink", "ink-soft", "accent", "fault"])
@pytest.mark.parametrize("paper", PAPERS)
def test_text_reads_on_every_paper(scheme: str, ink: str, paper: str):
    colours = tokens(scheme)
    assert contrast(rgb(colours[ink]), rgb(colours[paper])) >= TEXT


@pytest.mark.parametrize("scheme", SCHEMES)
def test_controls_can_be_seen(scheme: str):
    colours = tokens(scheme)
    assert contrast(rgb(colours["accent-ink"]), rgb(colours["accent"])) >= TEXT
    for paper in PAPERS:
        assert contrast(rgb(colours["rule-strong"]), rgb(colours[paper])) >= SHAPE


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("hue", range(8))
def test_an_experts_name_and_tint_can_be_read(scheme: str, hue: int):
    colours = tokens(scheme)
    colour, paper = colours[f"hue-{hue}"], colours["paper"]
    assert contrast(rgb(colour), rgb(paper)) >= TEXT
    tint = mixed(colour, float(colours["tint"].rstrip("%")) / 100, paper)
    assert contrast(rgb(colours["ink"]), tint) >= TEXT
    assert contrast(rgb(colours["ink"]), mixed(colours["cited"], 1, paper)) >= TEXT


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cited_lines_read(scheme: str):
    colours = tokens(scheme)
    assert contrast(rgb(colours["ink"]), rgb(colours["cited"])) >= TEXT
    assert (
        contrast(rgb(colours["ink-soft"]), mixed(colours["cited"], 0.55, colours["paper"])) >= TEXT
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_experts_are_told_apart(scheme: str, sight: str):
    colours = tokens(scheme)
    places = [oklab(rgb(colours[f"hue-{hue}"]), SIGHT[sight]) for hue in range(8)]
    for one, other in itertools.combinations(places, 2):
        assert np.linalg.norm(one - other) >= APART

"""The picture of a proof: well formed, whole, and the same for the same manifest."""

from xml.etree import ElementTree

import pytest

from tramontane.experts.proof_plot import proof_svg

MANIFEST = {
    "name": "canal & <weir>",
    "held_out": {"notes": 6, "perplexity_before": 20.0, "perplexity_after": 15.0},
    "gates": {
        "own_held_out": 0.8,
        "public": {f"genre_{number}": number / 1000 for number in range(9)},
    },
    "other_text": {"perplexity_before": 30.0, "perplexity_after": 30.1},
    "layers_moved": {"20": {"moved": 0.1, "gradient": 1.0}, "21": {"moved": 0.2, "gradient": 1.0}},
}
SVG = "{http://www.w3.org/2000/svg}"


def bars(svg: str) -> list[int]:
    return [int(bar.get("width")) for bar in ElementTree.fromstring(svg).iter(f"{SVG}rect")]


def test_bars_are_as_long_as_what_they_show():
    svg = proof_svg(MANIFEST)
    before, after, own, *public = bars(svg)[:9]
    assert after == pytest.approx(0.75 * before, abs=1)
    assert public == sorted(public, reverse=True)
    assert public[0] == pytest.approx(own * 0.008 / 0.8, abs=1)
    assert bars(svg)[-2] == pytest.approx(bars(svg)[-1] / 2, abs=1)
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"20.0", "15.0", "80.0%", "genre 8", "layer 21", "0.200"} <= set(texts)
    assert proof_svg(MANIFEST) == svg


def test_an_expert_from_before_there_were_proofs_is_drawn_as_far_as_it_goes():
    old = {k: v for k, v in MANIFEST.items() if k not in ("other_text", "layers_moved")}
    assert len(bars(proof_svg(old))) == 9


def test_gates_that_never_open_are_drawn():
    shut = MANIFEST | {"gates": {"own_held_out": 0.0, "public": {"code": 0.0}}}
    assert proof_svg(shut)

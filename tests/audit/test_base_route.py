"""The routing of mixture bases: figures that can be counted by hand, and a tiny mixture's own."""

import json

import numpy as np
import pytest
from expert_makers import write_tiny_base

from tramontane.audit.run import Plan, audit
from tramontane.audit.subject import Subject
from tramontane.audit.suite import columns_of
from tramontane.audit.suites import base_route
from tramontane.audit.suites.all import SUITES
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request
from tramontane.errors import AuditError
from tramontane.experts.mixture import Mixture

ROUTE = (SUITES["base_route"],)


def routes(*middle_layer: tuple[int, int]) -> np.ndarray:
    """Returns (T, 3, 2) routes; the layers around the middle one say something else."""
    middle_TK = np.array(middle_layer)
    return np.stack([middle_TK * 0, middle_TK, middle_TK * 0 + 3], axis=1)


def test_a_pieces_figures_are_those_counted_by_hand():
    told = base_route.figures_of_routes(routes((0, 1), (0, 2), (1, 0), (1, 2)), 4, 7.0)
    assert [told[f"chosen {e}"] for e in range(4)] == [3, 3, 2, 0]
    assert told["tokens"] == 4
    # Of three steps two repeat; half the tokens chose 0 first, half 1.
    assert told["repeats"] == pytest.approx(2 / 3)
    assert told["chance"] == pytest.approx(0.5)
    assert told["source"] == 7.0


def test_base_experts_that_specialise_are_told_from_those_that_are_busy():
    def piece(expert: int, other: int, source: str) -> dict[str, float]:
        code = base_route.code_of(source)
        return base_route.figures_of_routes(routes(*[(expert, other)] * 6), 4, code)

    special = columns_of([piece(0, 1, "prose")] * 10 + [piece(2, 3, "code")] * 10)
    assert base_route.load(special) == pytest.approx(1.0)
    assert base_route.by_source(special) == pytest.approx(2.0)
    assert base_route.shuffled(special) < 1.7
    busy = columns_of([piece(0, 1, "prose")] * 10 + [piece(0, 1, "code")] * 10)
    assert base_route.load(busy) == base_route.by_source(busy) == base_route.shuffled(busy) == 2.0


@pytest.fixture(scope="module")
def tiny_mixture_base(tmp_path_factory) -> Subject:
    path = tmp_path_factory.mktemp("mixture") / "tiny-mixture.gguf"
    base = write_tiny_base(path, num_base_experts=4)
    engine = Engine(NativeRuntime(base, threads=1))
    return Subject(Mixture("tiny", base.sha256, ()), "tiny", (), engine, base.tokenizer())


def test_a_mixture_base_is_asked_for_its_own_route(tiny_mixture_base, tmp_path):
    # Within the tiny base's context.
    file = tmp_path / "genres.jsonl"
    text = "The sluice creaks again, the weir was oiled, and the lock gate holds in March. "
    rows = [
        {"genre": f"genre {n % 2}", "text": f"{text}{n} eels came down. " * 2} for n in range(9)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plan = Plan(suites=ROUTE, n=6)
    done = audit(tiny_mixture_base, plan, tmp_path / "audit", data=[file])
    figures = {figure["name"]: figure for figure in done.suites["base_route"]["figures"]}
    assert done.suites["base_route"]["n"] == 6
    assert 1 <= figures["load"]["value"] <= 2
    assert 1 <= figures["by_source"]["value"] <= 2
    assert figures["repeats"]["baseline"] is not None
    for scored in done.items("base_route"):
        ((ids, _),) = tiny_mixture_base.scorer.encode(scored.item)
        asked = Request(tuple(ids), 1, with_routes=True)
        (token,) = tiny_mixture_base.engine.generate(asked)
        first = [layers[len(layers) // 2][0] for layers in token.prompt_routes]
        repeats = np.mean([a == b for a, b in zip(first, first[1:], strict=False)])
        assert scored.probed["repeats"] == pytest.approx(repeats)
        assert scored.probed["tokens"] == len(ids)
        assert sum(scored.probed[f"chosen {e}"] for e in range(4)) == 2 * len(ids)


def test_a_dense_base_says_why_it_has_none(subject, tmp_path):
    with pytest.raises(AuditError, match="base_route has no items"):
        audit(subject, Plan(suites=ROUTE), tmp_path / "alone")
    both = Plan(suites=(*ROUTE, SUITES["lambada"]), n=2)
    done = audit(subject, both, tmp_path / "audit")
    (left,) = done.suites["base_route"]["left_out"]
    assert "dense" in left["why"]

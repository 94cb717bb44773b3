"""Support: what a reader would call backed scores above what nobody would."""

import math

import pytest

from tramontane.writing.signals import SIGNALS
from tramontane.writing.support import SupportCheck, Verdict, shipped_model

PASSAGES = (
    "Sourdough: feed the starter twice a day. Bake at 230 degrees for 40 minutes, then let the "
    "loaf rest for an hour before it is cut.",
    "The ferry to Hvar leaves at 7:15 and at 16:30. Tickets cost 9 euros and are sold at the quay.",
)
BACKED = ("Tickets for the ferry cost 9 euros.", "The loaf is baked at 230 degrees for 40 minutes.")
UNBACKED = (
    "Tickets for the ferry cost 29 euros.",
    "The loaf is baked with walnuts and honey from Lisbon.",
)


def test_what_is_backed_is_supported_and_what_is_not_is_not():
    for sentence, place in zip(BACKED, (1, 0), strict=True):
        (found,) = SupportCheck().check([sentence], PASSAGES)
        assert (found.passage, found.words) == (place, ())
        assert found.score > 0.5
    verbatim = PASSAGES[1].split(". ")[0] + "."
    assert SupportCheck().check([verbatim], PASSAGES)[0].verdict is Verdict.SUPPORTED
    for found in SupportCheck().check(UNBACKED, PASSAGES):
        assert found.verdict is not Verdict.SUPPORTED
    (dear, foreign) = SupportCheck().check(UNBACKED, PASSAGES)
    assert [UNBACKED[0][a:b] for a, b in dear.words] == ["29"]
    assert {"walnuts", "honey", "Lisbon"} <= {UNBACKED[1][a:b] for a, b in foreign.words}


def test_without_passages_nothing_is_supported():
    (found,) = SupportCheck().check(["Tickets cost 9 euros."], [])
    assert (found.verdict, found.score, found.passage) == (Verdict.UNSUPPORTED, 0.0, None)
    assert SupportCheck().check([], PASSAGES) == []


def test_a_sentence_is_judged_alike_alone_and_in_company():
    together = SupportCheck().check([*BACKED, *UNBACKED], PASSAGES)
    alone = [SupportCheck().check([s], PASSAGES)[0] for s in (*BACKED, *UNBACKED)]
    assert together == alone


def test_the_model_that_ships_names_all_signals():
    model = shipped_model()
    assert tuple(model.weight) == tuple(model.mean) == tuple(model.scale) == SIGNALS
    assert 0 < model.weak_from < model.supported_from < 1
    values = dict.fromkeys(SIGNALS, 0.3)
    logit = model.constant + sum(
        model.weight[n] * (0.3 - model.mean[n]) / model.scale[n] for n in SIGNALS
    )
    assert model.probability(values) == pytest.approx(1 / (1 + math.exp(-logit)))

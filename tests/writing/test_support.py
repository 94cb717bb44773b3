"""Support: what a reader would call backed scores above what nobody would."""

import math

import numpy as np
import pytest

from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.writing.readings import READINGS, is_content, reading_signals, signals_of
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


@pytest.mark.parametrize("reads", [False, True])
def test_the_model_that_ships_names_signals_that_there_are(reads):
    model = shipped_model(reads=reads)
    names = (*SIGNALS, *READINGS) if reads else SIGNALS
    assert tuple(model.weight) == tuple(model.mean) == tuple(model.scale) == names
    assert 0 < model.weak_from < model.supported_from < 1
    values = dict.fromkeys(names, 0.3)
    logit = model.constant + sum(
        model.weight[n] * (0.3 - model.mean[n]) / model.scale[n] for n in names
    )
    assert model.probability(values) == pytest.approx(1 / (1 + math.exp(-logit)))


def test_readings_are_those_of_the_words_that_carry_meaning():
    within, alone = np.array([-1.0, -9.0, -5.0]), np.array([-8.0, -9.5, -7.0])
    found = signals_of(within, alone, np.array([False, True, True]))
    assert found["read_likelihood"] == pytest.approx(-7.0)
    assert found["read_gain"] == pytest.approx(1.25)
    assert found["read_least_gain"] == pytest.approx(0.5)
    assert found["read_surprising"] == 1.0
    assert found["read_unled"] == 1.0


def test_a_base_reads_what_is_backed_as_likelier(smollm2_path):
    checkpoint = open_checkpoint(smollm2_path)
    tokenizer, engine = checkpoint.tokenizer(), Engine(NativeRuntime(checkpoint, threads=1))
    sentences, evidence = [BACKED[0], UNBACKED[1]], [PASSAGES[1], PASSAGES[0]]
    backed, unbacked = reading_signals(engine, tokenizer, sentences, evidence)
    assert backed["read_gain"] > unbacked["read_gain"]
    together = SupportCheck(engine, tokenizer).check([*BACKED, *UNBACKED], PASSAGES)
    assert min(f.score for f in together[:2]) > max(f.score for f in together[2:])
    ids = tokenizer.encode(" It cost 9 euros.")
    marked = [
        tokenizer.decode([i])
        for i, content in zip(ids, is_content(tokenizer, "It cost 9 euros.", ids), strict=True)
        if content
    ]
    assert "".join(marked).split() == ["cost", "9", "euros"]

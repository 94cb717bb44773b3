"""The overlap of experts and collections: openness as gates say it, advice as the shares say.

E experts, C texts.
"""

import numpy as np
import pytest
from expert_makers import CONTEXT, canal_notes, random_expert

from tramontane.engine.engine import Engine
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.overlap import (
    APART,
    MERGE,
    SHARE,
    WINDOW_TOKENS,
    WINDOWS_PER_TEXT,
    Overlap,
    measure_overlap,
    sample_windows,
)

NAMES = ("canal", "garden", "rules")
TEXTS = {
    "canal": [n.text for n in canal_notes(40)],
    "garden": ["Prune the plum in August. " * 30, "Sow beans late. " * 70],
    "elsewhere": ["short"],
}


@pytest.fixture
def engine(tiny_llama) -> Engine:
    return Engine(TorchRuntime(tiny_llama), max_tokens=2 * CONTEXT)


@pytest.fixture
def experts(engine) -> dict[str, str]:
    made = [random_expert(name, n) for n, name in enumerate(NAMES)]
    for one in made:
        engine.add_expert(one.hash, one.tensors)
    return {one.name: one.hash for one in made}


@pytest.mark.usefixtures("one_thread")
def test_openness_is_the_mean_gate_with_nobody_else_in_place(engine, tiny_llama, experts):
    tokenizer = tiny_llama.tokenizer()
    overlap = measure_overlap(engine, tokenizer, experts, TEXTS)
    assert overlap.experts == NAMES
    assert overlap.texts == tuple(TEXTS)
    for e, name in enumerate(NAMES):
        for c, documents in enumerate(TEXTS.values()):
            gates = [
                engine.shares_of(ids, experts=(experts[name],))[1]
                for ids in sample_windows(documents, tokenizer)
            ]
            assert overlap.openness_EC[e, c] == pytest.approx(np.concatenate(gates).mean())
    assert 0 < overlap.openness_EC.min() < overlap.openness_EC.max() < 1


@pytest.mark.usefixtures("one_thread")
def test_around_one_only_its_row_and_column_are_read(engine, tiny_llama, experts):
    tokenizer, calls = tiny_llama.tokenizer(), []
    whole = measure_overlap(engine, tokenizer, experts, TEXTS)
    part = measure_overlap(
        engine, tokenizer, experts, TEXTS, lambda *call: calls.append(call), around="garden"
    )
    is_read_EC = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    assert np.array_equal(~np.isnan(part.openness_EC), is_read_EC)
    assert np.array_equal(part.openness_EC[is_read_EC], whole.openness_EC[is_read_EC])
    assert calls[-1] == ("reading", 6, 6)
    assert part.advice("canal", "garden") == whole.advice("canal", "garden")


def test_samples_are_full_windows_unless_there_is_too_little(tiny_llama):
    tokenizer = tiny_llama.tokenizer()
    many = sample_windows(TEXTS["canal"] * 5, tokenizer)
    assert [len(ids) for ids in many] == [WINDOW_TOKENS] * WINDOWS_PER_TEXT
    (little,) = sample_windows(["short"], tokenizer)
    assert little == [*tokenizer.encode("short"), tokenizer.separator_id]
    assert sample_windows([], tokenizer) == []


@pytest.mark.parametrize(
    ("on_other", "on_one", "wanted"),
    [
        (0.0, 0.0, APART),
        (0.31, 0.31, APART),
        (0.33, 0.0, SHARE),
        (0.0, 0.33, SHARE),
        (0.8, 0.39, SHARE),
        (0.41, 0.41, MERGE),
    ],
)
def test_advice_goes_by_the_share_of_ones_own_openness(on_other, on_one, wanted):
    overlap = Overlap(("a", "b"), ("a", "b"), np.array([[0.8, on_other], [on_one, 0.8]]))
    assert overlap.advice("a", "b") == overlap.advice("b", "a") == wanted
    assert overlap.look_alikes() == ([] if wanted == APART else [("a", "b")])


def test_an_expert_without_notes_here_is_judged_by_its_manifest():
    overlap = Overlap(("a", "b"), ("a",), np.array([[0.8], [0.5]]), {"b": 0.9})
    assert overlap.of_own("a", "a") == 1
    assert overlap.of_own("b", "a") == pytest.approx(0.5 / 0.9)
    assert overlap.of_own("a", "b") is None
    assert overlap.advice("a", "b") == SHARE, "one side alone can't advise to merge"
    assert Overlap(("a", "b"), ("a",), overlap.openness_EC).advice("a", "b") == APART


def test_an_expert_that_hardly_opens_is_judged_from_the_other_side():
    silent = Overlap(("a", "b"), ("a", "b"), np.array([[0.04, 0.5], [0.7, 0.8]]))
    assert silent.of_own("a", "b") is None
    assert silent.advice("a", "b") == SHARE

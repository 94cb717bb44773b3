"""Proof of learning: intervals over documents, documents in windows, what is known by heart."""

import numpy as np
import pytest
import torch
from expert_makers import VOCABULARY, random_tensors
from hypothesis import given
from hypothesis import strategies as st

from tramontane.experts.corpus import windows_of
from tramontane.experts.proof import (
    document_interval,
    documents_of,
    gain_of,
    layers_moved,
    memorised,
    other_text,
)
from tramontane.experts.states import compute_states
from tramontane.experts.training import Misfires, Schedule, Training
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import load_transformer

pytestmark = pytest.mark.usefixtures("one_thread")

SEPARATOR = 0
FIRST = 1


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=20), min_size=1, max_size=8),
    st.integers(2, 7),
)
def test_each_token_of_packed_windows_knows_its_document(documents, window_tokens):
    windows = windows_of(documents, SEPARATOR, window_tokens)
    wanted = [number for number, ids in enumerate(documents) for _ in (*ids, SEPARATOR)]
    assert documents_of(windows, SEPARATOR).flatten().tolist() == wanted[: windows.size]


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 50)), min_size=2, max_size=30))
def test_an_interval_lies_within_what_documents_give(documents):
    means, counts = (np.array(part) for part in zip(*documents, strict=True))
    low, high = document_interval(means * counts, counts)
    assert means.min() - 1e-9 <= low <= high <= means.max() + 1e-9
    assert (low, high) == document_interval(means * counts, counts)


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        sums = draw.normal(0.3, 1.0, 40)
        low, high = document_interval(sums, np.ones(40), seed=seed)
        held += low <= 0.3 <= high
    # 95 % wanted; a bootstrap of 40 is a little narrow, and 200 trials vary by 3 %.
    assert 0.88 <= held / 200 <= 0.99


def test_tokens_of_one_document_do_not_make_a_gain_sure():
    windows = windows_of([[1] * 30, [2] * 30], SEPARATOR, 8)
    before = np.ones((len(windows), 7))
    after = np.where(documents_of(windows, SEPARATOR)[:, 1:] == 0, 0.5, 1.1)
    gain = gain_of(before, after, windows, SEPARATOR)
    assert gain["low"] < 0 < gain["nats_per_token"] < gain["high"]
    assert gain["documents"] == 2
    alone = gain_of(before[:3], after[:3], windows[:3], SEPARATOR)
    assert (alone["low"], alone["high"], alone["documents"]) == (None, None, 1)


def test_other_text_is_told_by_its_perplexities():
    before = np.log(np.array([[2.0, 8.0], [4.0, 4.0]]))
    told = other_text(before, before + np.log(1.1))
    assert told["perplexity_before"] == pytest.approx(4.0)
    assert told["perplexity_after"] == pytest.approx(4.4, rel=1e-4)
    assert told["change_low"] == told["change_high"] == pytest.approx(0.1, rel=1e-3)
    assert (told["genres"], told["tokens"]) == (2, 4)


@pytest.fixture
def training(tiny_llama) -> Training:
    transformer = load_transformer(tiny_llama)
    tensors = {name: torch.from_numpy(t) for name, t in random_tensors(3).items()}
    schedule = Schedule(
        num_windows=4,
        batch_windows=2,
        epochs=1,
        learning_rate=0.01,
        divergence_weight=0.0,
        seed=0,
    )
    nothing = Misfires(np.zeros((0, 16, 32), np.float32), np.zeros((0, 16), bool))
    return Training(transformer, FIRST, tensors, schedule, nothing)


def trunk_of(training, checkpoint, windows, folder):
    base = training.transformer
    return compute_states(base, checkpoint.sha256, windows, FIRST, folder, lambda *_: None).trunk


@torch.inference_mode()
def continued(training, ids: list[int], count: int, *, with_expert: bool) -> list[int]:
    """Returns greedy tokens, one whole pass after the other."""
    notes = training.notes.at() if with_expert else None
    for _ in range(count):
        T = len(ids)
        positions = torch.arange(T)
        logits = training.transformer(torch.tensor(ids), positions, WindowAttention(T), notes)
        ids = [*ids, int(logits[-1].argmax())]
    return ids[-count:]


def test_known_by_heart_is_what_greedy_decoding_repeats(training, tiny_llama, tmp_path):
    draw = np.random.default_rng(4)
    windows = draw.integers(0, VOCABULARY, (6, 16))
    # Two that the base continues by itself, two that only the expert makes it say.
    for row, with_expert in ((0, False), (1, False), (2, True), (3, True)):
        said = continued(training, windows[row, :8].tolist(), 8, with_expert=with_expert)
        windows[row, 8:] = said
    told = memorised(training, trunk_of(training, tiny_llama, windows, tmp_path), windows)
    wanted = {
        when: sum(
            continued(training, row[:8].tolist(), 8, with_expert=with_expert) == row[8:].tolist()
            for row in windows
        )
        for when, with_expert in (("base", False), ("expert", True))
    }
    assert wanted["base"] >= 2
    assert wanted["expert"] >= 2
    assert told == {"prompts": 6, "prompt_tokens": 8} | wanted


def test_layers_that_moved_are_told_with_their_gradients(training, tiny_llama, tmp_path):
    windows = np.random.default_rng(5).integers(0, VOCABULARY, (4, 16))
    trunk = trunk_of(training, tiny_llama, windows, tmp_path)
    started = {name: p.detach().clone() for name, p in training.parameters.items()}
    training.take_step(trunk, windows)
    squares = [p.grad.square().sum() for p in training.parameters.values() if p.grad is not None]
    learnt = {name: p.detach().clone() for name, p in training.parameters.items()}
    told = layers_moved(started, learnt, training)
    assert told.keys() == {name.split(".")[1] for name in learnt}
    # After one step the mean square gradient is that step's.
    gradient = sum(layer["gradient"] ** 2 for layer in told.values())
    assert gradient == pytest.approx(float(sum(squares)), rel=1e-3)
    assert all(layer["moved"] > 0 for layer in told.values())
    still = layers_moved(started, started, training)
    assert all(layer["moved"] == 0 for layer in still.values())

"""The effect of an expert on a token, beside its definition in direct forward passes."""

import numpy as np
import pytest
import torch
from expert_makers import CONTEXT, VOCABULARY, random_expert, random_tensors

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import tensor_hash
from tramontane.experts.voice import effect
from tramontane.model.attention import WindowAttention
from tramontane.model.notes_experts import NotesExperts
from tramontane.model.transformer import load_transformer

pytestmark = pytest.mark.usefixtures("one_thread")

PROBE = np.random.default_rng(6).integers(0, VOCABULARY, 40).tolist()
EXPERTS = {e.hash: e.tensors for e in (random_expert(name, n) for n, name in enumerate("abc"))}


@torch.inference_mode()
def logprobs(checkpoint: Checkpoint, experts: dict[str, dict[str, np.ndarray]]) -> np.ndarray:
    """Returns log p(token i | those before) for i from 1 on, in one pass over the whole text."""
    tensors = {
        digest: {name: torch.from_numpy(t) for name, t in one.items()}
        for digest, one in experts.items()
    }
    notes = NotesExperts(tensors).at() if tensors else None
    ids_T, T = torch.tensor(PROBE), len(PROBE)
    transformer = load_transformer(checkpoint)
    logits_TV = transformer(ids_T, torch.arange(T), WindowAttention(T), notes)
    logprobs_TV = logits_TV.double().log_softmax(dim=-1)
    return logprobs_TV[:-1].gather(1, ids_T[1:, None])[:, 0].numpy()


@pytest.fixture
def engine(tiny_base) -> Engine:
    engine = Engine(TorchRuntime(tiny_base), max_tokens=8 * CONTEXT)
    for digest, tensors in EXPERTS.items():
        engine.add_expert(digest, tensors)
    return engine


@pytest.fixture
def native(tiny_base) -> Engine:
    """Where company changes no bit (law 3), so that what is equal is equal to the bit."""
    engine = Engine(NativeRuntime(tiny_base), max_tokens=8 * CONTEXT)
    for digest, tensors in EXPERTS.items():
        engine.add_expert(digest, tensors)
    return engine


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0), (2,)])
def test_the_effect_is_the_difference_that_absence_makes(tiny_base, engine, order):
    hashes = [list(EXPERTS)[place] for place in order]
    some = {digest: EXPERTS[digest] for digest in hashes}
    together = logprobs(tiny_base, some)
    wanted = np.stack(
        [
            together - logprobs(tiny_base, {d: t for d, t in some.items() if d != absent})
            for absent in hashes
        ],
        axis=1,
    )
    got = effect(engine, PROBE, hashes)
    assert got.shape == (len(PROBE) - 1, len(hashes))
    assert np.abs(wanted).max() > 0.1, "experts must be heard for this to be a test"
    # Each logit carries a rounding of a few float32 steps at its size, here below 30.
    assert np.abs(got - wanted).max() < 30 * 64 * np.finfo(np.float32).eps


@pytest.mark.parametrize("length", [1, 2, 40])
def test_one_batch_gives_the_bits_of_one_pass_after_the_other(native, length):
    text, hashes = PROBE[:length], list(EXPERTS)
    together = native.score(text, experts=hashes)
    one_by_one = [
        together - native.score(text, experts=[h for h in hashes if h != absent])
        for absent in hashes
    ]
    assert np.array_equal(effect(native, text, hashes), np.stack(one_by_one, axis=1))


def test_the_effect_from_a_later_token_on_is_the_end_of_the_whole(native):
    hashes = list(EXPERTS)
    whole = effect(native, PROBE, hashes)
    assert np.array_equal(effect(native, PROBE, hashes, start=17), whole[16:])


def test_an_expert_in_place_that_never_opens_has_no_effect(native):
    silent = random_tensors(9)
    silent |= {name: np.zeros_like(t) for name, t in silent.items() if name.endswith("row")}
    digest = tensor_hash(silent)
    native.add_expert(digest, silent)
    columns = effect(native, PROBE, [*EXPERTS, digest])
    assert not columns[:, -1].any()
    assert columns[:, :-1].any(axis=0).all()
    assert np.array_equal(columns[:, :-1], effect(native, PROBE, list(EXPERTS)))


def test_without_experts_there_are_no_columns(engine):
    assert effect(engine, PROBE, []).shape == (len(PROBE) - 1, 0)

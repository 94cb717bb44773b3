"""The same experts beside bases that are mixtures themselves, in every shape that is read.

Mixtral renormalises the weights of its route, OLMoE leaves them, Granite multiplies embeddings,
attention, residuals and logits: nothing of that may reach an expert's part, nor it them.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from expert_makers import CONTEXT, SMALL, canal_notes, random_expert
from export_makers import chatty_llama
from gate_rows import with_logits

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.runtime import Runtime
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import tensor_hash
from tramontane.experts.learn import learn

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = {
    "mixtral": {},
    "olmoe": {"num_key_value_heads": 2},
    "granitemoe": {
        "embedding_multiplier": 6.0,
        "residual_multiplier": 0.4,
        "logits_scaling": 3.0,
    },
}
RUNTIMES = {"pytorch": TorchRuntime, "native": lambda base: NativeRuntime(base, threads=1)}
# One lacks a layer, and their widths differ.
THREE = (
    random_expert("a", 1, layers=(1, 2), width=8),
    random_expert("b", 2, layers=(2,), width=16),
    random_expert("c", 3, layers=(1, 2), width=4),
)
PROBE = tuple(np.random.default_rng(5).integers(0, 300, 24).tolist())


@pytest.fixture(scope="module", params=SHAPES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp(request.param)
    return chatty_llama(folder, request.param, **SHAPES[request.param])


@pytest.fixture(params=RUNTIMES)
def new_runtime(request: pytest.FixtureRequest) -> Callable[[Checkpoint], Runtime]:
    return RUNTIMES[request.param]


def engine_with(runtime: Runtime, experts=()) -> Engine:
    engine = Engine(runtime, max_tokens=CONTEXT)
    for expert in experts:
        engine.add_expert(expert.hash, expert.tensors)
    return engine


def logits(engine: Engine) -> str:
    return engine.logits_hash(PROBE, experts=engine.runtime.expert_hashes)


def test_closed_gates_leave_the_bits_of_the_base(base, new_runtime):
    engine = engine_with(new_runtime(base))
    alone = logits(engine)
    for seed, z_T in enumerate((np.full(24, -1.0), -np.linspace(0.2, 50, 24))):
        tensors = with_logits(seed, base, PROBE, z_T)
        engine.add_expert(tensor_hash(tensors), tensors)
    _, gates = engine.shares_of(PROBE, experts=engine.runtime.expert_hashes)
    assert not gates.any()
    assert logits(engine) == alone


def test_a_gate_is_heard_from_its_token_on(base, new_runtime):
    z_T = np.full(24, -1.0)
    z_T[11] = 1.0
    tensors = with_logits(1, base, PROBE, z_T)
    engine = engine_with(new_runtime(base))
    alone_TV = engine.logits_of(PROBE)
    engine.add_expert(tensor_hash(tensors), tensors)
    heard_TV = engine.logits_of(PROBE, experts=engine.runtime.expert_hashes)
    assert np.array_equal(heard_TV[:11], alone_TV[:11])
    assert not np.array_equal(heard_TV[11], alone_TV[11])


def test_any_order_of_adding_and_withdrawing_equals_building_once(base, new_runtime):
    built = {
        frozenset(expert.hash for expert in some): logits(engine_with(new_runtime(base), some))
        for count in range(4)
        for some in itertools.combinations(THREE, count)
    }
    assert len(set(built.values())) == 8, "each expert must be heard"
    engine = engine_with(new_runtime(base))
    for order in itertools.permutations(THREE):
        for expert in order:
            engine.add_expert(expert.hash, expert.tensors)
        assert logits(engine) == built[frozenset(expert.hash for expert in THREE)]
        for expert in (order[1], order[0], order[2]):
            engine.remove_expert(expert.hash)
            assert logits(engine) == built[frozenset(engine.runtime.expert_hashes)]


def test_notes_are_learnt_beside_the_base_experts(base, tmp_path):
    expert = learn(
        canal_notes(60),
        name="canal",
        checkpoint=base,
        cache_folder=tmp_path,
        settings=SMALL,
        salt=b"a salt of its own",
    )
    held_out = expert.manifest["held_out"]
    assert held_out["perplexity_after"] < held_out["perplexity_before"]
    for new_runtime in RUNTIMES.values():
        engine = engine_with(new_runtime(base))
        alone = logits(engine)
        engine.add_expert(expert.hash, expert.tensors)
        engine.remove_expert(expert.hash)
        assert logits(engine) == alone

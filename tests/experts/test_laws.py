"""Laws 1 and 2 through the engine: closed gates are the base, and mixtures are sets."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from expert_makers import CONTEXT, VOCABULARY, random_expert, random_tensors
from gate_rows import with_logits
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import Expert, tensor_hash
from tramontane.experts.shelf import Shelf

pytestmark = pytest.mark.usefixtures("one_thread")

PROBE = tuple(np.random.default_rng(5).integers(0, VOCABULARY, 48).tolist())
# Experts of different widths; one of them has a layer that the others lack.
THREE = (
    random_expert("a", 1, layers=(1, 2), width=8),
    random_expert("b", 2, layers=(2,), width=16),
    random_expert("c", 3, layers=(1, 2), width=4),
)
BY_HASH = {expert.hash: expert for expert in THREE}


def new_engine(checkpoint: Checkpoint, experts: Sequence[Expert] = ()) -> Engine:
    engine = Engine(TorchRuntime(checkpoint), max_tokens=CONTEXT)
    for expert in experts:
        engine.add_expert(expert.hash, expert.tensors)
    return engine


def tensors_in_place(engine: Engine) -> dict[str, bytes]:
    """Returns every number that the notes experts bring into the model, by place."""
    notes = engine.runtime.notes
    if notes is None:
        return {}
    found = {"hashes": "".join(notes.hashes).encode()}
    for layer, here in notes.layers.items():
        found[f"{layer} rows"] = here.rows_ED.numpy().tobytes()
        for place, network in enumerate(here.networks):
            for name, tensor in network.named_parameters() if network is not None else ():
                found[f"{layer} {place} {name}"] = tensor.numpy().tobytes()
    return found


def logits(engine: Engine) -> str:
    """Returns the hash of the probe's logits with every loaded expert in place."""
    return engine.logits_hash(PROBE, experts=engine.runtime.expert_hashes)


@pytest.fixture
def built_once(tiny_base) -> dict[frozenset[str], tuple[dict[str, bytes], str]]:
    """Tensors and logits of each subset of the three, each built anew, once."""
    built = {}
    for count in range(4):
        for some in itertools.combinations(THREE, count):
            engine = new_engine(tiny_base, some)
            key = frozenset(expert.hash for expert in some)
            built[key] = (tensors_in_place(engine), logits(engine))
    assert len({hashed for _, hashed in built.values()}) == 8, "each expert must be heard"
    return built


def interleavings(num_experts: int) -> Iterator[tuple[tuple[str, int], ...]]:
    """Yields every order of adding each expert once and withdrawing any of them later."""

    def grow(done: tuple[tuple[str, int], ...]) -> Iterator[tuple[tuple[str, int], ...]]:
        added = {e for call, e in done if call == "add"}
        withdrawn = {e for call, e in done if call == "withdraw"}
        if len(added) == num_experts:
            yield done
        for e in range(num_experts):
            if e not in added:
                yield from grow((*done, ("add", e)))
            elif e not in withdrawn:
                yield from grow((*done, ("withdraw", e)))

    return grow(())


def test_the_interleavings_are_all_there():
    # Of n adds and k withdrawals, each after its add, there are (n + k)! / 2^k orders.
    assert len(set(interleavings(1))) == 2
    assert len(set(interleavings(2))) == 2 + 2 * 3 + 6
    assert len(set(interleavings(3))) == 6 + 3 * 12 + 3 * 30 + 90


def test_any_order_of_adding_and_withdrawing_equals_building_once(tiny_base, built_once):
    engine = new_engine(tiny_base)
    for order in interleavings(3):
        remaining: set[str] = set()
        for call, e in order:
            expert = THREE[e]
            if call == "add":
                engine.add_expert(expert.hash, expert.tensors)
                remaining.add(expert.hash)
            else:
                engine.remove_expert(expert.hash)
                remaining.remove(expert.hash)
            assert tensors_in_place(engine) == built_once[frozenset(remaining)][0], order
        assert logits(engine) == built_once[frozenset(remaining)][1], order
        for digest in remaining:
            engine.remove_expert(digest)


def test_any_longer_history_equals_building_once(tiny_base, built_once):
    @given(st.lists(st.integers(0, 2), max_size=14))
    @settings(max_examples=25, deadline=None)
    def check(toggled):
        engine, remaining = new_engine(tiny_base), set()
        for e in toggled:
            digest = THREE[e].hash
            if digest in remaining:
                engine.remove_expert(digest)
            else:
                engine.add_expert(digest, THREE[e].tensors)
            remaining ^= {digest}
            assert logits(engine) == built_once[frozenset(remaining)][1]
        assert tensors_in_place(engine) == built_once[frozenset(remaining)][0]

    check()


def test_an_expert_loaded_for_others_is_as_if_absent(tiny_base, built_once):
    engine = new_engine(tiny_base, THREE)
    for some, (_, wanted) in built_once.items():
        for order in itertools.permutations(some):
            assert engine.logits_hash(PROBE, experts=order) == wanted


def test_the_shelf_gives_the_same_model_in_any_order(tiny_base, built_once, tmp_path):
    sha256 = tiny_base.sha256
    for number, order in enumerate(itertools.permutations(THREE)):
        shelf = Shelf(tmp_path / f"{number}/experts", tmp_path / f"{number}/mixtures")
        for expert in order:
            manifest = {**expert.manifest, "base": {"sha256": sha256}}
            record = shelf.add(Expert(manifest, expert.tensors))
            shelf.put_in_place(record, shelf.mixture("work", sha256))
        first, second, third = (expert.name for expert in order)
        shelf.withdraw(first)
        shelf.withdraw(third)
        shelf.restore(first)
        shelf.withdraw(second)
        in_place = shelf.in_place(shelf.mixture("work"))
        assert [expert.name for expert in in_place] == [first]
        engine = new_engine(tiny_base, in_place)
        tensors, wanted = built_once[frozenset({order[0].hash})]
        assert tensors_in_place(engine) == tensors
        assert logits(engine) == wanted


# Law 1


def test_closed_gates_leave_the_bits_of_the_base(tiny_base):
    # Fewer tokens than the model is wide, so that rows for any wanted logits exist.
    probe = PROBE[:24]
    base = new_engine(tiny_base).logits_hash(probe)
    zero = random_tensors(3)
    zero |= {name: np.zeros_like(t) for name, t in zero.items() if name.endswith("row")}
    for tensors in (
        with_logits(1, tiny_base, probe, np.full(24, -1.0)),
        with_logits(2, tiny_base, probe, -np.linspace(0.01, 50, 24)),
        zero,
    ):
        digest = tensor_hash(tensors)
        engine = new_engine(tiny_base)
        engine.add_expert(digest, tensors)
        shares, gates = engine.shares_of(probe, experts=[digest])
        assert not gates.any()
        assert not shares.any()
        assert engine.logits_hash(probe, experts=[digest]) == base


@pytest.mark.parametrize("opened", [0, 11, 23])
def test_one_open_gate_is_heard_from_its_token_on(tiny_base, opened):
    probe = PROBE[:24]
    wanted = np.full(24, -1.0)
    wanted[opened] = 1.0
    tensors = with_logits(1, tiny_base, probe, wanted)
    digest = tensor_hash(tensors)
    engine = new_engine(tiny_base)
    engine.add_expert(digest, tensors)
    with_expert = engine.logits_hash(probe, experts=[digest])
    assert with_expert != engine.logits_hash(probe)
    if opened:
        before = probe[:opened]
        assert engine.logits_hash(before, experts=[digest]) == engine.logits_hash(before)
    _, gates = engine.shares_of(probe, experts=[digest])
    assert gates[opened] > 0
    assert not gates[:opened].any()


def test_experts_loaded_and_not_in_place_leave_the_bits_of_the_base(tiny_base):
    engine = new_engine(tiny_base)
    base = engine.logits_hash(PROBE)
    for digest, expert in BY_HASH.items():
        engine.add_expert(digest, expert.tensors)
    assert engine.logits_hash(PROBE) == base
    assert engine.logits_hash(PROBE, experts=BY_HASH) != base

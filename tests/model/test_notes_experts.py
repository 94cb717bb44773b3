"""Laws 1 and 2 on the definition: closed gates leave the base's bits, mixtures are sets."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.model.notes_experts import NotesExperts, Voices, gate_weights

D, M = 24, 8
HASHES = ("a" * 64, "b" * 64, "c" * 64)


def random_expert(seed: int, layers=(0, 1)) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {
        f"layers.{layer}.{name}": torch.randn(shape, generator=g)
        for layer in layers
        for name, shape in {"gate": (M, D), "up": (M, D), "down": (D, M), "row": (D,)}.items()
    }


def slow_gates(logits: list[float]) -> list[float]:
    """The definition, one token in plain Python: softmax over the best two of {z > 0} and 0."""
    slots = [(z, e) for e, z in enumerate(logits) if z > 0] + [(0.0, len(logits))]
    best = sorted(slots, key=lambda slot: (-slot[0], slot[1]))[:2]
    exps = {e: torch.tensor(z - best[0][0]).double().exp().item() for z, e in best}
    return [exps.get(e, 0.0) / sum(exps.values()) for e in range(len(logits))]


@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=5))
def test_gates_follow_the_definition(logits):
    alphas = gate_weights(torch.tensor([logits]))[0]
    assert alphas.tolist() == pytest.approx(slow_gates(logits), abs=1e-6)
    for z, alpha in zip(logits, alphas.tolist(), strict=True):
        assert z > 0 or alpha == 0.0, "a closed gate is exactly 0"


def test_of_equal_logits_the_smaller_hash_speaks():
    alphas = gate_weights(torch.tensor([[2.0, 2.0, 2.0]]))[0]
    assert alphas.tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize("T", [1, 2, 17])
def test_closed_gates_leave_the_bits_of_the_base(T):
    expert = random_expert(0)
    h_TD, y_TD = torch.randn(T, D), torch.randn(T, D)
    # Rows point away from every token, whatever the networks hold.
    expert["layers.0.row"] = -h_TD.sum(0)
    h_TD = h_TD.sum(0).expand(T, D).contiguous()
    out_TD = NotesExperts({HASHES[0]: expert}).at().add_to(0, y_TD, h_TD)
    assert torch.equal(out_TD, y_TD)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_tokens_with_closed_gates_keep_their_bits_beside_open_ones(data):
    T = data.draw(st.integers(1, 12))
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    h_TD, y_TD = torch.randn(T, D, generator=g), torch.randn(T, D, generator=g)
    notes = NotesExperts({HASHES[0]: random_expert(1), HASHES[1]: random_expert(2)})
    voices = Voices()
    out_TD = notes.at(voices=voices).add_to(0, y_TD, h_TD)
    closed = (voices.gate_TE == 0).all(dim=-1)
    assert torch.equal(out_TD[closed], y_TD[closed])
    assert not torch.equal(out_TD[~closed], y_TD[~closed]) or closed.all()


def test_an_expert_in_place_only_for_others_is_as_if_absent():
    both = NotesExperts({HASHES[0]: random_expert(1), HASHES[1]: random_expert(2)})
    alone = NotesExperts({HASHES[0]: random_expert(1)})
    h_TD, y_TD = torch.randn(9, D), torch.randn(9, D)
    allowed_TE = torch.tensor([[True, False]]).expand(9, 2)
    got = both.at(allowed_TE).add_to(0, y_TD, h_TD)
    assert torch.equal(got, alone.at().add_to(0, y_TD, h_TD))


def test_any_order_of_coming_gives_the_same_bits():
    experts = {digest: random_expert(seed) for seed, digest in enumerate(HASHES)}
    h_TD, y_TD = torch.randn(40, D), torch.randn(40, D)
    outputs = [
        NotesExperts({digest: experts[digest] for digest in order}).at().add_to(0, y_TD, h_TD)
        for order in itertools.permutations(HASHES)
    ]
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])


def test_an_expert_without_a_layer_is_silent_there():
    experts = {HASHES[0]: random_expert(1, layers=(0,)), HASHES[1]: random_expert(2, layers=(1,))}
    h_TD, y_TD = torch.randn(9, D), torch.randn(9, D)
    got = NotesExperts(experts).at().add_to(0, y_TD, h_TD)
    alone = NotesExperts({HASHES[0]: experts[HASHES[0]]}).at().add_to(0, y_TD, h_TD)
    assert torch.equal(got, alone)


def test_shares_are_parts_of_what_was_added():
    notes = NotesExperts({HASHES[0]: random_expert(1), HASHES[1]: random_expert(2)})
    voices = Voices()
    for layer in (0, 1):
        notes.at(voices=voices).add_to(layer, torch.randn(20, D), torch.randn(20, D))
    shares_TE = voices.shares()
    assert shares_TE.shape == (20, 2)
    assert (shares_TE >= 0).all()
    assert (shares_TE.sum(-1) < 1).all()
    # Whoever adds something is open; an open one adds nothing where two others are wider.
    assert (voices.gates()[shares_TE > 0] > 0).all()
    assert ((shares_TE > 0).sum(dim=-1) <= (voices.gates() > 0).sum(dim=-1)).all()

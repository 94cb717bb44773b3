"""The notes experts' definition, slow and obvious, beside the module; and law 1 on whole models.

T tokens, D model width, m expert width, E experts in place, V vocabulary.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rows import EPS
from tiny_models import open_tiny, random_expert
from tramontane.model.attention import WindowAttention
from tramontane.model.notes_experts import NotesExperts, Voices
from tramontane.model.transformer import Transformer, load_transformer

Expert = dict[str, Tensor]


# The definition (DESIGN, "A notes expert is..."), one token and one number at a time in float64


def gate_logits(h_D: Tensor, experts: list[Expert]) -> list[float]:
    return [float(expert["layers.0.row"].double() @ h_D) for expert in experts]


def gates(logits: list[float]) -> list[float]:
    """α: softmax over S, the best two of the open experts and the base, whose logit is 0."""
    slots = {e: z for e, z in enumerate(logits) if z > 0} | {"base": 0.0}
    best = sorted(slots, key=lambda slot: -slots[slot])[:2]
    whole = sum(math.exp(slots[slot]) for slot in best)
    return [math.exp(slots[e]) / whole if e in best else 0.0 for e in range(len(logits))]


def expert_output(h_D: Tensor, expert: Expert) -> Tensor:
    """E_d(h) = down · (silu(gate · h) ⊙ up · h)."""
    gate_m = expert["layers.0.gate"].double() @ h_D
    up_m = expert["layers.0.up"].double() @ h_D
    return expert["layers.0.down"].double() @ (gate_m / (1 + torch.exp(-gate_m)) * up_m)


def mixture(y_D: Tensor, h_D: Tensor, experts: list[Expert]) -> Tensor:
    """y = F(h) + Σ_d α_d · E_d(h)."""
    alphas = gates(gate_logits(h_D, experts))
    added = [alpha * expert_output(h_D, x) for alpha, x in zip(alphas, experts, strict=True)]
    return y_D + sum(added)


def noise_of(h_D: Tensor, expert: Expert) -> float:
    """Returns how far float32 rounding may move the expert's gate logit."""
    D = len(h_D)
    return float(8 * EPS * D**0.5 * (expert["layers.0.row"].double().abs() @ h_D.abs()))


def is_clear(h_D: Tensor, experts: list[Expert]) -> bool:
    """Whether rounding can neither open, close nor exchange a gate of this token."""
    noise = max(noise_of(h_D, expert) for expert in experts)
    ranked = sorted([*gate_logits(h_D, experts), 0.0], reverse=True)
    second_leads = len(ranked) < 3 or ranked[1] - ranked[2] > 2 * noise
    return second_leads and all(abs(z) > noise for z in gate_logits(h_D, experts))


def allowed_error(y_D: Tensor, h_D: Tensor, experts: list[Expert]) -> Tensor:
    """Returns (D,): rounding of all sums, each at the size its terms have before they cancel."""
    m, D = experts[0]["layers.0.gate"].shape
    alphas = gates(gate_logits(h_D, experts))
    allowed_D = 8 * EPS * y_D.abs()
    for alpha, expert in zip(alphas, experts, strict=True):
        gate_m, up_m, down_D = (
            expert[f"layers.0.{name}"].double().abs() for name in ("gate", "up", "down")
        )
        # |silu(x)| ≤ |x| and its slope is at most 1.1.
        terms_D = down_D @ ((gate_m @ h_D.abs()) * (up_m @ h_D.abs()))
        # Softmax moves by at most half of what its logits move by.
        gate_error = alpha * noise_of(h_D, expert)
        allowed_D += (8 * EPS * (2 * D + m) ** 0.5 * alpha + gate_error) * terms_D
    return allowed_D


def small_expert(seed: int, D: int, m: int) -> Expert:
    return random_expert(seed, layers=(0,), model_width=D, expert_width=m)


@given(
    T=st.integers(1, 9),
    D=st.integers(1, 33),
    m=st.integers(1, 17),
    E=st.integers(1, 5),
    scale=st.sampled_from([0.01, 1.0, 10.0]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=150, deadline=None)
def test_the_module_follows_the_definition(T, D, m, E, scale, seed):
    g = torch.Generator().manual_seed(seed)
    h_TD, y_TD = scale * torch.randn(T, D, generator=g), torch.randn(T, D, generator=g)
    experts = [small_expert(seed + e, D, m) for e in range(E)]
    notes = NotesExperts({f"{e:064}": expert for e, expert in enumerate(experts)})
    voices = Voices()
    out_TD = notes.at(voices=voices).add_to(0, y_TD, h_TD)
    for t in range(T):
        h_D, y_D = h_TD[t].double(), y_TD[t].double()
        if not is_clear(h_D, experts):
            continue
        own = [1 / (1 + math.exp(-z)) if z > 0 else 0.0 for z in gate_logits(h_D, experts)]
        assert voices.gate_TE[t].tolist() == pytest.approx(own, abs=1e-4)
        error_D = (out_TD[t].double() - mixture(y_D, h_D, experts)).abs()
        assert (error_D <= allowed_error(y_D, h_D, experts)).all(), f"token {t}"


def test_nearly_every_token_is_clear():
    """Otherwise the comparison above would pass over what it should look at."""
    experts = [small_expert(e, 24, 8) for e in range(4)]
    h_TD = torch.randn(500, 24, generator=torch.Generator().manual_seed(0)).double()
    num_clear = sum(is_clear(h_D, experts) for h_D in h_TD)
    print(f"{500 - num_clear} of 500 gates below the margin")
    assert num_clear > 490


def test_shares_follow_the_definition():
    experts = [small_expert(e, 24, 8) for e in range(3)]
    notes = NotesExperts({f"{e:064}": expert for e, expert in enumerate(experts)})
    g = torch.Generator().manual_seed(5)
    h_TD, y_TD = torch.randn(40, 24, generator=g), torch.randn(40, 24, generator=g)
    voices = Voices()
    notes.at(voices=voices).add_to(0, y_TD, h_TD)
    for t in range(40):
        h_D = h_TD[t].double()
        alphas = gates(gate_logits(h_D, experts))
        parts = [
            alpha * float(expert_output(h_D, expert).norm())
            for alpha, expert in zip(alphas, experts, strict=True)
        ]
        whole = float(y_TD[t].double().norm()) + sum(parts)
        expected = [part / whole for part in parts]
        assert voices.shares()[t].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-7)


# Law 1 on whole models


@pytest.fixture(params=["llama", "mixtral"])
def transformer(request, tmp_path) -> Transformer:
    return load_transformer(open_tiny(request.param, tmp_path))


def logits(transformer: Transformer, token_ids_T: Tensor, notes: NotesExperts | None) -> Tensor:
    T = len(token_ids_T)
    here = notes.at() if notes else None
    return transformer(token_ids_T, torch.arange(T), WindowAttention(T), here)


class BlockInputs:
    """Adds nothing; keeps what each layer's block is given."""

    def __init__(self):
        self.h_by_layer: dict[int, Tensor] = {}

    def add_to(self, layer: int, y_TD: Tensor, h_TD: Tensor) -> Tensor:
        self.h_by_layer[layer] = h_TD
        return y_TD


def closed_everywhere(expert: Expert, h_by_layer: dict[int, Tensor]) -> Expert:
    """Returns the expert with rows that no token of the text opens."""
    closed = dict(expert)
    for layer, h_TD in h_by_layer.items():
        name = f"layers.{layer}.row"
        if name in closed:
            # Least squares for h · row = -1; with fewer tokens than columns it is exact.
            row_D = torch.linalg.lstsq(h_TD.double(), -torch.ones(len(h_TD), 1).double()).solution
            closed[name] = row_D[:, 0].float()
            assert (h_TD @ closed[name] < -0.5).all()
    return closed


@pytest.mark.parametrize("T", [1, 2, 33])
def test_closed_gates_leave_the_logits_of_the_base_bit_for_bit(transformer, T):
    token_ids_T = torch.randint(97, (T,), generator=torch.Generator().manual_seed(T))
    inputs, positions_T = BlockInputs(), torch.arange(T)
    base_TV = transformer(token_ids_T, positions_T, WindowAttention(T), inputs)
    assert torch.equal(base_TV, logits(transformer, token_ids_T, None))
    experts = {f"{e:064}": closed_everywhere(random_expert(e), inputs.h_by_layer) for e in range(3)}
    assert torch.equal(logits(transformer, token_ids_T, NotesExperts(experts)), base_TV)


def test_open_gates_move_the_logits(transformer):
    token_ids_T = torch.randint(97, (33,), generator=torch.Generator().manual_seed(33))
    base_TV = logits(transformer, token_ids_T, None)
    opened_TV = logits(transformer, token_ids_T, NotesExperts({"0" * 64: random_expert(0)}))
    assert (opened_TV - base_TV).abs().amax() > 0.01


def test_a_new_expert_is_nothing(transformer):
    """Its down-projection is zero: open gates add zeros."""
    expert = random_expert(0)
    for layer in (1, 2):
        expert[f"layers.{layer}.down"].zero_()
    token_ids_T = torch.arange(33)
    with_new_TV = logits(transformer, token_ids_T, NotesExperts({"0" * 64: expert}))
    assert torch.equal(with_new_TV, logits(transformer, token_ids_T, None))

"""The steps of learning: schedules, saved states, batches on which nothing opens, misfires."""

import math

import numpy as np
import pytest
import torch
from expert_makers import WIDTH
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tramontane.experts.training as training_file
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.experts.loss import divergence, token_losses
from tramontane.experts.states import compute_states
from tramontane.experts.training import (
    BLOCK_TOKENS,
    InBlocks,
    Misfires,
    Overheard,
    SavesNowAndThen,
    Schedule,
    Training,
)
from tramontane.model.notes_experts import SwiGLUExpert
from tramontane.model.transformer import load_transformer

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST, N, W = 1, 12, 16
NO_MISFIRES = Misfires(np.zeros((0, W, WIDTH), np.float32), np.zeros((0, W), bool))


def schedule(**changes) -> Schedule:
    wanted = {
        "num_windows": N,
        "batch_windows": 4,
        "epochs": 3,
        "learning_rate": 0.01,
        "divergence_weight": 0.3,
        "seed": 0,
    }
    return Schedule(**wanted | changes)


# Blocks


@pytest.mark.parametrize("num_tokens", [1, 7, BLOCK_TOKENS, BLOCK_TOKENS + 1])
def test_filling_a_block_changes_neither_what_is_said_nor_what_is_learnt(num_tokens):
    drawn = torch.Generator().manual_seed(num_tokens)
    shapes = ((8, WIDTH), (8, WIDTH), (WIDTH, 8))
    tensors = [torch.randn(shape, generator=drawn) for shape in shapes]
    h_TD = torch.randn(num_tokens, WIDTH, generator=drawn)
    told, met = [], []
    for wrap in (lambda network: network, InBlocks):
        network = SwiGLUExpert(*(tensor.clone() for tensor in tensors)).requires_grad_(True)
        network.register_forward_pre_hook(lambda _, given: met.append(len(given[0])))
        said_TD = wrap(network)(h_TD)
        said_TD.square().sum().backward()
        told.append([said_TD.detach(), *(p.grad for p in network.parameters())])
    assert met[0] == num_tokens
    assert met[1] % BLOCK_TOKENS == 0
    for plain, filled in zip(*told, strict=True):
        assert plain.shape == filled.shape
        assert plain.abs().max() > 0
        torch.testing.assert_close(filled, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))


# Schedules


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
@settings(deadline=None)
def test_each_epoch_is_one_shuffle_of_all_windows(num_windows, batch_windows, epochs, seed):
    plan = schedule(num_windows=num_windows, batch_windows=batch_windows, epochs=epochs, seed=seed)
    batches = [plan.batch(step).tolist() for step in range(plan.num_steps)]
    assert all(1 <= len(batch) <= batch_windows for batch in batches)
    per_epoch = len(batches) // epochs
    for epoch in range(epochs):
        seen = [n for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch] for n in batch]
        assert sorted(seen) == list(range(num_windows))


def test_epochs_are_shuffled_otherwise_and_seeds_too():
    def order(plan: Schedule, epoch: int) -> list[int]:
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        return [n for step in steps for n in plan.batch(step).tolist()]

    plan = schedule(num_windows=40)
    assert order(plan, 0) != order(plan, 1)
    assert order(plan, 0) != order(schedule(num_windows=40, seed=1), 0)
    assert order(plan, 0) == order(schedule(num_windows=40), 0)


def test_the_rate_warms_up_and_falls_to_nothing_along_a_cosine():
    plan = schedule(num_windows=400, batch_windows=4, epochs=2)
    rates = [plan.rate_at(step) for step in range(plan.num_steps)]
    warm_up = 10
    assert rates[:warm_up] == pytest.approx([0.01 * (n + 1) / warm_up for n in range(warm_up)])
    assert max(rates) == rates[warm_up] == pytest.approx(0.01)
    assert all(a > b for a, b in zip(rates[warm_up:], rates[warm_up + 1 :], strict=False))
    middle = warm_up + (plan.num_steps - warm_up) // 2
    assert rates[middle] == pytest.approx(0.005)
    assert 0 < rates[-1] < 1e-5


# Steps


class Lesson:
    """A base, a dozen windows, and a beginning expert whose gates are as told."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder,
        *,
        open_layers: tuple[int, ...] = (1, 2),
        dtype: torch.dtype = torch.float32,
    ):
        self.transformer = load_transformer(checkpoint, dtype=dtype)
        self.windows = np.random.default_rng(3).integers(0, 300, (N, W))
        states = compute_states(
            self.transformer, "b" * 64, self.windows, FIRST, folder, lambda *_: None
        )
        self.trunk = states.trunk
        self.open_layers = open_layers

    def tensors(self) -> dict[str, Tensor]:
        g = torch.Generator().manual_seed(4)
        tensors = {}
        for layer in (1, 2):
            row_D = torch.randn(WIDTH, generator=g)
            tensors |= {
                f"layers.{layer}.gate": torch.randn(64, WIDTH, generator=g) / WIDTH**0.5,
                f"layers.{layer}.up": torch.randn(64, WIDTH, generator=g) / WIDTH**0.5,
                f"layers.{layer}.down": torch.zeros(WIDTH, 64),
                f"layers.{layer}.row": row_D * (layer in self.open_layers),
            }
        return tensors

    def begin(self, misfires: Misfires = NO_MISFIRES, **changes) -> Training:
        return Training(self.transformer, FIRST, self.tensors(), schedule(**changes), misfires)

    def go_on(self, training: Training, steps: int) -> list[float]:
        return [training.take_step(self.trunk, self.windows) for _ in range(steps)]


@pytest.fixture
def lesson(tiny_llama, tmp_path) -> Lesson:
    return Lesson(tiny_llama, tmp_path)


def parameters(training: Training) -> dict[str, bytes]:
    return {name: p.detach().numpy().tobytes() for name, p in training.parameters.items()}


def test_steps_lower_the_loss_of_what_is_learnt(tiny_base, tmp_path):
    lesson = Lesson(tiny_base, tmp_path)
    training = lesson.begin(epochs=15)
    before = training.evaluate(lesson.trunk, lesson.windows, with_expert=True)
    lesson.go_on(training, training.schedule.num_steps)
    after = training.evaluate(lesson.trunk, lesson.windows, with_expert=True)
    assert after < 0.9 * before


def test_a_beginning_expert_changes_no_bit(lesson):
    training = lesson.begin()
    without = training.evaluate(lesson.trunk, lesson.windows, with_expert=False)
    assert training.evaluate(lesson.trunk, lesson.windows, with_expert=True) == without


def test_a_steps_loss_is_that_of_its_windows(lesson):
    training = lesson.begin()
    batch = training.schedule.batch(0)
    wanted = training.evaluate(lesson.trunk[batch], lesson.windows[batch], with_expert=True)
    assert lesson.go_on(training, 1)[0] == pytest.approx(wanted, rel=1e-5)


def test_the_down_projection_moves_by_its_share_of_the_rate(lesson):
    moved = {}
    for share in (1.0, 0.25):
        training = lesson.begin(down_share=share)
        lesson.go_on(training, 1)
        moved[share] = training.parameters["layers.1.down"].detach().clone()
        # What follows a projection of zeros has no gradient yet, and stays.
        assert torch.equal(training.parameters["layers.1.up"], lesson.tensors()["layers.1.up"])
    assert moved[1.0].abs().max() > 0
    torch.testing.assert_close(moved[0.25], 0.25 * moved[1.0])
    lesson.go_on(training, 1)
    assert not torch.equal(training.parameters["layers.1.up"], lesson.tensors()["layers.1.up"])


def test_only_counted_tokens_are_learnt(lesson):
    counted_NW = np.zeros((N, W), bool)
    counted_NW[:, 5:9] = True
    training, all_changed = lesson.begin(), lesson.begin()
    # Other tokens where none is counted, after the last that is: nobody sees them.
    others = lesson.windows.copy()
    others[:, 9:] = (others[:, 9:] + 1) % 300
    loss = training.take_step(lesson.trunk, lesson.windows, counted_NW)
    assert all_changed.take_step(lesson.trunk, others, counted_NW) == loss
    assert parameters(training) == parameters(all_changed)

    batch = np.sort(training.schedule.batch(0))
    states_TD = lesson.begin().top(lesson.trunk[batch], with_expert=True)
    losses_T = token_losses(
        states_TD.unflatten(0, (-1, W))[:, 4:8].flatten(0, 1).detach(),
        lesson.transformer.output_weight(),
        torch.from_numpy(lesson.windows[batch][:, 5:9]).flatten(),
    )
    assert loss == pytest.approx(float(losses_T.mean()), rel=1e-5)


def test_learning_in_bfloat16_keeps_the_expert_in_float32(tiny_llama, tmp_path):
    lesson = Lesson(tiny_llama, tmp_path, dtype=torch.bfloat16)
    assert lesson.trunk.dtype == np.uint16
    training = lesson.begin(epochs=15)
    before = training.evaluate(lesson.trunk, lesson.windows, with_expert=True)
    lesson.go_on(training, training.schedule.num_steps)
    assert training.evaluate(lesson.trunk, lesson.windows, with_expert=True) < 0.9 * before
    assert {p.dtype for p in training.parameters.values()} == {torch.float32}
    # In bfloat16 steps this small would be lost: a number would stay where it is.
    assert any(
        not torch.equal(p, p.detach().bfloat16().float()) for p in training.parameters.values()
    )


def test_only_the_expert_moves(lesson):
    before = {n: t.numpy().tobytes() for n, t in lesson.transformer.state_dict().items()}
    training = lesson.begin()
    rows = {layer: here.rows_ED.clone() for layer, here in training.notes.layers.items()}
    lesson.go_on(training, 5)
    after = {n: t.numpy().tobytes() for n, t in lesson.transformer.state_dict().items()}
    assert before == after
    for layer, here in training.notes.layers.items():
        assert torch.equal(here.rows_ED, rows[layer])
    assert parameters(training) != parameters(lesson.begin())


@pytest.mark.parametrize("open_layers", [(1, 2), (2,), ()])
@pytest.mark.parametrize("stopped_after", [0, 1, 4, 7])
def test_saved_and_loaded_it_goes_on_to_the_same_bits(
    tiny_llama, tmp_path, open_layers, stopped_after
):
    lesson = Lesson(tiny_llama, tmp_path, open_layers=open_layers)
    whole, first, second = lesson.begin(), lesson.begin(), lesson.begin()
    for training in (whole, first):
        lesson.go_on(training, stopped_after)
        training.note_epoch(1.25)
    first.save(tmp_path / "state.safetensors")
    second.load(tmp_path / "state.safetensors")
    assert second.step == stopped_after
    assert second.best_loss == 1.25
    rest = training.schedule.num_steps - stopped_after
    assert lesson.go_on(second, rest) == lesson.go_on(whole, rest)
    assert parameters(second) == parameters(whole)
    assert second.best.keys() == whole.best.keys()
    for name, tensor in whole.best.items():
        assert torch.equal(second.best[name], tensor)


def test_a_state_before_the_first_epochs_end_can_be_saved(lesson, tmp_path):
    training, again = lesson.begin(), lesson.begin()
    lesson.go_on(training, 1)
    training.save(tmp_path / "state.safetensors")
    again.load(tmp_path / "state.safetensors")
    assert again.best_loss == math.inf
    assert again.best == {}


def test_where_no_gate_opens_a_step_learns_nothing_and_goes_on(tiny_llama, tmp_path):
    lesson = Lesson(tiny_llama, tmp_path, open_layers=())
    training = lesson.begin()
    losses = lesson.go_on(training, 3)
    assert all(math.isfinite(loss) for loss in losses)
    assert training.step == 3
    assert parameters(training) == parameters(lesson.begin())


def test_the_best_epoch_is_kept_not_the_last(lesson):
    training = lesson.begin()
    lesson.go_on(training, 3)
    training.note_epoch(2.0)
    best = {name: tensor.clone() for name, tensor in training.best.items()}
    lesson.go_on(training, 3)
    training.note_epoch(2.5)
    assert training.best_loss == 2.0
    for name, tensor in best.items():
        assert torch.equal(training.best[name], tensor)
    training.note_epoch(1.5)
    assert training.best_loss == 1.5
    assert any(not torch.equal(training.best[name], tensor) for name, tensor in best.items())


def test_a_loss_that_is_no_number_is_never_the_best(lesson):
    training = lesson.begin()
    training.note_epoch(math.nan)
    assert training.best == {}


def test_misfires_pull_back_to_the_base(lesson):
    misfires = Misfires(lesson.trunk[6:], np.ones((6, W), bool))
    free = lesson.begin(misfires, divergence_weight=0.0, epochs=10)
    bound = lesson.begin(misfires, divergence_weight=30.0, epochs=10)
    divergences = []
    for training in (free, bound):
        lesson.go_on(training, training.schedule.num_steps)
        training.schedule = schedule(divergence_weight=1.0)
        training.step = 0
        with torch.no_grad():
            divergences.append(float(training.misfire_loss(lesson.transformer.output_weight())))
    assert divergences[1] < 0.5 * divergences[0]


def test_misfires_count_every_other_step_and_only_where_gates_open(lesson):
    weight_VD = lesson.transformer.output_weight()
    open_NW = np.zeros((2, W), bool)
    open_NW[:, 3] = True
    training = lesson.begin(Misfires(lesson.trunk[:2], open_NW))
    lesson.go_on(training, 4)
    for step, chosen in ((4, 0), (6, 1), (8, 0)):
        training.step = step
        with torch.no_grad():
            base_WD, model_WD = (
                training.top(lesson.trunk[chosen : chosen + 1], with_expert=with_expert)
                for with_expert in (False, True)
            )
            wanted = 0.3 * divergence(base_WD[3:4], model_WD[3:4], weight_VD)
        assert wanted > 0
        assert torch.equal(training.misfire_loss(weight_VD).detach(), wanted)
    training.step = 5
    assert training.misfire_loss(weight_VD) == 0.0
    assert lesson.begin().misfire_loss(weight_VD) == 0.0


def slow_gates(training: Training, trunk_NWD: np.ndarray, W: int) -> np.ndarray:
    """Every gate of every token by itself, from inside the blocks: (2, N, W), the shares of gates
    that are open, and the mean gates."""
    of_windows = []
    for trunk_WD in trunk_NWD:
        logits = []
        for here in training.notes.layers.values():
            met = here.add_to

            def add_to(y_TD, h_TD, *others, met=met, here=here, logits=logits):
                logits.extend(float(h_D @ here.rows_ED[0]) for h_D in h_TD)
                return met(y_TD, h_TD, *others)

            here.add_to = add_to
        with torch.no_grad():
            training.top(trunk_WD[None], with_expert=True)
        for here in training.notes.layers.values():
            del here.add_to
        assert len(logits) == W * len(training.notes.layers)
        logits_LW = np.array(logits).reshape(-1, W)
        gates_LW = np.where(logits_LW > 0, 1 / (1 + np.exp(-logits_LW)), 0)
        of_windows.append([(logits_LW > 0).mean(axis=0), gates_LW.mean(axis=0)])
    return np.array(of_windows).swapaxes(0, 1)


def test_gates_are_those_with_the_networks_in_place(lesson):
    training = lesson.begin(epochs=10)
    at_first = np.array(training.gates(lesson.trunk))
    assert at_first == pytest.approx(slow_gates(training, lesson.trunk, W), abs=1e-5)
    lesson.go_on(training, training.schedule.num_steps)
    learnt = np.array(training.gates(lesson.trunk))
    assert learnt == pytest.approx(slow_gates(training, lesson.trunk, W), abs=1e-5)
    assert (learnt != at_first).any(axis=(1, 2)).all()


def open_rate(training: Training, trunk_NWD: np.ndarray) -> float:
    return float(training.gates(trunk_NWD)[0].mean())


def test_what_is_learnt_opens_the_gates_above_on_own_text(lesson):
    open_rates = {}
    for gate_weight in (0.0, 3.0):
        training = lesson.begin(epochs=40, gate_weight=gate_weight)
        before = open_rate(training, lesson.trunk)
        lesson.go_on(training, training.schedule.num_steps)
        open_rates[gate_weight] = open_rate(training, lesson.trunk) - before
    assert open_rates[3.0] > max(0.1, open_rates[0.0] + 0.1)


def test_what_is_learnt_closes_the_gates_above_on_public_text(lesson):
    """Nothing but the public text is heard: own notes would pull the other way."""
    public = Misfires(lesson.trunk[6:], np.ones((6, W), bool))
    training = lesson.begin(public, epochs=40, gate_weight=0.3, divergence_weight=0.0)
    before = open_rate(training, lesson.trunk[6:])
    for _ in range(training.schedule.num_steps):
        loss = training.misfire_loss(lesson.transformer.output_weight())
        training.optimizer.zero_grad()
        if training.step % 2 == 0:
            loss.backward()
            for group in training.optimizer.param_groups:
                group["lr"] = 0.01
            training.optimizer.step()
        training.step += 1
    assert open_rate(training, lesson.trunk[6:]) < before - 0.1


def test_gates_of_the_first_layer_are_not_counted(lesson):
    """They are the base's own: no step can move them."""
    training = lesson.begin(gate_weight=1.0)
    heard = Overheard(training.notes.at())
    training.run(lesson.trunk[:2], heard)
    first, second = heard.logits_by_layer[1], heard.logits_by_layer[2]
    assert first.shape == second.shape == (2 * W,)
    assert torch.equal(heard.called, second[None])


def test_saving_waits_for_its_time(lesson, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(training_file.time, "monotonic", lambda: now[0])
    training, path = lesson.begin(), tmp_path / "state.safetensors"
    save = SavesNowAndThen(training, path)
    now[0] += training_file.SECONDS_BETWEEN_SAVES - 1
    save()
    assert not path.exists()
    now[0] += 1
    save()
    assert path.exists()
    path.unlink()
    save()
    assert not path.exists()

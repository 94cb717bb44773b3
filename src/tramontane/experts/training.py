"""The steps that teach one expert: batches, losses, optimizer, and a state that survives a kill.

N windows, W tokens per window, B windows per batch, T = B · W tokens, D model width.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from tramontane.experts.loss import divergence, next_token_loss, token_losses
from tramontane.experts.states import trunk_tensor
from tramontane.files import write_whole
from tramontane.model.attention import WindowAttention
from tramontane.model.notes_experts import NotesExperts, NotesExpertsForTokens, own_gates
from tramontane.model.transformer import Transformer

SECONDS_BETWEEN_SAVES = 20
MAX_DIVERGENCE_POSITIONS = 64
# oneDNN keeps a kernel and its buffers for every shape it has met: without blocks each step, with
# its own number of open tokens, would add some 40 MB.
BLOCK_TOKENS = 256
WINDOWS_JUDGED = 8
# What gates kept closed on public text weigh, against gates opened on one's own.
WEIGHT_OF_PUBLIC_GATES = 10.0


@dataclass(frozen=True)
class Misfires:
    """Public windows on which a gate opens, and the tokens there that it reaches.

    What the base says of these must stay.
    """

    trunk_NWD: np.ndarray
    reached_NW: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Schedule:
    num_windows: int
    batch_windows: int
    epochs: int
    learning_rate: float
    divergence_weight: float
    seed: int
    # What it counts, beside nats per token, that a gate which earlier layers can reach stays closed
    # on one's own notes.
    gate_weight: float = 0.0
    # What the down-projection learns at, as a share of the rate: from zero on, and with hundreds of
    # neurons added up in each of its outputs, it needs smaller steps than the rows it follows.
    down_share: float = 1.0

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.num_windows / self.batch_windows)

    @property
    def num_steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def rate_at(self, step: int) -> float:
        """Returns the learning rate: 5 % warm-up, then a cosine to zero."""
        warm_up = max(1, round(0.05 * self.num_steps))
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        progress = (step - warm_up) / max(1, self.num_steps - warm_up)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

    def batch(self, step: int) -> np.ndarray:
        """Returns the indices of a step's windows: each epoch is one shuffle of them all."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_windows)
        return order[place * self.batch_windows : (place + 1) * self.batch_windows]


class InBlocks(nn.Module):
    """A network given whole blocks of tokens; the zeros that fill the last teach nothing."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, h_TD: Tensor) -> Tensor:
        T = len(h_TD)
        filled_TD = nn.functional.pad(h_TD, (0, 0, 0, -T % BLOCK_TOKENS))
        return self.network(filled_TD)[:T]


class Overheard:
    """Passes everything on to the expert, and keeps what its gates are given: logits (T,) by layer.

    Those of the first layer are the base's own, whatever is learnt.
    """

    def __init__(self, notes: NotesExpertsForTokens):
        self.notes = notes
        self.logits_by_layer: dict[int, Tensor] = {}

    def add_to(self, layer: int, y_TD: Tensor, h_TD: Tensor) -> Tensor:
        if here := self.notes.experts.layers.get(layer):
            self.logits_by_layer[layer] = h_TD.float() @ here.rows_ED[0]
        return self.notes.add_to(layer, y_TD, h_TD)

    @property
    def called(self) -> Tensor:
        """Logits (L - 1, T) of all layers but the first: those that what is learnt can move."""
        return torch.stack(list(self.logits_by_layer.values())[1:])


class Training:
    """One expert being learnt above the trunk of a frozen base."""

    def __init__(
        self,
        transformer: Transformer,
        first: int,
        tensors: dict[str, Tensor],
        schedule: Schedule,
        misfires: Misfires,
    ):
        self.transformer, self.first = transformer, first
        self.device = transformer.embedding.weight.device
        self.schedule, self.misfires = schedule, misfires
        # Within NotesExperts one expert of any hash; its own is known only when it is learnt.
        self.notes = NotesExperts(
            {"learning": {name: tensor.to(self.device) for name, tensor in tensors.items()}}
        )
        self.put_behind_gates(
            {layer: here.networks[0] for layer, here in self.notes.layers.items()}
        )
        self.step = 0
        self.best_loss = math.inf
        self.best: dict[str, Tensor] = {}

    def put_behind_gates(self, networks: dict[int, nn.Module]) -> None:
        """Takes these networks, by layer, for what is learnt."""
        self.parameters = {}
        for layer, network in networks.items():
            self.notes.layers[layer].networks[0] = InBlocks(network.requires_grad_(True))
            for name, parameter in network.named_parameters():
                self.parameters[f"layers.{layer}.{name}"] = parameter
        down = [p for name, p in self.parameters.items() if name.endswith(".down")]
        rest = [p for name, p in self.parameters.items() if not name.endswith(".down")]
        groups = [{"params": rest, "share": 1.0}]
        if down:
            groups.append({"params": down, "share": self.schedule.down_share})
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)

    def top(self, trunk_BWD: np.ndarray, *, with_expert: bool) -> Tensor:
        """Returns the normalised final states (T, D) of windows given by their trunk states."""
        return self.run(trunk_BWD, self.notes.at() if with_expert else None)

    def run(self, trunk_BWD: np.ndarray, notes: NotesExpertsForTokens | Overheard | None) -> Tensor:
        B, W, _ = trunk_BWD.shape
        rope = self.transformer.rope(torch.arange(W, device=self.device).repeat(B))
        x_TD = trunk_tensor(trunk_BWD).to(self.device).flatten(0, 1)
        attend = WindowAttention(W, self.transformer.config.sliding_window)
        x_TD = self.transformer.run(x_TD, rope, attend, notes, first=self.first)
        return self.transformer.final_states(x_TD)

    @torch.no_grad()
    def gates(
        self, trunk_NWD: np.ndarray, report: Callable[[int], None] = lambda _: None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns, of each token of windows given by their trunk states, over the layers: the share
        of gates that are open, and the mean gate; (N, W) each."""
        rates, openness = [], []
        for begin in range(0, len(trunk_NWD), WINDOWS_JUDGED):
            trunk_BWD = trunk_NWD[begin : begin + WINDOWS_JUDGED]
            heard = Overheard(self.notes.at())
            self.run(trunk_BWD, heard)
            logits_LT = torch.stack(list(heard.logits_by_layer.values()))
            rates.append((logits_LT > 0).float().mean(0))
            openness.append(own_gates(logits_LT).mean(0))
            report(trunk_BWD[..., 0].size)
        shape_NW = trunk_NWD.shape[:2]
        return tuple(torch.cat(each).view(shape_NW).cpu().numpy() for each in (rates, openness))

    def take_step(
        self, trunk_NWD: np.ndarray, windows_NW: np.ndarray, counted_NW: np.ndarray | None = None
    ) -> float:
        """Learns from one batch; returns its loss in nats per token.

        Only the tokens counted are learnt; all where nothing is said. Each weighs alike, however
        few its batch has.
        """
        batch = np.sort(self.schedule.batch(self.step))
        weight_VD = self.transformer.output_weight()
        heard = Overheard(self.notes.at())
        states_TD = self.run(trunk_NWD[batch], heard)
        # The last token of a window has no successor in it.
        states = states_TD.unflatten(0, (len(batch), -1))[:, :-1].flatten(0, 1)
        targets = torch.from_numpy(windows_NW[batch][:, 1:]).flatten()
        weight = 1.0
        if counted_NW is not None:
            counted = torch.from_numpy(np.flatnonzero(counted_NW[batch][:, 1:]))
            weight = len(counted) / len(targets)
            states, targets = states[counted.to(self.device)], targets[counted]
        loss = next_token_loss(states, weight_VD, targets.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss_in_all = weight * loss + self.misfire_loss(weight_VD)
        if self.schedule.gate_weight and len(heard.logits_by_layer) > 1:
            loss_in_all += self.schedule.gate_weight * torch.sigmoid(-heard.called).mean()
        # Where no gate opens in the whole batch there is nothing to learn from it.
        if loss_in_all.requires_grad:
            loss_in_all.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * self.schedule.rate_at(self.step)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def misfire_loss(self, weight_VD: Tensor) -> Tensor | float:
        """Returns the weighted KL to the base where a gate opens on public text, and how near the
        gates of that text are to opening.

        Every other step, on one window: gates misfire rarely, and this costs a tenth of a step.
        """
        num_misfires = len(self.misfires.trunk_NWD)
        weight, gate_weight = self.schedule.divergence_weight, self.schedule.gate_weight
        if self.step % 2 or not num_misfires or not (weight or gate_weight):
            return 0.0
        chosen = (self.step // 2) % num_misfires
        trunk_BWD = self.misfires.trunk_NWD[chosen : chosen + 1]
        positions = np.flatnonzero(self.misfires.reached_NW[chosen])
        positions = positions[:: math.ceil(len(positions) / MAX_DIVERGENCE_POSITIONS)]
        with torch.no_grad():
            base_TD = self.top(trunk_BWD, with_expert=False)[positions]
        heard = Overheard(self.notes.at())
        model_TD = self.run(trunk_BWD, heard)[positions]
        loss = weight * divergence(base_TD, model_TD, weight_VD)
        if gate_weight and len(heard.logits_by_layer) > 1:
            # Steeper than on one's own: what counts is which side of the threshold a gate is on.
            loss += WEIGHT_OF_PUBLIC_GATES * gate_weight * torch.sigmoid(2 * heard.called).mean()
        return loss

    def evaluate(
        self,
        trunk_NWD: np.ndarray,
        windows_NW: np.ndarray,
        *,
        with_expert: bool,
        report: Callable[[int], None] = lambda _: None,
    ) -> float:
        """Returns the mean loss of windows in nats per token; reports tokens as they are read."""
        losses_NW = self.losses(trunk_NWD, windows_NW, with_expert=with_expert, report=report)
        return float(losses_NW.mean())

    @torch.no_grad()
    def losses(
        self,
        trunk_NWD: np.ndarray,
        windows_NW: np.ndarray,
        *,
        with_expert: bool,
        report: Callable[[int], None] = lambda _: None,
    ) -> np.ndarray:
        """Returns windows' losses (N, W - 1) in nats; reports tokens as they are read."""
        losses = []
        for begin in range(0, len(windows_NW), WINDOWS_JUDGED):
            batch = slice(begin, begin + WINDOWS_JUDGED)
            states_TD = self.top(trunk_NWD[batch], with_expert=with_expert)
            states = states_TD.unflatten(0, (-1, windows_NW.shape[1]))[:, :-1].flatten(0, 1)
            targets = torch.from_numpy(windows_NW[batch][:, 1:]).flatten().to(self.device)
            losses.append(token_losses(states, self.transformer.output_weight(), targets))
            report(windows_NW[batch].size)
        return torch.cat(losses).double().view(len(windows_NW), -1).cpu().numpy()

    def note_epoch(self, held_out_loss: float) -> None:
        """Keeps the networks of the epoch that did best on held-out notes."""
        if held_out_loss < self.best_loss:
            self.best_loss = held_out_loss
            self.best = {name: p.detach().clone() for name, p in self.parameters.items()}

    def take_best(self) -> None:
        """Puts the networks of the best epoch back in place."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.best[name])

    def save(self, path: Path) -> None:
        tensors = {f"now.{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"{key}.{name}"] = value
        metadata = {"progress": json.dumps({"step": self.step, "best_loss": self.best_loss})}
        write_whole(path, save_tensors(tensors, metadata=metadata))

    def load(self, path: Path) -> None:
        """Goes on exactly where `save` stopped."""
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        progress = json.loads(header["__metadata__"]["progress"])
        tensors = load_tensors(data)
        self.step, self.best_loss = progress["step"], progress["best_loss"]
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"now.{name}"])
                # A layer whose gate has not opened yet has no moments.
                if f"step.{name}" in tensors:
                    moments = {
                        key: tensors[f"{key}.{name}"].to(self.device)
                        for key in ("exp_avg", "exp_avg_sq")
                    }
                    self.optimizer.state[parameter] = {"step": tensors[f"step.{name}"]} | moments
        self.best = {
            name: tensors[f"best.{name}"] for name in self.parameters if f"best.{name}" in tensors
        }


class SavesNowAndThen:
    """Saves a training when enough time has passed; what is learnt doesn't depend on when."""

    def __init__(self, training: Training, path: Path):
        self.training, self.path = training, path
        self.last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self.last >= SECONDS_BETWEEN_SAVES:
            self.training.save(self.path)
            self.last = time.monotonic()

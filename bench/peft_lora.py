"""The peer in learning: a PEFT LoRA on the same layers' blocks, on the same frozen trunk.

LoRA (Hu et al. 2021, arXiv 2106.09685) by `peft`, in the linear modules of our definition of the
base, dequantised: what transformers computes of the same weights (tests/model hold the two
together). Same windows, batches, schedule, epochs and early stop as ours; rank by equal size.

N windows, W tokens, D model width.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from torch.nn.functional import silu

from tramontane.experts.lesson import Lesson
from tramontane.experts.loss import next_token_loss, token_losses
from tramontane.experts.states import trunk_tensor
from tramontane.experts.training import Schedule
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import Notes, Transformer


class LinearBlock(nn.Module):
    """The dense block with its matrices as modules, which is where PEFT works."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.gate, self.up, self.down = block.gate, block.up, block.down

    def forward(self, h_TD: torch.Tensor) -> torch.Tensor:
        return self.down(silu(self.gate(h_TD)) * self.up(h_TD))


def rank_of_size(transformer: Transformer, first: int, num_parameters: int) -> int:
    """Returns the rank at which a LoRA on gate, up and down has about as many parameters."""
    config = transformer.config
    per_rank = 3 * (config.model_width + config.ffn_width) * (config.num_layers - first)
    return max(1, round(num_parameters / per_rank))


def top_losses(
    transformer: Transformer,
    first: int,
    trunk_NWD: np.ndarray,
    windows_NW: np.ndarray,
    notes: Notes | None = None,
) -> np.ndarray:
    """Returns (N, W - 1) losses in nats of windows given by their trunk states."""
    rows = []
    with torch.no_grad():
        for begin in range(0, len(windows_NW), 8):
            batch = slice(begin, begin + 8)
            states = top_states(transformer, first, trunk_NWD[batch], notes)
            targets = torch.from_numpy(windows_NW[batch][:, 1:]).flatten()
            rows.append(token_losses(states, transformer.output_weight(), targets))
    return torch.cat(rows).view(len(windows_NW), -1).double().numpy()


def top_states(
    transformer: Transformer, first: int, trunk_BWD: np.ndarray, notes: Notes | None = None
) -> torch.Tensor:
    """Returns the final states of all tokens but each window's last."""
    B, W, _ = trunk_BWD.shape
    rope = transformer.rope(torch.arange(W).repeat(B))
    x_TD = trunk_tensor(trunk_BWD).flatten(0, 1)
    attend = WindowAttention(W, transformer.config.sliding_window)
    x_TD = transformer.run(x_TD, rope, attend, notes, first=first)
    return transformer.final_states(x_TD).unflatten(0, (B, W))[:, :-1].flatten(0, 1)


class PeftLora:
    """A LoRA being learnt above the trunk; the transformer is changed in place."""

    def __init__(self, transformer: Transformer, first: int, rank: int, seed: int):
        self.transformer, self.first = transformer, first
        torch.manual_seed(seed)
        for layer in transformer.layers[first:]:
            layer.ffn = LinearBlock(layer.ffn)
        wanted = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["gate", "up", "down"])
        inject_adapter_in_model(wanted, transformer.layers[first:])
        self.parameters = [p for p in transformer.parameters() if p.requires_grad]

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters)

    def learn(
        self,
        trunk_NWD: np.ndarray,
        lesson: Lesson,
        held_out: tuple[np.ndarray, np.ndarray],
        schedule: Schedule,
    ) -> Sequence[float]:
        """Learns to the end of the schedule; keeps the epoch that did best on `held_out`.

        Returns the held-out loss after each epoch.
        """
        optimizer = torch.optim.AdamW(self.parameters, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
        weight_VD = self.transformer.output_weight()
        best, kept, held_out_losses = math.inf, [], []
        for step in range(schedule.num_steps):
            batch = np.sort(schedule.batch(step))
            counted = torch.from_numpy(np.flatnonzero(lesson.counted[batch][:, 1:]))
            targets = torch.from_numpy(lesson.windows[batch][:, 1:]).flatten()[counted]
            states = top_states(self.transformer, self.first, trunk_NWD[batch])[counted]
            loss = next_token_loss(states, weight_VD, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate_at(step)
            optimizer.step()
            if (step + 1) % schedule.steps_per_epoch == 0:
                losses = top_losses(self.transformer, self.first, *held_out)
                held_out_losses.append(float(losses.mean()))
                if held_out_losses[-1] < best:
                    best = held_out_losses[-1]
                    kept = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            for parameter, value in zip(self.parameters, kept, strict=True):
                parameter.copy_(value)
        return held_out_losses

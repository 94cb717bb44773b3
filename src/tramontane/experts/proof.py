"""Proof of learning: what moved, what was gained, what stayed, what is known by heart.

Everything here goes into the expert's manifest: no clock time, no text of any note.

N windows, W tokens per window, T = N · (W - 1) tokens foretold, D model width, S resamples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from tramontane.experts.training import Training

NUM_RESAMPLES = 2_000
LEVEL = 0.95
# A memorised passage: so many tokens of a note given, as many continued exactly (Carlini et al.
# 2021, arXiv 2012.07805).
PROMPT_TOKENS = 32
MOST_PROMPTS = 64


def document_interval(
    sums_N: Sequence[float], counts_N: Sequence[int], *, seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % interval of Σ sums / Σ counts when documents are drawn anew with return.

    A bootstrap over whole documents (Efron 1979): tokens of one document are alike, so counting
    them one by one would make anything sure. Of a single document nothing is known: (-inf, inf).
    """
    sums, counts = np.asarray(sums_N, np.float64), np.asarray(counts_N, np.float64)
    if len(sums) < 2:
        return -np.inf, np.inf
    drawn_SN = np.random.default_rng(seed).integers(0, len(sums), (NUM_RESAMPLES, len(sums)))
    means_S = sums[drawn_SN].sum(axis=1) / counts[drawn_SN].sum(axis=1)
    edge = (1 - LEVEL) / 2
    if not np.isfinite(means_S).all():
        return -np.inf, np.inf  # a training ran away
    low, high = np.quantile(means_S, [edge, 1 - edge])
    return float(low), float(high)


def documents_of(windows_NW: np.ndarray, separator: int) -> np.ndarray:
    """Returns (N, W): which document each token of packed windows belongs to, from 0."""
    ends = windows_NW.flatten() == separator
    return (np.cumsum(ends) - ends).reshape(windows_NW.shape)


def gain_of(
    before_NW: np.ndarray, after_NW: np.ndarray, windows_NW: np.ndarray, separator: int
) -> dict[str, Any]:
    """Returns the mean gain in nats per token, and its interval over documents.

    `before_NW` and `after_NW` (N, W - 1) are losses of every token of a window but the first.
    """
    documents = documents_of(windows_NW, separator)[:, 1:].flatten()
    gains = (before_NW - after_NW).flatten()
    counts = np.bincount(documents)
    sums, counts = np.bincount(documents, weights=gains)[counts > 0], counts[counts > 0]
    low, high = document_interval(sums, counts)
    return {
        "nats_per_token": short(gains.mean()),
        "low": short(low) if np.isfinite(low) else None,
        "high": short(high) if np.isfinite(high) else None,
        "documents": len(counts),
    }


def layers_moved(
    started: Mapping[str, Tensor], learnt: Mapping[str, Tensor], training: Training
) -> dict[str, dict[str, float]]:
    """Returns, for each layer, how far it moved and the gradients it saw.

    `moved` is the norm of the change over the norm at the start; `gradient` the norm of the root
    mean square gradient, as the optimizer remembers it.
    """
    found: dict[str, dict[str, float]] = {}
    beta = training.optimizer.param_groups[0]["betas"][1]
    for layer in sorted({int(name.split(".")[1]) for name in learnt}):
        names = [name for name in learnt if name.startswith(f"layers.{layer}.")]
        change = sum(float((learnt[n].cpu() - started[n].cpu()).square().sum()) for n in names)
        size = sum(float(started[n].square().sum()) for n in names)
        squares = 0.0
        for name in names:
            # A layer whose gate never opened has no moments.
            if moments := training.optimizer.state.get(training.parameters[name]):
                squares += float(moments["exp_avg_sq"].sum()) / (1 - beta ** float(moments["step"]))
        found[str(layer)] = {
            "moved": short((change / size) ** 0.5),
            "gradient": short(squares**0.5),
        }
    return found


def other_text(before_NW: np.ndarray, after_NW: np.ndarray) -> dict[str, Any]:
    """Returns what public text that no row was fitted on lost: perplexity before and after.

    One window of each genre; the interval of the change is over genres.
    """
    losses = (after_NW - before_NW).sum(axis=1)
    low, high = document_interval(losses, [before_NW.shape[1]] * len(losses))
    return {
        "genres": len(losses),
        "tokens": int(before_NW.size),
        "perplexity_before": short(np.exp(before_NW.mean())),
        "perplexity_after": short(np.exp(after_NW.mean())),
        "change_low": short(np.expm1(low)) if np.isfinite(low) else None,
        "change_high": short(np.expm1(high)) if np.isfinite(high) else None,
    }


@torch.no_grad()
def memorised(training: Training, trunk_NWD: np.ndarray, windows_NW: np.ndarray) -> dict[str, int]:
    """Returns how many of the notes' beginnings of windows are continued word for word.

    Greedy decoding repeats a passage exactly if and only if, where the passage itself is read,
    each of its tokens is the likeliest in its place: one reading tells, nothing is generated.
    """
    length = min(2 * PROMPT_TOKENS, windows_NW.shape[1])
    prompt, count = length // 2, min(MOST_PROMPTS, len(windows_NW))
    targets = torch.from_numpy(windows_NW[:count, prompt:length]).to(training.device)
    weight_VD = training.transformer.output_weight()
    found = {"prompts": count, "prompt_tokens": prompt}
    for when, with_expert in (("base", False), ("expert", True)):
        states_TD = training.top(trunk_NWD[:count, :length], with_expert=with_expert)
        states = states_TD.unflatten(0, (count, length))[:, prompt - 1 : length - 1]
        # Some windows at a time: the logits of all of them would be the most memory of a learning.
        found[when] = sum(
            int((linear(part, weight_VD).argmax(dim=-1) == wanted).all(dim=1).sum())
            for part, wanted in zip(states.split(4), targets.split(4), strict=True)
        )
    return found


def short(value: float) -> float:
    """Returns a value with five digits that count."""
    return float(f"{value:.5g}")

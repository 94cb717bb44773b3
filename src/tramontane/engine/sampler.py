"""Draws a token. The random number is a function of (seed, position) alone.

V vocabulary.
"""

from collections.abc import Sequence

import numpy as np

from tramontane.engine.request import Sampling
from tramontane.native import log_softmax_at


def uniform(seed: int, position: int) -> float:
    """Returns a number in [0, 1) for a seed and a position: the same in any batch, at any time."""
    bits = np.random.Philox(key=seed & (2**128 - 1), counter=position)
    return float(np.random.Generator(bits).random())


def sample(
    logits_V: np.ndarray,
    sampling: Sampling,
    position: int,
    mask_V: np.ndarray | None = None,
    *,
    prompt: Sequence[int] = (),
    generated: Sequence[int] = (),
) -> tuple[int, float]:
    """Returns (token id, its log-probability before bias, penalties, temperature and cuts).

    `mask_V` is True where a token may come; penalties look at the tokens before. Equal logits go to
    the smaller id at temperature 0.
    """
    allowed_V = logits_V
    if sampling.changes_logits:
        allowed_V = changed(logits_V, sampling, prompt, generated)
    if mask_V is not None:
        if not mask_V.any():
            raise ValueError("the guide allows no token at all")
        allowed_V = np.where(mask_V, allowed_V, np.float32(-np.inf))
    if sampling.temperature == 0:
        token_id = int(allowed_V.argmax())
    else:
        # The largest first becomes 0, so that no temperature, however small, can overflow it.
        with np.errstate(over="ignore"):
            cooled_V = allowed_V.astype(np.float64) - float(allowed_V.max())
            cooled_V /= sampling.temperature
        probabilities_V = cut(softmax(cooled_V), sampling)
        reach_V = probabilities_V.cumsum()
        drawn = uniform(sampling.seed, position) * reach_V[-1]
        token_id = int(np.searchsorted(reach_V, drawn, side="right"))
    return token_id, float(log_softmax_at(logits_V[None], [token_id])[0])


def changed(
    logits_V: np.ndarray, sampling: Sampling, prompt: Sequence[int], generated: Sequence[int]
) -> np.ndarray:
    """Returns the logits after repetition penalty, the two other penalties and bias."""
    changed_V = logits_V.astype(np.float32)
    if sampling.repetition_penalty != 1:
        ids = np.unique([*prompt, *generated]).astype(np.int64)
        there = changed_V[ids]
        penalty = np.float32(sampling.repetition_penalty)
        changed_V[ids] = np.where(there > 0, there / penalty, there * penalty)
    if generated and (sampling.presence_penalty or sampling.frequency_penalty):
        ids, counts = np.unique(generated, return_counts=True)
        changed_V[ids] -= sampling.presence_penalty + sampling.frequency_penalty * counts
    for token_id, bias in sampling.logit_bias:
        changed_V[token_id] += np.float32(bias)
    return changed_V


def likeliest_tokens(logprobs_V: np.ndarray, num_top: int) -> tuple[tuple[int, float], ...]:
    """Returns the `num_top` likeliest (token id, log-probability); of equal ones the smaller id."""
    num_top = min(num_top, len(logprobs_V))
    if not num_top:
        return ()
    floor = np.partition(logprobs_V, -num_top)[-num_top]
    ids = np.flatnonzero(logprobs_V >= floor)
    order = ids[np.argsort(-logprobs_V[ids], kind="stable")][:num_top]
    return tuple((int(i), float(logprobs_V[i])) for i in order)


def softmax(logits_V: np.ndarray) -> np.ndarray:
    exps_V = np.exp(logits_V - logits_V.max())
    return exps_V / exps_V.sum()


def cut(probabilities_V: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Returns the probabilities with what top-k, top-p and min-p leave out set to zero."""
    if not sampling.top_k and sampling.top_p == 1 and sampling.min_p == 0:
        return probabilities_V
    order = likeliest(probabilities_V, sampling)
    ranked = probabilities_V[order]
    keep = np.ones(len(order), dtype=bool)
    if sampling.top_k:
        keep[sampling.top_k :] = False
    if sampling.top_p < 1:
        # The token that carries the sum past top_p stays in. What top-k leaves counts as one.
        ranked_left = np.where(keep, ranked, 0.0)
        whole = ranked_left.sum() if sampling.top_k else 1.0
        keep &= (ranked_left.cumsum() - ranked_left) / whole < sampling.top_p
    if sampling.min_p > 0:
        keep &= ranked >= sampling.min_p * ranked[0]
    kept_V = np.zeros_like(probabilities_V)
    kept_V[order[keep]] = ranked[keep]
    return kept_V


def likeliest(probabilities_V: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Returns the ids that cuts choose from, likeliest first, equal ones by id.

    Sorting a whole vocabulary takes longer than a small model's step, so as few are sorted as the
    cuts can reach.
    """
    V = len(probabilities_V)
    count = min(V, max(256, sampling.top_k))
    while True:
        floor = np.partition(probabilities_V, V - count)[V - count]
        ids = np.flatnonzero(probabilities_V >= floor)
        order = ids[np.argsort(-probabilities_V[ids], kind="stable")]
        mass = probabilities_V[order].sum()
        is_enough = (
            (sampling.top_k and len(order) >= sampling.top_k)
            or (sampling.top_p < 1 and mass >= sampling.top_p)
            or probabilities_V[order[-1]] < sampling.min_p * probabilities_V[order[0]]
        )
        if is_enough or len(order) == V:
            return order
        count = min(V, 4 * count)

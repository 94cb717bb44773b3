"""Draws a token. The random number is a function of (seed, position) alone.

V vocabulary.
"""

import numpy as np

from tramontane.engine.request import Sampling
from tramontane.native import log_softmax


def uniform(seed: int, position: int) -> float:
    """Returns a number in [0, 1) for a seed and a position: the same in any batch, at any time."""
    bits = np.random.Philox(key=seed & (2**128 - 1), counter=position)
    return float(np.random.Generator(bits).random())


def sample(
    logits_V: np.ndarray, sampling: Sampling, position: int, mask_V: np.ndarray | None = None
) -> tuple[int, float]:
    """Returns (token id, its log-probability before temperature and cuts).

    `mask_V` is True where a token may come. Equal logits go to the smaller id at temperature 0.
    """
    logprobs_V = log_softmax(logits_V[None])[0]
    allowed_V = np.asarray(logits_V, dtype=np.float64)
    if mask_V is not None:
        if not mask_V.any():
            raise ValueError("the guide allows no token at all")
        allowed_V = np.where(mask_V, allowed_V, -np.inf)
    if sampling.temperature == 0:
        token_id = int(allowed_V.argmax())
    else:
        probabilities_V = cut(softmax(allowed_V / sampling.temperature), sampling)
        reach_V = probabilities_V.cumsum()
        drawn = uniform(sampling.seed, position) * reach_V[-1]
        token_id = int(np.searchsorted(reach_V, drawn, side="right"))
    return token_id, float(logprobs_V[token_id])


def softmax(logits_V: np.ndarray) -> np.ndarray:
    exps_V = np.exp(logits_V - logits_V.max())
    return exps_V / exps_V.sum()


def cut(probabilities_V: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Returns the probabilities with what top-k, top-p and min-p leave out set to zero."""
    order = np.argsort(-probabilities_V, kind="stable")
    keep = np.ones(len(order), dtype=bool)
    ranked = probabilities_V[order]
    if sampling.top_k:
        keep[sampling.top_k :] = False
    if sampling.top_p < 1:
        # The first token that carries the sum past top_p stays in.
        ranked_left = np.where(keep, ranked, 0.0)
        before = (ranked_left.cumsum() - ranked_left) / ranked_left.sum()
        keep &= before < sampling.top_p
    if sampling.min_p > 0:
        keep &= ranked >= sampling.min_p * ranked[0]
    kept_V = np.zeros_like(probabilities_V)
    kept_V[order[keep]] = ranked[keep]
    return kept_V

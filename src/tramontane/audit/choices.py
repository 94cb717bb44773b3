"""Judging a choice among texts by their likelihood, as lm-evaluation-harness does.

acc       the likeliest text is the right one; of equals the first counts
acc_norm  likeliest per character
acc_bytes likeliest per byte
p_right   the right one's part of the probability that all of them have together
C choices.
"""

from collections.abc import Sequence

import numpy as np

from tramontane.audit.item import Reading
from tramontane.audit.suite import Measure


def judged(choices: Sequence[str], right: int, readings: Sequence[Reading]) -> dict[str, float]:
    """Returns the results of one item; `choices` without the space put before them."""
    logprobs_C = np.array([reading.logprob for reading in readings])
    characters_C = np.array([len(choice) for choice in choices], np.float64)
    bytes_C = np.array([len(choice.encode()) for choice in choices], np.float64)
    return {
        "acc": float(logprobs_C.argmax() == right),
        "acc_norm": float((logprobs_C / characters_C).argmax() == right),
        "acc_bytes": float((logprobs_C / bytes_C).argmax() == right),
        "p_right": float(parts(logprobs_C)[right]),
        "chance": 1 / len(choices),
    }


def parts(logprobs_C: np.ndarray) -> np.ndarray:
    """Returns each text's part of the probability that all have together."""
    weights_C = np.exp(logprobs_C - logprobs_C.max())
    return weights_C / weights_C.sum()


GUESSING = "guessing"
ACC = Measure(
    "acc", "right answers", "share", baseline="chance", baseline_title=GUESSING, ideal=1.0
)
ACC_NORM = Measure(
    "acc_norm",
    "right answers, likelihood per character",
    "share",
    baseline="chance",
    baseline_title=GUESSING,
    ideal=1.0,
)
P_RIGHT = Measure(
    "p_right",
    "probability given to the right answer",
    "mean",
    baseline="chance",
    baseline_title=GUESSING,
    ideal=1.0,
)


def auroc(scores_N: np.ndarray, is_positive_N: np.ndarray) -> float:
    """Returns how often a positive scores above a negative, ties counting half; NaN without both.

    From ranks (Mann and Whitney 1947).
    """
    n_positive = int(is_positive_N.sum())
    n_negative = len(scores_N) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    _, place_N, count_U = np.unique(scores_N, return_inverse=True, return_counts=True)
    # The mean rank of equal scores, from 1.
    ranks_U = np.cumsum(count_U) - (count_U - 1) / 2
    total = ranks_U[place_N][is_positive_N].sum()
    return float((total - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))

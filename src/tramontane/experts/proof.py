"""How sure a gain is: an interval over documents, which are what vary from reader to reader.

N documents, S resamples.
"""

from collections.abc import Sequence

import numpy as np

NUM_RESAMPLES = 2_000
LEVEL = 0.95


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
    low, high = np.quantile(means_S, [edge, 1 - edge])
    return float(low), float(high)

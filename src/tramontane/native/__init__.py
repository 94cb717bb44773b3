"""C++: the work where the CPU's time goes, one folder per operation."""

import numpy as np

from tramontane.native import _cpu


def log_softmax(logits_TV: np.ndarray) -> np.ndarray:
    """Returns float32 log-probabilities of each row of `logits_TV` (T rows, V columns).

    A row's result has the same bits whatever rows stand beside it.
    """
    x_TV = np.ascontiguousarray(logits_TV, dtype=np.float32)
    y_TV = np.empty_like(x_TV)
    _cpu.log_softmax(x_TV, y_TV)
    return y_TV

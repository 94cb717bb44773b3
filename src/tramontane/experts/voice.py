"""An expert's part in a token.

share    gate-weighted norm of its contribution, measured in the forward pass itself (cheap)
effect   log-probability with all experts minus log-probability with this one absent at every
         position, the prompt's too, the choice of the best two made anew (exact)

Who is named for a stretch of text is in contested.py.
"""

from collections.abc import Sequence

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.engine.reading import Text


def effect(
    engine: Engine, token_ids: Sequence[int], experts: Sequence[str], *, start: int = 1
) -> np.ndarray:
    """Returns (T, E) float32, nats: how much each expert raised each token from `start` on.

    The text is read once with everyone and once without each, all in one batch where they fit;
    columns stand in the order of `experts`.
    """
    everyone = tuple(sorted(experts))
    in_place = [everyone, *(tuple(e for e in everyone if e != absent) for absent in experts)]
    together_T, *without = engine.score_each([Text(token_ids, start, some) for some in in_place])
    columns = [together_T - without_T for without_T in without]
    return np.stack(columns, axis=1) if columns else np.zeros((len(together_T), 0), np.float32)

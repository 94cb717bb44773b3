"""What the server needs of a base that is open: one model, by whose name it is asked for."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.writing.speak import ExpertInPlace


class Model(Protocol):
    name: str
    # The base's file and what computes; equal words mean equal answers to equal seeds.
    fingerprint: str
    opened_at: int

    # The base's tokenizer (tokenizer/tokenizer.py), which the server only hands on.
    tokenizer: Any

    @property
    def engine(self) -> Engine:
        """The engine, with the experts loaded that are in place now."""

    def experts(self) -> Sequence[ExpertInPlace]:
        """The experts in place now."""


class Embedder(Protocol):
    name: str

    def __call__(self, texts: list[str]) -> np.ndarray: ...

    def num_tokens(self, texts: list[str]) -> list[int]: ...

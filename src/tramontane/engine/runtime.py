"""The contract between the engine and whatever computes: spans of tokens in, logits out.

T a span's tokens, L rows of logits, V vocabulary, E experts a span has in place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tramontane.checkpoint.model_config import ModelConfig


@dataclass(frozen=True, slots=True)
class Span:
    """The next tokens of one request, and where its keys and values live."""

    token_ids: Sequence[int]
    start: int
    # Pages that hold positions 0 to start + len(token_ids) - 1, in order.
    pages: Sequence[int]
    # Tensor hashes, sorted: the experts this request began with.
    experts: tuple[str, ...] = ()
    # How many of the span's last tokens need logits.
    num_logits: int = 1
    # Whether the base experts that each of its tokens was sent to are told.
    with_routes: bool = False


@dataclass(frozen=True, slots=True)
class SpanResult:
    """`logits_LV` float32; shares and gates (T, E) float32 when asked for, else None.

    `routes_TNK` the K base experts chosen in each of N layers, where the span asked for them.
    """

    logits_LV: np.ndarray
    shares_TE: np.ndarray | None = None
    gates_TE: np.ndarray | None = None
    routes_TNK: np.ndarray | None = None


class Runtime(Protocol):
    config: ModelConfig
    page_tokens: int
    # Law 3: a token's logits have the same bits alone or in a batch, in one chunk or many. Where
    # they haven't, what is kept or drafted would change an answer, if only by rounding.
    ignores_company: bool
    # Whether spans may ask for the routes of a mixture base.
    tells_routes: bool

    @property
    def page_bytes(self) -> int:
        """The memory that one page's keys and values take, over all layers."""

    @property
    def expert_hashes(self) -> tuple[str, ...]:
        """The experts that are loaded, sorted."""

    @property
    def description(self) -> dict[str, object]:
        """What computes: variant, versions and threads, for certificates."""

    def allocate(self, num_pages: int) -> None:
        """Makes room for keys and values; whatever was kept is lost."""

    def add_expert(self, expert_hash: str, tensors: Mapping[str, np.ndarray]) -> None: ...

    def remove_expert(self, expert_hash: str) -> None: ...

    def forward(self, spans: Sequence[Span], *, with_shares: bool = False) -> list[SpanResult]:
        """Runs one batch; keys and values of its tokens are in their pages afterwards."""

"""A runtime whose every token can be foretold, and that notices a page in the wrong hands."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from tramontane.engine.runtime import Span, SpanResult

VOCABULARY = 50


def following(token_ids: Sequence[int]) -> int:
    """Returns the token that the fake model says next: it depends on every token before."""
    return (sum(token_ids) + len(token_ids)) % VOCABULARY


def continued(token_ids: Sequence[int], num_tokens: int) -> list[int]:
    """Returns what the fake model generates after a prompt."""
    known = list(token_ids)
    for _ in range(num_tokens):
        known.append(following(known))
    return known[len(token_ids) :]


class CountingRuntime:
    """Its "keys" are the token ids themselves; what it says next it reads back from its pages.

    So a page that two requests share by accident, or that isn't theirs any more, changes an answer;
    one that was made with other experts in place is an error.
    """

    ignores_company = True
    tells_routes = False

    def __init__(self, *, page_tokens: int = 4, max_context_tokens: int = 64):
        self.config = SimpleNamespace(
            max_context_tokens=max_context_tokens, vocab_size=VOCABULARY, is_mixture=False
        )
        self.page_tokens = page_tokens
        self.page_bytes = 8 * page_tokens
        self.memory = np.empty(0, dtype=int)
        self.makers = np.empty(0, dtype=object)
        self.loaded: dict[str, object] = {}
        self.batches: list[list[Span]] = []
        self.failures: list[Exception] = []

    @property
    def expert_hashes(self) -> tuple[str, ...]:
        return tuple(sorted(self.loaded))

    @property
    def description(self) -> dict[str, object]:
        return {"runtime": "fake"}

    def allocate(self, num_pages: int) -> None:
        self.memory = np.full(num_pages * self.page_tokens, -1_000_000)
        self.makers = np.full(num_pages * self.page_tokens, None)

    def add_expert(self, expert_hash: str, tensors: object) -> None:
        self.loaded[expert_hash] = tensors

    def remove_expert(self, expert_hash: str) -> None:
        del self.loaded[expert_hash]

    def slots(self, span: Span, end: int) -> np.ndarray:
        positions = np.arange(end)
        pages = np.array(span.pages)
        return pages[positions // self.page_tokens] * self.page_tokens + (
            positions % self.page_tokens
        )

    def forward(self, spans: Sequence[Span], *, with_shares: bool = False) -> list[SpanResult]:
        self.batches.append(list(spans))
        if self.failures:
            raise self.failures.pop()
        for span in spans:
            assert set(span.experts) <= self.loaded.keys(), "an expert left while it was in use"
            slots = self.slots(span, span.start + len(span.token_ids))
            self.memory[slots[span.start :]] = span.token_ids
            self.makers[slots[span.start :]] = "".join(span.experts)
            assert set(self.makers[slots]) == {"".join(span.experts)}, "made with other experts"
        return [SpanResult(self.logits_of(span)) for span in spans]

    def logits_of(self, span: Span) -> np.ndarray:
        end = span.start + len(span.token_ids)
        kept = self.memory[self.slots(span, end)].tolist()
        rows = [
            one_hot(following(kept[: position + 1]))
            for position in range(end - span.num_logits, end)
        ]
        return np.array(rows, dtype=np.float32).reshape(len(rows), VOCABULARY)


def one_hot(token_id: int) -> np.ndarray:
    row = np.zeros(VOCABULARY)
    row[token_id] = 5.0
    return row


class HeldRuntime(CountingRuntime):
    """Waits in every forward pass until the test lets it go on."""

    def __init__(self, **sizes):
        super().__init__(**sizes)
        self.is_inside, self.may_go_on = threading.Event(), threading.Event()

    def forward(self, spans: Sequence[Span], *, with_shares: bool = False) -> list[SpanResult]:
        self.is_inside.set()
        assert self.may_go_on.wait(timeout=60), "the test never let the runtime go on"
        return super().forward(spans, with_shares=with_shares)

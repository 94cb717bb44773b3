"""Reading given text: log-probabilities, shares and hashes of logits, without generating.

T tokens, L rows of logits, V vocabulary, E experts.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tramontane.engine.request import Request
from tramontane.engine.runtime import Span, SpanResult
from tramontane.engine.scheduler import Running
from tramontane.errors import RequestError
from tramontane.native import log_softmax_at

if TYPE_CHECKING:
    from tramontane.engine.engine import Engine

# Rows of logits held at once: 256 rows of 49k floats are 50 MB.
SCORE_CHUNK_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids to read, from where on logits foretell them, and the experts in place for them.

    Where shares are asked for, they are told at least from position `shares_from` on.
    """

    token_ids: Sequence[int]
    start: int = 1
    experts: Sequence[str] = ()
    shares_from: int = 0

    def num_cacheable(self, with_shares: bool) -> int:
        """Returns how many of the first tokens may come from the prefix cache."""
        begin = min(self.start, len(self.token_ids)) - 1
        return min(begin, self.shares_from) if with_shares else begin


@dataclass(frozen=True, slots=True)
class Foretold:
    """Of each token from a text's start on: its log-probability, and the token likeliest there.

    `gates_TE` are the experts' gates at the text's last T tokens, where they were asked for.
    """

    logprobs_T: np.ndarray
    likeliest_T: np.ndarray
    gates_TE: np.ndarray | None = None


class Reader:
    """Reads texts in batches of its own, between the engine's."""

    def __init__(self, engine: "Engine"):
        self.engine, self.pages, self.scheduler = engine, engine.pages, engine.scheduler

    def score(self, texts: Sequence[Text]) -> list[np.ndarray]:
        threads = int(self.engine.runtime.description.get("threads", 1))
        pieces: list[list[np.ndarray]] = [[] for _ in texts]
        for place, position, result in self.read(texts):
            following = texts[place].token_ids[position + 1 : position + 1 + len(result.logits_LV)]
            logits_LV = result.logits_LV[: len(following)]
            pieces[place].append(log_softmax_at(logits_LV, following, threads=threads))
        return [np.concatenate([np.zeros(0), *rows]).astype(np.float32) for rows in pieces]

    def foretell(self, texts: Sequence[Text], *, with_gates: bool = False) -> list[Foretold]:
        threads = int(self.engine.runtime.description.get("threads", 1))
        logprobs: list[list[np.ndarray]] = [[np.zeros(0, np.float32)] for _ in texts]
        likeliest: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in texts]
        gates: list[list[np.ndarray]] = [[] for _ in texts]
        for place, position, result in self.read(texts, with_shares=with_gates):
            following = texts[place].token_ids[position + 1 : position + 1 + len(result.logits_LV)]
            logits_LV = result.logits_LV[: len(following)]
            logprobs[place].append(log_softmax_at(logits_LV, following, threads=threads))
            likeliest[place].append(logits_LV.argmax(axis=-1))
            if with_gates:
                gates[place].append(result.gates_TE)
        return [
            Foretold(
                np.concatenate(l).astype(np.float32),
                np.concatenate(k),
                np.concatenate(g) if with_gates else None,
            )
            for l, k, g in zip(logprobs, likeliest, gates, strict=True)
        ]

    def shares(
        self, token_ids: Sequence[int], experts: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        text = Text(token_ids, len(token_ids) + 1, experts)  # from there on none, so no logits
        results = [result for *_, result in self.read([text], with_shares=True)]
        return (
            np.concatenate([result.shares_TE for result in results]),
            np.concatenate([result.gates_TE for result in results]),
        )

    def logits_hash(self, token_ids: Sequence[int], experts: Sequence[str]) -> str:
        digest = hashlib.sha256()
        for *_, result in self.read([Text(token_ids, 1, experts)]):
            digest.update(np.ascontiguousarray(result.logits_LV, dtype="<f4").tobytes())
        return digest.hexdigest()

    def read(
        self, texts: Sequence[Text], *, with_shares: bool = False
    ) -> Iterator[tuple[int, int, SpanResult]]:
        """Yields (place of a text, position of the first row of logits, result).

        Logits are given from position start - 1 on, shares at least from `shares_from` on. What
        lies before both may be in the prefix cache.
        """
        left = list(range(len(texts)))
        while left:
            # An expert may leave between two batches, hence each asks anew.
            with self.engine.turn(), self.holding(texts, left, with_shares) as batch:
                left = [place for place in left if place not in batch]
                yield from self.read_batch(texts, batch, with_shares)

    @contextmanager
    def holding(
        self, texts: Sequence[Text], left: Sequence[int], with_shares: bool
    ) -> Iterator[dict[int, Running]]:
        """Gives pages to as many texts as fit one batch; at least to one."""
        batch: dict[int, Running] = {}
        first_pages: set[tuple[tuple[str, ...], tuple[int, ...]]] = set()
        num_tokens = 0
        try:
            for place in left:
                token_ids = texts[place].token_ids
                request = Request(tuple(token_ids), 1, experts=tuple(texts[place].experts))
                text = Running(self.engine.new_id(), request)
                self.engine.check(text.request, only_read=True)
                cached, coming = [], None
                num_cacheable = texts[place].num_cacheable(with_shares)
                if self.scheduler.caches_prefixes and num_cacheable > 0:
                    before = text.request.token_ids[:num_cacheable]
                    cached = self.pages.cache.match(text.request.experts, before)
                    end = (len(cached) + 1) * self.pages.cache.page_tokens
                    coming = (request.experts, before[:end]) if end <= len(before) else None
                text.num_read = text.num_cached = len(cached) * self.scheduler.page_tokens
                num_tokens += len(token_ids) - text.num_read
                num_pages = self.scheduler.pages_for_tokens(len(token_ids))
                if not self.pages.can_take(num_pages, cached):
                    if not batch:
                        raise RequestError(
                            f"{num_pages} pages of keys and values are needed to read this text, "
                            f"{self.pages.num_free} are free; try again when other requests have "
                            "ended"
                        )
                    break
                if batch and num_tokens > SCORE_CHUNK_TOKENS:
                    break
                if coming in first_pages:
                    # Another of this batch reads that page; it is there for the next batch.
                    num_tokens -= len(token_ids) - text.num_read
                    continue
                if coming is not None:
                    first_pages.add(coming)
                self.pages.take(text.request_id, num_pages, cached)
                batch[place] = text
            yield batch
        finally:
            for text in batch.values():
                self.pages.release(text.request_id)

    def read_batch(
        self, texts: Sequence[Text], batch: dict[int, Running], with_shares: bool
    ) -> Iterator[tuple[int, int, SpanResult]]:
        """Reads texts that have their pages; a long one in chunks."""
        unread = dict(batch)
        while unread:
            spans, positions = [], []
            for place, text in unread.items():
                token_ids, start = text.request.token_ids, texts[place].start
                chunk = token_ids[text.num_read : text.num_read + SCORE_CHUNK_TOKENS]
                end = text.num_read + len(chunk)
                num_logits = max(0, min(len(chunk), end - (start - 1)))
                pages = self.pages.held[text.request_id]
                spans.append(Span(chunk, text.num_read, pages, text.request.experts, num_logits))
                positions.append(end - num_logits)
            results = self.engine.runtime.forward(spans, with_shares=with_shares)
            for text, span in zip(unread.values(), spans, strict=True):
                self.scheduler.note_read(text, span.start + len(span.token_ids))
            yield from zip(unread, positions, results, strict=True)
            unread = {p: t for p, t in unread.items() if t.num_read < len(t.request.token_ids)}

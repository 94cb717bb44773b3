"""REQUESTS → TOKENS. The engine knows token ids and experts' hashes, and no text.

Many threads may call `generate`, `score` and `cancel`; whoever needs a token drives the step, the
others wait for theirs.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tramontane.engine.pages import KVPages
from tramontane.engine.request import GuideStep, NewToken, Request
from tramontane.engine.runtime import Runtime, Span, SpanResult
from tramontane.engine.sampler import sample
from tramontane.engine.scheduler import Running, Scheduled, Scheduler
from tramontane.errors import PromptTooLong, RequestError
from tramontane.native import log_softmax_at

# Rows of logits held at once while scoring: 256 rows of 49k floats are 50 MB.
SCORE_CHUNK_TOKENS = 256


class Engine:
    def __init__(
        self,
        runtime: Runtime,
        *,
        max_batch_tokens: int = 512,
        max_tokens: int | None = None,
    ):
        """`max_tokens` bounds the keys and values kept at once, over all requests."""
        self.runtime = runtime
        context = runtime.config.max_context_tokens
        wanted = max_tokens or max(context, 8192)
        self.num_pages = -(-wanted // runtime.page_tokens)
        runtime.allocate(self.num_pages)
        self.pages = KVPages(self.num_pages)
        self.scheduler = Scheduler(self.pages, runtime.page_tokens, max_batch_tokens)
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)
        self._is_stepping = False
        self._next_id = 0
        self._queues: dict[int, deque[NewToken]] = {}
        self._leaving: set[str] = set()

    # Requests

    def submit(self, request: Request) -> int:
        """Returns the request's id; its tokens come from `step`.

        Raises PromptTooLong with counts, or RequestError for experts that are not loaded.
        """
        with self._lock:
            self._check(request)
            request_id = self._next_id
            self._next_id += 1
            self.scheduler.add(Running(request_id, request))
            return request_id

    def _check(self, request: Request, *, only_read: bool = False) -> None:
        came, context = len(request.token_ids), self.runtime.config.max_context_tokens
        new = 0 if only_read else request.max_new_tokens
        what = f"the prompt has {came} tokens and {new} may follow"
        if only_read:
            what = f"the text has {came} tokens"
        if came + new > context:
            raise PromptTooLong(
                f"{what}; the model holds {context}. Shorten it by {came + new - context} tokens"
                + ("" if only_read else " or ask for fewer new ones")
            )
        if self.scheduler.pages_for_tokens(came + new) > self.num_pages:
            room = self.num_pages * self.runtime.page_tokens
            raise PromptTooLong(f"{what}; memory is planned for {room} tokens in all")
        vocabulary = self.runtime.config.vocab_size
        if strange := next((t for t in request.token_ids if not 0 <= t < vocabulary), None):
            raise RequestError(f"token id {strange}; the vocabulary has {vocabulary}")
        loaded = set(self.runtime.expert_hashes) - self._leaving
        if missing := [digest for digest in request.experts if digest not in loaded]:
            raise RequestError(f"expert {missing[0][:16]} is not loaded; was it withdrawn?")

    def cancel(self, request_id: int) -> None:
        """Ends a request at once; its pages are free afterwards."""
        with self._lock:
            if self.scheduler.drop(request_id):
                self._hand_out(NewToken(request_id, -1, finish="cancelled"))

    @property
    def has_work(self) -> bool:
        return bool(self.scheduler.running or self.scheduler.waiting)

    def step(self) -> list[NewToken]:
        """Runs every scheduled request one step; returns the tokens this produced."""
        with self._lock:
            batch = self.scheduler.next_batch()
        if not batch:
            return []
        try:
            results = self.runtime.forward(
                [scheduled.span for scheduled in batch],
                with_shares=any(s.running.request.with_shares for s in batch),
            )
        except Exception as error:  # noqa: BLE001  whatever failed, the engine lives on
            return self._fail(batch, error)
        with self._lock:
            tokens = [self._record(s, r) for s, r in zip(batch, results, strict=True)]
            return [token for token in tokens if token is not None]

    def _fail(self, batch: Sequence[Scheduled], error: Exception) -> list[NewToken]:
        with self._lock:
            ended = [s for s in batch if self.scheduler.drop(s.running.request_id)]
            message = f"{type(error).__name__}: {error}"
            tokens = [
                NewToken(s.running.request_id, -1, finish="failed", error=message) for s in ended
            ]
            for token in tokens:
                self._hand_out(token)
            return tokens

    def _record(self, scheduled: Scheduled, result: SpanResult) -> NewToken | None:
        running = scheduled.running
        if running.request_id not in self.scheduler.running:
            return None  # cancelled while it ran
        running.num_read = scheduled.end
        if not scheduled.yields_token:
            return None
        try:
            token = self._draw(running, result)
        except Exception as error:  # noqa: BLE001  a guide is the caller's code
            return self._fail([scheduled], error)[0]
        if token.finish:
            self.scheduler.drop(running.request_id)
        self._hand_out(token)
        return token

    def _draw(self, running: Running, result: SpanResult) -> NewToken:
        request = running.request
        guided = request.guide(running.generated) if request.guide else GuideStep()
        if guided.is_finished:
            return NewToken(running.request_id, -1, finish="guide")
        token_id, logprob = sample(
            result.logits_LV[-1], request.sampling, running.num_known, guided.mask_V
        )
        running.generated.append(token_id)
        finish = None
        if token_id in request.end_ids:
            finish = "end"
        elif len(running.generated) >= request.max_new_tokens:
            finish = "length"
        return NewToken(
            running.request_id,
            token_id,
            logprob,
            last_row(result.shares_TE) if request.with_shares else None,
            last_row(result.gates_TE) if request.with_shares else None,
            finish,
        )

    # Many threads at once

    def _hand_out(self, token: NewToken) -> None:
        queue = self._queues.get(token.request_id)
        if queue is not None:
            queue.append(token)

    def generate(self, request: Request) -> Iterator[NewToken]:
        """Yields the request's tokens; closing the iterator cancels the request."""
        with self._lock:
            request_id = self.submit(request)
            queue = self._queues[request_id] = deque()
        try:
            while True:
                token = self._wait_for(queue)
                yield token
                if token.finish:
                    return
        finally:
            with self._lock:
                self._queues.pop(request_id)
                self.scheduler.drop(request_id)
                self._turn.notify_all()

    def _wait_for(self, queue: deque[NewToken]) -> NewToken:
        while True:
            with self._turn:
                while not queue and self._is_stepping:
                    self._turn.wait()
                if queue:
                    return queue.popleft()
                self._is_stepping = True
            try:
                self.step()
            finally:
                with self._turn:
                    self._is_stepping = False
                    self._turn.notify_all()

    # Reading given text

    def score(
        self, token_ids: Sequence[int], *, experts: Sequence[str] = (), start: int = 1
    ) -> np.ndarray:
        """Returns log p(token i | those before), float32, for i from `start` to the last."""
        return self.score_many([(token_ids, start)], experts=experts)[0]

    def score_many(
        self,
        sequences: Sequence[tuple[Sequence[int], int]],
        *,
        experts: Sequence[str] = (),
    ) -> list[np.ndarray]:
        """Returns `score` of each (token ids, start); short sequences share a forward pass."""
        if strange := [start for _, start in sequences if start < 1]:
            raise RequestError(f"start={strange[0]} must be at least 1: nothing foretells token 0")
        threads = int(self.runtime.description.get("threads", 1))
        pieces: list[list[np.ndarray]] = [[] for _ in sequences]
        for place, position, result in self._read(sequences, experts):
            following = sequences[place][0][position + 1 : position + 1 + len(result.logits_LV)]
            logits_LV = result.logits_LV[: len(following)]
            pieces[place].append(log_softmax_at(logits_LV, following, threads=threads))
        return [np.concatenate([np.zeros(0), *rows]).astype(np.float32) for rows in pieces]

    def shares_of(
        self, token_ids: Sequence[int], *, experts: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (shares, gates), each (T, E), of given tokens: who speaks where they stand."""
        none = len(token_ids) + 1
        results = [r for *_, r in self._read([(token_ids, none)], experts, with_shares=True)]
        return (
            np.concatenate([result.shares_TE for result in results]),
            np.concatenate([result.gates_TE for result in results]),
        )

    def logits_of(self, token_ids: Sequence[int], *, experts: Sequence[str] = ()) -> np.ndarray:
        """Returns the (T, V) float32 logits of every position."""
        results = [result for *_, result in self._read([(token_ids, 1)], experts)]
        return np.concatenate([result.logits_LV for result in results])

    def logits_hash(self, token_ids: Sequence[int], *, experts: Sequence[str] = ()) -> str:
        """Returns the SHA-256 over the float32 logits of every position."""
        digest = hashlib.sha256()
        for *_, result in self._read([(token_ids, 1)], experts):
            digest.update(np.ascontiguousarray(result.logits_LV, dtype="<f4").tobytes())
        return digest.hexdigest()

    def _read(
        self,
        sequences: Sequence[tuple[Sequence[int], int]],
        experts: Sequence[str],
        *,
        with_shares: bool = False,
    ) -> Iterator[tuple[int, int, SpanResult]]:
        """Yields (place of a sequence, position of the first row of logits, result).

        A sequence is (token ids, start): logits are given from position start - 1 on.
        """
        batch: list[int] = []
        num_tokens = num_pages = 0
        for place, (token_ids, _) in enumerate(sequences):
            wanted = self.scheduler.pages_for_tokens(len(token_ids))
            is_full = num_tokens + len(token_ids) > SCORE_CHUNK_TOKENS
            if batch and (is_full or num_pages + wanted > self.pages.num_free):
                yield from self._read_batch(sequences, batch, experts, with_shares)
                batch, num_tokens, num_pages = [], 0, 0
            batch.append(place)
            num_tokens += len(token_ids)
            num_pages += wanted
        if batch:
            yield from self._read_batch(sequences, batch, experts, with_shares)

    def _read_batch(
        self,
        sequences: Sequence[tuple[Sequence[int], int]],
        batch: Sequence[int],
        experts: Sequence[str],
        with_shares: bool,
    ) -> Iterator[tuple[int, int, SpanResult]]:
        """Reads some sequences as requests that generate nothing, long ones in chunks."""
        requests = [Request(tuple(sequences[p][0]), 1, experts=tuple(experts)) for p in batch]
        with self._turn:
            while self._is_stepping:
                self._turn.wait()
            # Only now: an expert may have left while this waited.
            for request in requests:
                self._check(request, only_read=True)
            self._is_stepping = True
            first_id = self._next_id
            self._next_id += len(requests)
        try:
            with self._lock:
                pages = [
                    self._pages_for_reading(first_id + number, request)
                    for number, request in enumerate(requests)
                ]
            longest = max(len(request.token_ids) for request in requests)
            for begin in range(0, longest, SCORE_CHUNK_TOKENS):
                spans, places, positions = [], [], []
                for place, request, own_pages in zip(batch, requests, pages, strict=True):
                    chunk = request.token_ids[begin : begin + SCORE_CHUNK_TOKENS]
                    end = begin + len(chunk)
                    num_logits = max(0, min(len(chunk), end - (sequences[place][1] - 1)))
                    spans.append(Span(chunk, begin, own_pages, request.experts, num_logits))
                    places.append(place)
                    positions.append(end - num_logits)
                results = self.runtime.forward(spans, with_shares=with_shares)
                yield from zip(places, positions, results, strict=True)
        finally:
            with self._turn:
                for number in range(len(requests)):
                    self.pages.release(first_id + number)
                self._is_stepping = False
                self._turn.notify_all()

    def _pages_for_reading(self, request_id: int, request: Request) -> list[int]:
        wanted = self.scheduler.pages_for_tokens(len(request.token_ids))
        if wanted > self.pages.num_free:
            raise RequestError(
                f"{wanted} pages of keys and values are needed to read this text, "
                f"{self.pages.num_free} are free; try again when other requests have ended"
            )
        return self.pages.take(request_id, wanted)

    # Experts

    def add_expert(self, expert_hash: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Loads an expert; requests name it by its hash."""
        with self._turn:
            while self._is_stepping:
                self._turn.wait()
            self._leaving.discard(expert_hash)
            self.runtime.add_expert(expert_hash, tensors)

    def remove_expert(self, expert_hash: str) -> None:
        """Unloads an expert once the requests that began with it have ended.

        New requests that name it are refused from now on.
        """
        with self._turn:
            self._leaving.add(expert_hash)
        while True:
            with self._turn:
                if not self.scheduler.using(expert_hash) and not self._is_stepping:
                    if expert_hash in self.runtime.expert_hashes:
                        self.runtime.remove_expert(expert_hash)
                    self._leaving.discard(expert_hash)
                    return
                self._turn.wait(timeout=0.1)


def last_row(values_TE: np.ndarray | None) -> tuple[float, ...] | None:
    return None if values_TE is None else tuple(map(float, values_TE[-1]))

"""REQUESTS → TOKENS. The engine knows token ids and experts' hashes, and no text.

Many threads may call `generate`, `score` and `cancel`; whoever needs a token drives the step, the
others wait for theirs. Where one thread calls `drive`, requests can be submitted and their tokens
received without a thread for each.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from tramontane.engine.memory import available_memory, plan_pages
from tramontane.engine.pages import KVPages
from tramontane.engine.reading import Foretold, Reader, Text
from tramontane.engine.request import GuideStep, NewToken, Put, Request, TokenLogprob
from tramontane.engine.runtime import Runtime, SpanResult
from tramontane.engine.sampler import likeliest_tokens, sample
from tramontane.engine.scheduler import Running, Scheduled, Scheduler
from tramontane.errors import PromptTooLong, RequestError
from tramontane.native import log_softmax


class Engine:
    def __init__(
        self,
        runtime: Runtime,
        *,
        max_batch_tokens: int = 512,
        max_tokens: int | None = None,
        caches_prefixes: bool | None = None,
        speculates: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """`max_tokens` bounds the keys and values kept at once, over all requests and the cache.

        Prefixes are cached and drafts verified where that changes no bit, unless told otherwise.
        Raises NotEnoughMemory with what is needed and what there is.
        """
        self.runtime = runtime
        self.num_pages = plan_pages(runtime, max_tokens, available_memory())
        runtime.allocate(self.num_pages)
        self.pages = KVPages(self.num_pages, runtime.page_tokens)
        self.scheduler = Scheduler(
            self.pages,
            runtime.page_tokens,
            max_batch_tokens,
            caches_prefixes=runtime.ignores_company if caches_prefixes is None else caches_prefixes,
            speculates=runtime.ignores_company if speculates is None else speculates,
        )
        self.reader = Reader(self)
        self.clock = clock
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)
        self._is_stepping = False
        self._next_id = 0
        # Those who wait for the right to compute, in the order in which they came.
        self._tickets: deque[object] = deque()
        self._listeners: dict[int, Put] = {}
        self._leaving: set[str] = set()

    # Requests

    def submit(self, request: Request, put: Put | None = None) -> int:
        """Returns the request's id; its tokens come from `step`, and go to `put` as they come.

        The last of them says why it ended. Raises PromptTooLong with counts, or RequestError for
        experts that are not loaded.
        """
        with self._lock:
            self.check(request)
            running = Running(self.new_id(), request)
            if request.max_seconds is not None:
                running.deadline = self.clock() + request.max_seconds
            if put is not None:
                self._listeners[running.request_id] = put
            self.scheduler.add(running)
            self._turn.notify_all()
            return running.request_id

    def check(self, request: Request, *, only_read: bool = False) -> None:
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
            raise PromptTooLong(
                f"{what}; memory is planned for {room} tokens in all (setting kv_tokens)"
            )
        vocabulary = self.runtime.config.vocab_size
        named = [*request.token_ids, *(token_id for token_id, _ in request.sampling.logit_bias)]
        if (strange := next((t for t in named if not 0 <= t < vocabulary), None)) is not None:
            raise RequestError(f"token id {strange}; the vocabulary has {vocabulary}")
        if request.with_routes and not (
            self.runtime.tells_routes and self.runtime.config.is_mixture
        ):
            raise RequestError(
                "the base's own routes are told of mixture bases by the native runtime; this base "
                + ("runs elsewhere" if self.runtime.config.is_mixture else "is dense")
            )
        loaded = set(self.runtime.expert_hashes) - self._leaving
        if missing := [digest for digest in request.experts if digest not in loaded]:
            raise RequestError(f"expert {missing[0][:16]} is not loaded; was it withdrawn?")

    def cancel(self, request_id: int) -> None:
        """Ends a request at once; its own pages are free afterwards."""
        with self._lock:
            if self.scheduler.drop(request_id):
                self._hand_out(NewToken(request_id, -1, finish="cancelled"))

    def progress(self, request_id: int) -> tuple[int, int] | None:
        """Returns how many tokens of its prompt a request has read, and how many of them were in
        the cache; None once it has ended."""
        with self._lock:
            running = self.scheduler.find(request_id)
            return None if running is None else (running.num_read, running.num_cached)

    @property
    def num_waiting(self) -> int:
        """How many requests wait for room."""
        return len(self.scheduler.waiting)

    @property
    def has_work(self) -> bool:
        return bool(self.scheduler.running or self.scheduler.waiting)

    def step(self) -> list[NewToken]:
        """Runs every scheduled request one step; returns the tokens this produced."""
        with self._lock:
            ended = self._end_late_ones()
            batch = self.scheduler.next_batch()
        if not batch:
            return ended
        try:
            results = self.runtime.forward(
                [scheduled.span for scheduled in batch],
                with_shares=any(s.running.request.with_shares for s in batch),
            )
        except Exception as error:  # noqa: BLE001  whatever failed, the engine lives on
            return ended + self._fail(batch, error)
        with self._lock:
            recorded = [self._record(s, r) for s, r in zip(batch, results, strict=True)]
            return ended + [token for tokens in recorded for token in tokens]

    def _end_late_ones(self) -> list[NewToken]:
        now = self.clock()
        late = [r for r in self.scheduler.everyone if r.deadline is not None and now >= r.deadline]
        tokens = [NewToken(r.request_id, -1, finish="time", num_cached=r.num_cached) for r in late]
        for token in tokens:
            self.scheduler.drop(token.request_id)
            self._hand_out(token)
        return tokens

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

    def _record(self, scheduled: Scheduled, result: SpanResult) -> list[NewToken]:
        """Takes in what a span gave: whole pages, a prompt's log-probabilities, new tokens."""
        running = scheduled.running
        if running.request_id not in self.scheduler.running:
            return []  # cancelled while it ran
        if running.request.prompt_logprobs is not None and running.is_reading_prompt:
            running.prompt_logprobs += self._prompt_logprobs(scheduled, result)
        if result.routes_TNK is not None and running.is_reading_prompt:
            running.prompt_routes += map(route_of, result.routes_TNK)
        if not scheduled.yields_token:
            self.scheduler.note_read(running, scheduled.end)
            return []
        tokens, failed = self._draw_all(scheduled, result)
        # What was drawn last is known, and not read yet.
        num_drawn = sum(token.token_id >= 0 for token in tokens)
        self.scheduler.note_read(running, scheduled.end + max(0, num_drawn - 1))
        if tokens and tokens[-1].finish:
            self.scheduler.drop(running.request_id)
        for token in tokens:
            self._hand_out(token)
        return tokens if failed is None else tokens + self._fail([scheduled], failed)

    def _prompt_logprobs(self, scheduled: Scheduled, result: SpanResult) -> list[TokenLogprob]:
        request, start = scheduled.running.request, scheduled.span.start
        following = request.token_ids[start + 1 : scheduled.end + 1]
        logprobs_LV = log_softmax(result.logits_LV[: len(following)])
        return [
            TokenLogprob(
                token_id,
                float(logprobs_V[token_id]),
                likeliest_tokens(logprobs_V, request.prompt_logprobs),
            )
            for logprobs_V, token_id in zip(logprobs_LV, following, strict=True)
        ]

    def _draw_all(
        self, scheduled: Scheduled, result: SpanResult
    ) -> tuple[list[NewToken], Exception | None]:
        """Draws the next token, and as long as the draft foretells it, the one after.

        Returns them, and what a guide raised instead of the next.
        """
        running, draft = scheduled.running, scheduled.draft
        if not running.request.max_new_tokens:
            return [self._only_read(running)], None
        tokens: list[NewToken] = []
        for row in range(-1 - len(draft), 0):
            try:
                tokens.append(self._draw(running, result, row))
            except Exception as error:  # noqa: BLE001  a guide is the caller's code
                return tokens, error
            is_foretold = row < -1 and tokens[-1].token_id == draft[row + 1]
            if tokens[-1].finish or not is_foretold:
                break
        if running.drafts is not None and not tokens[-1].finish:
            running.drafts.learn(draft, [token.token_id for token in tokens])
        return tokens, None

    def _only_read(self, running: Running) -> NewToken:
        return NewToken(
            running.request_id,
            -1,
            finish="length",
            num_cached=running.num_cached,
            prompt_logprobs=tuple(running.prompt_logprobs),
            prompt_routes=tuple(running.prompt_routes) if running.request.with_routes else None,
        )

    def _draw(self, running: Running, result: SpanResult, row: int) -> NewToken:
        request = running.request
        guided = request.guide(running.generated) if request.guide else GuideStep()
        if guided.is_finished:
            return NewToken(running.request_id, -1, finish="guide", num_cached=running.num_cached)
        logits_V = result.logits_LV[row]
        token_id, logprob = sample(
            logits_V,
            request.sampling,
            running.num_known,
            guided.mask_V,
            prompt=request.token_ids,
            generated=running.generated,
        )
        top = ()
        if request.top_logprobs:
            top = likeliest_tokens(log_softmax(logits_V[None])[0], request.top_logprobs)
        is_first = not running.generated
        running.generated.append(token_id)
        finish = None
        if token_id in request.end_ids:
            finish = "end"
        elif len(running.generated) >= request.max_new_tokens:
            finish = "length"
        wants_prompt = is_first and request.prompt_logprobs is not None
        return NewToken(
            running.request_id,
            token_id,
            logprob,
            row_of(result.shares_TE, row) if request.with_shares else None,
            row_of(result.gates_TE, row) if request.with_shares else None,
            finish,
            top=top,
            num_cached=running.num_cached,
            prompt_logprobs=tuple(running.prompt_logprobs) if wants_prompt else None,
            routes=route_of(result.routes_TNK[row])
            if request.with_routes and not is_first
            else None,
            prompt_routes=tuple(running.prompt_routes)
            if is_first and request.with_routes
            else None,
        )

    # Many threads at once

    def _hand_out(self, token: NewToken) -> None:
        put = self._listeners.get(token.request_id)
        if put is not None:
            put(token)
        if token.finish:
            self._listeners.pop(token.request_id, None)

    def drive(self, is_over: threading.Event) -> None:
        """Steps whenever there is work until `is_over` is set; other users get their turns."""
        while not is_over.is_set():
            with self._turn:
                if not self.has_work:
                    self._turn.wait(timeout=0.1)
                    continue
            with self.turn():
                self.step()

    def generate(self, request: Request) -> Iterator[NewToken]:
        """Yields the request's tokens; closing the iterator cancels the request."""
        queue: deque[NewToken] = deque()
        request_id = self.submit(request, queue.append)
        try:
            while True:
                token = self._wait_for(queue)
                yield token
                if token.finish:
                    return
        finally:
            with self._lock:
                self._listeners.pop(request_id, None)
                self.scheduler.drop(request_id)
                self._turn.notify_all()

    def _wait_for(self, queue: deque[NewToken]) -> NewToken:
        while True:
            with self._turn:
                while not queue and (self._is_stepping or self._tickets):
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
        """Returns `score` of each (token ids, start).

        Short sequences share a forward pass; what they begin with alike is read once.
        """
        return self.score_each([Text(token_ids, start, experts) for token_ids, start in sequences])

    def score_each(self, texts: Sequence[Text]) -> list[np.ndarray]:
        """Returns `score` of each text, with the experts that each names in place."""
        refuse_early_starts(texts)
        return self.reader.score(texts)

    def foretell_many(
        self,
        sequences: Sequence[tuple[Sequence[int], int]],
        *,
        experts: Sequence[str] = (),
        with_gates: bool = False,
        gates_from: Sequence[int] | None = None,
    ) -> list[Foretold]:
        """Returns what `score_many` does, and the token likeliest in each one's place.

        With gates every token is read; or, of each sequence, those from position `gates_from` on at
        least, and what lies before may come from the prefix cache.
        """
        texts = [
            Text(token_ids, start, experts, begin)
            for (token_ids, start), begin in zip(
                sequences, gates_from or [0] * len(sequences), strict=True
            )
        ]
        refuse_early_starts(texts)
        return self.reader.foretell(texts, with_gates=with_gates)

    def shares_of(
        self, token_ids: Sequence[int], *, experts: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns (shares, gates), each (T, E), of given tokens: who speaks where they stand."""
        return self.reader.shares(token_ids, experts)

    def logits_of(self, token_ids: Sequence[int], *, experts: Sequence[str] = ()) -> np.ndarray:
        """Returns the (T, V) float32 logits of every position."""
        results = [result for *_, result in self.reader.read([Text(token_ids, 1, experts)])]
        return np.concatenate([result.logits_LV for result in results])

    def logits_hash(self, token_ids: Sequence[int], *, experts: Sequence[str] = ()) -> str:
        """Returns the SHA-256 over the float32 logits of every position; all are computed anew."""
        return self.reader.logits_hash(token_ids, experts)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until nobody computes and all who came before have; inside, the runtime and the
        pages are the caller's."""
        ticket = object()
        with self._turn:
            self._tickets.append(ticket)
            try:
                while self._is_stepping or self._tickets[0] is not ticket:
                    self._turn.wait()
            finally:
                self._tickets.remove(ticket)
                self._turn.notify_all()
            self._is_stepping = True
        try:
            yield
        finally:
            with self._turn:
                self._is_stepping = False
                self._turn.notify_all()

    def new_id(self) -> int:
        with self._lock:
            self._next_id += 1
            return self._next_id - 1

    # Experts

    def add_expert(self, expert_hash: str, tensors: Mapping[str, np.ndarray]) -> None:
        """Loads an expert; requests name it by its hash."""
        with self.turn():
            self._leaving.discard(expert_hash)
            self.runtime.add_expert(expert_hash, tensors)

    def remove_expert(self, expert_hash: str) -> None:
        """Unloads an expert once the requests that began with it have ended.

        New requests that name it are refused from now on; afterwards no page made with it is kept.
        """
        with self._turn:
            self._leaving.add(expert_hash)
        while True:
            with self.turn(), self._lock:
                if not self.scheduler.using(expert_hash):
                    if expert_hash in self.runtime.expert_hashes:
                        self.runtime.remove_expert(expert_hash)
                    self.pages.forget(expert_hash)
                    self._leaving.discard(expert_hash)
                    return
            with self._turn:
                self._turn.wait(timeout=0.1)


def refuse_early_starts(texts: Sequence[Text]) -> None:
    if strange := [text.start for text in texts if text.start < 1]:
        raise RequestError(f"start={strange[0]} must be at least 1: nothing foretells token 0")


def route_of(chosen_NK: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, chosen_NK.tolist()))


def row_of(values_TE: np.ndarray | None, row: int) -> tuple[float, ...] | None:
    return None if values_TE is None else tuple(map(float, values_TE[row]))

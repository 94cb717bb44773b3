"""Decides which tokens of which requests run next; acts on nothing but its own lists.

What it promises: whoever generates gets a token in every batch that has room for all of them, and
the next one in those that haven't; the oldest prompt always moves on; a short prompt passes a long
one; and what one request is reading, another that begins alike waits for and takes over.
"""

from collections import deque
from dataclasses import dataclass, field

from tramontane.engine.lookup import Drafts
from tramontane.engine.pages import KVPages
from tramontane.engine.request import Request, TokenLogprob
from tramontane.engine.runtime import Span

# Prompts take no more of a batch while somebody waits for the next token.
PROMPT_TOKENS_BESIDE_GENERATING = 128
# Of a batch, what drafts may take.
DRAFT_SHARE = 0.25
# Rows of logits held at once where a prompt's are asked for: 256 of 49k floats are 50 MB.
MOST_LOGITS = 256
# A request that waits for room lets so many that need less go first.
MOST_OVERTAKERS = 8


@dataclass(slots=True)
class Running:
    """A request under way: its prompt, what it has generated, how much of that has been read."""

    request_id: int
    request: Request
    generated: list[int] = field(default_factory=list)
    num_read: int = 0
    num_cached: int = 0
    num_overtakers: int = 0
    # The number of the last batch it was in.
    last_batch: int = 0
    # On the engine's clock, in seconds.
    deadline: float | None = None
    drafts: Drafts | None = None
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list)
    prompt_routes: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)

    @property
    def num_known(self) -> int:
        return len(self.request.token_ids) + len(self.generated)

    @property
    def is_reading_prompt(self) -> bool:
        return self.num_read < len(self.request.token_ids)

    def tokens(self, begin: int, end: int) -> list[int]:
        """Returns the tokens at positions `begin` to `end`, prompt and generated alike."""
        prompt = self.request.token_ids
        later = self.generated[max(0, begin - len(prompt)) : max(0, end - len(prompt))]
        return [*prompt[begin:end], *later]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The next known tokens of a request, and a draft of those that may follow."""

    running: Running
    span: Span
    draft: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """The position after the last known token of the span."""
        return self.span.start + len(self.span.token_ids) - len(self.draft)

    @property
    def yields_token(self) -> bool:
        return self.end == self.running.num_known


class Scheduler:
    """A request gets all the pages it can ever need when it starts, so none is stopped halfway.

    Later ones wait, first come, first served; one that needs less room may start before one that
    waits for much, but not for ever.
    """

    def __init__(
        self,
        pages: KVPages,
        page_tokens: int,
        max_batch_tokens: int,
        *,
        caches_prefixes: bool = False,
        speculates: bool = False,
    ):
        self.pages, self.page_tokens = pages, page_tokens
        self.max_batch_tokens = max_batch_tokens
        self.caches_prefixes, self.speculates = caches_prefixes, speculates
        self.waiting: deque[Running] = deque()
        self.running: dict[int, Running] = {}
        self.num_batches = 0

    def pages_for(self, request: Request) -> int:
        return self.pages_for_tokens(len(request.token_ids) + request.max_new_tokens)

    def pages_for_tokens(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_tokens)

    def add(self, running: Running) -> None:
        self.waiting.append(running)

    @property
    def everyone(self) -> list[Running]:
        return [*self.running.values(), *self.waiting]

    def find(self, request_id: int) -> Running | None:
        if running := self.running.get(request_id):
            return running
        return next((r for r in self.waiting if r.request_id == request_id), None)

    # Starting

    def start_waiting(self) -> None:
        """Starts what there is room for."""
        passed: list[Running] = []
        for running in list(self.waiting):
            if any(r.num_overtakers >= MOST_OVERTAKERS for r in passed):
                return
            if not self.start(running):
                passed.append(running)
                continue
            self.waiting.remove(running)
            for overtaken in passed:
                overtaken.num_overtakers += 1

    def start(self, running: Running) -> bool:
        """Gives a request its pages if there is room; the cache may hold the first of them."""
        request, wanted = running.request, self.pages_for(running.request)
        cached = []
        if self.may_skip(request):
            # The last token is always read: its logits say what comes next.
            cached = self.pages.cache.match(request.experts, request.token_ids[:-1])
        if not self.pages.can_take(wanted, cached):
            return False
        self.pages.take(running.request_id, wanted, cached)
        running.num_read = running.num_cached = len(cached) * self.page_tokens
        self.running[running.request_id] = running
        if self.speculates and request.speculates and request.max_new_tokens > 1:
            running.drafts = Drafts(request.token_ids)
        return True

    def may_skip(self, request: Request) -> bool:
        """Whether a prompt's beginning needn't be read where it is cached."""
        tells_of_prompt = request.prompt_logprobs is not None or request.with_routes
        return self.caches_prefixes and not tells_of_prompt

    # Batches

    def next_batch(self) -> list[Scheduled]:
        """Returns the spans to run now; empty when there is nothing to do."""
        self.start_waiting()
        self.num_batches += 1
        reading = [r for r in self.running.values() if r.is_reading_prompt]
        generating = [r for r in self.running.values() if not r.is_reading_prompt]
        # Least recently served first; stable, so the order of arrival holds among equals.
        generating = sorted(generating, key=lambda r: r.last_batch)[: self.max_batch_tokens]
        room = self.max_batch_tokens - len(generating)
        draft_room = min(room, int(DRAFT_SHARE * self.max_batch_tokens))
        batch = []
        for running in generating:
            scheduled = self.scheduled(running, 1, draft_room)
            draft_room -= len(scheduled.draft)
            room -= len(scheduled.draft)
            batch.append(scheduled)
        if generating:
            room = min(room, PROMPT_TOKENS_BESIDE_GENERATING)
        batch += [self.scheduled(*shared) for shared in self.share_out(room, reading)]
        for scheduled in batch:
            scheduled.running.last_batch = self.num_batches
        return batch

    def share_out(self, room: int, reading: list[Running]) -> list[tuple[Running, int]]:
        """Returns how many tokens of which prompts run now.

        The oldest gets half the room, so that it ends; the rest goes to those with the least left,
        so that they needn't wait for it; what nobody else wants is the oldest's again.
        """
        reading = self.without_repetition(reading)
        if not reading:
            return []
        oldest, *others = reading
        left = {r.request_id: self.num_left(r) for r in reading}
        counts = {
            oldest.request_id: min(-(-room // 2) if others else room, left[oldest.request_id])
        }
        room -= counts[oldest.request_id]
        for running in sorted(others, key=lambda r: left[r.request_id]):
            counts[running.request_id] = min(room, left[running.request_id])
            room -= counts[running.request_id]
        counts[oldest.request_id] += min(room, left[oldest.request_id] - counts[oldest.request_id])
        logits_room, shared = MOST_LOGITS, []
        for running in reading:
            count = counts[running.request_id]
            if running.request.prompt_logprobs is not None:
                count = min(count, logits_room)
                logits_room -= count
            if count:
                shared.append((running, count))
        return shared

    def num_left(self, running: Running) -> int:
        return len(running.request.token_ids) - running.num_read

    def without_repetition(self, reading: list[Running]) -> list[Running]:
        """Returns those that read what no other does; the others take it over when it is there."""
        if not self.caches_prefixes:
            return reading
        being_read, alone = set(), []
        for running in reading:
            if not self.may_skip(running.request):
                alone.append(running)
                continue
            self.take_over(running)
            begin = running.num_read // self.page_tokens * self.page_tokens
            # Which page comes next, and after which: the held ones of equal beginnings are equal.
            held = self.pages.held[running.request_id]
            before = held[begin // self.page_tokens - 1] if begin else -1
            tokens = tuple(running.request.token_ids[begin : begin + self.page_tokens])
            page = (running.request.experts, before, tokens)
            is_whole = begin + self.page_tokens < len(running.request.token_ids)
            if is_whole and running.num_read == begin and page in being_read:
                continue
            being_read.add(page)
            alone.append(running)
        return alone

    def take_over(self, running: Running) -> None:
        """Skips what another request has read since this one started."""
        request, num_tokens = running.request, self.page_tokens
        while running.num_read % num_tokens == 0:
            begin, end = running.num_read, running.num_read + num_tokens
            tokens = tuple(request.token_ids[begin:end])
            if end >= len(request.token_ids) or not self.pages.find_next(
                running.request_id, request.experts, tokens
            ):
                return
            running.num_read = end
            running.num_cached += num_tokens

    def scheduled(self, running: Running, num_tokens: int, draft_room: int = 0) -> Scheduled:
        request = running.request
        begin, end = running.num_read, running.num_read + num_tokens
        draft: list[int] = []
        if running.drafts is not None and draft_room:
            # The last token of all is drawn, never read.
            may_follow = request.max_new_tokens - len(running.generated) - 1
            draft = running.drafts.draft(min(may_follow, draft_room))
        num_logits = 1 if end == running.num_known else 0
        if running.is_reading_prompt and request.prompt_logprobs is not None:
            num_logits = num_tokens
        span = Span(
            token_ids=[*running.tokens(begin, end), *draft],
            start=begin,
            pages=self.pages.held[running.request_id],
            experts=request.experts,
            num_logits=num_logits + len(draft),
            with_routes=request.with_routes,
        )
        return Scheduled(running, span, tuple(draft))

    # What came of them

    def note_read(self, running: Running, num_read: int) -> None:
        """Takes in that all before position `num_read` has been read; whole pages are shared."""
        running.num_read = num_read
        if not self.caches_prefixes:
            return
        shared = self.pages.shared[running.request_id]
        while (end := (len(shared) + 1) * self.page_tokens) <= num_read:
            tokens = tuple(running.tokens(end - self.page_tokens, end))
            self.pages.share(running.request_id, running.request.experts, tokens)

    def drop(self, request_id: int) -> bool:
        """Forgets a request wherever it is; returns whether it was there."""
        self.pages.release(request_id)
        if self.running.pop(request_id, None):
            return True
        waiting = [running for running in self.waiting if running.request_id != request_id]
        was_there = len(waiting) < len(self.waiting)
        self.waiting = deque(waiting)
        return was_there

    def using(self, expert_hash: str) -> bool:
        """Whether a request under way or waiting has this expert in place."""
        return any(expert_hash in running.request.experts for running in self.everyone)

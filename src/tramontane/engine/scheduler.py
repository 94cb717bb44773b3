"""Decides which tokens of which requests run next; acts on nothing but its own lists."""

from collections import deque
from dataclasses import dataclass, field

from tramontane.engine.pages import KVPages
from tramontane.engine.request import Request
from tramontane.engine.runtime import Span


@dataclass(slots=True)
class Running:
    """A request under way: its prompt, what it has generated, how much of that has been read."""

    request_id: int
    request: Request
    generated: list[int] = field(default_factory=list)
    num_read: int = 0

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
    running: Running
    span: Span

    @property
    def end(self) -> int:
        return self.span.start + len(self.span.token_ids)

    @property
    def yields_token(self) -> bool:
        return self.end == self.running.num_known


class Scheduler:
    """First come, first served; requests that already generate go first, prompts fill the rest.

    A request gets all the pages it can ever need when it starts, so none is stopped halfway for
    lack of room; later ones wait.
    """

    def __init__(self, pages: KVPages, page_tokens: int, max_batch_tokens: int):
        self.pages, self.page_tokens = pages, page_tokens
        self.max_batch_tokens = max_batch_tokens
        self.waiting: deque[Running] = deque()
        self.running: dict[int, Running] = {}

    def pages_for(self, request: Request) -> int:
        return self.pages_for_tokens(len(request.token_ids) + request.max_new_tokens)

    def pages_for_tokens(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_tokens)

    def add(self, running: Running) -> None:
        self.waiting.append(running)

    def next_batch(self) -> list[Scheduled]:
        """Returns the spans to run now; empty when there is nothing to do."""
        while self.waiting and self.pages_for(self.waiting[0].request) <= self.pages.num_free:
            started = self.waiting.popleft()
            self.pages.take(started.request_id, self.pages_for(started.request))
            self.running[started.request_id] = started
        room, batch = self.max_batch_tokens, []
        # Stable: within each kind the order of arrival holds.
        for running in sorted(self.running.values(), key=lambda r: r.is_reading_prompt):
            num_tokens = min(room, running.num_known - running.num_read)
            if num_tokens == 0:
                break
            room -= num_tokens
            batch.append(self.scheduled(running, num_tokens))
        return batch

    def scheduled(self, running: Running, num_tokens: int) -> Scheduled:
        begin, end = running.num_read, running.num_read + num_tokens
        span = Span(
            token_ids=running.tokens(begin, end),
            start=begin,
            pages=self.pages.held[running.request_id],
            experts=running.request.experts,
            num_logits=1 if end == running.num_known else 0,
        )
        return Scheduled(running, span)

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
        everyone = (*self.running.values(), *self.waiting)
        return any(expert_hash in running.request.experts for running in everyone)

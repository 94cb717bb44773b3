"""Law 5: KV pages. None lost, none shared by accident, under any order of submit, cancel and fail.

Beside the tree of cached pages stands a slow model of it: a list of beginnings, searched whole.
"""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fakes import VOCABULARY, CountingRuntime, continued
from tramontane.engine.engine import Engine
from tramontane.engine.pages import KVPages
from tramontane.engine.request import NewToken, Request
from tramontane.errors import PromptTooLong, RequestError

token_ids = st.integers(0, VOCABULARY - 1)
EXPERTS = ("d" * 64, "e" * 64)
sets_of_experts = st.sampled_from([(), EXPERTS[:1], EXPERTS[1:], EXPERTS])
# Texts of few different tokens begin alike often.
alike_texts = st.lists(st.integers(0, 1), min_size=1, max_size=14).map(tuple)


def assert_each_page_is_in_one_place(pages: KVPages, num_pages: int) -> None:
    """Free, held by one request alone, or in the cache and held by those that say so."""
    cached = pages.cache.pages()
    alone = [
        page
        for request_id, held in pages.held.items()
        for page in held[num_shared(pages, request_id) :]
    ]
    everywhere = pages.free + alone + [page.page for page in cached]
    assert sorted(everywhere) == list(range(num_pages))
    for request_id, held in pages.held.items():
        assert [page.page for page in pages.shared[request_id]] == held[
            : num_shared(pages, request_id)
        ]
    for page in cached:
        holders = [r for r, shared in pages.shared.items() if page in shared]
        assert page.num_holders == len(holders)
    assert pages.cache.num_idle == sum(not page.num_holders for page in cached)


def num_shared(pages: KVPages, request_id: int) -> int:
    return len(pages.shared[request_id])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4))))
def test_no_page_is_lost_or_shared(calls):
    pages = KVPages(num_pages=8)
    for request_id, wanted in calls:
        if wanted == 0:
            pages.release(request_id)
        elif wanted <= pages.num_free:
            before = list(pages.held.get(request_id, []))
            held = pages.take(request_id, wanted)
            assert held[: len(before)] == before, "pages stay in the order of their positions"
            assert len(held) == len(before) + wanted
        assert_each_page_is_in_one_place(pages, 8)


def test_released_pages_come_back():
    pages = KVPages(num_pages=3)
    first = list(pages.take(1, 3))
    pages.release(1)
    pages.release(1)
    assert pages.take(2, 3) == first


def test_pages_that_are_held_are_never_taken_however_old():
    pages = KVPages(num_pages=3, page_tokens=1)
    held = list(pages.take(0, 1))
    pages.share(0, (), (1,))
    pages.take(1, 1)
    pages.share(1, (), (2,))
    pages.release(1)
    pages.take(2, 2)
    assert pages.num_free == 0
    assert [page.page for page in pages.cache.pages()] == held
    assert_each_page_is_in_one_place(pages, 3)


Beginning = tuple[tuple[str, ...], tuple[int, ...]]


@dataclass
class SlowCache:
    """Each cached beginning (experts, tokens from the first on), the least recently used first."""

    page_tokens: int
    kept: list[Beginning] = field(default_factory=list)

    def match(self, experts: tuple[str, ...], text: tuple[int, ...]) -> list[Beginning]:
        beginnings = [
            (experts, text[:end])
            for end in range(self.page_tokens, len(text) + 1, self.page_tokens)
        ]
        return [
            b for i, b in enumerate(beginnings) if all(e in self.kept for e in beginnings[: i + 1])
        ]

    def use(self, beginning: Beginning) -> None:
        if beginning in self.kept:
            self.kept.remove(beginning)
        self.kept.append(beginning)

    def evict(self, num_pages: int, held: set[Beginning]) -> None:
        for _ in range(num_pages):
            self.kept.remove(
                next(
                    one
                    for one in self.kept
                    if one not in held and not any(self.goes_on(one, other) for other in self.kept)
                )
            )

    def goes_on(self, one: Beginning, other: Beginning) -> bool:
        experts, tokens = one
        return other != one and other[0] == experts and other[1][: len(tokens)] == tokens


class PagesUnderAnyOrder(RuleBasedStateMachine):
    """Pages are told apart by what was read into them: experts and all tokens up to their end."""

    @initialize(num_pages=st.integers(2, 9), page_tokens=st.integers(1, 3))
    def start(self, num_pages, page_tokens):
        self.num_pages, self.page_tokens = num_pages, page_tokens
        self.pages = KVPages(num_pages, page_tokens)
        self.slow = SlowCache(page_tokens)
        self.contents: dict[int, Beginning] = {}
        self.requests: dict[int, Beginning] = {}
        self.read: dict[int, list[Beginning]] = {}
        self.next_id = 0

    @property
    def held(self) -> set[Beginning]:
        return {one for ones in self.read.values() for one in ones}

    @rule(experts=sets_of_experts, text=alike_texts)
    def begin(self, experts, text):
        cached = self.pages.cache.match(experts, text[:-1])
        slow = self.slow.match(experts, text[:-1])
        assert [self.contents[page.page] for page in cached] == slow
        wanted = -(-len(text) // self.page_tokens)
        num_evictable = len([one for one in self.slow.kept if one not in self.held | set(slow)])
        fits = wanted - len(slow) <= len(self.pages.free) + num_evictable
        assert self.pages.can_take(wanted, cached) == fits
        if not fits:
            return
        for one in slow:
            self.slow.use(one)
        num_evicted = max(0, wanted - len(slow) - len(self.pages.free))
        self.slow.evict(num_evicted, self.held | set(slow))
        held = self.pages.take(self.next_id, wanted, cached)
        for page in held[len(cached) :]:
            self.contents.pop(page, None)
        self.requests[self.next_id], self.read[self.next_id] = (experts, text), slow
        self.next_id += 1

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), is_skipped=st.booleans())
    def read_a_page(self, data, is_skipped):
        """The next whole page is read, or taken over where another request has read it."""
        request_id = data.draw(st.sampled_from(sorted(self.requests)))
        experts, text = self.requests[request_id]
        begin = len(self.read[request_id]) * self.page_tokens
        tokens, beginning = text[begin : begin + self.page_tokens], text[: begin + self.page_tokens]
        if len(tokens) < self.page_tokens:
            return
        is_there = (experts, beginning) in self.slow.kept
        if is_skipped:
            assert self.pages.find_next(request_id, experts, tokens) == is_there
            if not is_there:
                return
        else:
            if not is_there:
                page = self.pages.held[request_id][begin // self.page_tokens]
                self.contents[page] = (experts, beginning)
            self.pages.share(request_id, experts, tokens)
        self.read[request_id].append((experts, beginning))
        self.slow.use((experts, beginning))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def end(self, data):
        self.end_one(data.draw(st.sampled_from(sorted(self.requests))))

    def end_one(self, request_id):
        self.pages.release(request_id)
        del self.requests[request_id]
        for one in reversed(self.read.pop(request_id)):
            self.slow.use(one)

    @rule(expert=st.sampled_from(EXPERTS))
    def withdraw(self, expert):
        for request_id, (experts, _) in list(self.requests.items()):
            if expert in experts:
                self.end_one(request_id)
        self.pages.forget(expert)
        self.slow.kept = [one for one in self.slow.kept if expert not in one[0]]
        assert not any(expert in experts for experts in self.pages.cache.beginnings)

    @invariant()
    def the_tree_is_the_list(self):
        pages = self.pages
        assert_each_page_is_in_one_place(pages, self.num_pages)
        cached = [self.contents[page.page] for page in pages.cache.pages()]
        assert sorted(cached) == sorted(self.slow.kept)
        assert pages.held.keys() == self.requests.keys()
        for request_id, read in self.read.items():
            shared = pages.held[request_id][: len(read)]
            assert [self.contents[page] for page in shared] == read

    def teardown(self):
        for request_id in list(getattr(self, "requests", ())):
            self.end_one(request_id)
            self.the_tree_is_the_list()
        assert not hasattr(self, "pages") or self.pages.num_free == self.num_pages


class EngineUnderAnyOrder(RuleBasedStateMachine):
    """The fake runtime reads its answers back from the pages, so a stray page changes them."""

    @initialize(
        num_pages=st.integers(1, 12),
        page_tokens=st.integers(1, 5),
        batch=st.integers(1, 20),
        switches=st.tuples(st.booleans(), st.booleans()),
    )
    def start(self, num_pages, page_tokens, batch, switches):
        self.runtime = CountingRuntime(page_tokens=page_tokens, max_context_tokens=40)
        self.room = num_pages * page_tokens
        self.time = 0.0
        self.engine = Engine(
            self.runtime,
            max_batch_tokens=batch,
            max_tokens=self.room,
            caches_prefixes=switches[0],
            speculates=switches[1],
            clock=lambda: self.time,
        )
        self.requests: dict[int, Request] = {}
        self.deadlines: dict[int, float] = {}
        self.generated: dict[int, list[int]] = {}

    def end(self, request_id: int) -> Request:
        self.generated.pop(request_id)
        self.deadlines.pop(request_id, None)
        return self.requests.pop(request_id)

    def take_in(self, token: NewToken) -> None:
        if token.finish == "failed":
            assert "out of luck" in token.error
            self.end(token.request_id)
            return
        if token.finish == "time":
            assert self.time >= self.deadlines[token.request_id]
            self.end(token.request_id)
            return
        mine = self.generated[token.request_id]
        mine.append(token.token_id)
        expected = continued(self.requests[token.request_id].token_ids, len(mine))
        assert mine == expected
        if token.finish:
            request = self.end(token.request_id)
            assert (token.finish == "end") == (token.token_id in request.end_ids)
            assert token.finish == "end" or len(mine) == request.max_new_tokens

    @rule(
        prompt=st.one_of(alike_texts, st.lists(token_ids, min_size=1, max_size=20)),
        max_new_tokens=st.integers(1, 12),
        end_ids=st.frozensets(token_ids, max_size=3),
        experts=sets_of_experts,
        max_seconds=st.none() | st.integers(1, 5),
    )
    def submit(self, prompt, max_new_tokens, end_ids, experts, max_seconds):
        loaded = self.runtime.expert_hashes
        request = Request(
            tuple(prompt),
            max_new_tokens,
            end_ids=end_ids,
            experts=tuple(expert for expert in experts if expert in loaded),
            max_seconds=max_seconds,
        )
        if len(prompt) + max_new_tokens > self.room:
            try:
                self.engine.submit(request)
                raise AssertionError("a request that can never fit was let in")
            except PromptTooLong:
                return
        request_id = self.engine.submit(request)
        self.requests[request_id] = request
        self.generated[request_id] = []
        if max_seconds is not None:
            self.deadlines[request_id] = self.time + max_seconds

    @rule()
    def step(self):
        for token in self.engine.step():
            self.take_in(token)

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def wait(self, seconds):
        self.time += seconds

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data):
        request_id = data.draw(st.sampled_from(sorted(self.requests)))
        self.engine.cancel(request_id)
        self.end(request_id)
        self.engine.cancel(request_id)

    @rule()
    def fail(self):
        """Whatever runs in this step fails, all the rest goes on."""
        self.runtime.failures.append(RuntimeError("out of luck"))
        num_batches = len(self.runtime.batches)
        tokens = self.engine.step()
        self.runtime.failures.clear()
        num_spans = sum(map(len, self.runtime.batches[num_batches:]))
        assert sum(token.finish == "failed" for token in tokens) == num_spans
        assert all(token.finish in ("failed", "time") for token in tokens)
        for token in tokens:
            self.take_in(token)

    @rule(expert=st.sampled_from(EXPERTS))
    def add_or_withdraw(self, expert):
        """A withdrawal waits for requests under way, so it is made where there are none."""
        if expert not in self.runtime.expert_hashes:
            self.engine.add_expert(expert, {})
        elif not self.engine.scheduler.using(expert):
            self.engine.remove_expert(expert)
            assert not any(expert in experts for experts in self.engine.pages.cache.beginnings)

    @rule(
        text=st.one_of(
            st.lists(st.integers(0, 1), min_size=2, max_size=25),
            st.lists(token_ids, min_size=2, max_size=25),
        ),
        start=st.integers(1, 20),
        fails=st.booleans(),
    )
    def score(self, text, start, fails):
        if fails:
            self.runtime.failures.append(RuntimeError("out of luck"))
        try:
            logprobs = self.engine.score(text, start=start)
        except (RequestError, RuntimeError):
            return
        finally:
            self.runtime.failures.clear()
        foretold = [continued(text[:i], 1)[0] for i in range(start, len(text))]
        is_foretold = [a == b for a, b in zip(foretold, text[start:], strict=True)]
        assert [logprob > -2 for logprob in logprobs] == is_foretold

    @rule(prompt=st.lists(token_ids, min_size=1, max_size=6), taken=st.integers(0, 3))
    def generate_and_close(self, prompt, taken):
        """While it drives, it takes the others' steps too; their tokens are theirs to fetch."""
        if self.requests or len(prompt) + 5 > self.room:
            return
        stream = self.engine.generate(Request(tuple(prompt), 5))
        came = [token.token_id for token, _ in zip(stream, range(taken), strict=False)]
        stream.close()
        assert came == continued(prompt, taken)

    @invariant()
    def no_page_is_lost_or_shared(self):
        pages = self.engine.pages
        assert_each_page_is_in_one_place(pages, self.engine.num_pages)
        assert pages.held.keys() == self.engine.scheduler.running.keys()
        waiting = {running.request_id for running in self.engine.scheduler.waiting}
        assert waiting | pages.held.keys() == self.requests.keys()
        assert not self.engine._listeners

    def teardown(self):
        if not hasattr(self, "engine"):
            return
        num_steps = 0
        while self.engine.has_work:
            self.step()
            num_steps += 1
            assert num_steps < 1500, "requests that never end"
        assert not self.requests
        assert self.engine.pages.num_free == self.engine.num_pages


TestPagesUnderAnyOrder = PagesUnderAnyOrder.TestCase
TestPagesUnderAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestEngineUnderAnyOrder = EngineUnderAnyOrder.TestCase
TestEngineUnderAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

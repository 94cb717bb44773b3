"""Law 5: KV pages. None lost, none shared, under any order of submit, step, cancel and fail."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fakes import VOCABULARY, CountingRuntime, continued
from tramontane.engine.engine import Engine
from tramontane.engine.pages import KVPages
from tramontane.engine.request import NewToken, Request
from tramontane.errors import PromptTooLong, RequestError

token_ids = st.integers(0, VOCABULARY - 1)


def everywhere(pages: KVPages) -> list[int]:
    return sorted(pages.free + [page for held in pages.held.values() for page in held])


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
        assert everywhere(pages) == list(range(8))


def test_released_pages_come_back():
    pages = KVPages(num_pages=3)
    first = list(pages.take(1, 3))
    pages.release(1)
    pages.release(1)
    assert pages.take(2, 3) == first


class EngineUnderAnyOrder(RuleBasedStateMachine):
    """The fake runtime reads its answers back from the pages, so a stray page changes them."""

    @initialize(
        num_pages=st.integers(1, 12), page_tokens=st.integers(1, 5), batch=st.integers(1, 20)
    )
    def start(self, num_pages: int, page_tokens: int, batch: int):
        self.runtime = CountingRuntime(page_tokens=page_tokens, max_context_tokens=40)
        self.room = num_pages * page_tokens
        self.engine = Engine(self.runtime, max_batch_tokens=batch, max_tokens=self.room)
        self.requests: dict[int, Request] = {}
        self.generated: dict[int, list[int]] = {}

    def end(self, request_id: int) -> Request:
        self.generated.pop(request_id)
        return self.requests.pop(request_id)

    def take_in(self, token: NewToken) -> None:
        if token.finish == "failed":
            assert "out of luck" in token.error
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
        prompt=st.lists(token_ids, min_size=1, max_size=20),
        max_new_tokens=st.integers(1, 12),
        end_ids=st.frozensets(token_ids, max_size=3),
    )
    def submit(self, prompt, max_new_tokens, end_ids):
        request = Request(tuple(prompt), max_new_tokens, end_ids=end_ids)
        if len(prompt) + max_new_tokens > self.room:
            try:
                self.engine.submit(request)
                raise AssertionError("a request that can never fit was let in")
            except PromptTooLong:
                return
        request_id = self.engine.submit(request)
        self.requests[request_id] = request
        self.generated[request_id] = []

    @rule()
    def step(self):
        for token in self.engine.step():
            self.take_in(token)

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
        assert len(tokens) == num_spans
        assert all(token.finish == "failed" for token in tokens)
        for token in tokens:
            self.take_in(token)

    @rule(text=st.lists(token_ids, min_size=2, max_size=25), fails=st.booleans())
    def score(self, text, fails):
        if fails:
            self.runtime.failures.append(RuntimeError("out of luck"))
        try:
            logprobs = self.engine.score(text)
        except (RequestError, RuntimeError):
            return
        finally:
            self.runtime.failures.clear()
        foretold = [continued(text[:i], 1)[0] for i in range(1, len(text))]
        is_foretold = [a == b for a, b in zip(foretold, text[1:], strict=True)]
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
        assert everywhere(pages) == list(range(self.engine.num_pages))
        assert pages.held.keys() == self.engine.scheduler.running.keys()
        waiting = {running.request_id for running in self.engine.scheduler.waiting}
        assert waiting | pages.held.keys() == self.requests.keys()
        assert not self.engine._queues

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


TestEngineUnderAnyOrder = EngineUnderAnyOrder.TestCase
TestEngineUnderAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

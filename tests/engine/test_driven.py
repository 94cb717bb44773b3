"""Requests submitted with a listener, while one thread drives: tokens, turns for others, an end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import VOCABULARY, CountingRuntime, continued
from tramontane.engine.engine import Engine
from tramontane.engine.request import NewToken, Request
from tramontane.errors import RequestError

PATIENCE_SECONDS = 60
EXPERT = "e" * 64


class Heard:
    """What a request's listener was given, and whether the last of it has come."""

    def __init__(self):
        self.tokens: list[NewToken] = []
        self.has_ended = threading.Event()

    def __call__(self, token: NewToken) -> None:
        assert not self.has_ended.is_set(), "a token came after the last"
        self.tokens.append(token)
        if token.finish:
            self.has_ended.set()

    def ids(self) -> list[int]:
        assert self.has_ended.wait(PATIENCE_SECONDS)
        return [token.token_id for token in self.tokens]


@contextmanager
def driven(engine: Engine) -> Iterator[Engine]:
    is_over = threading.Event()
    driver = threading.Thread(target=engine.drive, args=(is_over,), daemon=True)
    driver.start()
    try:
        yield engine
    finally:
        is_over.set()
        driver.join(PATIENCE_SECONDS)
    assert not driver.is_alive()


@given(
    prompts=st.lists(
        st.tuples(
            st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20), st.integers(1, 12)
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=30, deadline=None)
def test_each_listener_gets_its_own_tokens_and_one_end(prompts):
    with driven(Engine(CountingRuntime(), max_tokens=128)) as engine:
        heard = [Heard() for _ in prompts]
        for (prompt, count), put in zip(prompts, heard, strict=True):
            engine.submit(Request(tuple(prompt), count), put)
        for (prompt, count), put in zip(prompts, heard, strict=True):
            assert put.ids() == continued(prompt, count)
        assert not engine._listeners


def test_others_get_their_turns_while_the_driver_has_work():
    engine = Engine(CountingRuntime(max_context_tokens=4000), max_tokens=4000)
    engine.add_expert(EXPERT, {})
    with driven(engine):
        long = Heard()
        request_id = engine.submit(Request((1,), 3000), long)
        text = [5, *continued([5], 4)]
        for _ in range(20):
            assert (engine.score(text) > -1).all()
            assert [t.token_id for t in engine.generate(Request((7,), 3))] == continued([7], 3)
        engine.remove_expert(EXPERT)
        assert engine.runtime.expert_hashes == ()
        assert not long.has_ended.is_set(), "the long request ended before the others were served"
        engine.cancel(request_id)
        assert long.has_ended.wait(PATIENCE_SECONDS)
    assert long.tokens[-1].finish == "cancelled"
    assert [t.token_id for t in long.tokens[:-1]] == continued([1], len(long.tokens) - 1)


def test_progress_tells_what_was_read_and_nothing_after_the_end():
    engine = Engine(CountingRuntime(), max_batch_tokens=4)
    prompt = tuple(range(10))
    request_id = engine.submit(Request(prompt, 2))
    assert engine.progress(request_id) == (0, 0)
    engine.step()
    assert engine.progress(request_id) == (4, 0)
    while engine.has_work:
        engine.step()
    assert engine.progress(request_id) is None
    again = engine.submit(Request(prompt, 2))
    engine.step()
    # Two pages of four were there; the last token is always read.
    assert engine.progress(again)[1] == 8


def test_a_prompt_can_be_read_for_its_logprobs_alone():
    engine = Engine(CountingRuntime(max_context_tokens=10), max_batch_tokens=4)
    prompt = (3, *continued([3], 9))
    (token,) = engine.generate(Request(prompt, 0, prompt_logprobs=2))
    assert (token.token_id, token.finish) == (-1, "length")
    assert [p.token_id for p in token.prompt_logprobs] == list(prompt[1:])
    assert all(p.top[0] == (p.token_id, p.logprob) for p in token.prompt_logprobs)
    assert engine.pages.num_free == engine.num_pages


def test_nothing_new_without_logprobs_is_no_request():
    with pytest.raises(RequestError, match="max_new_tokens=0"):
        Request((1, 2), 0)

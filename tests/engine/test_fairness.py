"""Nobody starves: not those that generate, not short prompts, not the long one before them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_engine import ids, run_all

from fakes import CountingRuntime, continued
from tramontane.engine.engine import Engine
from tramontane.engine.request import Request
from tramontane.engine.scheduler import MOST_OVERTAKERS, PROMPT_TOKENS_BESIDE_GENERATING

LONG, SHORT = 4000, 20


def new_engine(max_tokens: int = 16384, **settings) -> Engine:
    runtime = CountingRuntime(page_tokens=64, max_context_tokens=8192)
    return Engine(runtime, max_tokens=max_tokens, **settings)


def prompt(length: int, first: int = 0) -> tuple[int, ...]:
    return tuple((first + n * n) % 50 for n in range(length))


def steps_to_first_token(engine: Engine, request_id: int) -> int:
    for number in range(1, 10_000):
        if request_id in [token.request_id for token in engine.step()]:
            return number
    raise AssertionError("it never got a token")


def test_a_long_prompt_takes_no_step_from_those_that_generate():
    engine = new_engine(speculates=False)
    talking = engine.submit(Request(prompt(SHORT), 60))
    engine.step()
    engine.submit(Request(prompt(LONG, 7), 5))
    for _ in range(30):
        assert talking in [token.request_id for token in engine.step()]
        num_tokens = sum(len(span.token_ids) for span in engine.runtime.batches[-1])
        assert num_tokens <= 1 + PROMPT_TOKENS_BESIDE_GENERATING


def test_a_short_prompt_passes_a_long_one():
    engine = new_engine()
    long = engine.submit(Request(prompt(LONG), 5))
    engine.step()
    short = engine.submit(Request(prompt(SHORT, 7), 1))
    assert steps_to_first_token(engine, short) == 1
    # Alone, the long one takes 8 steps of 512 tokens.
    assert steps_to_first_token(engine, long) <= 7


def test_short_prompts_without_end_hold_no_long_one_up():
    """The oldest has half of each batch, whatever comes."""
    engine = new_engine(caches_prefixes=False)
    long = engine.submit(Request(prompt(LONG), 5))
    for number in range(1, 100):
        for first in range(3):
            engine.submit(Request(prompt(300, number + 7 * first), 1))
        if long in [token.request_id for token in engine.step()]:
            break
    assert number <= 2 * LONG / 512 + 1


def test_more_that_generate_than_a_batch_holds_take_turns():
    engine = new_engine(max_batch_tokens=4, speculates=False)
    numbers = [engine.submit(Request((n,), 12)) for n in range(10)]
    counts = dict.fromkeys(numbers, 0)
    while engine.has_work:
        for token in engine.step():
            counts[token.request_id] += 1
        under_way = [counts[n] for n in numbers if n in engine.scheduler.running and counts[n]]
        assert not under_way or max(under_way) - min(under_way) <= 4
    assert set(counts.values()) == {12}


def test_one_that_waits_for_room_is_passed_by_few():
    """A stream holds half the room; the second wants more than is left, the rest little."""
    engine = new_engine(max_tokens=640)
    stream = engine.generate(Request(prompt(SHORT), 300))
    next(stream)
    large = engine.submit(Request(prompt(500), 100))
    small = [engine.submit(Request(prompt(SHORT, n + 1), 1)) for n in range(3 * MOST_OVERTAKERS)]
    order = []
    while len(order) < len(small) + 1:
        order += [token.request_id for token in engine.step() if token.request_id != large]
        order += [large] if large not in order and large in engine.scheduler.running else []
        order = [request_id for request_id in order if request_id in {large, *small}]
    assert order.index(large) == MOST_OVERTAKERS
    assert ids(list(stream)) == continued(prompt(SHORT), 300)[1:]


@pytest.mark.parametrize("caches_prefixes", [False, True])
@given(
    lengths=st.lists(st.integers(1, 700), min_size=1, max_size=8),
    batch=st.integers(1, 600),
    is_alike=st.booleans(),
)
def test_the_oldest_prompt_always_moves_on(caches_prefixes, lengths, batch, is_alike):
    engine = new_engine(max_batch_tokens=batch, caches_prefixes=caches_prefixes, speculates=False)
    asked = {
        engine.submit(Request(prompt(length, 0 if is_alike else n), 2)): prompt(
            length, 0 if is_alike else n
        )
        for n, length in enumerate(lengths)
    }
    answers = {request_id: [] for request_id in asked}
    while engine.has_work:
        before = {r.request_id: r.num_read for r in engine.scheduler.running.values()}
        for token in engine.step():
            answers[token.request_id].append(token.token_id)
        reading = [
            (request_id, num_read)
            for request_id, num_read in before.items()
            if num_read < len(asked[request_id])
        ]
        num_generating = len(before) - len(reading)
        if reading and num_generating < batch:
            request_id, num_read = reading[0]
            running = engine.scheduler.running.get(request_id)
            assert running is None or running.num_read > num_read
    assert answers == {request_id: continued(text, 2) for request_id, text in asked.items()}


def test_a_whole_batch_goes_to_prompts_when_nobody_generates():
    engine = new_engine()
    engine.submit(Request(prompt(LONG), 5))
    engine.step()
    assert [len(span.token_ids) for span in engine.runtime.batches[-1]] == [512]
    run_all(engine)

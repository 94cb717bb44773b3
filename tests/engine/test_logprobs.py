"""Log-probabilities of what was generated and of the prompt, with the likeliest beside them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import run_all

from fakes import VOCABULARY, CountingRuntime, following
from tramontane.engine.engine import Engine
from tramontane.engine.request import MOST_TOP_LOGPROBS, Request
from tramontane.engine.sampler import likeliest_tokens
from tramontane.engine.scheduler import MOST_LOGITS
from tramontane.errors import RequestError

PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)
LIKELY = 5 - np.log(np.exp(5) + VOCABULARY - 1)


def test_nothing_is_told_that_was_not_asked_for():
    tokens = list(Engine(CountingRuntime()).generate(Request(PROMPT, 3)))
    assert {(token.top, token.prompt_logprobs) for token in tokens} == {((), None)}


def test_generated_tokens_carry_the_likeliest():
    tokens = list(Engine(CountingRuntime()).generate(Request(PROMPT, 3, top_logprobs=3)))
    for token in tokens:
        first, *others = token.top
        assert first == (token.token_id, token.logprob)
        assert token.logprob == pytest.approx(LIKELY, abs=1e-5)
        # Equal ones stand by id.
        assert [i for i, _ in others] == [i for i in range(3) if i != token.token_id][:2]


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("warm", [False, True])
def test_prompt_logprobs_come_whole_whatever_the_chunks_and_the_cache(batch, warm):
    engine = Engine(CountingRuntime(), max_batch_tokens=batch)
    if warm:
        list(engine.generate(Request(PROMPT, 3)))
    first, *rest = engine.generate(Request(PROMPT, 3, prompt_logprobs=2))
    assert all(token.prompt_logprobs is None for token in rest)
    assert [one.token_id for one in first.prompt_logprobs] == list(PROMPT[1:])
    for position, one in enumerate(first.prompt_logprobs, start=1):
        foretold = following(PROMPT[:position])
        expected = LIKELY if foretold == one.token_id else LIKELY - 5
        assert one.logprob == pytest.approx(expected, abs=1e-5)
        assert one.top[0][0] == foretold
        assert len(one.top) == 2
    scores = engine.score(PROMPT)
    assert [np.float32(one.logprob) for one in first.prompt_logprobs] == scores.tolist()
    assert first.num_cached == 0


def test_a_prompt_of_one_token_has_none():
    (token,) = Engine(CountingRuntime()).generate(Request((1,), 1, prompt_logprobs=0))
    assert token.prompt_logprobs == ()


def test_logits_of_long_prompts_are_held_a_few_at_a_time():
    runtime = CountingRuntime(max_context_tokens=4096)
    engine = Engine(runtime, max_batch_tokens=1024)
    prompt = tuple(n % VOCABULARY for n in range(700))
    for _ in range(2):
        engine.submit(Request(prompt, 1, prompt_logprobs=0))
    tokens = run_all(engine)
    assert [len(t[0].prompt_logprobs) for t in tokens.values()] == [699, 699]
    rows = [sum(span.num_logits for span in batch) for batch in runtime.batches]
    assert max(rows) <= MOST_LOGITS


@settings(deadline=None)
@given(
    logprobs=st.lists(st.sampled_from([-0.5, -1.0, -2.0, -9.0]), min_size=1, max_size=40),
    num_top=st.integers(0, 45),
)
def test_the_likeliest_are_the_first_of_all_in_order(logprobs, num_top):
    top = likeliest_tokens(np.array(logprobs, np.float32), num_top)
    ranked = sorted(enumerate(logprobs), key=lambda pair: (-pair[1], pair[0]))
    assert top == tuple(ranked[:num_top])


@pytest.mark.parametrize("name", ["top_logprobs", "prompt_logprobs"])
@pytest.mark.parametrize("wrong", [-1, MOST_TOP_LOGPROBS + 1])
def test_numbers_out_of_range_are_refused_by_name(name, wrong):
    with pytest.raises(RequestError, match=name):
        Request(PROMPT, 3, **{name: wrong})

"""What comes back from the engine: tokens, finish reasons, errors, scores; one thread or many."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from fakes import VOCABULARY, CountingRuntime, HeldRuntime, continued, following
from tramontane.engine.engine import Engine
from tramontane.engine.reading import SCORE_CHUNK_TOKENS
from tramontane.engine.request import GuideStep, NewToken, Request, Sampling
from tramontane.errors import PromptTooLong, RequestError

PROMPT = (3, 1, 4, 1, 5)
EXPERT = "e" * 64


def new_engine(**settings) -> Engine:
    return Engine(CountingRuntime(), **settings)


def run_all(engine: Engine) -> dict[int, list[NewToken]]:
    tokens: dict[int, list[NewToken]] = {}
    while engine.has_work:
        for token in engine.step():
            tokens.setdefault(token.request_id, []).append(token)
    return tokens


def ids(tokens: list[NewToken]) -> list[int]:
    return [token.token_id for token in tokens]


class Beside(threading.Thread):
    """Runs a function in another thread; `result` waits for it and raises what it raised."""

    def __init__(self, function: Callable[[], object]):
        super().__init__(daemon=True)
        self.function, self.value, self.error = function, None, None
        self.start()

    def run(self) -> None:
        try:
            self.value = self.function()
        except BaseException as error:  # noqa: BLE001  it is raised again where it is waited for
            self.error = error

    def result(self) -> object:
        self.join(timeout=60)
        assert not self.is_alive(), "the other thread never came back"
        if self.error:
            raise self.error
        return self.value


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for another thread to get somewhere; the minute only ends a test that hangs."""
    for _ in range(6000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("the other thread never got there")


# Finish reasons


def test_length_ends_a_request_at_its_last_token():
    tokens = list(new_engine().generate(Request(PROMPT, 4)))
    assert ids(tokens) == continued(PROMPT, 4)
    assert [token.finish for token in tokens] == [None, None, None, "length"]


def test_an_end_token_is_given_and_is_the_last():
    expected = continued(PROMPT, 10)
    end_id = expected[2]
    tokens = list(new_engine().generate(Request(PROMPT, 10, end_ids=frozenset({end_id}))))
    assert ids(tokens) == expected[: expected.index(end_id) + 1]
    assert tokens[-1].finish == "end"


def test_an_end_token_in_the_last_place_is_an_end():
    end_id = continued(PROMPT, 1)[0]
    (token,) = new_engine().generate(Request(PROMPT, 1, end_ids=frozenset({end_id})))
    assert token.finish == "end"


def test_a_guide_masks_and_finishes():
    seen = []

    def guide(generated):
        seen.append(list(generated))
        mask_V = np.zeros(VOCABULARY, dtype=bool)
        mask_V[10 + len(generated)] = True
        return GuideStep(mask_V, is_finished=len(generated) == 3)

    tokens = list(new_engine().generate(Request(PROMPT, 9, guide=guide)))
    assert ids(tokens) == [10, 11, 12, -1]
    assert tokens[-1].finish == "guide"
    assert seen == [[], [10], [10, 11], [10, 11, 12]]


def test_a_guide_that_raises_fails_its_request_alone():
    def guide(generated):
        raise KeyError("no such rule")

    engine = new_engine()
    bad = engine.submit(Request(PROMPT, 3, guide=guide))
    good = engine.submit(Request(PROMPT, 3))
    tokens = run_all(engine)
    assert [token.finish for token in tokens[bad]] == ["failed"]
    assert "KeyError" in tokens[bad][0].error
    assert "no such rule" in tokens[bad][0].error
    assert ids(tokens[good]) == continued(PROMPT, 3)
    assert engine.pages.num_free == engine.num_pages


def test_a_guide_that_allows_nothing_fails_its_request():
    def guide(generated):
        return GuideStep(np.zeros(VOCABULARY, dtype=bool))

    (token,) = new_engine().generate(Request(PROMPT, 3, guide=guide))
    assert token.finish == "failed"
    assert "allows no token" in token.error


def test_a_runtime_that_raises_fails_its_batch_and_the_engine_goes_on():
    engine = new_engine()
    engine.runtime.failures.append(MemoryError("no room for the batch"))
    tokens = list(engine.generate(Request(PROMPT, 3)))
    assert [token.finish for token in tokens] == ["failed"]
    assert "no room for the batch" in tokens[0].error
    assert engine.pages.num_free == engine.num_pages
    assert ids(list(engine.generate(Request(PROMPT, 3)))) == continued(PROMPT, 3)


def test_an_interrupt_between_tokens_leaves_the_engine_usable():
    engine = new_engine()
    stream = engine.generate(Request(PROMPT, 6))
    next(stream)
    engine.runtime.failures.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert engine.pages.num_free == engine.num_pages
    assert ids(list(engine.generate(Request(PROMPT, 3)))) == continued(PROMPT, 3)


# What is refused


def test_a_prompt_too_long_is_told_with_counts():
    engine = new_engine()
    with pytest.raises(PromptTooLong, match=r"60 tokens and 10 may follow.* 64.* by 6 tokens"):
        engine.submit(Request((1,) * 60, 10))
    engine.submit(Request((1,) * 54, 10))


def test_a_prompt_too_long_for_the_planned_memory_is_told_with_counts():
    engine = new_engine(max_tokens=16)
    with pytest.raises(PromptTooLong, match=r"12 tokens and 5 may follow.* 16 tokens"):
        engine.submit(Request((1,) * 12, 5))
    engine.submit(Request((1,) * 12, 4))


@pytest.mark.parametrize("strange", [-1, VOCABULARY, 10**9])
def test_token_ids_outside_the_vocabulary_are_refused(strange):
    with pytest.raises(RequestError, match=str(strange)):
        new_engine().submit(Request((1, strange), 3))


def test_experts_that_are_not_loaded_are_refused():
    for call in (
        lambda engine: engine.submit(Request(PROMPT, 3, experts=(EXPERT,))),
        lambda engine: engine.score(PROMPT, experts=[EXPERT]),
        lambda engine: list(engine.generate(Request(PROMPT, 3, experts=(EXPERT,)))),
    ):
        engine = new_engine()
        with pytest.raises(RequestError, match="eeee"):
            call(engine)
        assert engine.pages.num_free == engine.num_pages


def test_empty_prompts_and_no_new_tokens_are_refused():
    with pytest.raises(RequestError, match="empty"):
        Request((), 3)
    with pytest.raises(RequestError, match="max_new_tokens=0"):
        Request(PROMPT, 0)


# Order


def test_requests_wait_for_pages_and_all_get_their_turn():
    """Memory holds one request at a time."""
    engine = new_engine(max_tokens=12)
    prompts = [tuple(range(n, n + 5)) for n in range(6)]
    submitted = {engine.submit(Request(prompt, 7)): prompt for prompt in prompts}
    tokens = run_all(engine)
    assert {r: ids(t) for r, t in tokens.items()} == {
        r: continued(prompt, 7) for r, prompt in submitted.items()
    }
    assert all(len(batch) == 1 for batch in engine.runtime.batches)


def test_batches_stay_below_their_bound_and_join_requests():
    engine = new_engine(max_batch_tokens=8, max_tokens=512)
    prompts = [tuple(range(n, n + 5 * n + 1)) for n in range(6)]
    submitted = {engine.submit(Request(prompt, 5)): prompt for prompt in prompts}
    tokens = run_all(engine)
    sizes = [sum(len(span.token_ids) for span in batch) for batch in engine.runtime.batches]
    assert max(sizes) == 8
    assert max(len(batch) for batch in engine.runtime.batches) > 1
    assert {r: ids(t) for r, t in tokens.items()} == {
        r: continued(prompt, 5) for r, prompt in submitted.items()
    }


def test_only_the_tokens_that_are_drawn_from_get_logits():
    engine = new_engine(max_batch_tokens=2)
    list(engine.generate(Request(PROMPT, 2)))
    spans = [span for batch in engine.runtime.batches for span in batch]
    assert [(len(span.token_ids), span.num_logits) for span in spans] == [
        (2, 0),
        (2, 0),
        (1, 1),
        (1, 1),
    ]


def test_a_seed_gives_the_same_tokens_in_any_company():
    sampling = Sampling(temperature=3.0, seed=9)
    alone = ids(list(new_engine().generate(Request(PROMPT, 20, sampling))))
    engine = new_engine(max_batch_tokens=3, max_tokens=512)
    for seed in (1, 2, 3):
        engine.submit(Request(PROMPT[:seed], 20, Sampling(3.0, seed=seed)))
    request_id = engine.submit(Request(PROMPT, 20, sampling))
    assert ids(run_all(engine)[request_id]) == alone
    assert alone != ids(list(new_engine().generate(Request(PROMPT, 20, Sampling(3.0, seed=8)))))


# Cancelling


def test_closing_the_iterator_frees_the_pages():
    engine = new_engine()
    stream = engine.generate(Request(PROMPT, 9))
    next(stream)
    assert engine.pages.num_free < engine.num_pages
    stream.close()
    assert engine.pages.num_free == engine.num_pages
    assert not engine.has_work


def test_cancelling_a_waiting_request_lets_it_never_start():
    engine = new_engine(max_tokens=12)
    first, second = engine.submit(Request(PROMPT, 7)), engine.submit(Request(PROMPT, 7))
    engine.step()
    engine.cancel(second)
    assert run_all(engine).keys() == {first}
    engine.cancel(second)
    engine.cancel(12345)
    assert engine.pages.num_free == engine.num_pages


def test_a_cancelled_stream_says_so_and_ends():
    engine = new_engine()
    stream = engine.generate(Request(PROMPT, 9))
    first = next(stream)
    engine.cancel(first.request_id)
    (last,) = stream
    assert (last.finish, last.token_id) == ("cancelled", -1)
    assert engine.pages.num_free == engine.num_pages


def test_another_thread_cancels_a_request_while_it_computes():
    runtime = HeldRuntime()
    engine = Engine(runtime)
    stream = Beside(lambda: list(engine.generate(Request(PROMPT, 9))))
    assert runtime.is_inside.wait(timeout=60)
    engine.cancel(0)
    assert engine.pages.num_free == engine.num_pages
    runtime.may_go_on.set()
    assert [token.finish for token in stream.result()] == ["cancelled"]
    assert len(runtime.batches) == 1
    assert engine.pages.num_free == engine.num_pages


def test_a_request_cancelled_while_it_computes_draws_nothing_more():
    def guide(generated):
        raise AssertionError("nobody waits for this token")

    runtime = HeldRuntime()
    engine = Engine(runtime)
    cancelled = engine.submit(Request(PROMPT, 9, guide=guide))
    other = engine.submit(Request((7, 7, 7), 9))
    stepping = Beside(engine.step)
    assert runtime.is_inside.wait(timeout=60)
    engine.cancel(cancelled)
    runtime.may_go_on.set()
    assert [token.request_id for token in stepping.result()] == [other]


# Many threads


def test_two_threads_share_a_batch_and_each_gets_its_own_tokens():
    runtime = HeldRuntime()
    engine = Engine(runtime)
    other_prompt = (7, 7, 7)
    one = Beside(lambda: list(engine.generate(Request(PROMPT, 9))))
    assert runtime.is_inside.wait(timeout=60)
    two = Beside(lambda: list(engine.generate(Request(other_prompt, 9))))
    wait_until(lambda: len(engine.scheduler.waiting) == 1)
    runtime.may_go_on.set()
    assert ids(one.result()) == continued(PROMPT, 9)
    assert ids(two.result()) == continued(other_prompt, 9)
    assert max(len(batch) for batch in runtime.batches) == 2
    assert engine.pages.num_free == engine.num_pages


def test_many_threads_generate_score_and_close_at_once():
    engine = new_engine(max_batch_tokens=7, max_tokens=80)

    def work(number: int) -> None:
        for turn in range(6):
            prompt = tuple((number * 7 + turn + i) % VOCABULARY for i in range(1 + number % 5))
            if (number + turn) % 3 == 0:
                stream = engine.generate(Request(prompt, 9))
                assert next(stream).token_id == following(prompt)
                stream.close()
            elif (number + turn) % 3 == 1:
                assert ids(list(engine.generate(Request(prompt, 9)))) == continued(prompt, 9)
            else:
                text = [*prompt, *continued(prompt, 4)]
                try:
                    assert (engine.score(text, start=len(prompt)) > -1).all()
                except RequestError as error:
                    assert "try again" in str(error)  # noqa: PT017  room is a matter of luck here

    threads = [Beside(lambda number=number: work(number)) for number in range(8)]
    for thread in threads:
        thread.result()
    assert engine.pages.num_free == engine.num_pages
    assert not engine._listeners


# Scores


def test_scores_are_log_softmax_of_what_follows():
    text = [*PROMPT, *continued(PROMPT, 3), 0]
    engine = new_engine()
    scores = engine.score(text)
    likely = 5 - np.log(np.exp(5) + VOCABULARY - 1)
    expected = [
        likely if following(text[:i]) == text[i] else likely - 5 for i in range(1, len(text))
    ]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert scores.dtype == np.float32
    for start in (1, 4, len(text) - 1, len(text)):
        assert engine.score(text, start=start) == pytest.approx(expected[start - 1 :], abs=1e-5)
    many = engine.score_many([(text, 4), (text[:2], 1)])
    assert many[0] == pytest.approx(expected[3:], abs=1e-5)
    assert many[1] == pytest.approx(expected[:1], abs=1e-5)
    assert engine.pages.num_free == engine.num_pages


def test_scoring_from_before_the_first_token_is_refused():
    with pytest.raises(RequestError, match="start=0"):
        new_engine().score(PROMPT, start=0)


@pytest.mark.parametrize("length", [1, 2, SCORE_CHUNK_TOKENS, SCORE_CHUNK_TOKENS + 1, 600])
def test_long_texts_are_scored_across_chunks(length):
    engine = Engine(CountingRuntime(max_context_tokens=1024))
    text = [1, *continued([1], length - 1)]
    scores = engine.score(text)
    assert scores.shape == (length - 1,)
    assert (scores > -1).all()
    text[-1] = (text[-1] + 1) % VOCABULARY
    assert (engine.score(text)[:-1] > -1).all()
    assert (engine.score(text)[-1:] < -4).all()


def test_scoring_without_room_says_so_and_takes_nothing():
    engine = new_engine(max_tokens=64)
    stream = engine.generate(Request(PROMPT, 40))
    next(stream)
    with pytest.raises(RequestError, match="pages"):
        engine.score([1] * 30)
    with pytest.raises(RequestError, match="pages"):
        engine.logits_hash([1] * 30)
    assert len(ids(list(stream))) == 39
    assert len(engine.score([1] * 30)) == 29


def test_a_text_as_long_as_the_context_can_be_read():
    engine = new_engine()
    assert len(engine.score([1] * 64)) == 63
    with pytest.raises(PromptTooLong, match="65 tokens.* 64.* by 1 "):
        engine.score([1] * 65)
    with pytest.raises(PromptTooLong, match="20 tokens.* 16 tokens"):
        new_engine(max_tokens=16).score([1] * 20)


def test_short_texts_share_a_pass_as_far_as_pages_reach():
    texts = [([n, following([n])], 1) for n in range(20)]
    engine = new_engine(max_tokens=512)
    assert all(scores[0] > -1 for scores in engine.score_many(texts))
    assert [len(batch) for batch in engine.runtime.batches] == [20]
    engine = new_engine(max_tokens=32)
    stream = engine.generate(Request(PROMPT, 7))
    next(stream)
    assert all(scores[0] > -1 for scores in engine.score_many(texts))
    assert [len(batch) for batch in engine.runtime.batches] == [1, 5, 5, 5, 5]
    stream.close()
    assert engine.pages.num_free == engine.num_pages


# Experts


def test_removing_an_expert_waits_for_the_requests_that_began_with_it():
    engine = new_engine()
    engine.add_expert(EXPERT, {})
    stream = engine.generate(Request(PROMPT, 9, experts=(EXPERT,)))
    first = next(stream)
    removal = Beside(lambda: engine.remove_expert(EXPERT))
    wait_until(lambda: EXPERT in engine._leaving)
    with pytest.raises(RequestError, match="withdrawn"):
        engine.submit(Request(PROMPT, 3, experts=(EXPERT,)))
    with pytest.raises(RequestError, match="withdrawn"):
        engine.score(PROMPT, experts=[EXPERT])
    # The fake runtime fails when an expert of a running request isn't loaded any more.
    rest = list(stream)
    assert ids([first, *rest]) == continued(PROMPT, 9)
    removal.result()
    assert engine.runtime.expert_hashes == ()
    assert not engine._leaving


def test_removing_an_expert_waits_for_requests_still_in_the_queue():
    engine = new_engine(max_tokens=16)
    engine.add_expert(EXPERT, {})
    engine.submit(Request(PROMPT, 9))
    second = engine.submit(Request(PROMPT, 9, experts=(EXPERT,)))
    engine.step()
    assert len(engine.scheduler.waiting) == 1
    removal = Beside(lambda: engine.remove_expert(EXPERT))
    wait_until(lambda: EXPERT in engine._leaving)
    assert ids(run_all(engine)[second]) == continued(PROMPT, 9)
    removal.result()
    assert engine.runtime.expert_hashes == ()


def test_experts_come_while_other_requests_run():
    engine = new_engine()
    stream = engine.generate(Request(PROMPT, 9))
    first = next(stream)
    engine.add_expert(EXPERT, {})
    with_expert = engine.generate(Request(PROMPT, 9, experts=(EXPERT, EXPERT)))
    assert ids(list(with_expert)) == continued(PROMPT, 9)
    engine.remove_expert(EXPERT)
    assert ids([first, *stream]) == continued(PROMPT, 9)


def test_a_removal_that_nobody_holds_up_returns_at_once():
    engine = new_engine()
    engine.add_expert(EXPERT, {})
    engine.remove_expert(EXPERT)
    assert engine.runtime.expert_hashes == ()
    engine.remove_expert(EXPERT)

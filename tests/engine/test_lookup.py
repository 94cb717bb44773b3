"""Drafts copied from the context: the same tokens, in fewer passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine import ids, run_all

from fakes import VOCABULARY, CountingRuntime, following, one_hot
from tramontane.engine.engine import Engine
from tramontane.engine.lookup import FIRST_LENGTH, LONGEST, LONGEST_PAUSE, Drafts
from tramontane.engine.request import GuideStep, NewToken, Request, Sampling
from tramontane.engine.runtime import Span


def quoted(known: list[int]) -> int:
    """Returns what followed the last two tokens before; of nothing like it, something new."""
    for end in range(len(known) - 1, 1, -1):
        if known[end - 2 : end] == known[-2:]:
            return known[end]
    return following(known)


class QuotingRuntime(CountingRuntime):
    """Copies from its context, and now and then, at some positions, says something else."""

    def __init__(self, *, strays: int = 7, **sizes):
        super().__init__(**({"page_tokens": 4, "max_context_tokens": 256} | sizes))
        self.strays = strays

    def logits_of(self, span: Span) -> np.ndarray:
        end = span.start + len(span.token_ids)
        kept = self.memory[self.slots(span, end)].tolist()
        rows = []
        for length in range(end - span.num_logits + 1, end + 1):
            known = kept[:length]
            strays = length % self.strays == 0
            rows.append(one_hot(following(known) if strays else quoted(known)))
        return np.array(rows, np.float32).reshape(len(rows), VOCABULARY)


def generate(engine: Engine, request: Request) -> list[NewToken]:
    return list(engine.generate(request))


def told(tokens: list[NewToken]) -> list[tuple]:
    return [(t.token_id, t.logprob, t.top, t.finish) for t in tokens]


prompts = st.lists(st.integers(0, 3), min_size=1, max_size=30).map(tuple)


@settings(deadline=None)
@given(
    data=st.data(),
    strays=st.integers(2, 40),
    batch=st.integers(1, 40),
    num_requests=st.integers(1, 5),
)
def test_drafts_change_no_token(data, strays, batch, num_requests):
    requests = [
        Request(
            data.draw(prompts),
            data.draw(st.integers(1, 60)),
            Sampling(
                data.draw(st.sampled_from([0.0, 0.7, 2.0])), seed=data.draw(st.integers(0, 5))
            ),
            end_ids=data.draw(st.frozensets(st.integers(0, VOCABULARY - 1), max_size=2)),
            top_logprobs=data.draw(st.integers(0, 2)),
            speculates=data.draw(st.booleans()),
        )
        for _ in range(num_requests)
    ]
    plain = Engine(QuotingRuntime(strays=strays), speculates=False, caches_prefixes=False)
    expected = [told(generate(plain, request)) for request in requests]
    engine = Engine(QuotingRuntime(strays=strays), max_batch_tokens=batch, max_tokens=512)
    numbers = [engine.submit(request) for request in requests]
    tokens = run_all(engine)
    assert [told(tokens[number]) for number in numbers] == expected
    assert engine.pages.num_free == engine.num_pages


PROMPT = (*range(10, 30), 10, 11)


def num_passes(request: Request, **settings) -> int:
    engine = Engine(QuotingRuntime(strays=1000), **settings)
    assert len(generate(engine, request)) == request.max_new_tokens
    return len(engine.runtime.batches)


def test_text_that_quotes_takes_fewer_passes():
    assert num_passes(Request(PROMPT, 60), speculates=False) == 60
    assert num_passes(Request(PROMPT, 60)) <= 9
    assert num_passes(Request(PROMPT, 60, speculates=False)) == 60


def test_drafts_help_in_batches_too():
    engine = Engine(QuotingRuntime(strays=1000), max_tokens=1024)
    numbers = [engine.submit(Request((n, *PROMPT), 40)) for n in range(5)]
    tokens = run_all(engine)
    assert all(len(tokens[number]) == 40 for number in numbers)
    assert len(engine.runtime.batches) <= 10


def test_a_guide_is_asked_before_each_token_drafted_or_not():
    seen = []

    def guide(generated):
        seen.append(list(generated))
        mask_V = np.ones(VOCABULARY, dtype=bool)
        mask_V[15] = False
        return GuideStep(mask_V, is_finished=len(generated) == 12)

    tokens = generate(Engine(QuotingRuntime(strays=1000)), Request(PROMPT, 40, guide=guide))
    assert 15 not in ids(tokens)
    assert tokens[-1].finish == "guide"
    assert len(tokens) == 13
    assert seen == [ids(tokens[:number]) for number in range(13)]


def test_a_guide_that_raises_in_a_draft_fails_after_the_tokens_before():
    def guide(generated):
        if len(generated) == 5:
            raise KeyError("no such rule")
        return GuideStep()

    engine = Engine(QuotingRuntime(strays=1000))
    tokens = generate(engine, Request(PROMPT, 40, guide=guide))
    assert [token.finish for token in tokens] == [None] * 5 + ["failed"]
    assert engine.pages.num_free == engine.num_pages


def test_an_end_token_in_a_draft_is_the_last():
    tokens = generate(
        Engine(QuotingRuntime(strays=1000)), Request(PROMPT, 40, end_ids=frozenset({17}))
    )
    assert ids(tokens) == list(range(12, 18))
    assert tokens[-1].finish == "end"


# Which drafts, and how long


def test_a_draft_is_what_followed_the_last_tokens():
    drafts = Drafts([1, 2, 3, 4, 5, 6, 7, 1, 2])
    assert drafts.draft(9) == [3, 4, 5][:FIRST_LENGTH]
    assert drafts.draft(2) == [3, 4]
    assert drafts.draft(0) == []
    assert Drafts([1, 2, 3, 4]).draft(9) == []
    assert Drafts([]).draft(9) == []


def test_the_longest_run_is_believed_and_of_equal_ones_the_latest():
    assert Drafts([1, 2, 3, 9, 0, 2, 3, 8, 1, 2, 3]).draft(1) == [9]
    assert Drafts([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3]).draft(1) == [8]


def test_a_copy_that_reaches_its_own_end_repeats_itself():
    assert Drafts([5, 5, 5]).draft(3) == [5, 5, 5]
    assert Drafts([1, 2, 1, 2]).draft(3) == [1, 2, 1]


def follow(drafts: Drafts, text: list[int]) -> list[int]:
    """Generates `text` as the engine would; returns the lengths of the drafts on the way."""
    lengths = []
    while text:
        draft = drafts.draft(len(text) - 1)
        lengths.append(len(draft))
        num_right = 0
        while num_right < len(draft) and draft[num_right] == text[num_right]:
            num_right += 1
        drafts.learn(draft, text[: num_right + 1])
        text = text[num_right + 1 :]
    return lengths


def test_drafts_grow_while_they_come_true():
    passage = list(range(100, 200))
    lengths = follow(Drafts([*passage, 0, 100, 101]), passage[2:])
    assert lengths[:4] == [3, 7, 15, 15]
    assert max(lengths) == LONGEST


def test_drafts_that_never_come_true_become_rare():
    """Pairs that were followed by something else: each looks like a quotation and is none."""
    pairs = [[n, n + 1] for n in range(0, 2000, 2)]
    context = [token for pair in pairs for token in (*pair, 5000 + pair[0])]
    text = [token for pair in pairs for token in (*pair, 9000 + pair[0])]
    lengths = follow(Drafts(context), text)
    num_drafted = sum(lengths)
    assert len(lengths) == len(text), "nothing was foretold"
    assert 0 < num_drafted < 1.5 * len(text) / LONGEST_PAUSE + 20


def test_after_a_pause_a_long_quotation_is_still_noticed():
    passage = list(range(100, 140))
    drafts = Drafts(passage)
    drafts.num_misses, drafts.pause_until = 9, 10**6
    lengths = follow(drafts, passage)
    assert lengths[:6] == [0] * 6
    assert sum(lengths) > 20


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_quotation_at_any_temperature_is_the_same(temperature):
    request = Request(PROMPT, 60, Sampling(temperature, seed=4), top_logprobs=2)
    plain = generate(Engine(QuotingRuntime(), speculates=False), request)
    assert told(generate(Engine(QuotingRuntime()), request)) == told(plain)

"""Law 3 over the whole engine: what a request is told has the same bits in any company.

Batches, chunks, states of the cache, formats of keys and values, threads, drafts and neighbours are
drawn; every token, every log-probability and every share must equal those of a plain engine that
has read nothing before.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_models import HASHES, PAGES, native, tokens

from tiny_models import open_tiny
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import KV_FORMATS
from tramontane.engine.request import Guide, GuideStep, NewToken, Request, Sampling
from tramontane.engine.runtime import Span
from tramontane.errors import RequestError

KINDS = {
    "llama": {},
    "mistral": {"sliding_window": 16},
    "qwen2": {},
    "granite": {},
    "mixtral": {},
    "olmoe": {},
}
MIXTURES = ((), HASHES[:1], HASHES[1:2], HASHES)


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return open_tiny(request.param, folder, **KINDS[request.param])


def engine_for(checkpoint, threads: int = 1, kv: str = "float16", **options) -> Engine:
    runtime = native(checkpoint, HASHES, threads=threads, kv=kv)
    return Engine(runtime, **({"max_tokens": 4096} | options))


def plain_engine(checkpoint, kv: str = "float16") -> Engine:
    return engine_for(checkpoint, kv=kv, caches_prefixes=False, speculates=False)


def told(answer: list[NewToken]) -> list[tuple]:
    return [
        (t.token_id, t.logprob, t.top, t.shares, t.gates, t.prompt_logprobs, t.finish)
        + (t.routes, t.prompt_routes)
        for t in answer
    ]


def run_together(engine: Engine, requests: list[Request], delays: list[int]) -> list[list[tuple]]:
    """Submits each request after some steps of the others; returns what each was told."""
    answers: list[list[NewToken]] = [[] for _ in requests]
    places: dict[int, int] = {}
    waiting = sorted(range(len(requests)), key=lambda place: delays[place])
    step = 0
    while waiting or engine.has_work:
        while waiting and delays[waiting[0]] <= step:
            place = waiting.pop(0)
            places[engine.submit(requests[place])] = place
        for token in engine.step():
            answers[places[token.request_id]].append(token)
        step += 1
    return [told(answer) for answer in answers]


# Prompts that begin alike, of up to three pages, some of which repeat themselves.
BEGINNINGS = (tokens(150, seed=1), tokens(9, seed=2) * 16, tokens(70, seed=3) * 2)
prompts = st.builds(
    lambda beginning, length, end: (*beginning[:length], *end),
    st.sampled_from(BEGINNINGS),
    st.sampled_from([1, 3, 63, 64, 65, 127, 128, 129, 140]),
    st.lists(st.integers(0, 96), max_size=3),
)


def quoting(text: list[int], stray_every: int) -> Guide:
    """Returns a guide that lets a text come, but now and then anything."""

    def guide(generated: Sequence[int]) -> GuideStep:
        if len(generated) % stray_every == stray_every - 1:
            return GuideStep()
        mask_V = np.zeros(97, dtype=bool)
        mask_V[text[len(generated) % len(text)]] = True
        return GuideStep(mask_V)

    return guide


# Random models seldom quote: with these, long drafts come true, and break off.
GUIDES = (quoting(BEGINNINGS[0], 11), quoting(BEGINNINGS[1], 100))
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.2, 1.0]),
    top_p=st.sampled_from([1.0, 0.8]),
    seed=st.integers(0, 3),
)
requests = st.builds(
    Request,
    token_ids=prompts,
    max_new_tokens=st.integers(1, 40),
    sampling=samplings,
    end_ids=st.sampled_from([frozenset(), frozenset({5, 17})]),
    experts=st.sampled_from(MIXTURES),
    with_shares=st.booleans(),
    guide=st.sampled_from([None, *GUIDES]),
    top_logprobs=st.integers(0, 2),
    prompt_logprobs=st.sampled_from([None, None, None, 0, 2]),
    speculates=st.booleans(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    asked=st.lists(requests, min_size=1, max_size=6),
    threads=st.integers(1, 3),
    kv=st.sampled_from(KV_FORMATS),
    batch=st.sampled_from([1, 7, 64, 65, 512]),
    max_tokens=st.sampled_from([256, 512, 4096]),
    data=st.data(),
)
def test_no_company_changes_what_a_request_is_told(
    checkpoint, asked, threads, kv, batch, max_tokens, data
):
    if checkpoint.config.is_mixture:
        asked = [
            replace(request, with_routes=data.draw(st.booleans(), label="routes"))
            for request in asked
        ]
    expected = [told(list(plain_engine(checkpoint, kv).generate(request))) for request in asked]
    engine = engine_for(
        checkpoint,
        threads,
        kv,
        max_batch_tokens=batch,
        max_tokens=max_tokens,
        caches_prefixes=data.draw(st.booleans(), label="caches"),
        speculates=data.draw(st.booleans(), label="speculates"),
    )
    for _ in range(2):
        delays = [data.draw(st.integers(0, 12), label="delay") for _ in asked]
        assert run_together(engine, asked, delays) == expected
    assert engine.pages.num_free == engine.num_pages


def test_routes_are_those_of_the_whole_read_at_once(checkpoint):
    request = Request(tuple(tokens(9, seed=3)), 7, with_routes=True, experts=HASHES[:1])
    if not checkpoint.config.is_mixture:
        with pytest.raises(RequestError, match="dense"):
            list(plain_engine(checkpoint).generate(request))
        return
    answer = list(engine_for(checkpoint).generate(request))
    assert answer[0].routes is None
    rows = [*answer[0].prompt_routes, *(token.routes for token in answer[1:])]
    read = [*request.token_ids, *(token.token_id for token in answer[:-1])]
    span = Span(read, 0, PAGES, request.experts, with_routes=True)
    whole = native(checkpoint, HASHES).forward([span])[0].routes_TNK
    assert np.array_equal(rows, whole)
    assert len(np.unique(whole)) > checkpoint.config.num_chosen_experts


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(st.tuples(prompts, st.integers(1, 150)), min_size=1, max_size=8),
    experts=st.sampled_from(MIXTURES),
    threads=st.integers(1, 3),
)
def test_no_company_changes_a_score(checkpoint, texts, experts, threads):
    texts = [(text, min(start, len(text))) for text, start in texts]
    plain = plain_engine(checkpoint)
    expected = [plain.score(text, experts=experts, start=start) for text, start in texts]
    engine = engine_for(checkpoint, threads)
    for _ in range(2):
        scores = engine.score_many(texts, experts=experts)
        assert all(np.array_equal(a, b) for a, b in zip(scores, expected, strict=True))
    for text, start in texts:
        assert np.array_equal(
            engine.score(text, experts=experts, start=start),
            plain.score(text, experts=experts)[start - 1 :],
        )


def test_scores_and_prompt_logprobs_are_the_same_numbers(checkpoint):
    text = tuple(tokens(140, seed=4))
    engine = engine_for(checkpoint)
    (token,) = engine.generate(Request(text, 1, experts=HASHES, prompt_logprobs=0))
    scores = engine.score(text, experts=HASHES)
    assert [np.float32(one.logprob) for one in token.prompt_logprobs] == scores.tolist()


def test_long_drafts_come_true_here(checkpoint):
    """Otherwise the law above would say little of drafts."""
    lengths = []
    for speculates in (False, True):
        engine = engine_for(checkpoint, speculates=speculates)
        runtime, spans = engine.runtime, []

        def forward(batch, runtime=runtime, spans=spans, **options):
            spans.extend(batch)
            return type(runtime).forward(runtime, batch, **options)

        runtime.forward = forward
        request = Request(tuple(BEGINNINGS[0]), 60, guide=GUIDES[0], experts=HASHES)
        assert len(list(engine.generate(request))) == 60
        lengths.append([len(span.token_ids) for span in spans])
    assert lengths[0] == [150] + 59 * [1]
    assert len(lengths[1]) < 40
    assert max(lengths[1][1:]) > 4


def test_withdrawing_while_eight_requests_run_disturbs_none(checkpoint):
    requests = [
        Request(
            tuple(tokens(100, seed=1)) + (number,),
            24,
            Sampling(0.7, seed=number),
            experts=MIXTURES[number % 4],
            with_shares=True,
        )
        for number in range(8)
    ]
    undisturbed = [told(list(plain_engine(checkpoint).generate(request))) for request in requests]
    engine = engine_for(checkpoint)
    streams = [engine.generate(request) for request in requests]
    answers = [[next(stream)] for stream in streams]
    gone = HASHES[0]
    withdrawal = threading.Thread(target=engine.remove_expert, args=(gone,), daemon=True)
    withdrawal.start()
    for answer, stream in zip(answers, streams, strict=True):
        answer += stream
    withdrawal.join(timeout=60)
    assert not withdrawal.is_alive()
    assert [told(answer) for answer in answers] == undisturbed
    assert gone not in engine.runtime.expert_hashes
    # What is left was made without it; what was made with it is free again.
    cache = engine.pages.cache
    assert cache.beginnings.keys() == {(), HASHES[1:2]}
    found = [len(cache.match(mixture, requests[0].token_ids)) for mixture in MIXTURES]
    assert found == [1, 0, 1, 0]
    assert len(cache.pages()) == engine.num_pages - len(engine.pages.free)
    again = list(engine.generate(requests[2]))
    assert again[0].num_cached == 64
    assert told(again) == undisturbed[2]


def test_a_seed_is_a_seed(checkpoint):
    request = Request(tuple(tokens(20)), 30, Sampling(1.0, seed=1))
    first, again = (told(list(engine_for(checkpoint).generate(request))) for _ in range(2))
    other = told(
        list(engine_for(checkpoint).generate(replace(request, sampling=Sampling(1.0, seed=2))))
    )
    assert first == again != other

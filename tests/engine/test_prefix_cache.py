"""What one request has read, later ones needn't: hits, sharing, room, withdrawal."""

import pytest
from test_engine import Beside, ids, run_all, wait_until

from fakes import CountingRuntime, continued
from tramontane.engine.engine import Engine
from tramontane.engine.request import Request

EXPERT, OTHER = "e" * 64, "f" * 64
PAGE_TOKENS = 4
PASSAGE = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3)


def new_engine(**settings) -> Engine:
    return Engine(CountingRuntime(page_tokens=PAGE_TOKENS), **settings)


def num_read(engine: Engine) -> int:
    """Returns how many tokens the runtime has run so far."""
    return sum(len(span.token_ids) for batch in engine.runtime.batches for span in batch)


def cached_tokens(engine: Engine, prompt: tuple[int, ...], experts: tuple[str, ...] = ()) -> int:
    tokens = list(engine.generate(Request(prompt, 3, experts=experts)))
    assert ids(tokens) == continued(prompt, 3)
    assert len({token.num_cached for token in tokens}) == 1
    return tokens[0].num_cached


def test_whole_pages_of_an_earlier_prompt_are_not_read_again():
    engine = new_engine()
    assert cached_tokens(engine, PASSAGE) == 0
    before = num_read(engine)
    assert cached_tokens(engine, PASSAGE) == 8
    assert num_read(engine) - before == len(PASSAGE) - 8 + 2
    assert cached_tokens(engine, PASSAGE[:6]) == 4
    assert cached_tokens(engine, (*PASSAGE[:5], 0, 0, 0, 0, 0)) == 4
    assert cached_tokens(engine, (0, *PASSAGE)) == 0


def test_the_last_token_of_a_prompt_is_always_read():
    engine = new_engine()
    assert cached_tokens(engine, PASSAGE[:8]) == 0
    assert cached_tokens(engine, PASSAGE[:8]) == 4
    assert cached_tokens(engine, PASSAGE[:9]) == 8


def test_what_was_generated_is_cached_too():
    engine = new_engine()
    answer = ids(list(engine.generate(Request(PASSAGE, 7))))
    # All but the last of 17 tokens were read: four pages.
    assert cached_tokens(engine, (*PASSAGE, *answer, 0, 0)) == 16


def test_a_running_request_shares_what_it_has_read():
    engine = new_engine()
    stream = engine.generate(Request(PASSAGE, 9))
    first = next(stream)
    assert cached_tokens(engine, PASSAGE) == 8
    assert ids([first, *stream]) == continued(PASSAGE, 9)


def test_other_experts_have_other_pages():
    engine = new_engine()
    for expert in (EXPERT, OTHER):
        engine.add_expert(expert, {})
    sets = [(), (EXPERT,), (OTHER,), (EXPERT, OTHER)]
    assert [cached_tokens(engine, PASSAGE, experts) for experts in sets] == [0, 0, 0, 0]
    assert [cached_tokens(engine, PASSAGE, experts) for experts in sets] == [8, 8, 8, 8]


@pytest.mark.parametrize("max_batch_tokens", [3, 5, 512])
def test_requests_that_begin_alike_read_it_once(max_batch_tokens):
    engine = new_engine(max_tokens=512, max_batch_tokens=max_batch_tokens, speculates=False)
    prompts = [(*PASSAGE, number) for number in range(6)]
    submitted = {engine.submit(Request(prompt, 3)): prompt for prompt in prompts}
    tokens = run_all(engine)
    assert {r: ids(t) for r, t in tokens.items()} == {
        r: continued(prompt, 3) for r, prompt in submitted.items()
    }
    assert sum(t[0].num_cached for t in tokens.values()) == 5 * 8
    assert num_read(engine) == 8 + 6 * (3 + 2)


def test_a_reader_that_is_cancelled_is_followed_by_the_next():
    engine = new_engine(max_batch_tokens=3)
    first, second = (engine.submit(Request((*PASSAGE, n), 3)) for n in (1, 2))
    engine.step()
    assert len(engine.runtime.batches[0]) == 1
    engine.cancel(first)
    assert ids(run_all(engine)[second]) == continued((*PASSAGE, 2), 3)


def test_the_least_recently_used_pages_make_room():
    """Room for six pages: two prompts of two whole pages and one that needs four."""
    engine = new_engine(max_tokens=24)
    one, two, three = PASSAGE[:9], (7, *PASSAGE[:8]), (8,) * 13
    for prompt in (one, two, one):
        cached_tokens(engine, prompt)
    assert cached_tokens(engine, three) == 0
    assert [cached_tokens(engine, prompt) for prompt in (one, two)] == [8, 0]


def test_a_cache_that_is_off_keeps_nothing():
    engine = new_engine(caches_prefixes=False)
    assert [cached_tokens(engine, PASSAGE) for _ in range(2)] == [0, 0]
    assert not engine.pages.cache.pages()


def test_scores_take_beginnings_from_the_cache_and_leave_theirs():
    engine = new_engine()
    text = [*PASSAGE, *continued(PASSAGE, 5)]
    cold = Engine(CountingRuntime(page_tokens=PAGE_TOKENS), caches_prefixes=False)
    for start in (10, 1, 6, 15, 3, 10):
        assert (engine.score(text, start=start) == cold.score(text, start=start)).all()
    before = num_read(engine)
    # Logits from position 9 on: positions 0 to 7 are cached.
    engine.score(text, start=10)
    assert num_read(engine) - before == 15 - 8
    assert cached_tokens(engine, tuple(text)) == 12


def test_continuations_of_one_passage_read_it_once():
    engine = new_engine(max_tokens=512)
    texts = [([*PASSAGE, number, number + 1], len(PASSAGE)) for number in range(9)]
    alone = [new_engine().score(ids, start=start) for ids, start in texts]
    together = engine.score_many(texts)
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))
    assert num_read(engine) == 8 + 9 * 4


def test_hashes_of_logits_are_computed_anew():
    engine = new_engine()
    digest = engine.logits_hash(PASSAGE)
    before = num_read(engine)
    assert engine.logits_hash(PASSAGE) == digest
    assert num_read(engine) - before == len(PASSAGE)


def test_withdrawing_beside_eight_requests_disturbs_none_and_leaves_no_page():
    prompts = [(*PASSAGE, number) for number in range(8)]
    mixtures = [(EXPERT,), (), (EXPERT, OTHER), (OTHER,)]
    engine = new_engine(max_tokens=1024)
    for expert in (EXPERT, OTHER):
        engine.add_expert(expert, {})
    requests = [
        Request(prompt, 9, experts=mixtures[number % 4]) for number, prompt in enumerate(prompts)
    ]
    streams = [engine.generate(request) for request in requests]
    firsts = [next(stream) for stream in streams]
    removal = Beside(lambda: engine.remove_expert(EXPERT))
    wait_until(lambda: EXPERT in engine._leaving)
    for first, stream, prompt in zip(firsts, streams, prompts, strict=True):
        assert ids([first, *stream]) == continued(prompt, 9)
    removal.result()
    cache = engine.pages.cache
    assert cache.beginnings.keys() == {(), (OTHER,)}
    made_with = [cache.match(experts, PASSAGE) for experts in mixtures]
    assert [len(pages) for pages in made_with] == [0, 2, 0, 2]
    assert engine.pages.num_free == engine.num_pages
    # The same expert again: its pages are made anew.
    engine.add_expert(EXPERT, {})
    assert cached_tokens(engine, PASSAGE, (EXPERT,)) == 0

"""Withdrawing while requests run disturbs none, and leaves no page made with the expert."""

import threading
from collections.abc import Sequence

import pytest
from expert_makers import expert, random_tensors

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request
from tramontane.errors import RequestError

NUM_REQUESTS, NEW_TOKENS = 8, 24


def prompts(checkpoint: Checkpoint) -> list[tuple[int, ...]]:
    """Returns prompts longer than a page, half of them with one beginning."""
    tokenizer = checkpoint.tokenizer()
    shared = tokenizer.encode("The sluice leaks after rain and the towpath floods. " * 16)[:130]
    own = [tokenizer.encode(f"Log {n}: the eel trap jams again. " * 12)[:100] for n in range(8)]
    return [tuple([*shared, *ids[:20]] if n % 2 else ids) for n, ids in enumerate(own)]


def serve(engine: Engine, requests: Sequence[Request], meanwhile=None) -> list[list[int]]:
    """Returns each request's tokens; `meanwhile` runs when all have given their first and wait."""
    tokens: list[list[int]] = [[] for _ in requests]
    begun = threading.Barrier(len(requests), action=meanwhile)

    def ask(number: int) -> None:
        for token in engine.generate(requests[number]):
            tokens[number].append(token.token_id)
            if len(tokens[number]) == 1:
                begun.wait(timeout=120)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return tokens


@pytest.mark.parametrize("base", ["tiny_llama", pytest.param("smollm2", marks=pytest.mark.slow)])
def test_eight_requests_go_on_undisturbed(base, request):
    checkpoint = request.getfixturevalue(base)
    width = checkpoint.config.model_width
    L = checkpoint.config.num_layers
    layers = {"layers": (L - 2, L - 1), "model_width": width}
    going, staying = (
        expert(name, random_tensors(seed, **layers), checkpoint.sha256)
        for name, seed in (("going", 1), ("staying", 2))
    )

    def engine() -> Engine:
        made = Engine(NativeRuntime(checkpoint, threads=1), max_tokens=4096)
        for one in (going, staying):
            made.add_expert(one.hash, one.tensors)
        return made

    both = tuple(sorted((going.hash, staying.hash)))
    requests = [Request(ids, NEW_TOKENS, experts=both) for ids in prompts(checkpoint)]
    undisturbed = serve(engine(), requests)
    assert all(len(tokens) == NEW_TOKENS for tokens in undisturbed)

    serving = engine()
    withdrawal = threading.Thread(target=serving.remove_expert, args=(going.hash,))
    refused: list[str] = []

    def withdraw() -> None:
        withdrawal.start()
        while not refused:
            try:
                serving.check(requests[0])
            except RequestError as error:
                refused.append(str(error))

    assert serve(serving, requests, withdraw) == undisturbed
    withdrawal.join(timeout=120)
    assert "was it withdrawn?" in refused[0]
    assert serving.runtime.expert_hashes == (staying.hash,)
    assert not any(going.hash in experts for experts in serving.pages.cache.beginnings)
    alone = Request(requests[1].token_ids, NEW_TOKENS, experts=(staying.hash,))
    (first, *_) = serving.generate(alone)
    assert first.num_cached == 0

    never = Engine(NativeRuntime(checkpoint, threads=1), max_tokens=4096)
    never.add_expert(staying.hash, staying.tensors)
    ids = requests[0].token_ids
    hashes = [one.logits_hash(ids, experts=(staying.hash,)) for one in (serving, never)]
    assert hashes[0] == hashes[1]

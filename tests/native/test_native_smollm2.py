"""The embedded base on the native runtime, beside its definition on real text."""

import signal

import numpy as np
import pytest
from native_models import PAGES, run, run_in_chunks

from tramontane.engine.native_runtime import KV_FORMATS, NativeRuntime
from tramontane.engine.runtime import Runtime, Span
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.native import log_softmax_at

NUM_TOKENS = 2000
WINDOW_TOKENS = 250
ALLOWED_PERPLEXITY_RATIO = 1.005


@pytest.fixture(scope="module")
def token_ids(smollm2, garden) -> list[int]:
    text = "\n\n".join(note.read_text() for note in sorted(garden.glob("*.md")))
    return smollm2.tokenizer().encode(text)[:NUM_TOKENS]


def mean_loss(runtime: Runtime, token_ids: list[int]) -> float:
    """Returns the nats per token over windows of a text."""
    runtime.allocate(8)
    losses = []
    for start in range(0, NUM_TOKENS, WINDOW_TOKENS):
        window = token_ids[start : start + WINDOW_TOKENS]
        logits_TV = run(runtime, window).logits_LV
        losses.append(-log_softmax_at(logits_TV[:-1], window[1:]))
    return float(np.concatenate(losses).mean())


@pytest.fixture(scope="module")
def definitions_loss(smollm2, token_ids) -> float:
    return mean_loss(TorchRuntime(smollm2), token_ids)


@pytest.mark.slow
@pytest.mark.parametrize("kv", KV_FORMATS)
def test_perplexity_of_real_text_equals_the_definitions(smollm2, token_ids, definitions_loss, kv):
    loss = mean_loss(NativeRuntime(smollm2, threads=2, kv=kv), token_ids)
    ratio = np.exp(loss - definitions_loss)
    print(f"perplexity {np.exp(loss):.3f}, {ratio:.5f} of the definition's")
    assert ratio <= ALLOWED_PERPLEXITY_RATIO


@pytest.mark.slow
@pytest.mark.parametrize("kv", KV_FORMATS)
def test_company_changes_no_bit_of_a_quantised_model(smollm2, token_ids, kv):
    prompt = token_ids[:100]
    whole = NativeRuntime(smollm2, threads=2, kv=kv)
    whole.allocate(8)
    expected_TV = run(whole, prompt).logits_LV
    alone = NativeRuntime(smollm2, threads=1, kv=kv)
    alone.allocate(8)
    assert np.array_equal(run_in_chunks(alone, prompt, (1, 2, 9, 64, 100)), expected_TV)
    last = Span(prompt[99:], 99, PAGES)
    beside = Span(token_ids[200:217], 0, (7,))
    assert np.array_equal(alone.forward([beside, last])[1].logits_LV[0], expected_TV[99])


@pytest.mark.slow
def test_a_signal_ends_a_pass_between_two_layers(smollm2, token_ids):
    """What Ctrl-C does while one pass reads thousands of tokens: nobody waits for its end."""

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    tokens = (token_ids * 5)[:8000]
    runtime = NativeRuntime(smollm2, threads=1)
    runtime.allocate(125)
    expected_TV = run(runtime, token_ids[:100]).logits_LV
    logits_LV = np.full((1, smollm2.config.vocab_size), np.nan, np.float32)
    numbers = (tokens, [0], [len(tokens)], [125], range(125), [1])
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(Stopped):
            runtime.transformer.forward(
                *(np.array(row, np.int32) for row in numbers),
                np.zeros((1, 0), np.uint8),
                logits_LV,
                None,
                None,
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert np.isnan(logits_LV).all(), "the pass went on to its end"
    assert np.array_equal(run(runtime, token_ids[:100]).logits_LV, expected_TV)

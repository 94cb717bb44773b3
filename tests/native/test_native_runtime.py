"""Whole models on the native runtime: against the definition, and the laws of company and sets.

Tiny models have float32 weights, so that what differs is the order of sums, and now and then a key
or value that rounds to the neighbouring half. T tokens, E experts.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_models import HASHES, PAGES, definition, native, run, run_in_chunks, tokens

from tiny_models import open_tiny
from tramontane.engine.native_runtime import KV_FORMATS, NativeRuntime, refuse_unknown_options
from tramontane.engine.runtime import Span
from tramontane.errors import BackendUnavailable, ConfigError, ExpertError

# A key that falls on the other half moves by 2^-11 of itself, which softmax and the later layers
# pass on in part; most rows have no such key and lie within float32's own rounding.
ALLOWED_ROW = 2.0**-9
ALLOWED_MEDIAN = 1e-4
KINDS = {
    "llama": {},
    "mistral": {"sliding_window": 16},
    "mixtral": {},
}


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return open_tiny(request.param, folder, **KINDS[request.param])


@pytest.mark.parametrize("num_tokens", [1, 33, 150])
@pytest.mark.parametrize("num_experts", [0, 3])
@pytest.mark.parametrize("kv", KV_FORMATS)
def test_logits_equal_the_definition(checkpoint, variant, monkeypatch, num_tokens, num_experts, kv):
    hashes, token_ids = HASHES[:num_experts], tokens(num_tokens)
    torch_runtime = definition(checkpoint, monkeypatch, hashes, kv)
    expected = run(torch_runtime, token_ids, hashes, with_shares=True)
    runtime = native(checkpoint, hashes, variant=variant, kv=kv)
    actual = run(runtime, token_ids, hashes, with_shares=True)
    error_T = np.abs(actual.logits_LV - expected.logits_LV).max(axis=1)
    error_T /= np.abs(expected.logits_LV).max(axis=1)
    # A gate or route that flips is a jump: rows after one aren't comparable, and are few.
    same_T = (np.abs(actual.gates_TE - expected.gates_TE) < 0.02).all(axis=1)
    assert same_T.mean() >= 0.95
    assert np.median(error_T) <= ALLOWED_MEDIAN
    assert (error_T[same_T] <= ALLOWED_ROW).mean() >= 0.97, np.sort(error_T)[-5:]
    if num_experts:
        assert np.abs(actual.shares_TE - expected.shares_TE)[same_T].max() <= ALLOWED_ROW


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("kv", KV_FORMATS)
def test_company_changes_no_bit(checkpoint, variant, kv, data):
    """Law 3: chunks, neighbours and threads leave a token's logits as they are."""
    token_ids = tokens(data.draw(st.integers(1, 140), label="tokens"), seed=1)
    hashes = HASHES[: data.draw(st.integers(0, 3), label="experts")]
    alone = native(checkpoint, hashes, variant=variant, kv=kv)
    expected_TV = run(alone, token_ids, hashes).logits_LV
    threads = data.draw(st.integers(1, 3), label="threads")
    runtime = native(checkpoint, hashes, variant=variant, threads=threads, kv=kv)
    cuts = data.draw(st.sets(st.integers(1, max(1, len(token_ids) - 1)), max_size=4), label="cuts")
    ends = sorted({cut for cut in cuts if cut < len(token_ids)}) + [len(token_ids)]
    assert np.array_equal(run_in_chunks(runtime, token_ids, ends, hashes), expected_TV)

    # The last chunk again, its prefix kept, beside a stranger with other experts in place.
    start = ends[-2] if len(ends) > 1 else 0
    stranger = Span(tokens(data.draw(st.integers(1, 50), label="stranger"), seed=2), 0, (7,))
    again = Span(token_ids[start:], start, PAGES, hashes, num_logits=len(token_ids) - start)
    results = runtime.forward([stranger, again])
    assert np.array_equal(results[1].logits_LV, expected_TV[start:])


def test_closed_gates_leave_the_bases_bits(checkpoint, variant):
    """Law 1, with experts loaded that this request doesn't have in place."""
    token_ids = tokens(70)
    base = native(checkpoint, variant=variant)
    runtime = native(checkpoint, HASHES, variant=variant)
    assert np.array_equal(run(runtime, token_ids).logits_LV, run(base, token_ids).logits_LV)


def test_mixtures_are_sets(checkpoint, variant):
    """Law 2: order has no meaning, and a removed expert was never there."""
    token_ids, two = tokens(70), (HASHES[0], HASHES[2])
    once = native(checkpoint, two, variant=variant)
    other = native(checkpoint, (HASHES[2], HASHES[1], HASHES[0]), variant=variant)
    other.remove_expert(HASHES[1])
    expected = run(once, token_ids, two, with_shares=True)
    actual = run(other, token_ids, two, with_shares=True)
    assert np.array_equal(actual.logits_LV, expected.logits_LV)
    assert np.array_equal(actual.shares_TE, expected.shares_TE)
    assert np.array_equal(actual.gates_TE, expected.gates_TE)


def test_what_cannot_run_is_refused_by_name(checkpoint):
    with pytest.raises(BackendUnavailable, match="'mmx' was asked for; usable"):
        NativeRuntime(checkpoint, variant="mmx")
    with pytest.raises(ConfigError, match="kv='int4'; keys and values are kept as float16 or int8"):
        NativeRuntime(checkpoint, kv="int4")
    runtime = native(checkpoint)
    with pytest.raises(ExpertError, match="another model"):
        runtime.add_expert(
            "d" * 64,
            {
                f"layers.0.{part}": np.zeros(shape, np.float32)
                for part, shape in {
                    "row": (8,),
                    "gate": (4, 8),
                    "up": (4, 8),
                    "down": (8, 4),
                }.items()
            },
        )
    with pytest.raises(ValueError, match="outside the vocabulary"):
        runtime.forward([Span([97], 0, PAGES)])
    with pytest.raises(ValueError, match="page 9 of 8"):
        runtime.forward([Span([1], 0, (9,))])
    with pytest.raises(ValueError, match="has no room"):
        runtime.forward([Span(tokens(65), 0, (0,))])
    refuse_unknown_options(replace(checkpoint.config, logits_scaling=2.0))


def test_bytes_take_little_more_than_half_the_memory_of_halves(checkpoint):
    halves, in_bytes = (native(checkpoint, kv=kv) for kv in KV_FORMATS)
    assert (halves.description["kv"], in_bytes.description["kv"]) == KV_FORMATS
    config = checkpoint.config
    # Keys and values of 64 positions, values padded to whole sixteens, and a half for each.
    heads = config.num_layers * config.num_kv_heads * 64
    padded = -(-config.head_width // 16) * 16
    numbers = heads * (config.head_width + padded)
    assert halves.transformer.page_bytes == 2 * numbers
    assert in_bytes.transformer.page_bytes == numbers + heads * 4


def test_the_environment_chooses_the_variant(checkpoint, variant, monkeypatch):
    monkeypatch.setenv("TRAMONTANE_VARIANT", variant)
    assert NativeRuntime(checkpoint, threads=1).description["instructions"] == variant

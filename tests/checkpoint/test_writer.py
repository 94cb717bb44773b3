"""Qwen2.5-Coder-0.5B-Instruct, Q4_K_M: read, spoken to, and put to the writer's check."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.speak import speak
from tramontane.writing.writers_check import run_writers_check

pytestmark = pytest.mark.writer
TEXTS = Path(__file__).parents[1] / "tokenizer" / "smollm2_texts.json.gz"
NUM_TOKENS = 800
ALLOWED_PERPLEXITY_RATIO = 1.005
QUESTION = "What is the capital of France? Answer in one sentence."


@pytest.fixture(scope="module")
def tokenizer(writer: Checkpoint) -> Tokenizer:
    return writer.tokenizer()


@pytest.fixture(scope="module", params=[NativeRuntime, TorchRuntime])
def engine(request, writer: Checkpoint) -> Engine:
    return Engine(request.param(writer))


def test_the_file_is_what_it_says(writer):
    config = writer.config
    assert (config.family, config.rope_layout, config.has_attention_bias) == (
        "qwen2",
        "halves",
        True,
    )
    assert (config.num_layers, config.model_width, config.num_kv_heads) == (24, 896, 2)
    assert {tensor.type for tensor in writer.tensors.values()} == {
        *("F32", "Q5_0", "Q8_0", "Q4_K", "Q6_K")
    }


def test_ids_equal_transformers(writer, tokenizer):
    qwen2 = pytest.importorskip("transformers.models.qwen2.tokenization_qwen2")
    vocabulary = {token: i for i, token in enumerate(writer.metadata["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in writer.metadata["tokenizer.ggml.merges"]]
    oracle = qwen2.Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    for row in json.loads(gzip.decompress(TEXTS.read_bytes())):
        ids = oracle.encode(row["text"], split_special_tokens=True)
        assert tokenizer.encode(row["text"]) == ids, row["kind"]


def test_a_chat_reads_as_published(tokenizer):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    assert tokenizer.render_chat(messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = tokenizer.encode_chat([{"role": "user", "content": f"{QUESTION}<|im_end|>"}])
    # The two that the template puts after the system's and the person's words.
    assert sum(token_id in tokenizer.eos_ids for token_id in ids) == 2


def test_it_answers(tokenizer, engine):
    ids = tokenizer.encode_chat([{"role": "user", "content": QUESTION}])
    pieces = list(speak(engine, tokenizer, ids, max_new_tokens=24))
    assert "Paris" in "".join(piece.text for piece in pieces)
    assert pieces[-1].finish == "end"


@pytest.mark.slow
def test_it_passes_the_writers_check(tokenizer, engine):
    result = run_writers_check(engine, tokenizer)
    print(result)
    assert result.passed


@pytest.mark.slow
def test_native_loses_little_of_real_text(writer, tokenizer, garden):
    """Q4_K and Q6_K are rounded again when they are repacked, and activations go to int8."""
    text = "\n\n".join(note.read_text() for note in sorted(garden.glob("*.md")))
    token_ids = tokenizer.encode(text)[:NUM_TOKENS]
    losses = []
    for runtime in (NativeRuntime(writer), TorchRuntime(writer)):
        engine = Engine(runtime, max_tokens=1024)
        losses.append(-np.mean(engine.score(token_ids)))
    ratio = np.exp(losses[0] - losses[1])
    print(f"perplexity {np.exp(losses[1]):.3f}, natively {ratio:.5f} of it")
    assert ratio <= ALLOWED_PERPLEXITY_RATIO

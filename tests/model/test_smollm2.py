"""The embedded base from its GGUF beside transformers, on the same dequantised weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rows import allowed_error, assert_rows_close
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import Transformer, load_transformer

NUM_TOKENS = 2000
WINDOW_TOKENS = 500
# What the project promises in float32; the bound derived for this shape is wider.
PROMISED = 1e-5


def in_halves(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Returns a query or key matrix with its rows as Hugging Face has them.

    A GGUF keeps the two coordinates that RoPE turns together side by side: rows 2i and 2i + 1 of
    a head are its rows i and i + d/2 in the original.
    """
    head_width = len(weight) // num_heads
    rows = []
    for head in range(num_heads):
        first = head * head_width
        rows += [first + i for i in range(0, head_width, 2)]
        rows += [first + i for i in range(1, head_width, 2)]
    return weight[rows]


def oracle_of(checkpoint: Checkpoint) -> nn.Module:
    """Returns transformers' Llama with the weights that stand in the GGUF, dequantised."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    metadata = {
        key.removeprefix("llama."): value
        for key, value in checkpoint.metadata.items()
        if key.startswith("llama.")
    }
    num_heads, num_kv_heads = (
        metadata["attention.head_count"],
        metadata["attention.head_count_kv"],
    )
    config = LlamaConfig(
        vocab_size=len(checkpoint.metadata["tokenizer.ggml.tokens"]),
        hidden_size=metadata["embedding_length"],
        intermediate_size=metadata["feed_forward_length"],
        num_hidden_layers=metadata["block_count"],
        num_attention_heads=num_heads,
        num_key_value_heads=num_kv_heads,
        max_position_embeddings=metadata["context_length"],
        rms_norm_eps=metadata["attention.layer_norm_rms_epsilon"],
        rope_theta=metadata["rope.freq_base"],
        tie_word_embeddings=True,
    )
    ours_by_theirs = {
        "self_attn.q_proj": "attention.query",
        "self_attn.k_proj": "attention.key",
        "self_attn.v_proj": "attention.value",
        "self_attn.o_proj": "attention.output",
        "mlp.gate_proj": "ffn.gate",
        "mlp.up_proj": "ffn.up",
        "mlp.down_proj": "ffn.down",
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    state = {
        "model.embed_tokens.weight": checkpoint.read("embedding.weight"),
        "lm_head.weight": checkpoint.read("embedding.weight"),
        "model.norm.weight": checkpoint.read("final_norm.weight"),
    }
    for layer in range(config.num_hidden_layers):
        for theirs, ours in ours_by_theirs.items():
            weight = checkpoint.read(f"layers.{layer}.{ours}.weight")
            if theirs.endswith(("q_proj", "k_proj")):
                weight = in_halves(weight, num_heads if "q_proj" in theirs else num_kv_heads)
            state[f"model.layers.{layer}.{theirs}.weight"] = weight
    # Without memory at first: random weights that are replaced at once take long to draw.
    with torch.device("meta"):
        oracle = LlamaForCausalLM(config)
    oracle.load_state_dict(
        {name: torch.from_numpy(array) for name, array in state.items()}, assign=True
    )
    oracle.model.rotary_emb = LlamaRotaryEmbedding(config)
    return oracle.eval()


@pytest.fixture(scope="module")
def oracle(smollm2: Checkpoint) -> nn.Module:
    return oracle_of(smollm2)


@pytest.fixture(scope="module")
def transformer(smollm2: Checkpoint) -> Transformer:
    return load_transformer(smollm2)


def real_tokens(checkpoint: Checkpoint, folder: Path) -> Tensor:
    text = "\n\n".join(note.read_text() for note in sorted(folder.glob("*.md")))
    return torch.tensor(checkpoint.tokenizer().encode(text)[:NUM_TOKENS])


@pytest.mark.slow
@torch.inference_mode()
def test_logits_of_real_text_equal_transformers(smollm2, oracle, transformer, garden):
    token_ids_T = real_tokens(smollm2, garden)
    assert len(token_ids_T) == NUM_TOKENS
    allowed = min(PROMISED, allowed_error(smollm2.config, WINDOW_TOKENS))
    worst = 0.0
    for window_T in token_ids_T.split(WINDOW_TOKENS):
        expected_TV = oracle(input_ids=window_T[None], use_cache=False).logits[0]
        actual_TV = transformer(
            window_T, torch.arange(len(window_T)), WindowAttention(len(window_T))
        )
        for actual, expected in zip(actual_TV.split(100), expected_TV.split(100), strict=True):
            worst = max(worst, assert_rows_close(actual, expected, allowed))
    print(f"worst of {NUM_TOKENS} rows: {worst:.1e} of its largest value, allowed {allowed:.1e}")


@pytest.mark.slow
@torch.inference_mode()
def test_rows_in_the_files_order_would_show(smollm2, oracle, transformer, garden, monkeypatch):
    """The bound above is far below what a wrong RoPE layout does."""
    window_T = real_tokens(smollm2, garden)[:100]
    expected_TV = oracle(input_ids=window_T[None], use_cache=False).logits[0]
    for layer in transformer.layers:
        monkeypatch.setattr(layer.attention, "rope_layout", "halves")
    actual_TV = transformer(window_T, torch.arange(100), WindowAttention(100))
    with pytest.raises(AssertionError, match="row"):
        assert_rows_close(actual_TV, expected_TV, 20 * allowed_error(smollm2.config, 100))

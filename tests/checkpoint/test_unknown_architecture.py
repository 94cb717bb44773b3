"""An architecture that isn't supported: the error names the closest, and what that one lacks."""

import json
from pathlib import Path

import pytest

from tiny_formats import write_gguf_model
from tiny_models import save_tiny
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.errors import CheckpointError

pytest.importorskip("transformers")


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)
    return str(error.value)


def rename(folder: Path, word: str) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"model_type": word}))


@pytest.mark.parametrize(
    ("kind", "word", "closest"),
    [
        ("qwen2", "qwen9", "qwen2"),
        ("olmoe", "olmoe2", "olmoe"),
        ("granitemoe", "granitemoeshared", "granitemoe"),
        ("mixtral", "minimixtral", "mixtral"),
    ],
)
def test_one_that_differs_by_name_alone_is_not_taken_for_it(tmp_path, kind, word, closest):
    save_tiny(kind, tmp_path)
    rename(tmp_path, word)
    said = refusal(tmp_path)
    assert f"model_type '{word}' is not supported; supported: llama, mistral" in said
    assert f"The closest is {closest}, which names its tensors alike" in said


def test_norms_of_single_heads_are_what_llama_lacks(tmp_path):
    """Qwen3 as transformers writes it: a Llama with norms of queries and keys."""
    import transformers

    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    config = transformers.Qwen3Config(**sizes, **heads)
    transformers.Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    said = refusal(tmp_path)
    assert "The closest is llama; what it lacks: " in said
    assert "model.layers.N.self_attn.k_norm.weight, model.layers.N.self_attn.q_norm.weight" in said


def test_a_gguf_says_so_too(tmp_path, monkeypatch):
    save_tiny("qwen2", tmp_path)
    monkeypatch.setitem(write_gguf_model.__globals__["WORDS"], "qwen2", "qwen2vl")
    monkeypatch.setitem(
        write_gguf_model.__globals__["ARCHITECTURES"],
        "qwen2vl",
        write_gguf_model.__globals__["ARCHITECTURES"]["qwen2"],
    )
    said = refusal(write_gguf_model(tmp_path, tmp_path / "tiny.gguf"))
    assert "architecture 'qwen2vl' is not supported; supported in GGUF: llama, qwen2, olmoe" in said
    assert "The closest is qwen2, which names its tensors alike" in said


def test_a_word_that_is_none_still_gives_an_answer(tmp_path):
    save_tiny("llama", tmp_path)
    for word in (None, 3, ["llama"], "x" * 9999):
        rename(tmp_path, word)
        said = refusal(tmp_path)
        assert "The closest is llama" in said or "The closest is mistral" in said
        assert len(said) < 1000

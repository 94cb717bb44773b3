"""Mistral's own layout: whole and in shards the same numbers; damaged, an error that says so."""

import json
from pathlib import Path

import numpy as np
import pytest

from tiny_formats import write_consolidated
from tiny_models import save_tiny
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.errors import CheckpointError, TokenizerError

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory) -> Path:
    """A tiny Mixtral as Hugging Face has it, to be written anew by each test."""
    folder = tmp_path_factory.mktemp("mixtral")
    save_tiny("mixtral", folder, num_hidden_layers=2)
    return folder


@pytest.fixture
def whole(mixtral, tmp_path) -> Path:
    return write_consolidated(mixtral, tmp_path / "whole")


@pytest.fixture
def shards(mixtral, tmp_path) -> Path:
    return write_consolidated(mixtral, tmp_path / "shards", num_shards=3)


def refused(folder: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(folder)
    assert str(folder) in str(error.value)


def test_the_config_says_what_was_written(whole):
    config = open_checkpoint(whole).config
    assert (config.family, config.rope_layout, config.ties_embeddings) == (
        "mixtral",
        "pairs",
        False,
    )
    assert (config.model_width, config.ffn_width, config.head_width) == (48, 56, 10)
    assert (config.num_base_experts, config.num_chosen_experts) == (5, 2)
    assert config.max_context_tokens == 512


@pytest.mark.parametrize("block", ["feed_forward", "block_sparse_moe"])
@pytest.mark.parametrize("form", ["shards", "numbered shards", "an index"])
def test_shards_are_one_model(mixtral, whole, tmp_path, form, block):
    folder = write_consolidated(mixtral, tmp_path / "again", num_shards=3, block=block)
    if form == "numbered shards":
        for number in range(3):
            old = folder / f"consolidated-{number + 1:05}-of-00003.safetensors"
            old.rename(folder / f"consolidated.{number:02}.safetensors")
    elif form == "an index":
        places = {
            tensor: file.name
            for file in folder.glob("*.safetensors")
            for tensor in header_of(file)
            if tensor != "__metadata__"
        }
        index = folder / "consolidated.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": places}))
    ours, wanted = open_checkpoint(folder), open_checkpoint(whole)
    assert ours.names() == wanted.names()
    assert len(ours.files) == 4 + (form == "an index")
    for name in wanted.names():
        np.testing.assert_array_equal(ours.read(name), wanted.read(name))


def header_of(file: Path) -> dict:
    raw = file.read_bytes()
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])


def test_a_folder_with_both_layouts_is_read_as_hugging_faces(mixtral, whole):
    for file in mixtral.iterdir():
        (whole / file.name).write_bytes(file.read_bytes())
    assert open_checkpoint(whole).config.rope_layout == "halves"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_shard_is_named(shards, number):
    name = f"consolidated-{number:05}-of-00003.safetensors"
    (shards / name).unlink()
    refused(shards, f"{name}: this shard of the model is missing")


def test_a_missing_numbered_shard_is_named(shards):
    (shards / "consolidated-00001-of-00003.safetensors").rename(
        shards / "consolidated.01.safetensors"
    )
    for other in shards.glob("consolidated-*"):
        other.unlink()
    refused(shards, r"consolidated\.00\.safetensors: this shard")


def test_a_tensor_in_two_shards_is_refused(shards):
    first = shards / "consolidated-00001-of-00003.safetensors"
    (shards / "consolidated-00002-of-00003.safetensors").write_bytes(first.read_bytes())
    refused(shards, "is in consolidated-00001-of-00003.safetensors too; were the shards cut")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yarn": {"factor": 4}}, "yarn is .*isn't known here"),
        ({"quantization": {"qformat_weight": "fp8_e4m3"}}, "quantization is"),
        ({"vision_encoder": {"hidden_size": 4}}, "vision_encoder is"),
        ({"dim": None}, "dim is missing"),
        ({"dim": "48"}, "dim is '48'; a whole number"),
        ({"n_layers": 3}, r"missing: layers\.2"),
        ({"n_layers": 1}, r"unknown to the family mixtral: layers\.1"),
        ({"n_heads": 5}, "multiple of num_kv_heads|config asks"),
        ({"moe": 3}, "moe is '3'"),
        ({"moe": {"num_experts": 5}}, "num_experts_per_tok is missing"),
        ({"moe": {"num_experts": 6, "num_experts_per_tok": 2}}, r"gate.weight is \(5, 48\)"),
        ({"moe": None}, "missing"),
        ({"norm_eps": -1.0}, "norm_eps is -1.0"),
        ({"tied_embeddings": "yes"}, "ties_embeddings is 'yes'"),
    ],
)
def test_params_that_cannot_be_are_refused_by_name(whole, change, message):
    file = whole / "params.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | change))
    refused(whole, message)


def test_what_is_no_model_folder_says_what_is_missing(whole):
    (whole / "consolidated.safetensors").unlink()
    refused(whole, "beside params.json there is no consolidated.safetensors")
    (whole / "consolidated.00.pth").write_bytes(b"\x80\x04")
    refused(whole, r"its weights are pickled \(consolidated.00.pth\)")


def test_without_a_tokenizer_the_model_opens_and_says_so(whole):
    with pytest.raises(TokenizerError, match="tokenizer.json is missing"):
        open_checkpoint(whole).tokenizer()


def test_the_tokenizer_beside_the_weights_is_taken_and_hashed(whole):
    mistral_common = pytest.importorskip("mistral_common", reason='needs the extra "mistral"')
    pytest.importorskip("sentencepiece", reason='needs the extra "mistral"')
    data = Path(mistral_common.__file__).parent / "data"
    (whole / "tokenizer.model.v1").write_bytes((data / "tokenizer.model.v1").read_bytes())
    checkpoint = open_checkpoint(whole)
    assert whole / "tokenizer.model.v1" in checkpoint.files
    tokenizer = checkpoint.tokenizer()
    assert tokenizer.decode(tokenizer.encode("Mistral, tramontane")) == "Mistral, tramontane"

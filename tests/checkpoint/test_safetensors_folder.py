"""Hugging Face folders as transformers saves them, whole, in shards, and damaged."""

import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tramontane.checkpoint.checkpoint import open_checkpoint, sha256_of_several
from tramontane.errors import CheckpointError
from tramontane.files import sha256_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LAYER_NAMES = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
}
DENSE_NAMES = {"ffn.gate": "mlp.gate_proj", "ffn.up": "mlp.up_proj", "ffn.down": "mlp.down_proj"}


def llama(**changes):
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**(SHAPE | changes)))


def mixtral():
    torch.manual_seed(1)
    config = transformers.MixtralConfig(
        **SHAPE, num_local_experts=4, num_experts_per_tok=2, sliding_window=64
    )
    return transformers.MixtralForCausalLM(config)


def weights_of(model) -> dict[str, np.ndarray]:
    """Returns transformers' numbers under our names."""
    theirs = {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}
    ours = {
        "embedding.weight": theirs["model.embed_tokens.weight"],
        "final_norm.weight": theirs["model.norm.weight"],
    }
    if not model.config.tie_word_embeddings:
        ours["output.weight"] = theirs["lm_head.weight"]
    for layer in range(SHAPE["num_hidden_layers"]):
        at, there = f"layers.{layer}", f"model.layers.{layer}"
        names = LAYER_NAMES if model.config.model_type == "mixtral" else LAYER_NAMES | DENSE_NAMES
        for name, named in names.items():
            ours[f"{at}.{name}.weight"] = theirs[f"{there}.{named}.weight"]
        if model.config.model_type == "mixtral":
            fused = theirs[f"{there}.mlp.experts.gate_up_proj"]
            ours[f"{at}.route.weight"] = theirs[f"{there}.mlp.gate.weight"]
            ours[f"{at}.experts.gate.weight"] = fused[:, : SHAPE["intermediate_size"]]
            ours[f"{at}.experts.up.weight"] = fused[:, SHAPE["intermediate_size"] :]
            ours[f"{at}.experts.down.weight"] = theirs[f"{there}.mlp.experts.down_proj"]
    return ours


def assert_same(folder: Path, model) -> None:
    checkpoint = open_checkpoint(folder)
    wanted = weights_of(model)
    assert sorted(checkpoint.names()) == sorted(wanted)
    for name, numbers in wanted.items():
        assert checkpoint.tensors[name].shape == numbers.shape
        np.testing.assert_array_equal(checkpoint.read(name), numbers)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("max_shard_size", ["1GB", "20KB"], ids=["whole", "shards"])
@pytest.mark.parametrize("make", [llama, mixtral])
def test_numbers_equal_transformers(tmp_path, make, max_shard_size, dtype):
    model = make().to(getattr(torch, dtype))
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    assert (max_shard_size == "20KB") == (tmp_path / "model.safetensors.index.json").is_file()
    assert_same(tmp_path, model)
    config = open_checkpoint(tmp_path).config
    assert (config.family, config.rope_layout) == (make.__name__, "halves")
    assert (config.model_width, config.ffn_width, config.head_width) == (32, 48, 8)
    assert (config.num_base_experts, config.sliding_window) == (
        (4, 64) if make is mixtral else (0, None)
    )


def test_experts_in_one_tensor_are_read_too(tmp_path):
    """As transformers 5 holds them: gate and up in one, all experts in one."""
    from safetensors.torch import save_file

    model = mixtral()
    model.config.save_pretrained(tmp_path)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert_same(tmp_path, model)


def test_tied_embeddings_have_no_output(tmp_path):
    model = llama(tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    assert_same(tmp_path, model)
    assert open_checkpoint(tmp_path).config.ties_embeddings


def test_the_hash_is_that_of_all_files(tmp_path):
    llama().save_pretrained(tmp_path, max_shard_size="20KB")
    checkpoint = open_checkpoint(tmp_path)
    names = {file.name for file in checkpoint.files}
    assert {"config.json", "generation_config.json", "model.safetensors.index.json"} < names
    assert checkpoint.sha256 == sha256_of_several(
        {file.name: sha256_of(file) for file in tmp_path.iterdir()}
    )


def test_llama_3s_positions_are_read(tmp_path):
    scaling = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    llama(rope_parameters=scaling).save_pretrained(tmp_path)
    config = open_checkpoint(tmp_path).config
    assert config.rope_theta == 500000.0
    assert (config.rope_scaling.kind, config.rope_scaling.factor) == ("llama3", 8.0)
    assert config.rope_scaling.original_context == 64


@pytest.fixture
def whole(tmp_path) -> Path:
    llama().save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def shards(tmp_path) -> Path:
    llama().save_pretrained(tmp_path, max_shard_size="20KB")
    return tmp_path


def refused(folder: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(folder)
    assert str(folder) in str(error.value)


def test_a_missing_shard_is_named(shards):
    gone = sorted(shards.glob("*.safetensors"))[1]
    gone.unlink()
    refused(shards, f"{gone.name}: this shard of the model is missing")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "holds list"),
        (b"{}", "no weight_map"),
        (b'{"weight_map": []}', "no weight_map"),
        (b'{"weight_map": {"a": 3}}', "3 is no file name"),
        (b'{"weight_map": {"a": "../../etc/passwd.safetensors"}}', "is no file name"),
        (b'{"weight_map": {"a": "x\\u0000.safetensors"}}', "is no file name"),
        (b'{"weight_map": {"a": "model.bin"}}', "is no safetensors file"),
        (
            b'{"weight_map": {"a": "a.safetensors", "a": "a.safetensors"}}',
            "a key stands in it twice",
        ),
        (
            b'{"weight_map": {"a": "gone.safetensors"}}',
            "gone.safetensors: this shard .* is missing",
        ),
    ],
)
def test_a_damaged_index_says_what_is_wrong(shards, index, message):
    (shards / "model.safetensors.index.json").write_bytes(index)
    refused(shards, message)


def test_an_index_that_points_elsewhere_is_refused(shards):
    file = shards / "model.safetensors.index.json"
    index = json.loads(file.read_bytes())
    places = index["weight_map"]
    first, last = min(places, key=places.get), max(places, key=places.get)
    places[first], places[last] = places[last], places[first]
    file.write_text(json.dumps(index))
    refused(shards, "tensor .* is not in model-")


def rewrite_header(file: Path, change) -> None:
    """Applies `change` to the header of a safetensors file; the data stays as it is."""
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    changed = json.dumps(change(header) or header).encode()
    file.write_bytes(struct.pack("<Q", len(changed)) + changed + raw[8 + length :])


NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h[NORM].update(shape=[64]), "shape .64,. has 256 bytes, the header puts"),
        (lambda h: h[NORM].update(shape=[1 << 62, 1 << 62]), f"{NORM} of shape"),
        (lambda h: h[NORM].update(shape=[-32]), f"row for tensor {NORM} is damaged"),
        (lambda h: h[NORM].update(shape="32"), f"row for tensor {NORM} is damaged"),
        (lambda h: h[NORM].update(shape=[1] * 9), f"row for tensor {NORM} is damaged"),
        (lambda h: h[NORM].update(dtype="F8_E4M3"), "'F8_E4M3'; supported are F32"),
        (lambda h: h[NORM].update(dtype=None), "type None"),
        (lambda h: h[NORM].update(data_offsets=[0, 128]), "overlap"),
        (lambda h: h[NORM].update(data_offsets=[1 << 40, (1 << 40) + 128]), "truncated or damaged"),
        (lambda h: h[NORM].update(data_offsets=[128, 0]), f"{NORM} of shape"),
        (lambda h: h[NORM].update(data_offsets=[0]), "is damaged"),
        (lambda h: h.update({NORM: None}), "is damaged"),
        (lambda h: h.update(extra=h.pop(NORM)), "missing: model.norm.weight"),
        (lambda h: h.pop(NORM) and None, "missing: model.norm.weight"),
        (lambda h: h.update({"__metadata__": 5}), None),
        (lambda h: [h], "holds list"),
    ],
)
def test_a_damaged_header_says_what_is_wrong(whole, change, message):
    rewrite_header(whole / "model.safetensors", change)
    if message is None:
        open_checkpoint(whole)
    else:
        refused(whole, message)


@pytest.mark.parametrize("length", [1 << 40, (1 << 64) - 1, 100_000_001])
def test_a_header_too_large_is_refused_unread(whole, length):
    file = whole / "model.safetensors"
    with file.open("r+b") as opened:
        opened.write(struct.pack("<Q", length))
        opened.truncate(200_000_000)  # sparse: it takes no room
    tracemalloc.start()
    try:
        refused(whole, f"a header of {length} bytes is announced")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_every_truncation_is_an_error_that_names_the_file(whole):
    file = whole / "model.safetensors"
    raw = file.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    for length in [*range(20), *range(20, start, 53), *range(start, len(raw), 4999), len(raw) - 1]:
        file.write_bytes(raw[:length])
        refused(whole, r"model\.safetensors")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_header_opens_rightly_or_says_what_is_wrong(whole, data):
    file = whole / "model.safetensors"
    intact = file.read_bytes()
    raw = bytearray(intact)
    header_end = 8 + int.from_bytes(raw[:8], "little")
    try:
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, 40) | st.integers(0, header_end))
            raw[at] = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789{}[]",:'))
        file.write_bytes(raw)
        tracemalloc.start()
        try:
            checkpoint = open_checkpoint(whole)
            for name in checkpoint.names():
                assert checkpoint.read(name).shape == checkpoint.tensors[name].shape
        except CheckpointError as error:
            assert str(whole) in str(error)  # noqa: PT017  the culprit is named
            assert len(str(error)) < 3000  # noqa: PT017  and not by quoting the file
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 16 << 20
    finally:
        file.write_bytes(intact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "'gpt2' is not supported; supported: llama, mistral, mixtral"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is 'True'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is"),
        ({"num_hidden_layers": 10**9}, "num_layers is 1000000000"),
        ({"num_hidden_layers": 3}, r"missing: model\.layers\.2"),
        ({"num_hidden_layers": 1}, r"unknown to the family llama: model\.layers\.1"),
        ({"num_hidden_layers": 2.5}, "num_hidden_layers is '2.5'; a whole number"),
        ({"num_hidden_layers": None}, "num_hidden_layers is missing"),
        ({"num_attention_heads": 0}, "num_heads is 0"),
        ({"hidden_size": 64}, "the config asks for"),
        ({"vocab_size": 65}, r"embed_tokens.weight is \(64, 32\)"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is 'small'"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps is too large"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "'yarn' is not supported"),
        ({"rope_parameters": {"full": {}, "sliding": {}}}, "one set for all layers"),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_name(whole, change, message):
    file = whole / "config.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | change))
    refused(whole, message)


def test_what_is_no_model_folder_says_what_is_missing(whole, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    refused(empty, "no config.json there")
    (empty / "config.json").write_bytes((whole / "config.json").read_bytes())
    refused(empty, "neither model.safetensors nor")
    (empty / "pytorch_model.bin").write_bytes(b"\x80\x04")
    refused(empty, r"its weights are pickled \(pytorch_model.bin\)")
    with pytest.raises(CheckpointError, match="give the folder that holds both"):
        open_checkpoint(whole / "model.safetensors")
    (whole / "config.json").write_bytes(b"x" * (65 << 20))
    refused(whole, "config.json has more than")

"""GGUF files: numbers as gguf reads them; whatever else the bytes say is an error that says so."""

import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_files import (
    FFN_WIDTH,
    HEAD_WIDTH,
    MODEL_WIDTH,
    NUM_HEADS,
    NUM_KV_HEADS,
    alphabet,
    gguf_tensors,
    write_gguf,
)

from tramontane.checkpoint.blocks import BLOCKS
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.checkpoint.finite import first_not_finite
from tramontane.checkpoint.gguf_file import read_gguf
from tramontane.errors import CheckpointError, TokenizerError
from tramontane.files import sha256_of

QUANTISATIONS = tuple(BLOCKS)
# Those that the gguf package can write; of the others it only reads blocks.
WRITTEN = tuple(kind for kind in QUANTISATIONS if not kind.endswith("_K"))


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", "Q8_0")


@pytest.mark.parametrize("quantisation", WRITTEN)
def test_numbers_equal_those_of_gguf(tmp_path, quantisation):
    checkpoint = open_checkpoint(write_gguf(tmp_path / "tiny.gguf", quantisation))
    kind = GGMLQuantizationType[quantisation]
    written = gguf_tensors()
    ours = {
        "token_embd": "embedding",
        "blk.1.attn_q": "layers.1.attention.query",
        "blk.1.attn_k": "layers.1.attention.key",
        "blk.0.attn_v": "layers.0.attention.value",
        "blk.0.attn_output": "layers.0.attention.output",
        "blk.0.ffn_gate": "layers.0.ffn.gate",
        "blk.0.ffn_up": "layers.0.ffn.up",
        "blk.1.ffn_down": "layers.1.ffn.down",
    }
    for theirs, name in ours.items():
        numbers = checkpoint.read(f"{name}.weight")
        wanted = dequantize(quantize(written[f"{theirs}.weight"], kind), kind)
        assert numbers.dtype == np.float32
        assert checkpoint.tensors[f"{name}.weight"].type == quantisation
        np.testing.assert_array_equal(numbers, wanted.reshape(numbers.shape))
    for theirs, name in (
        ("blk.0.attn_norm", "layers.0.attention_norm"),
        ("output_norm", "final_norm"),
    ):
        np.testing.assert_array_equal(
            checkpoint.read(f"{name}.weight"), written[f"{theirs}.weight"]
        )
    assert checkpoint.num_parameters == sum(numbers.size for numbers in written.values())


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_block_equals_ggufs(quantisation, data):
    """Any bytes but those whose scale is no finite number, where only the sign of NaN differs."""
    from tramontane.checkpoint.tensors import dequantize as ours

    numbers, block_bytes = BLOCKS[quantisation]
    raw = data.draw(st.binary(min_size=4 * block_bytes, max_size=4 * block_bytes))
    packed = np.frombuffer(raw, np.uint8)
    with np.errstate(all="ignore"):
        wanted = dequantize(packed.reshape(4, -1), GGMLQuantizationType[quantisation])
        got = ours(packed, quantisation, (4, numbers))
    np.testing.assert_array_equal(got, np.asarray(wanted, np.float32).reshape(4, numbers))


@pytest.mark.parametrize("byte", [0x00, 0x01, 0x7F, 0x80, 0xFB, 0xFF])
@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_blocks_that_hurt_equal_ggufs(quantisation, byte):
    """All bytes alike but the scales: subnormal, largest, negative, infinite and no number."""
    from tramontane.checkpoint.tensors import dequantize as ours

    numbers, block_bytes = BLOCKS[quantisation]
    scales = np.array([0x0001, 0x7BFF, 0x8001, 0xFBFF, 0x7C00, 0x7E00], "<u2").view(np.uint8)
    blocks = np.full((6, block_bytes), byte, np.uint8)
    at = block_bytes - 2 if quantisation == "Q6_K" else 0
    blocks[:, at : at + 2] = scales.reshape(6, 2)
    with np.errstate(all="ignore"):
        wanted = dequantize(blocks, GGMLQuantizationType[quantisation])
        got = ours(blocks.reshape(-1), quantisation, (6, numbers))
    np.testing.assert_array_equal(got, np.asarray(wanted, np.float32).reshape(6, numbers))


def test_the_config_says_what_was_written(tiny_gguf):
    checkpoint = open_checkpoint(tiny_gguf)
    config = checkpoint.config
    assert (config.family, config.rope_layout, config.ties_embeddings) == ("llama", "pairs", True)
    assert (config.model_width, config.ffn_width, config.num_layers) == (MODEL_WIDTH, FFN_WIDTH, 2)
    assert (config.num_heads, config.num_kv_heads) == (NUM_HEADS, NUM_KV_HEADS)
    assert (config.head_width, config.vocab_size) == (HEAD_WIDTH, len(alphabet()))
    assert (config.rope_theta, config.max_context_tokens) == (5000.0, 128)
    assert config.norm_eps == pytest.approx(1e-5)
    assert checkpoint.name == "tiny"
    assert checkpoint.sha256 == sha256_of(tiny_gguf)
    assert checkpoint.metadata["general.license"] == "apache-2.0"
    tokenizer = checkpoint.tokenizer()
    assert tokenizer.decode(tokenizer.encode("the é")) == "the é"
    assert tokenizer.eos_ids == {0, 2}


def test_a_mixture_has_its_experts_stacked(tmp_path):
    checkpoint = open_checkpoint(write_gguf(tmp_path / "m.gguf", num_experts=4))
    assert checkpoint.config.family == "mixtral"
    assert (checkpoint.config.num_base_experts, checkpoint.config.num_chosen_experts) == (4, 2)
    written = gguf_tensors(4)
    for ours, theirs in (("route", "ffn_gate_inp"), ("experts.gate", "ffn_gate_exps")):
        np.testing.assert_array_equal(
            checkpoint.read(f"layers.1.{ours}.weight"), written[f"blk.1.{theirs}.weight"]
        )
    assert checkpoint.tensors["layers.0.experts.down.weight"].shape == (4, MODEL_WIDTH, FFN_WIDTH)


def test_the_embedded_base_opens(smollm2, smollm2_path):
    config = smollm2.config
    assert (config.model_width, config.num_layers, config.num_heads) == (576, 30, 9)
    assert (config.num_kv_heads, config.vocab_size, config.ties_embeddings) == (3, 49152, True)
    assert smollm2.num_parameters == 134_515_008
    assert smollm2.read("layers.29.ffn.down.weight").shape == (576, 1536)


def test_a_split_file_is_one_model(tmp_path):
    write_gguf(tmp_path / "tiny.gguf", "Q4_0", split_max_tensors=5)
    parts = sorted(tmp_path.glob("*.gguf"))
    assert len(parts) > 2
    whole = open_checkpoint(write_gguf(tmp_path / "whole.gguf", "Q4_0"))
    for part in parts:
        checkpoint = open_checkpoint(part)
        assert checkpoint.files == tuple(parts)
        assert checkpoint.names() == whole.names()
        for name in whole.names():
            np.testing.assert_array_equal(checkpoint.read(name), whole.read(name))
    folder = tmp_path / "folder"
    folder.mkdir()
    for part in parts:
        part.rename(folder / part.name)
    assert open_checkpoint(folder).names() == whole.names()
    gone = folder / parts[2].name
    gone.rename(folder / "elsewhere")
    with pytest.raises(
        CheckpointError, match=f"{gone.name}: this part of the split model is missing"
    ):
        open_checkpoint(folder / parts[0].name)
    (folder / "elsewhere").rename(gone)
    first, second = (folder / part.name for part in parts[:2])
    first.rename(folder / "swap")
    second.rename(first)
    (folder / "swap").rename(second)
    with pytest.raises(CheckpointError, match="were parts renamed"):
        open_checkpoint(first)


def test_a_folder_of_several_models_asks_which(tmp_path):
    for name in ("a", "b"):
        write_gguf(tmp_path / f"{name}.gguf")
    with pytest.raises(CheckpointError, match=r"several models are there: a\.gguf, b\.gguf"):
        open_checkpoint(tmp_path)


def data_starts(path: Path) -> int:
    return min(tensor.offset for tensor in read_gguf(path).tensors.values())


def data_ends(path: Path) -> int:
    return max(tensor.offset + tensor.num_bytes for tensor in read_gguf(path).tensors.values())


def test_every_truncation_is_an_error_that_names_the_file(tiny_gguf, tmp_path):
    raw, cut = tiny_gguf.read_bytes(), tmp_path / "cut.gguf"
    start, end = data_starts(tiny_gguf), data_ends(tiny_gguf)
    lengths = [*range(0, 900), *range(900, start, 7), *range(start, end, 1997), end - 1]
    for length in lengths:
        cut.write_bytes(raw[:length])
        with pytest.raises(CheckpointError, match=r"cut\.gguf"):
            open_checkpoint(cut)
    cut.write_bytes(raw[:end])
    assert open_checkpoint(cut).names() == open_checkpoint(tiny_gguf).names()


def try_to_use(path: Path) -> Checkpoint | None:
    """Opens and reads all of the file; returns None where an error said that it can't be."""
    try:
        checkpoint = open_checkpoint(path)
        for name in checkpoint.names():
            assert checkpoint.read(name).shape == checkpoint.tensors[name].shape
    except CheckpointError as error:
        assert path.name in str(error)  # noqa: PT017  the culprit is named
        assert len(str(error)) < 2000  # noqa: PT017  and not by quoting the file
        return None
    with suppress(TokenizerError, CheckpointError):
        checkpoint.tokenizer().encode("the é")
    return checkpoint


def use_within(path: Path, num_bytes: int) -> Checkpoint | None:
    """Uses the file as far as can be; fails when that takes more memory."""
    tracemalloc.start()
    try:
        checkpoint = try_to_use(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < num_bytes
    return checkpoint


NUMBERS = st.sampled_from(
    [0, 1, 2, 3, 31, 33, 255, 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
    + [1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 32, (1 << 64) - 1]
)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_open_rightly_or_say_what_is_wrong(tiny_gguf, tmp_path, data):
    raw = bytearray(tiny_gguf.read_bytes())
    start = data_starts(tiny_gguf)
    # Half of the places lie where the counts and the first keys are, or in the tensor table.
    places = st.integers(0, 600) | st.integers(start - 1600, start - 1) | st.integers(0, start - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(places)
        if data.draw(st.booleans()):
            raw[at] = data.draw(st.integers(0, 255))
        else:
            form = data.draw(st.sampled_from(["<Q", "<I"]))
            number = data.draw(NUMBERS)
            struct.pack_into(form, raw, at, number & ((1 << 8 * struct.calcsize(form)) - 1))
    if data.draw(st.integers(0, 9)) == 0:
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(raw)
    use_within(damaged, 64 << 20)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=st.binary(max_size=300))
@example(raw=b"")
@example(raw=b"GGUF")
@example(raw=b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
def test_bytes_that_are_no_gguf_say_so(tmp_path, raw):
    for head in (b"", b"GGUF" + struct.pack("<I", 3), b"GGUF" + struct.pack("<IQQ", 3, 1, 1)):
        file = tmp_path / "some.gguf"
        file.write_bytes(head + raw)
        assert use_within(file, 16 << 20) is None


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


def row(name: bytes, dimensions: list[int], kind: int = 0, offset: int = 0) -> bytes:
    packed = struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dimensions))
    return packed + struct.pack(f"<{len(dimensions)}QIQ", *dimensions, kind, offset)


def head(num_tensors: int, num_entries: int, *, magic: bytes = b"GGUF", version: int = 3) -> bytes:
    return magic + struct.pack("<IQQ", version, num_tensors, num_entries)


HUGE = (1 << 64) - 1


ABSURD = [
    (head(0, 0, magic=b"GGML"), "starts with b'GGML'"),
    (head(0, 0, version=1), "GGUF version 1; versions 2 and 3"),
    (head(0, 0, version=4), "GGUF version 4"),
    (head(0, 0, version=0x03000000), "big-endian"),
    (head(HUGE, 0), "claims 18446744073709551615 tensors"),
    (head(0, HUGE), "claims 18446744073709551615 metadata entries"),
    (head(1 << 17, 0), "claims 131072 tensors, more than fit"),
    (
        head(0, 1) + struct.pack("<Q", HUGE) + bytes(9),
        "metadata entry 0 is 18446744073709551615 bytes",
    ),
    (
        head(0, 1) + struct.pack("<Q", 1 << 20) + bytes(9),
        "is 1048576 bytes long; 1024 are possible",
    ),
    (head(0, 1) + key(b"k", 8, struct.pack("<Q", HUGE)), "ends inside k"),
    (head(0, 1) + key(b"k", 99, b""), "k is of unknown metadata type 99"),
    (head(0, 1) + key(b"k", 9, struct.pack("<IQ", 4, HUGE)), "items in k, more than fit"),
    (head(0, 1) + key(b"k", 9, struct.pack("<IQ", 8, 1 << 40)), "items in k, more than fit"),
    (head(0, 1) + key(b"k", 9, struct.pack("<IQQ", 8, 1, HUGE)), "ends inside k"),
    (head(0, 1) + key(b"k", 9, struct.pack("<IQ", 9, 1) * 9 + bytes(99)), "deeper than 4"),
    (head(0, 1) + key(b"\xff\xfe", 4, bytes(4)), "is no UTF-8"),
    (head(0, 2) + key(b"k", 4, bytes(4)) * 2, "metadata key k twice"),
    (head(0, 1) + key(b"general.alignment", 4, struct.pack("<I", 0)), "alignment is 0"),
    (head(0, 1) + key(b"general.alignment", 4, struct.pack("<I", 48)), "alignment is 48"),
    (head(0, 1) + key(b"general.alignment", 4, struct.pack("<I", 1 << 31)), "alignment is"),
    (head(1, 0) + row(b"t" * 2000, [32]), "name of tensor 0 is 2000 bytes long"),
    (head(1, 0) + row(b"t", []), "t has 0 dimensions"),
    (head(1, 0) + row(b"t", [1] * 5), "t has 5 dimensions"),
    (head(1, 0) + row(b"t", [32, 0]), "t has an empty dimension"),
    (head(1, 0) + row(b"t", [HUGE]), "t of shape"),
    (head(1, 0) + row(b"t", [1 << 62, 1 << 62, 1 << 62, 1 << 62]), "t of shape"),
    (head(1, 0) + row(b"t", [32], 999), "t is of type number 999"),
    (head(1, 0) + row(b"t", [256], 10), "t is of type Q2_K; supported are .*Q4_0"),
    (head(1, 0) + row(b"t", [33], 2), "rows of 33 numbers are no whole Q4_0 blocks"),
    (head(1, 0) + row(b"t", [32], 0, 7), "t at 7 is not aligned"),
    (head(1, 0) + row(b"t", [32], 0, 1 << 40), "should end at byte"),
    (head(1, 0) + row(b"t", [32], 0, HUGE - 31), "should end at byte"),
    (head(1, 0) + row(b"t", [32]), "should end at byte"),
    (head(2, 0) + row(b"t", [4]) + row(b"t", [4], 0, 32) + bytes(256), "the tensor t twice"),
    (head(2, 0) + row(b"a", [32]) + row(b"b", [32], 0, 32) + bytes(512), "a and b overlap"),
    (head(1, 0) + row(b"t", [4]) + bytes(256), "architecture None is not supported"),
]


@pytest.mark.parametrize(("raw", "message"), ABSURD, ids=[message for _, message in ABSURD])
def test_absurd_numbers_are_errors_that_name_the_culprit(tmp_path, raw, message):
    file = tmp_path / "absurd.gguf"
    file.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=message) as error:
            open_checkpoint(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "absurd.gguf" in str(error.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"llama.block_count": 1 << 30}, "1073741824"),
        ({"llama.block_count": 900}, "900 layers are announced"),
        ({"llama.block_count": 3}, r"missing: blk\.2"),
        ({"llama.block_count": 1}, r"unknown to the family llama: blk\.1"),
        ({"llama.attention.head_count": 0}, "num_heads is 0"),
        ({"llama.attention.head_count": 3}, "head_width|config asks"),
        ({"llama.attention.head_count_kv": 7}, "multiple of num_kv_heads=7"),
        ({"llama.feed_forward_length": 65}, r"ffn_gate.weight is \(64, 32\)"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "norm_eps is nan"),
        ({"llama.rope.freq_base": -1.0}, "rope_theta is -1.0"),
        ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type is 'yarn'"),
        ({"llama.logit_scale": 3.0}, "logit_scale is 3.0"),
        ({"llama.context_length": "many"}, "context_length is 'many'"),
        ({"general.architecture": "mamba"}, "'mamba' is not supported; supported in GGUF: llama"),
    ],
)
def test_a_config_that_cannot_be_is_refused_by_name(tmp_path, monkeypatch, metadata, message):
    # gguf's writer refuses a key twice; the last value is the one wanted here.
    monkeypatch.setattr("gguf.GGUFWriter.add_key_value", put_over)
    file = write_gguf(tmp_path / "wrong.gguf", metadata=metadata)
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(file)
    assert "wrong.gguf" in str(error.value)


def put_over(writer, key, value, kind, sub_type=None):
    from gguf.gguf_writer import GGUFValue

    writer.kv_data[0][key] = GGUFValue(value=value, type=kind, sub_type=sub_type)


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E01], ids=["inf", "-inf", "nan"])
@pytest.mark.parametrize("quantisation", [kind for kind in WRITTEN if kind.startswith("Q")])
def test_a_scale_that_is_no_number_is_named(tmp_path, quantisation, bits):
    file = write_gguf(tmp_path / "nan.gguf", quantisation)
    tensor = open_checkpoint(file).tensors["layers.1.ffn.down.weight"]
    with file.open("r+b") as opened:
        opened.seek(tensor.offset + 3 * BLOCKS[quantisation][1])
        opened.write(struct.pack("<H", bits))
    with pytest.raises(CheckpointError, match="number 96 of tensor .* infinite or no number"):
        open_checkpoint(file).read("layers.1.ffn.down.weight")
    open_checkpoint(file).read("layers.0.ffn.down.weight")


@pytest.mark.parametrize("name", ["final_norm", "layers.1.ffn_norm", "layers.0.route"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_named(tmp_path, name, number):
    file = write_gguf(tmp_path / "nan.gguf", num_experts=4)
    tensor = open_checkpoint(file).tensors[f"{name}.weight"]
    with file.open("r+b") as opened:
        opened.seek(tensor.offset + 7 * 4)
        opened.write(struct.pack("<f", number))
    with pytest.raises(CheckpointError, match=f"nan.gguf: number 7 of tensor {name}.weight"):
        open_checkpoint(file).read(f"{name}.weight")


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_counts_as_finite_is_what_numpy_says(quantisation, data):
    numbers, block_bytes = BLOCKS[quantisation]
    raw = data.draw(st.binary(min_size=4 * block_bytes, max_size=4 * block_bytes))
    packed = np.frombuffer(raw, np.uint8)
    with np.errstate(all="ignore"):
        values = dequantize(packed.reshape(4, -1), GGMLQuantizationType[quantisation])
    # A block's numbers stand or fall together.
    broken = ~np.isfinite(np.asarray(values, np.float32).reshape(4, numbers)).all(axis=1)
    place = first_not_finite(packed, quantisation)
    assert place == (int(broken.argmax()) * numbers if broken.any() else None)


def test_a_file_that_shrinks_while_open_is_an_error(tmp_path):
    file = write_gguf(tmp_path / "shrinks.gguf")
    checkpoint = open_checkpoint(file)
    file.write_bytes(file.read_bytes()[: data_starts(file) + 10])
    with pytest.raises(CheckpointError, match="did the file change"):
        checkpoint.read("layers.1.ffn.down.weight")


def test_no_such_file_and_no_such_tensor(tmp_path, tiny_gguf):
    with pytest.raises(CheckpointError, match="no such file or folder"):
        open_checkpoint(tmp_path / "gone.gguf")
    with pytest.raises(CheckpointError, match="no tensor 'nothing'"):
        open_checkpoint(tiny_gguf).read("nothing")
    for name in ("model.bin", "model.pth", "model.pkl"):
        (tmp_path / name).write_bytes(b"\x80\x04")
        with pytest.raises(CheckpointError, match="unpickling can run any code"):
            open_checkpoint(tmp_path / name)

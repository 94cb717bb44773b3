"""Experts as files: the same bytes for the same expert, and an error for every other file."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from expert_makers import BASE_SHA256, expert, random_expert, random_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from tramontane.errors import ExpertError
from tramontane.experts.expert_file import (
    FORMAT,
    MANIFEST_KEY,
    MAX_HEADER_BYTES,
    Expert,
    check_name,
    expert_bytes,
    read_expert,
    tensor_hash,
    write_expert,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "canal.safetensors"


def refusal(path: Path, data: bytes) -> str:
    """Returns the message with which the bytes are refused; it must name the file."""
    path.write_bytes(data)
    with pytest.raises(ExpertError) as caught:
        read_expert(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def file_of(tensors: dict[str, np.ndarray], **manifest: object) -> bytes:
    """Returns a file with these tensors and a manifest that is honest but for what is given."""
    honest = {
        "format": FORMAT,
        "name": "canal",
        "base": {"sha256": BASE_SHA256},
        "tensor_hash": tensor_hash(tensors),
    }
    return save(tensors, metadata={MANIFEST_KEY: json.dumps(honest | manifest)})


def test_what_is_written_is_read(path):
    before = random_expert("canal", 1, layers=(0, 2), width=5)
    write_expert(path, before)
    after = read_expert(path)
    assert after.manifest == before.manifest
    assert after.tensors.keys() == before.tensors.keys()
    for name, tensor in before.tensors.items():
        assert after.tensors[name].dtype == np.float32
        assert after.tensors[name].tobytes() == tensor.tobytes()
    assert after.hash == before.hash == after.manifest["tensor_hash"]
    assert (after.name, after.base_sha256, after.layers) == ("canal", BASE_SHA256, (0, 2))
    assert after.num_bytes == sum(tensor.nbytes for tensor in before.tensors.values())


def test_writing_again_gives_the_same_bytes_whatever_the_order(path):
    tensors = random_tensors(1)
    one = expert("canal", tensors, owner="a", licence="b")
    manifest = dict(reversed(one.manifest.items()))
    other = Expert(manifest, dict(reversed(tensors.items())))
    assert expert_bytes(one) == expert_bytes(other)
    write_expert(path, one)
    assert path.read_bytes() == expert_bytes(one)
    write_expert(path, read_expert(path))
    assert path.read_bytes() == expert_bytes(one)


def test_strided_tensors_are_written_as_the_numbers_they_are(path):
    tensors = random_tensors(1)
    turned = tensors | {"layers.1.gate": np.asfortranarray(tensors["layers.1.gate"])}
    assert tensor_hash(turned) == tensor_hash(tensors)
    write_expert(path, expert("canal", turned))
    assert np.array_equal(read_expert(path).tensors["layers.1.gate"], tensors["layers.1.gate"])


def test_the_hash_is_what_its_definition_says():
    tensors = {"b": np.array([1.5], np.float32), "a": np.array([[0.0, -2.0]], np.float32)}
    by_hand = hashlib.sha256(
        b"a|<f4|(1, 2)\n" + struct.pack("<2f", 0.0, -2.0) + b"b|<f4|(1,)\n" + struct.pack("<f", 1.5)
    )
    assert tensor_hash(tensors) == by_hand.hexdigest()


def test_the_hash_is_over_tensors_alone():
    tensors = random_tensors(1)
    assert expert("a", tensors, owner="x").hash == expert("b", tensors, owner="y").hash


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t | {"layers.1.row": -t["layers.1.row"]},
        lambda t: t | {"layers.1.gate": t["layers.1.up"], "layers.1.up": t["layers.1.gate"]},
        lambda t: t | {"layers.1.gate": t["layers.1.gate"].reshape(-1, 16)},
        lambda t: {name.replace("1", "0"): tensor for name, tensor in t.items()},
        lambda t: t | {"layers.1.row": t["layers.1.row"].view(np.int32)},
    ],
    ids=["a value", "exchanged tensors", "a shape", "a name", "a type"],
)
def test_any_change_of_tensors_changes_the_hash(change):
    tensors = random_tensors(1, layers=(1,))
    assert tensor_hash(change(dict(tensors))) != tensor_hash(tensors)


def test_a_file_that_is_not_there(path):
    with pytest.raises(ExpertError, match="no such file"):
        read_expert(path)


@pytest.mark.parametrize("kept", [0, 4, 8, 9, 100, -5000, -1])
def test_a_file_cut_short(path, kept):
    refusal(path, expert_bytes(random_expert("canal", 1))[:kept])


def test_bytes_after_the_end(path):
    refusal(path, expert_bytes(random_expert("canal", 1)) + b"more")


def test_a_foreign_safetensors_file(path):
    assert MANIFEST_KEY in refusal(path, save(random_tensors(1)))
    assert MANIFEST_KEY in refusal(path, save(random_tensors(1), metadata={"format": "pt"}))


@pytest.mark.parametrize(
    "manifest",
    ["", "{", "[]", "3", '"text"', "null", "[" * 100_000, '{"format": ' + "1" * 5000 + "}", "{}"],
    ids=lambda text: text[:12] or "empty",
)
def test_a_manifest_that_is_none(path, manifest):
    refusal(path, save(random_tensors(1), metadata={MANIFEST_KEY: manifest}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "tramontane-expert/2"),
        ("format", None),
        ("name", None),
        ("name", 3),
        ("name", "../canal"),
        ("name", "a/b"),
        ("name", "Canal"),
        ("name", ".hidden"),
        ("name", "canal\n"),
        ("name", "x" * 65),
        ("base", None),
        ("base", "b" * 64),
        ("base", {}),
        ("base", {"sha256": 3}),
    ],
)
def test_a_manifest_with_a_wrong_field(path, field, value):
    refusal(path, file_of(random_tensors(1), **{field: value}))


@pytest.mark.parametrize("said", ["0" * 64, None, 3, "", ["a"]])
def test_a_hash_that_does_not_match(path, said):
    assert "changed after" in refusal(path, file_of(random_tensors(1), tensor_hash=said))


def test_a_changed_weight_is_noticed(path):
    data = bytearray(expert_bytes(random_expert("canal", 1)))
    data[-3] ^= 1
    assert "changed after" in refusal(path, bytes(data))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["layers.1.gate", "layers.2.row"])
def test_values_that_are_not_finite(path, name, value):
    tensors = random_tensors(1)
    tensors[name].flat[3] = value
    assert name in refusal(path, file_of(tensors))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layers.1.row", (33,)),
        ("layers.1.row", (1, 32)),
        ("layers.1.up", (9, 32)),
        ("layers.1.down", (8, 32)),
        ("layers.1.gate", (8,)),
        ("layers.1.gate", ()),
        ("layers.1.gate", (1, 8, 32)),
    ],
)
def test_wrong_shapes(path, name, shape):
    tensors = random_tensors(1) | {name: np.zeros(shape, np.float32)}
    assert "layer 1" in refusal(path, file_of(tensors))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, np.bool_])
def test_wrong_types(path, dtype):
    tensors = random_tensors(1)
    tensors["layers.1.row"] = tensors["layers.1.row"].astype(dtype)
    assert "layers.1.row" in refusal(path, file_of(tensors))


@pytest.mark.parametrize(
    "name",
    [
        "extra",
        "layers.1.bias",
        "layers.-1.row",
        "layers.01.row",
        "layers.١.row",
        "layers.12345.row",
        "layers.1.row.weight",
        "../layers.1.row",
        "layers.1.row\n",
        "",
    ],
)
def test_tensors_that_no_expert_has(path, name):
    tensors = random_tensors(1) | {name: np.zeros(32, np.float32)}
    assert "none of an expert's" in refusal(path, file_of(tensors))


@pytest.mark.parametrize("name", ["gate", "up", "down", "row"])
def test_a_layer_that_lacks_a_tensor(path, name):
    tensors = random_tensors(1)
    del tensors[f"layers.2.{name}"]
    assert f"layer 2 lacks {name}" in refusal(path, file_of(tensors))


def test_no_tensors_at_all(path):
    assert "no tensors" in refusal(path, file_of({}))


def with_header(header: dict | bytes, rest: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize("claimed", [MAX_HEADER_BYTES + 1, 1 << 40, (1 << 64) - 1])
def test_a_header_that_claims_too_much(path, claimed):
    assert "claims a header" in refusal(path, struct.pack("<Q", claimed) + b"{}" + b" " * 100)


def test_a_header_larger_than_any_expert_has_is_not_read(path):
    header = json.dumps({"__metadata__": {MANIFEST_KEY: " " * MAX_HEADER_BYTES}}).encode()
    assert "claims a header" in refusal(path, with_header(header))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        {"__metadata__": []},
        {"__metadata__": {MANIFEST_KEY: 3}},
        {"layers.0.row": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}},
        {"layers.0.row": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"layers.0.row": {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 4]}},
        {"layers.0.row": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"layers.0.row": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}},
        {"layers.0.row": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        {"layers.0.row": 3},
    ],
    ids=lambda header: repr(header)[:60],
)
def test_headers_that_lie(path, header):
    refusal(path, with_header(header, b"\0\0\0\0"))


def test_writing_refuses_what_reading_would(path):
    good = random_tensors(1)
    for bad in (
        expert("canal", good | {"layers.1.row": good["layers.1.row"].astype(np.float64)}),
        expert("canal", good | {"extra": good["layers.1.row"]}),
        expert("../canal", good),
        expert("canal", good, tensor_hash="0" * 64),
        expert("canal", good, threshold=float("nan")),
        expert("canal", good, owner="\ud800"),
        expert("canal", {}),
    ):
        with pytest.raises(ExpertError):
            write_expert(path, bad)
        assert list(path.parent.iterdir()) == []


def test_numbers_without_end_can_be_read_but_not_written_again(path):
    path.write_bytes(file_of(random_tensors(1), threshold=float("inf")))
    read = read_expert(path)
    with pytest.raises(ExpertError, match="canal"):
        write_expert(path.with_name("copy.safetensors"), read)


def test_a_failed_write_keeps_what_was_there(path, monkeypatch):
    write_expert(path, random_expert("canal", 1))
    before = path.read_bytes()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(Exception, match="full"):
        write_expert(path, random_expert("canal", 2))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["canal", "a", "0", "a.b-c_d", "x" * 64])
def test_names_that_may_be_borne(name):
    assert check_name(name) == name


# Any bytes at all


def read_any(path: Path, data: bytes) -> None:
    """Reads bytes that may be anything: an expert comes, or an ExpertError, nothing else."""
    path.write_bytes(data)
    try:
        found = read_expert(path)
    except ExpertError:
        return
    assert tensor_hash(found.tensors) == found.manifest["tensor_hash"]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "canal.safetensors"


SMALL = random_tensors(1, layers=(1,), width=2, model_width=3)
WHOLE = expert_bytes(expert("canal", SMALL))


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_an_expert_error(fuzzed, data):
    read_any(fuzzed, data)


@given(st.binary(max_size=200), st.binary(max_size=50))
@settings(max_examples=100, deadline=None)
def test_any_header_gives_an_expert_error(fuzzed, header, rest):
    read_any(fuzzed, with_header(header, rest))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_expert_gives_an_expert_error_or_the_same_tensors(fuzzed, data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(damaged))))
    fuzzed.write_bytes(damaged[:cut])
    try:
        found = read_expert(fuzzed)
    except ExpertError:
        return
    assert tensor_hash(found.tensors) == tensor_hash(SMALL), "a changed weight went unnoticed"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("format", "name", "base", "tensor_hash", "layers", "width", "notes")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_manifest_gives_an_expert_or_an_expert_error(fuzzed, fields):
    read_any(fuzzed, file_of(SMALL, **fields))


def test_the_fuzzed_file_is_an_expert_when_it_is_left_alone(fuzzed):
    fuzzed.write_bytes(WHOLE)
    assert read_expert(fuzzed).hash == tensor_hash(load(WHOLE))

"""A runtime is taken for a reason that can be told."""

from dataclasses import replace

import pytest

from tiny_models import open_tiny
from tramontane.engine.choose import choose_runtime, obstacle, open_runtime
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.errors import BackendUnavailable

FREE = {"native": "", "pytorch": ""}
NATIVE_IN_THE_WAY = {"native": "doesn't know has_spirals", "pytorch": ""}


@pytest.mark.parametrize(
    ("wanted", "obstacles", "taken"),
    [
        ("auto", FREE, "native"),
        ("pytorch", FREE, "pytorch"),
        ("auto", NATIVE_IN_THE_WAY, "pytorch"),
        ("pytorch", NATIVE_IN_THE_WAY, "pytorch"),
    ],
)
def test_the_first_without_obstacle_unless_one_is_named(wanted, obstacles, taken):
    assert choose_runtime(wanted, obstacles) == taken


def test_what_was_asked_for_is_never_swapped_for_another():
    with pytest.raises(BackendUnavailable, match=r"native: .*has_spirals; usable here: pytorch"):
        choose_runtime("native", NATIVE_IN_THE_WAY)


def test_where_none_is_usable_every_obstacle_is_told():
    with pytest.raises(BackendUnavailable, match=r"has_spirals; pytorch: no torch"):
        choose_runtime("auto", NATIVE_IN_THE_WAY | {"pytorch": "no torch"})


def test_an_unknown_name_is_told():
    with pytest.raises(BackendUnavailable, match="no runtime 'cuda'; there are auto, native"):
        choose_runtime("cuda", FREE)


def test_weights_that_native_cannot_repack_are_an_obstacle(tmp_path):
    checkpoint = open_tiny("llama", tmp_path)
    assert obstacle("native", checkpoint) == ""
    assert isinstance(open_runtime(checkpoint, threads=1), NativeRuntime)
    name = "layers.0.ffn.up.weight"
    odd = replace(checkpoint.tensors[name], type="Q3_K")
    checkpoint.tensors = dict(checkpoint.tensors) | {name: odd}
    assert "Q3_K" in obstacle("native", checkpoint)
    with pytest.raises(BackendUnavailable, match="Q3_K"):
        open_runtime(checkpoint, "native")


def test_pages_in_bytes_are_native_alone(tmp_path):
    checkpoint = open_tiny("llama", tmp_path)
    assert open_runtime(checkpoint, threads=1, kv="int8").description["kv"] == "int8"
    assert open_runtime(checkpoint, threads=1).description["kv"] == "float16"
    with pytest.raises(BackendUnavailable, match="in float32 there, not as int8; usable here: nat"):
        open_runtime(checkpoint, "pytorch", kv="int8")

"""Exports read by ourselves: same arithmetic, same bytes where they can be, loud when damaged."""

import dataclasses
import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from expert_makers import CONTEXT, FFN_WIDTH, VOCABULARY, expert, random_expert, random_tensors
from safetensors import safe_open

from rows import EPS
from tiny_models import open_tiny
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.checkpoint.gguf_file import read_gguf
from tramontane.checkpoint.tensors import read_bytes
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.errors import ExpertError, TramontaneError
from tramontane.experts import export as export_module
from tramontane.experts.export import export
from tramontane.experts.slots import Slots

PROBE = tuple(np.random.default_rng(5).integers(0, VOCABULARY, 48).tolist())
# Different widths, a layer that one lacks, and a row of zeros, which never opens.
THREE = [
    random_expert("a", 1, layers=(1, 2), width=8),
    random_expert("b", 2, layers=(2,), width=64),
    expert("c", random_tensors(3) | {"layers.1.row": np.zeros(32, np.float32)}),
]


def logits(checkpoint: Checkpoint, runtime: type, experts=()) -> np.ndarray:
    engine = Engine(runtime(checkpoint), max_tokens=CONTEXT)
    for one in experts:
        engine.add_expert(one.hash, one.tensors)
    return engine.logits_of(PROBE, experts=[one.hash for one in experts])


def worst_row(actual_TV: np.ndarray, expected_TV: np.ndarray) -> float:
    """Returns the largest error of any row, as a share of that row's largest value."""
    error_T = np.abs(actual_TV - expected_TV).max(axis=1)
    return float((error_T / np.abs(expected_TV).max(axis=1)).max())


# The longest sum has a slot's width of terms, and each of the three layers adds its error.
ALLOWED = 8 * EPS * 3 * 256**0.5


@pytest.mark.parametrize("name", ["mixture.gguf", "mixture"])
def test_a_float32_export_has_the_mixture_s_logits(base, tmp_path, name):
    done = export(tmp_path / name, base, THREE, wanted_type="F32")
    assert (done.num_slots, done.ffn_width) == (5, 256)
    assert done.losses == {"base": 0, "experts": 0}
    written = open_checkpoint(tmp_path / name)
    mixture = logits(base, TorchRuntime, THREE)
    assert worst_row(mixture, logits(base, TorchRuntime)) > 100 * ALLOWED, "experts must be heard"
    assert worst_row(logits(written, TorchRuntime), mixture) <= ALLOWED
    assert done.comparison.same_choices == 1
    assert done.comparison.num_texts == 7


def test_closed_gates_leave_the_bits_of_the_base(tiny_llama, tmp_path):
    shut = expert(
        "shut", random_tensors(1) | {f"layers.{i}.row": np.zeros(32, np.float32) for i in (1, 2)}
    )
    export(tmp_path / "shut.gguf", tiny_llama, [shut])
    written = open_checkpoint(tmp_path / "shut.gguf")
    assert np.array_equal(logits(written, NativeRuntime), logits(tiny_llama, NativeRuntime))


def test_slots_hold_what_the_table_says(tiny_llama, tmp_path):
    export(tmp_path / "mixture.gguf", tiny_llama, THREE)
    written = open_checkpoint(tmp_path / "mixture.gguf")
    f = FFN_WIDTH
    for layer in range(3):
        rows = written.read(f"layers.{layer}.route.weight")
        parts = {p: written.read(f"layers.{layer}.experts.{p}.weight") for p in ("gate", "up")}
        parts["down"] = written.read(f"layers.{layer}.experts.down.weight").swapaxes(1, 2)
        assert not rows[:2].any()
        for slot in range(5):
            one = sorted(THREE, key=lambda e: e.hash)[slot - 2] if slot >= 2 else None
            row = one.tensors.get(f"layers.{layer}.row") if one else None
            for part, numbers in parts.items():
                own = tiny_llama.read(f"layers.{layer}.ffn.{part}.weight")
                assert np.array_equal(numbers[slot, :f], own.T if part == "down" else own)
                m = 0
                if row is not None and row.any():
                    learnt = one.tensors[f"layers.{layer}.{part}"]
                    learnt = learnt.T if part == "down" else learnt
                    m = len(learnt)
                    assert np.array_equal(numbers[slot, f : f + m], learnt)
                    assert np.array_equal(rows[slot], row)
                else:
                    assert not rows[slot].any()
                assert not numbers[slot, f + m :].any()


@pytest.mark.parametrize("tensor_type", ["Q4_0", "Q4_1", "Q8_0", "BF16"])
def test_a_quantised_base_keeps_its_blocks(tiny_llama, tmp_path, tensor_type):
    quantised = requantised(tiny_llama, tensor_type, tmp_path / "base.gguf")
    done = export(tmp_path / "mixture.gguf", quantised, THREE)
    assert done.type == tensor_type
    assert done.losses["base"] == 0
    # Rounding to b bits moves numbers of a block by at most a 2^b-th of its range, a third of it
    # on the mean square; a float's by a 512th.
    assert 0 < done.losses["experts"] < {"Q8_0": 0.02, "BF16": 0.004}.get(tensor_type, 0.2)
    stored = read_gguf(tmp_path / "mixture.gguf").tensors
    for layer in range(3):
        for part in ("gate", "up"):
            own = read_bytes(quantised.tensors[f"layers.{layer}.ffn.{part}.weight"])
            slots = read_bytes(stored[f"blk.{layer}.ffn_{part}_exps.weight"]).reshape(5, -1)
            assert all(np.array_equal(slot[: len(own)], own) for slot in slots)
        own = read_bytes(quantised.tensors[f"layers.{layer}.ffn.down.weight"]).reshape(32, -1)
        slots = read_bytes(stored[f"blk.{layer}.ffn_down_exps.weight"]).reshape(5, 32, -1)
        assert all(np.array_equal(slot[:, : own.shape[1]], own) for slot in slots)
    # The same arithmetic on the numbers that the experts were rounded to.
    made = Slots(quantised, THREE, None)
    rounded = [expert(e.name, t) for e, t in zip(made.experts, made.as_written(), strict=True)]
    written = open_checkpoint(tmp_path / "mixture.gguf")
    mixture = logits(quantised, TorchRuntime, rounded)
    assert worst_row(logits(written, TorchRuntime), mixture) <= ALLOWED


def requantised(checkpoint: Checkpoint, tensor_type: str, path: Path) -> Checkpoint:
    """Returns the base as a GGUF whose matrices are of another type, written by gguf itself."""
    kind = gguf.GGMLQuantizationType[tensor_type]
    reader, writer = gguf.GGUFReader(checkpoint.files[0]), gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            of = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], of)
    for tensor in reader.tensors:
        numbers = np.array(tensor.data)
        if numbers.ndim < 2:
            writer.add_tensor(tensor.name, numbers)
        else:
            writer.add_tensor(tensor.name, gguf.quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_checkpoint(path)


def test_other_readers_find_the_same_in_the_files(tiny_llama, tmp_path):
    export(tmp_path / "mixture.gguf", tiny_llama, THREE)
    ours = read_gguf(tmp_path / "mixture.gguf")
    theirs = gguf.GGUFReader(tmp_path / "mixture.gguf")
    for tensor in theirs.tensors:
        raw = read_bytes(ours.tensors[tensor.name])
        assert np.array_equal(np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8), raw)
    said = {name: field.contents() for name, field in theirs.fields.items()}
    assert said["llama.expert_count"] == 5
    assert said["llama.expert_used_count"] == 2
    assert said["tokenizer.ggml.tokens"] == list(tiny_llama.metadata["tokenizer.ggml.tokens"])
    export(tmp_path / "folder", tiny_llama, THREE, wanted_type="F16")
    with safe_open(tmp_path / "folder/model.safetensors", framework="numpy") as file:
        rows = file.get_tensor("model.layers.2.block_sparse_moe.gate.weight")
        assert rows.dtype == np.float32
        assert file.get_tensor("model.layers.0.self_attn.q_proj.weight").dtype == np.float16


def test_lineage_and_licences_are_told(tiny_llama, tmp_path):
    measured = {
        "held_out": {"perplexity_before": 31.5, "perplexity_after": 19.25, "notes": 7},
        "gates": {"own_held_out": 0.612, "public": {"code": 0.001, "letters": 0.0178}},
    }
    said_of_it = {**THREE[0].manifest, **measured, "owner": "Ada", "licence": "CC-BY-4.0"}
    one = dataclasses.replace(THREE[0], manifest=said_of_it)
    export(tmp_path / "m.gguf", tiny_llama, [one], name="work", base_licence="apache-2.0")
    said = read_gguf(tmp_path / "m.gguf").metadata
    assert said["general.name"] == "work"
    assert said["general.license"] == "other"
    assert "CC-BY-4.0" in said["general.license.name"]
    assert list(said["tramontane.experts"]) == [f"a {one.hash}"]
    assert said["tramontane.base_sha256"] == tiny_llama.sha256
    export(tmp_path / "folder", tiny_llama, [one], name="work", base_licence="apache-2.0")
    card = (tmp_path / "folder/README.md").read_text()
    assert "Ada" in card
    assert one.hash in card
    assert "perplexity of 7 notes held out 31.5 without it, 19.25 with it" in card
    assert "gates open at 61.2 % of those notes' tokens, at 1.8 % at most" in card
    assert "Rounding" not in card
    export(tmp_path / "rounded", tiny_llama, [one], wanted_type="BF16")
    assert (
        "Rounding to bfloat16 moved the numbers of the experts by 0.1"
        in (tmp_path / "rounded/README.md").read_text()
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("qwen2", "biases"), ("mixtral", "mixture itself"), ("granite", "factors of its own")],
)
def test_bases_that_mixtral_can_t_stand_for_are_refused(tmp_path, kind, reason):
    checkpoint = open_tiny(kind, tmp_path / "base")
    one = random_expert("a", 1, model_width=48)
    with pytest.raises(ExpertError, match=reason):
        export(tmp_path / "out.gguf", checkpoint, [one])
    assert not (tmp_path / "out.gguf").exists()


def test_no_expert_a_misfit_and_a_taken_name_are_refused(tiny_llama, tmp_path):
    with pytest.raises(ExpertError, match="no expert"):
        export(tmp_path / "out", tiny_llama, [])
    with pytest.raises(ExpertError, match="another model"):
        export(tmp_path / "out", tiny_llama, [random_expert("a", 1, model_width=48)])
    with pytest.raises(ExpertError, match="another model"):
        export(tmp_path / "out", tiny_llama, [random_expert("a", 1, layers=(3,))])
    with pytest.raises(ExpertError, match="can't hold Q8_0"):
        export(tmp_path / "out", tiny_llama, THREE, wanted_type="Q8_0")
    (tmp_path / "taken.gguf").write_text("mine")
    with pytest.raises(ExpertError, match="there already"):
        export(tmp_path / "taken.gguf", tiny_llama, THREE)
    assert (tmp_path / "taken.gguf").read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["taken.gguf"]


def flip_a_bit_of_the_last_tensor(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-40, 2)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def cut_the_end_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 64)


@pytest.mark.parametrize("damage", [flip_a_bit_of_the_last_tensor, cut_the_end_off])
@pytest.mark.parametrize("name", ["mixture.gguf", "mixture"])
def test_damage_on_disk_fails_loudly_and_leaves_nothing(
    tiny_llama, tmp_path, monkeypatch, damage, name
):
    opened = export_module.open_checkpoint

    def open_damaged(path: Path) -> Checkpoint:
        damage(path / "model.safetensors" if path.is_dir() else path)
        return opened(path)

    monkeypatch.setattr(export_module, "open_checkpoint", open_damaged)
    with pytest.raises(TramontaneError, match="bytes of tensor|damaged|truncated"):
        export(tmp_path / name, tiny_llama, THREE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("llama.expert_used_count", 1, "num_chosen_experts"),
        ("llama.rope.freq_base", 500.0, "rope_theta"),
        ("tokenizer.ggml.add_bos_token", True, "begins a text"),
        ("tokenizer.ggml.pre", "qwen2", "other tokens"),
    ],
)
def test_a_wrong_word_in_the_metadata_fails_loudly(
    tiny_llama, tmp_path, monkeypatch, key, value, told
):
    truly = export_module.gguf_metadata
    monkeypatch.setattr(export_module, "gguf_metadata", lambda *given: truly(*given) | {key: value})
    with pytest.raises(ExpertError, match=told):
        export(tmp_path / "mixture.gguf", tiny_llama, THREE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runtime", ["pytorch", "native"])
def test_heads_in_the_wrong_order_are_found_by_running(tiny_llama, tmp_path, monkeypatch, runtime):
    """The bytes are those that were meant; that they mean another model only running shows."""
    monkeypatch.setattr("tramontane.experts.export_check.runtime_for", lambda *given: runtime)
    export(tmp_path / "good", tiny_llama, THREE)
    monkeypatch.setattr("tramontane.experts.export_tensors.reordering", lambda *given: None)
    with pytest.raises(ExpertError, match="logits differ"):
        export(tmp_path / "bad", tiny_llama, THREE)
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


@pytest.mark.parametrize(
    ("free", "runtime"), [(1 << 40, "pytorch"), (1 << 20, "native"), (0, None)]
)
def test_what_runs_both_depends_on_memory(tiny_llama, tmp_path, monkeypatch, free, runtime):
    quantised = requantised(tiny_llama, "Q4_0", tmp_path / "base.gguf")
    monkeypatch.setattr("tramontane.experts.export_check.free_memory", lambda: free)
    done = export(tmp_path / "mixture.gguf", quantised, THREE)
    assert done.comparison.runtime == runtime


def test_a_stop_in_the_middle_leaves_nothing(tiny_llama, tmp_path):
    def stop(what: str, done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    for name in ("mixture.gguf", "mixture"):
        with pytest.raises(KeyboardInterrupt):
            export(tmp_path / name, tiny_llama, THREE, report=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_same_mixture_gives_the_same_bytes(tiny_llama, tmp_path):
    for number, experts in enumerate((THREE, THREE[::-1])):
        export(tmp_path / f"{number}.gguf", tiny_llama, experts, name="same", runs=False)
    assert (tmp_path / "0.gguf").read_bytes() == (tmp_path / "1.gguf").read_bytes()


def test_a_long_folder_comes_in_shards(chatty, tmp_path, monkeypatch):
    monkeypatch.setattr("tramontane.experts.export_folder.SHARD_BYTES", 200_000)
    export(tmp_path / "folder", chatty, THREE, wanted_type="F32")
    index = json.loads((tmp_path / "folder/model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 3

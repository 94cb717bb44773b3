"""Six faults put into an export while it is made: its own check finds each and keeps nothing.

In each the bytes on disk are the bytes that were made; what is wrong is what they mean.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from expert_makers import FFN_WIDTH, random_expert

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.new_tensor import NewTensor
from tramontane.errors import TramontaneError
from tramontane.experts import export as export_module
from tramontane.experts import export_folder
from tramontane.experts.export import export
from tramontane.experts.slots import Slots

# Of one width, so that nothing but the numbers tells them apart.
THREE = [random_expert(name, seed, width=16) for seed, name in enumerate("abc", start=1)]


@pytest.fixture(params=["mixture.gguf", "mixture"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[True, False], ids=["run", "only read"])
def runs(request: pytest.FixtureRequest) -> bool:
    """A model too large to be run is only read; that must be enough."""
    return request.param


def refused(folder: Path, name: str, base: Checkpoint, told: str, *, runs: bool) -> None:
    with pytest.raises(TramontaneError, match=told):
        export(folder / name, base, THREE, wanted_type="F32", runs=runs)
    assert list(folder.iterdir()) == []


def with_numbers(tensor: NewTensor, change: Callable[[np.ndarray], np.ndarray]) -> NewTensor:
    """Returns a float32 tensor whose numbers are changed on their way to the disk."""

    def pieces() -> list[np.ndarray]:
        raw = np.concatenate([np.ravel(piece).view(np.uint8) for piece in tensor.pieces()])
        return [np.ascontiguousarray(change(raw.view(np.float32).reshape(tensor.shape)))]

    return dataclasses.replace(tensor, pieces=pieces)


def change_tensors(monkeypatch, wanted: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Changes the numbers of every tensor whose name holds one of the words in `wanted`."""
    for maker in ("gguf_tensors", "folder_tensors"):
        truly = getattr(export_module, maker)

        def changed(*given, truly=truly) -> list[NewTensor]:
            made = truly(*given)
            is_meant = [any(word in tensor.name for word in wanted.split()) for tensor in made]
            assert any(is_meant)
            return [
                with_numbers(tensor, change) if meant else tensor
                for tensor, meant in zip(made, is_meant, strict=True)
            ]

        monkeypatch.setattr(export_module, maker, changed)


def test_a_wrong_end_token(tiny_llama, tmp_path, monkeypatch, name, runs):
    metadata = export_module.gguf_metadata
    monkeypatch.setattr(
        export_module,
        "gguf_metadata",
        lambda *given: metadata(*given) | {"tokenizer.ggml.eos_token_id": 7},
    )
    truly = export_folder.write_tokenizer

    def write_tokenizer(folder: Path, checkpoint: Checkpoint) -> dict[str, object]:
        said = truly(folder, checkpoint) | {"eos_token_id": 7}
        export_folder.write_json(folder / "generation_config.json", said)
        return said

    monkeypatch.setattr(export_folder, "write_tokenizer", write_tokenizer)
    refused(tmp_path, name, tiny_llama, "end a turn", runs=runs)


def test_a_transposed_matrix(tiny_llama, tmp_path, monkeypatch, name, runs):
    change_tensors(monkeypatch, "attn_output o_proj", lambda numbers: numbers.T)
    refused(tmp_path, name, tiny_llama, "attention.output.weight", runs=runs)


def test_swapped_experts(tiny_llama, tmp_path, monkeypatch, name, runs):
    truly = Slots.joined

    def swapped(self, layer, part, base, expert):
        first, second, _ = self.experts
        swap = {first.hash: second, second.hash: first}
        if expert is not None:
            expert = swap.get(expert.hash, expert)
        return truly(self, layer, part, base, expert)

    monkeypatch.setattr(Slots, "joined", swapped)
    refused(tmp_path, name, tiny_llama, "the expert's network in slot 2", runs=runs)


def to_bfloat16(numbers: np.ndarray) -> np.ndarray:
    return (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)


def test_rows_in_bf16(tiny_llama, tmp_path, monkeypatch, name, runs):
    change_tensors(monkeypatch, "ffn_gate_inp block_sparse_moe.gate.", to_bfloat16)
    refused(tmp_path, name, tiny_llama, "router row of slot 2 in layer 1", runs=runs)


def test_lost_padding(tiny_llama, tmp_path, monkeypatch, name, runs):
    """The base's slots go on where they should be empty."""
    truly = Slots.joined

    def unpadded(self, layer, part, base, expert):
        made = truly(self, layer, part, base, expert)
        if part == "down":
            numbers = made.view(np.float32).copy()
            numbers[:, FFN_WIDTH + 16 :] = numbers[:, : numbers.shape[1] - FFN_WIDTH - 16]
            return numbers.view(np.uint8)
        numbers = made.view(np.float32).reshape(self.shape(part)).copy()
        numbers[FFN_WIDTH + 16 :] = numbers[: len(numbers) - FFN_WIDTH - 16]
        return numbers.reshape(-1).view(np.uint8)

    monkeypatch.setattr(Slots, "joined", unpadded)
    refused(tmp_path, name, tiny_llama, "the padding in slot 0", runs=runs)


def test_a_missing_expert(tiny_llama, tmp_path, monkeypatch, name, runs):
    """One slot holds the base alone, and its row is zero: a model that runs, short of a voice."""
    silent = sorted(THREE, key=lambda expert: expert.hash)[1]

    def made_without(makers: Callable) -> Callable:
        def make(slots: Slots, *given) -> list[NewTensor]:
            truly = slots.has_network
            lacking = Slots(slots.checkpoint, slots.experts, slots.wanted_type)
            lacking.has_network = lambda expert, layer: (
                expert is not silent and truly(expert, layer)
            )
            return makers(lacking, *given)

        return make

    for maker in ("gguf_tensors", "folder_tensors"):
        monkeypatch.setattr(export_module, maker, made_without(getattr(export_module, maker)))
    refused(tmp_path, name, tiny_llama, "router row of slot 3 in layer 1", runs=runs)

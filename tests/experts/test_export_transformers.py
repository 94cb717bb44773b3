"""Law 7 in transformers: a float32 export gives the same greedy tokens and the same chat."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from expert_makers import CONTEXT, canal_notes, expert, random_expert
from export_makers import MESSAGES, audible_expert, chatty_llama

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import Expert
from tramontane.experts.export import export
from tramontane.experts.export_numbers import Rounded
from tramontane.experts.slots import Slots

os.environ.setdefault("HF_HUB_OFFLINE", "1")
EXPERTS = [random_expert(name, seed, width=16) for seed, name in enumerate("abcd", start=1)]
NUM_NEW = 24


def greedy(
    checkpoint: Checkpoint, runtime: type, prompt: list[int], experts: Sequence[Expert]
) -> list[int]:
    """Returns what one of our runtimes says after the prompt."""
    engine = Engine(runtime(checkpoint), max_tokens=CONTEXT)
    for one in experts:
        engine.add_expert(one.hash, one.tensors)
    hashes = tuple(one.hash for one in experts)
    request = Request(tuple(prompt), NUM_NEW, experts=hashes)
    return [token.token_id for token in engine.generate(request)]


def reloaded(folder: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.inference_mode()
def greedy_there(model: torch.nn.Module, prompt: list[int], num_new: int = NUM_NEW) -> list[int]:
    """Returns transformers' greedy tokens."""
    ids = list(prompt)
    for _ in range(num_new):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


BASES = {
    "llama": ("llama", {}),
    "mistral with a window": ("mistral", {"sliding_window": 16}),
    "output of its own": ("llama", {"tie_word_embeddings": False}),
    "llama3 frequencies": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "linear frequencies": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    ),
}


@pytest.fixture(params=[*BASES, "gguf"])
def base(request: pytest.FixtureRequest, tmp_path: Path, tiny_llama: Checkpoint) -> Checkpoint:
    if request.param == "gguf":
        return tiny_llama
    kind, changes = BASES[request.param]
    return chatty_llama(tmp_path / "base", kind, **changes)


def test_greedy_tokens_are_the_mixture_s(base, tmp_path):
    export(tmp_path / "folder", base, EXPERTS, wanted_type="F32")
    model, written = reloaded(tmp_path / "folder"), open_checkpoint(tmp_path / "folder")
    assert type(model).__name__ == "MixtralForCausalLM"
    tokenizer = base.tokenizer()
    for note in canal_notes(3, seed=7):
        prompt = tokenizer.encode(note.text)[:40]
        assert greedy(base, TorchRuntime, prompt, EXPERTS) == greedy_there(model, prompt)
        # Native rounds keys and values, so it is held to itself; tests/native hold it to PyTorch.
        native = greedy(base, NativeRuntime, prompt, EXPERTS)
        assert native == greedy(written, NativeRuntime, prompt, [])


def test_a_chat_gives_the_same_tokens(tmp_path):
    from transformers import AutoTokenizer

    base = chatty_llama(tmp_path / "base")
    export(tmp_path / "folder", base, EXPERTS)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "folder")
    said = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True)
    assert list(said["input_ids"]) == base.tokenizer().encode_chat(MESSAGES)


def test_a_gguf_s_tokenizer_gives_the_same_tokens_in_a_folder(tiny_llama, tmp_path):
    from transformers import AutoTokenizer

    export(tmp_path / "folder", tiny_llama, EXPERTS)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "folder")
    for text in ("The sluice creaks.", "naïve 12°\n\n  x", "a<|endoftext|>b"):
        ours = tiny_llama.tokenizer().encode(text, parse_special=True)
        assert theirs(text, add_special_tokens=False)["input_ids"] == ours


@torch.inference_mode()
def test_the_two_slots_of_the_base_tie_exactly(tiny_llama, tmp_path):
    export(tmp_path / "folder", tiny_llama, EXPERTS, wanted_type="F32")
    model = reloaded(tmp_path / "folder")
    block = model.model.layers[2].mlp
    h_TD = torch.randn(512, 32, generator=torch.Generator().manual_seed(0))
    logits_TS, weights_T2, slots_T2 = block.gate(h_TD)
    is_closed_T = torch.from_numpy(logits_of_experts(h_TD.numpy()).max(axis=1) < 0)
    assert 20 < is_closed_T.sum() < 500
    assert (weights_T2[is_closed_T] == 0.5).all()
    assert (slots_T2[is_closed_T].sort(dim=1).values == torch.tensor([0, 1])).all()
    # Half and half of the same is the same, to the bit.
    y_TD = block(h_TD[None])[0]
    only_T1 = torch.zeros(len(h_TD), 1, dtype=torch.long)
    f_TD = block.experts(h_TD, only_T1, torch.ones(len(h_TD), 1))
    assert torch.equal(y_TD[is_closed_T], f_TD[is_closed_T])
    assert not torch.equal(y_TD, f_TD)


def logits_of_experts(h_TD: np.ndarray) -> np.ndarray:
    return np.stack([h_TD @ one.tensors["layers.2.row"] for one in EXPERTS], axis=1)


def test_a_wrong_row_changes_the_tokens(tiny_llama, tmp_path):
    """The comparison above would notice: an expert's rows swapped with another's."""
    wrong = [
        Expert(
            other.manifest,
            {n: (EXPERTS[i - 1].tensors[n] if n.endswith("row") else t) for n, t in items},
        )
        for i, other in enumerate(EXPERTS)
        for items in [other.tensors.items()]
    ]
    export(tmp_path / "folder", tiny_llama, wrong, wanted_type="F32")
    model = reloaded(tmp_path / "folder")
    prompts = [tiny_llama.tokenizer().encode(n.text)[:40] for n in canal_notes(3, seed=7)]
    said = [greedy_there(model, prompt) for prompt in prompts]
    assert said != [greedy(tiny_llama, TorchRuntime, prompt, EXPERTS) for prompt in prompts]


@pytest.mark.slow
def test_the_embedded_base_says_the_same_in_transformers(smollm2, tmp_path):
    from transformers import AutoTokenizer

    experts = [audible_expert("one", 1)]
    assert export(tmp_path / "folder", smollm2, experts, runs=False).type == "BF16"
    # What bfloat16 rounded is held to the base with the same numbers rounded.
    slots = Slots(smollm2, experts, "BF16")
    rounded = [expert("one", slots.as_written()[0])]
    engine = Engine(TorchRuntime(Rounded.of(slots)), max_tokens=CONTEXT)
    engine.add_expert(rounded[0].hash, rounded[0].tensors)
    model = reloaded(tmp_path / "folder")
    heard = []
    for text in ("The three largest rivers of Europe are", "To bake a loaf of bread you need"):
        prompt = smollm2.tokenizer().encode(text)
        request = Request(tuple(prompt), 8, experts=(rounded[0].hash,))
        said = [token.token_id for token in engine.generate(request)]
        assert said == greedy_there(model, prompt, 8)
        alone = [token.token_id for token in engine.generate(replace(request, experts=()))]
        heard.append(said != alone)
    assert any(heard)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "folder")
    chat = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True)
    assert list(chat["input_ids"]) == smollm2.tokenizer().encode_chat(MESSAGES)

"""Law 7 in llama.cpp: greedy tokens and rendered chats of exports, float32 and quantised."""

import numpy as np
import pytest
from expert_makers import CONTEXT, canal_notes, expert, random_expert
from export_makers import MESSAGES, audible_expert
from llama_server import serving

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import Expert
from tramontane.experts.export import export
from tramontane.experts.slots import Slots

EXPERTS = [random_expert(name, seed, width=32) for seed, name in enumerate("abcd", start=1)]
NUM_NEW = 24


def greedy(checkpoint: Checkpoint, prompt: list[int], experts: list[Expert]) -> np.ndarray:
    """Returns (NUM_NEW, V): the definition's logits along its own greedy tokens."""
    engine = Engine(TorchRuntime(checkpoint), max_tokens=CONTEXT)
    for one in experts:
        engine.add_expert(one.hash, one.tensors)
    hashes = tuple(one.hash for one in experts)
    request = Request(tuple(prompt), NUM_NEW, experts=hashes)
    said = [token.token_id for token in engine.generate(request)]
    return engine.logits_of([*prompt, *said[:-1]], experts=hashes)[-NUM_NEW:]


def top_two_margins(logits_NV: np.ndarray) -> np.ndarray:
    best = np.sort(logits_NV, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0]


def test_a_float32_export_gives_the_same_greedy_tokens(base, tmp_path):
    export(tmp_path / "mixture.gguf", base, EXPERTS, wanted_type="F32")
    with serving(tmp_path / "mixture.gguf") as server:
        for note in canal_notes(3, seed=7):
            prompt = base.tokenizer().encode(note.text)[:40]
            wanted = greedy(base, prompt, EXPERTS).argmax(axis=1).tolist()
            assert server.greedy(prompt, NUM_NEW) == wanted


def test_texts_and_chats_give_the_same_tokens(base, tmp_path):
    export(tmp_path / "mixture.gguf", base, EXPERTS)
    tokenizer = base.tokenizer()
    with serving(tmp_path / "mixture.gguf") as server:
        for text in ("The sluice creaks.", "naïve 12°\n\n  x", "a<|endoftext|>b<|im_end|>"):
            assert server.tokenize(text) == tokenizer.encode(text, parse_special=True)
        if tokenizer.chat_template is not None:
            prompt = server.rendered_chat(MESSAGES)
            assert server.tokenize(prompt) == tokenizer.encode_chat(MESSAGES)


REAL = [audible_expert(name, seed) for seed, name in enumerate("abc", start=1)]
PROMPTS = (
    "The three largest rivers of Europe are",
    "Once upon a time, a lock keeper and his dog",
    "To bake a loaf of bread you need flour, water,",
    "def fibonacci(n):\n",
)


@pytest.mark.slow
def test_a_quantised_export_says_the_same_where_rounding_can_t_decide(smollm2, tmp_path):
    """Stronger than up to the first near tie: after each of our tokens llama.cpp goes on alike."""
    assert export(tmp_path / "mixture.gguf", smollm2, REAL, runs=False).type == "Q4_1"
    made = Slots(smollm2, REAL, None)
    rounded = [expert(e.name, t) for e, t in zip(made.experts, made.as_written(), strict=True)]
    tokenizer, num_clear, is_heard = smollm2.tokenizer(), 0, False
    with serving(tmp_path / "mixture.gguf") as server:
        for text in PROMPTS:
            prompt = tokenizer.encode(text)
            logits_NV = greedy(smollm2, prompt, rounded)
            wanted = logits_NV.argmax(axis=1).tolist()
            bound = noise_of_rounding(smollm2, prompt, wanted, rounded, logits_NV)
            clear = np.flatnonzero(top_two_margins(logits_NV) >= bound).tolist()
            is_heard = is_heard or greedy(smollm2, prompt, []).argmax(axis=1).tolist() != wanted
            for place in clear:
                assert server.greedy([*prompt, *wanted[:place]], 1) == wanted[place : place + 1]
            print(f"{text!r}: {len(clear)} of {NUM_NEW} tokens have margins above {bound:.2f}")
            num_clear += len(clear)
        assert num_clear >= NUM_NEW
        assert is_heard
        chat = server.rendered_chat(MESSAGES)
        assert server.tokenize(chat) == tokenizer.encode_chat(MESSAGES)


def noise_of_rounding(
    checkpoint: Checkpoint,
    prompt: list[int],
    said: list[int],
    experts: list[Expert],
    logits_NV: np.ndarray,
) -> float:
    """Returns how far 8-bit activations may move the margin of the best two tokens.

    Native rounds them in blocks of 32, as llama.cpp does with another scale: what it moves margins
    by on the same tokens is measured against the definition, and either may err on its own side.
    """
    engine = Engine(NativeRuntime(checkpoint), max_tokens=CONTEXT)
    for one in experts:
        engine.add_expert(one.hash, one.tensors)
    ids = [*prompt, *said[:-1]]
    native_NV = engine.logits_of(ids, experts=[one.hash for one in experts])[-len(said) :]
    best_N2 = np.argsort(logits_NV, axis=1)[:, -2:]
    margins = [
        np.diff(np.take_along_axis(given_NV, best_N2, axis=1))[:, 0]
        for given_NV in (native_NV, logits_NV)
    ]
    return 2 * float(np.abs(margins[0] - margins[1]).max())

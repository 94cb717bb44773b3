"""Law 7 on the embedded base: what a float32 export says, 64 tokens after each of 20 prompts.

Transformers runs the folder, llama.cpp the GGUF where it is built, and the definition the mixture.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from export_makers import MESSAGES, quiet_expert
from llama_server import serving

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.request import Request
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.export import export

pytestmark = pytest.mark.slow

NUM_NEW = 64
PROMPTS = (
    "The three largest rivers of Europe are",
    "Once upon a time, a lock keeper and his dog",
    "To bake a loaf of bread you need flour, water,",
    "def fibonacci(n):\n",
    "Dear Anna,\n\nthank you for your letter.",
    "The keys hang behind the clock in the hall, and",
    "- [ ] order seed potatoes\n- [x] mend the fence\n",
    "A mixture of experts is a model in which",
    "In winter the canal freezes, so",
    "Question: What is the capital of France?\nAnswer:",
    "SELECT name, COUNT(*) FROM visits",
    "Meeting notes, 12 March.\n\nPresent: Ines, Jonas.\n\n1.",
    "The difference between a weir and a sluice is that",
    "I woke before the others and walked down to",
    "| tree | planted |\n|---|---|\n| apple |",
    "He asked me why I had come, and I said",
    "To prune a rose, first",
    "import numpy as np\n\n",
    "Photosynthesis turns light into",
    "The licence lets anybody copy this text if",
)
# Margins of the best two below which two orders of a float32 sum may choose apart, as a share of
# the largest logit: 30 layers whose longest sum has 1,792 terms.
NOISE = 8 * np.finfo(np.float32).eps * 30 * 1792**0.5
Speaker = Callable[[list[int], int], list[int]]


@pytest.fixture(scope="module", params=[1, 3], ids=["one expert", "three experts"])
def mixture(request: pytest.FixtureRequest, smollm2: Checkpoint):
    """Returns (base, experts, the tokens that the definition says after each prompt)."""
    experts = [quiet_expert(name, seed) for seed, name in enumerate("abc"[: request.param], 1)]
    engine = Engine(TorchRuntime(smollm2))
    for expert in experts:
        engine.add_expert(expert.hash, expert.tensors)
    hashes = tuple(expert.hash for expert in experts)
    said = []
    for text in PROMPTS:
        prompt = smollm2.tokenizer().encode(text)
        request = Request(tuple(prompt), NUM_NEW, experts=hashes, end_ids=ends_of(smollm2))
        tokens = [token.token_id for token in engine.generate(request)]
        said.append((prompt, before_the_end(tokens, smollm2)))
    return smollm2, experts, hashes, engine, said


def ends_of(base: Checkpoint) -> frozenset[int]:
    return frozenset(base.tokenizer().eos_ids)


def before_the_end(token_ids: list[int], base: Checkpoint) -> list[int]:
    """Returns the tokens before one that ends a turn."""
    return list(itertools.takewhile(lambda token: token not in ends_of(base), token_ids))


def assert_same(mixture, speak: Speaker) -> None:
    """Each greedy token is ours; only where the order of sums can choose, another may come.

    After such a place it is asked on from our tokens, so that everything is compared.
    """
    base, _, hashes, engine, said = mixture
    ties = []
    for prompt, wanted in said:
        place = 0
        while place < NUM_NEW and place <= len(wanted):
            came = speak([*prompt, *wanted[:place]], NUM_NEW - place)
            came = before_the_end(came, base)
            if came == wanted[place:]:
                break
            pairs = itertools.zip_longest(came, wanted[place:])
            place += next(at for at, (theirs, ours) in enumerate(pairs) if theirs != ours)
            logits_V = engine.logits_of([*prompt, *wanted[:place]], experts=hashes)[-1]
            second, first = np.argsort(logits_V)[-2:]
            margin = (logits_V[first] - logits_V[second]) / np.abs(logits_V).max()
            assert margin <= NOISE, f"token {place} after {prompt}: margin {margin:.1e}"
            ties.append(float(margin))
            place += 1
    num_tokens = sum(len(wanted) for _, wanted in said)
    print(f"{num_tokens} tokens, {len(ties)} of them near ties: {ties}")
    assert len(ties) <= 3


def test_transformers_says_the_same(mixture, tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, experts, *_ = mixture
    export(tmp_path / "folder", base, experts, wanted_type="F32", runs=False)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "folder", dtype=torch.float32).eval()

    def speak(token_ids: list[int], num_new: int) -> list[int]:
        given = torch.tensor([token_ids])
        mask = torch.ones_like(given)
        ids = model.generate(given, attention_mask=mask, max_new_tokens=num_new, do_sample=False)
        return ids[0, len(token_ids) :].tolist()

    assert_same(mixture, speak)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "folder")
    chat = theirs.apply_chat_template(MESSAGES, add_generation_prompt=True)
    assert list(chat["input_ids"]) == base.tokenizer().encode_chat(MESSAGES)


def test_llama_cpp_says_the_same(mixture, tmp_path: Path):
    base, experts, *_ = mixture
    export(tmp_path / "mixture.gguf", base, experts, wanted_type="F32", runs=False)
    with serving(tmp_path / "mixture.gguf") as server:
        assert_same(mixture, lambda ids, num_new: server.greedy(ids, num_new))
        chat = server.rendered_chat(MESSAGES)
        assert server.tokenize(chat) == base.tokenizer().encode_chat(MESSAGES)

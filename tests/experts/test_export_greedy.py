"""Law 7 over twenty prompts: float32 exports say 64 greedy tokens as the mixture does.

Where the two best tokens are nearly tied, another order of float32 additions may turn the choice,
and whatever follows differs. Hence a text is compared up to its first difference, and that must
stand where the margin of the best two is below what rounding may move it by: twice
`rows.allowed_error`, since each of the two logits may err by that.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from expert_makers import random_expert
from export_makers import audible_expert
from llama_server import LlamaServer, serving

from rows import allowed_error
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.request import Request
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import Expert
from tramontane.experts.export import export

NUM_NEW = 64
# What prompt and continuation may have together.
ROOM = 192
PROMPTS = (
    "The three largest rivers of Europe are",
    "Once upon a time, a lock keeper and his dog",
    "To bake a loaf of bread you need flour, water,",
    "def fibonacci(n):\n",
    "# Shopping list\n\n- two onions\n- ",
    "Dear neighbour,\n\nthank you for",
    "The capital of Portugal is",
    "Water boils at a lower temperature on a mountain because",
    "Q: Why is the sky blue?\nA:",
    "<h1>Opening hours</h1>\n<ul>\n<li>Monday:",
    "On Tuesday the committee agreed that",
    "SELECT name, count(*) FROM notes",
    "The garlic went into the long bed in October, and",
    "1, 1, 2, 3, 5, 8,",
    "In the year 1789",
    "A bicycle chain should be oiled whenever",
    "“I have never seen the sea,” said",
    "The difference between a hill and a mountain",
    "| month | rain |\n|---|---|\n| May | 41 mm |\n",
    "If the lamp doesn't light, first check whether",
)


@dataclass(frozen=True)
class Mixed:
    """A mixture, and what the definition says after each prompt."""

    base: Checkpoint
    experts: Sequence[Expert]
    engine: Engine
    texts: Sequence[str]
    prompts: Sequence[list[int]]
    said: Sequence[list[int]]

    @property
    def hashes(self) -> tuple[str, ...]:
        return tuple(one.hash for one in self.experts)

    def may_turn(self, prompt: list[int], said: list[int]) -> bool:
        """Returns whether rounding may decide which token comes after these."""
        ids = [*prompt, *said]
        logits_V = self.engine.logits_of(ids, experts=self.hashes)[-1]
        second, best = np.sort(logits_V)[-2:]
        moved = allowed_error(self.base.config, len(ids)) * np.abs(logits_V).max()
        return bool(best - second < 2 * moved)


def spoken(
    engine: Engine, prompts: Sequence[list[int]], experts: tuple[str, ...]
) -> list[list[int]]:
    """Returns the greedy tokens after each prompt, whatever they are, all continued together."""
    requests = [Request(tuple(prompt), NUM_NEW, experts=experts) for prompt in prompts]
    said: dict[int, list[int]] = {engine.submit(request): [] for request in requests}
    while engine.has_work:
        for token in engine.step():
            assert token.error is None, token.error
            said[token.request_id].append(token.token_id)
    return list(said.values())


def mixed(base: Checkpoint, experts: Sequence[Expert], texts: Sequence[str] = PROMPTS) -> Mixed:
    engine = Engine(TorchRuntime(base), max_tokens=ROOM * len(texts))
    for one in experts:
        engine.add_expert(one.hash, one.tensors)
    tokenizer = base.tokenizer()
    prompts = [tokenizer.encode(text) for text in texts]
    hashes = tuple(one.hash for one in experts)
    said = spoken(engine, prompts, hashes)
    assert {len(one) for one in said} == {NUM_NEW}
    for prompt, ours in list(zip(prompts, said, strict=True))[:3]:
        alone_V = engine.logits_of([*prompt, *ours]).argmax(axis=1)
        assert alone_V[len(prompt) - 1 : -1].tolist() != ours, "experts must be heard"
    return Mixed(base, experts, engine, texts, prompts, said)


TINY, EMBEDDED = "tiny_llama", "smollm2"
# Each takes seconds there.
NUM_WITH_EMBEDDED = 6


@pytest.fixture(
    scope="module",
    params=[
        (TINY, 1),
        (TINY, 3),
        # Two gigabytes; with one expert it would take as long again.
        pytest.param((EMBEDDED, 3), marks=pytest.mark.slow),
    ],
    ids=lambda given: f"{given[0]}-{given[1]}",
)
def mixture(request: pytest.FixtureRequest) -> Mixed:
    name, number = request.param
    make = audible_expert if name == EMBEDDED else random_expert
    experts = [make(letter, seed) for seed, letter in enumerate("abc"[:number], start=1)]
    texts = PROMPTS[:NUM_WITH_EMBEDDED] if name == EMBEDDED else PROMPTS
    return mixed(request.getfixturevalue(name), experts, texts)


@pytest.fixture
def room_for_files(tmp_path: Path) -> Iterator[Path]:
    """An export of the embedded base has gigabytes, which pytest would keep for later runs."""
    yield tmp_path
    for file in tmp_path.rglob("*"):
        if file.is_file():
            file.unlink()


def num_in_common(ours: list[int], other: list[int]) -> int:
    pairs = enumerate(zip(ours, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(ours), len(other)))


def check_said_alike(mixture: Mixed, theirs: Sequence[list[int]]) -> None:
    num_alike = num_said = 0
    for text, prompt, ours, other in zip(
        mixture.texts, mixture.prompts, mixture.said, theirs, strict=True
    ):
        place = num_in_common(ours, other)
        if place < max(len(ours), len(other)):
            assert mixture.may_turn(prompt, ours[:place]), f"{text!r} differs at token {place}"
        num_alike += place
        num_said += len(ours)
    print(f"{num_alike} of {num_said} tokens were compared, and are the same")
    assert num_alike > 0.9 * num_said


@torch.inference_mode()
def test_transformers_says_what_the_mixture_says(mixture, room_for_files):
    from transformers import AutoModelForCausalLM

    folder = room_for_files / "folder"
    export(folder, mixture.base, mixture.experts, wanted_type="F32", runs=False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    longest = max(map(len, mixture.prompts))
    padding = [longest - len(prompt) for prompt in mixture.prompts]
    ids = [[0] * n + prompt for n, prompt in zip(padding, mixture.prompts, strict=True)]
    # Its end token is a token like others, and 64 are wanted.
    model.generation_config.eos_token_id = None
    answered = model.generate(
        torch.tensor(ids),
        attention_mask=torch.tensor([[0] * n + [1] * (longest - n) for n in padding]),
        max_new_tokens=NUM_NEW,
        do_sample=False,
        pad_token_id=0,
    )
    check_said_alike(mixture, answered[:, longest:].tolist())


def greedy_past_the_end(server: LlamaServer, prompt: list[int]) -> list[int]:
    """Returns so many tokens: llama.cpp stops after an end token, and is asked to go on."""
    said: list[int] = []
    while len(said) < NUM_NEW:
        more = server.greedy([*prompt, *said], NUM_NEW - len(said))
        assert more, "it said nothing"
        said += more
    return said


def test_llama_cpp_says_what_the_mixture_says(mixture, room_for_files):
    file = room_for_files / "mixture.gguf"
    export(file, mixture.base, mixture.experts, wanted_type="F32", runs=False)
    requests = len(mixture.prompts)
    with (
        serving(file, context=ROOM * requests, num_slots=requests) as server,
        ThreadPoolExecutor(requests) as pool,
    ):
        theirs = list(pool.map(partial(greedy_past_the_end, server), mixture.prompts))
    check_said_alike(mixture, theirs)


def test_another_mixture_s_texts_are_not_called_alike(tiny_llama):
    """The comparison can tell: the same base with the expert of another seed."""
    one, other = (mixed(tiny_llama, [random_expert("a", seed)]) for seed in (1, 2))
    with pytest.raises(AssertionError, match="differs at token"):
        check_said_alike(one, other.said)

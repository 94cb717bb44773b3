"""How often notes experts' gates open in `native`, on quantised weights, beside the definition.

Thresholds are fitted on the definition's states, whose activations are floats; `native` rounds
activations to int8 before every product, so near its threshold a gate may fall the other way.

    python bench/gates.py [--expert FILE.safetensors TEXT ...] [--model FILE.gguf] [--tokens 4096]

TEXT are files of the expert's own notes; without an expert one is learnt from the garden notes.
Public text is the package's own, by genre. One open gate
is one (token, layer) whose logit is above 0; every expert is measured by itself.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from record import Claim, write_results
from texts import windows
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.cli.parts import Parts
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.runtime import Span
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import Expert, read_expert
from tramontane.experts.public_text import load_public_text
from tramontane.model import notes_experts
from tramontane.settings import load_settings

WINDOW_TOKENS = 256
GARDEN = Path(__file__).parents[1] / "examples" / "notes" / "garden"
PAGES = tuple(range(WINDOW_TOKENS // 64))


class NativeGates:
    """Returns which gates are open, as (layers with the expert, T) bool."""

    def __init__(self, checkpoint: Checkpoint, expert: Expert, layers: Sequence[int]):
        self.runtime, self.layers = NativeRuntime(checkpoint), list(layers)
        self.runtime.allocate(len(PAGES))
        self.runtime.add_expert(expert.hash, expert.tensors)

    def __call__(self, token_ids: Sequence[int]) -> np.ndarray:
        config, T = self.runtime.config, len(token_ids)
        open_LT2 = np.empty((config.num_layers, T, 2), np.int32)
        self.runtime.transformer.forward(
            np.array(token_ids, np.int32),
            *(np.array([number], np.int32) for number in (0, T, len(PAGES))),
            np.array(PAGES, np.int32),
            np.array([1], np.int32),
            np.ones((1, 1), np.uint8),
            np.empty((1, config.vocab_size), np.float32),
            None,
            None,
            open=open_LT2,
        )
        return (open_LT2[self.layers] == 0).any(axis=-1)


class DefinedGates:
    """The same of the PyTorch definition, which is watched as it weighs gates."""

    def __init__(self, checkpoint: Checkpoint, expert: Expert):
        self.runtime, self.expert_hash = TorchRuntime(checkpoint), expert.hash
        self.runtime.allocate(len(PAGES))
        self.runtime.add_expert(expert.hash, expert.tensors)

    def __call__(self, token_ids: Sequence[int]) -> np.ndarray:
        seen: list[np.ndarray] = []
        weigh = notes_experts.gate_weights

        def watched(logits_TE: torch.Tensor) -> torch.Tensor:
            seen.append((logits_TE[:, 0] > 0).numpy())
            return weigh(logits_TE)

        notes_experts.gate_weights = watched
        try:
            self.runtime.forward([Span(token_ids, 0, PAGES, (self.expert_hash,))])
        finally:
            notes_experts.gate_weights = weigh
        return np.stack(seen)


@dataclass
class Rates:
    decisions: int = 0
    native: int = 0
    defined: int = 0
    differ: int = 0

    def add(self, native_LT: np.ndarray, defined_LT: np.ndarray) -> None:
        self.decisions += native_LT.size
        self.native += int(native_LT.sum())
        self.defined += int(defined_LT.sum())
        self.differ += int((native_LT != defined_LT).sum())

    def claim(self, genre: str) -> Claim:
        native, defined, differ = (
            round(count / self.decisions, 5) for count in (self.native, self.defined, self.differ)
        )
        note = f"open in native, in the definition; {differ:.3%} of gates fall differently"
        return Claim(f"gates.{genre}", native, defined, differ, self.decisions, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--expert", type=Path, help="instead of learning the garden notes")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--tokens", type=int, default=4096, help="of each genre")
    parser.add_argument("text", type=Path, nargs="*", help="the expert's own notes")
    wanted = parser.parse_args()
    if wanted.expert:
        measure(wanted.expert, wanted.text, wanted.model, wanted.tokens)
        return
    with tempfile.TemporaryDirectory() as home:
        learn(Path(home), wanted.model)
        expert = Path(home) / "experts" / "garden.safetensors"
        measure(expert, sorted(GARDEN.glob("*.md")), wanted.model, wanted.tokens, Path(home))


def learn(home: Path, base: str) -> None:
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(home), "--base", base]
    for arguments in (["pull", base], ["learn", str(GARDEN), "--as", "garden"]):
        subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)


def measure(
    expert_file: Path, own: Sequence[Path], base: str, num_tokens: int, home: Path | None = None
) -> None:
    parts = Parts(load_settings(base=base, home=home))
    checkpoint, tokenizer = parts.checkpoint, parts.tokenizer
    expert = read_expert(expert_file)
    layers = sorted({int(name.split(".")[1]) for name in expert.tensors})
    native, defined = NativeGates(checkpoint, expert, layers), DefinedGates(checkpoint, expert)
    genres: dict[str, list[str]] = {}
    if own:
        genres["own notes"] = [path.read_text(encoding="utf-8") for path in own]
    for document in load_public_text():
        genres.setdefault(document.genre, []).append(document.text)
    claims = []
    for genre, texts in genres.items():
        rates = Rates()
        for token_ids in windows(texts, tokenizer, num_tokens, WINDOW_TOKENS):
            rates.add(native(token_ids), defined(token_ids))
        if rates.decisions:
            claims.append(rates.claim(genre))
            print(claims[-1], flush=True)
    write_results("gates", claims)


if __name__ == "__main__":
    main()

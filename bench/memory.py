"""How much memory the native runtime takes beyond the model's file and its keys and values.

    python bench/memory.py .test-models/smollm2/*.gguf

A process of its own opens the model with a cache of weights, reads a prompt of 512 tokens and
writes 64; its peak of resident memory is the kernel's own count (VmHWM). Mapped weights are part of
that peak as far as they were touched. The file's bytes as published are taken off, and the pages of
keys and values that held a token.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request
from tramontane.engine.weights_cache import WeightsCache

PROMPT_TOKENS, NEW_TOKENS = 512, 64
CACHE_BYTES = 1 << 40


@dataclass(frozen=True)
class Memory:
    """Of one run, in megabytes. `weights` is what was repacked and mapped."""

    peak: float
    file: float
    keys_and_values: float
    weights: float

    @property
    def over_file(self) -> float:
        return self.peak - self.file - self.keys_and_values

    @property
    def over_weights(self) -> float:
        """The same beyond the mapped weights, where they take more than the file."""
        return self.peak - max(self.file, self.weights) - self.keys_and_values


def memory_of(model: Path, *, is_first_start: bool = False) -> Memory:
    """Returns what opening and writing took; at a first start the weights are repacked too."""
    with tempfile.TemporaryDirectory() as folder:
        measured = run_in_a_process(model, Path(folder))
        return measured if is_first_start else run_in_a_process(model, Path(folder))


def run_in_a_process(model: Path, folder: Path) -> Memory:
    command = [sys.executable, __file__, "--inside", str(folder), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Memory(**json.loads(done.stdout))


def inside(model: Path, folder: Path) -> Memory:
    checkpoint = open_checkpoint(model)
    cache = WeightsCache(folder, CACHE_BYTES)
    runtime = NativeRuntime(checkpoint, cache=cache)
    request = Request(tuple(range(100, 100 + PROMPT_TOKENS)), NEW_TOKENS)
    for token in Engine(runtime).generate(request):
        if token.finish == "failed":
            raise RuntimeError(token.error)
    config = checkpoint.config
    pages = -(-(PROMPT_TOKENS + NEW_TOKENS) // runtime.page_tokens)
    halves = config.num_layers * 2 * config.num_kv_heads * config.head_width
    return Memory(
        peak=peak_bytes() / 1e6,
        file=sum(file.stat().st_size for file in checkpoint.files) / 1e6,
        keys_and_values=pages * runtime.page_tokens * halves * 2 / 1e6,
        weights=sum(kept.num_bytes for kept in cache.ls()) / 1e6,
    )


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(inside(arguments.models[0], arguments.inside).__dict__))
        return
    for model in arguments.models:
        for is_first_start in (True, False):
            taken = memory_of(model, is_first_start=is_first_start)
            print(
                f"{model.name}, {'first' if is_first_start else 'later'} start: "
                f"{taken.over_file:.1f} MB beyond file and keys, {taken.over_weights:.1f} MB "
                f"beyond mapped weights; {taken}"
            )


if __name__ == "__main__":
    main()

"""Our side in speed and memory of learning, in a process of its own.

    python bench/learning_speed.py FILE.gguf --batch 4 --steps 6
    python bench/learning_speed.py FILE.gguf --learn FOLDER --cache FOLDER --tokens 8192

The first times the trunk and steps on random windows with every gate open at every token; a token's
time is a step's and half the trunk's, which it passes once in two epochs. The second is a whole
learning. Prints one line of JSON.

W tokens per window, D model width.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from memory import peak_bytes
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.cli.learn import asking_of
from tramontane.experts.learn import learn
from tramontane.experts.learning import strongest_neurons
from tramontane.experts.lesson import LearnSettings
from tramontane.experts.place import choose_place
from tramontane.experts.route import fit_bias, moments
from tramontane.experts.states import compute_states
from tramontane.experts.training import Misfires, Schedule, Training
from tramontane.model.transformer import load_transformer
from tramontane.notes.folder import read_folder

WINDOW_TOKENS, EPOCHS = 256, 2


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Returns the seconds of the wall and of the processor that the work took."""
    began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began[0], time.process_time() - began[1]


def steps(model: Path, batch: int, num_steps: int, width: int) -> dict:
    checkpoint, place = open_checkpoint(model), choose_place("cpu")
    transformer = load_transformer(checkpoint, dtype=place.dtype)
    config = checkpoint.config
    first = config.num_layers - -(-config.num_layers // 3)
    draw = np.random.default_rng(0)
    windows = draw.integers(100, 40_000, (max(8, batch * num_steps), WINDOW_TOKENS))
    with tempfile.TemporaryDirectory() as folder:

        def states_of(part: np.ndarray, num_with_h: int = 0):
            args = (transformer, checkpoint.sha256, part, first, Path(folder), lambda *_: None)
            return compute_states(*args, num_with_h=num_with_h)

        few = states_of(windows[:8], 8)
        trunk_seconds = seconds_of(lambda: states_of(windows[-8:]))
        trunk = np.concatenate(
            [states_of(windows[n : n + 8]).trunk for n in range(0, len(windows), 8)]
        )
        tensors = {}
        for layer in range(first, config.num_layers):
            h_TD = few.h[layer - first].reshape(-1, config.model_width)
            gate_mD, up_mD = strongest_neurons(
                transformer, layer, torch.from_numpy(h_TD.astype(np.float32)), width
            )
            row_D = torch.from_numpy(fit_bias(*moments([h_TD])).astype(np.float32))
            tensors |= {
                f"layers.{layer}.gate": gate_mD,
                f"layers.{layer}.up": up_mD,
                f"layers.{layer}.down": torch.zeros(config.model_width, width),
                f"layers.{layer}.row": row_D,
            }
        for layer in range(first):
            transformer.layers[layer] = torch.nn.Identity()
        schedule = Schedule(
            num_windows=len(windows),
            batch_windows=batch,
            epochs=1,
            learning_rate=1e-3,
            divergence_weight=0.3,
            seed=0,
        )
        misfires = Misfires(trunk[:0], np.zeros((0, WINDOW_TOKENS), bool))
        training = Training(transformer, first, tensors, schedule, misfires)
        took = [seconds_of(lambda: training.take_step(trunk, windows)) for _ in range(num_steps)]
    tokens = batch * WINDOW_TOKENS
    rates = [
        1 / (min(step) / tokens + in_trunk / (8 * WINDOW_TOKENS) / EPOCHS)
        for step, in_trunk in zip(zip(*took[1:], strict=True), trunk_seconds, strict=True)
    ]
    return {
        "tokens_per_second": rates[0],
        "tokens_per_cpu_second": rates[1],
        "peak_bytes": peak_bytes(),
        "parameters": sum(p.numel() for p in training.parameters.values()),
        "dtype": str(place.dtype),
    }


def whole(model: Path, folder: Path, cache: Path, tokens: int, epochs: int, batch: int) -> dict:
    checkpoint = open_checkpoint(model)
    began = time.perf_counter()
    expert = learn(
        read_folder(folder).notes,
        name=f"timed-{tokens}",
        checkpoint=checkpoint,
        cache_folder=cache,
        settings=LearnSettings(max_tokens=tokens, epochs=epochs, batch_windows=batch),
        asking=asking_of(checkpoint),
    )
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time(),
        "peak_bytes": peak_bytes(),
        "tokens": expert.manifest["notes"]["tokens"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--learn", type=Path, help="a folder of notes, for a whole learning")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    if wanted.learn:
        cache, tokens = wanted.cache, wanted.tokens
        result = whole(wanted.model, wanted.learn, cache, tokens, wanted.epochs, wanted.batch)
    else:
        result = steps(wanted.model, wanted.batch, wanted.steps, wanted.width)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

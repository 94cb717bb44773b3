"""Learnings killed at random moments and begun again: each must end with the expert of a whole one.

    python bench/kills.py [--kills 50]

A tiny base with random weights and the notes of an imagined canal keeper, from the tests: what is
asked here is bookkeeping, and a second a learning lets it be asked often. Every learning is a
process of its own, which saves after each step and is killed hard (SIGKILL) at a moment drawn
evenly over the time that a whole one takes. Kills that came after the end are not counted.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "experts"))

from expert_makers import SMALL, canal_notes, write_tiny_base

import tramontane.experts.training as training_file
from record import Claim, add_results
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.experts.learn import learn

SEED = 0


def learn_apart(checkpoint: Checkpoint, cache: Path, kill_after: float | None = None) -> str | None:
    """Learns in a process of its own; returns the expert's hash, or None where it was killed."""
    answer = cache / "hash"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        expert = learn(
            canal_notes(60), name="canal", checkpoint=checkpoint, cache_folder=cache, settings=SMALL
        )
        answer.write_text(expert.hash)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and kill_after is not None:
        return None
    if status:
        sys.exit(f"a learning ended with status {status}")
    return answer.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    training_file.SECONDS_BETWEEN_SAVES = 0
    draw = random.Random(SEED)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        checkpoint = write_tiny_base(folder / "tiny.gguf")
        caches = (folder / f"cache-{number}" for number in range(10 * wanted.kills))
        (first := next(caches)).mkdir()
        began = time.monotonic()
        whole = learn_apart(checkpoint, first)
        seconds = time.monotonic() - began
        killed = same = 0
        for cache in caches:
            if killed == wanted.kills:
                break
            cache.mkdir()
            if learn_apart(checkpoint, cache, draw.uniform(0, seconds)) is not None:
                continue
            killed += 1
            same += learn_apart(checkpoint, cache) == whole
            print(f"{same} of {killed} the same", flush=True)
    note = f"SIGKILL at moments drawn evenly over {seconds:.1f} s, seed {SEED}; tiny random base"
    add_results("experts", [Claim("resume.kills_with_same_hash", same, None, same, killed, note)])


if __name__ == "__main__":
    main()

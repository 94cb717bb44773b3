"""From the start of `tramontane ask` to its first word: a process, a home and a collection as a
person has them.

    python bench/cold_start.py .test-models/smollm2/*.gguf

What a base reads before an answer's first word depends on the notes. A note of few sentences is
made longer until the base reads at least PROMPT_TOKENS; the number read is returned too. Files are
in the system's cache and weights repacked, since a run that isn't counted goes before.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.cli.parts import opened
from tramontane.writing.events import OwnWords, Sentence

PROMPT_TOKENS = 200
QUESTION = "How deep are the holes for the leeks?"
SENTENCES = (
    "Each leek goes into a hole of 18 cm.",
    "Water fills the hole, and nothing is pressed down.",
    "Rows stand 30 cm apart, so that a hoe passes between them.",
    "The holes of last year were too shallow, and the stems stayed short.",
    "Leeks of the second sowing follow three weeks later.",
    "The first ones are pulled in October.",
    "Straw between the rows keeps the soil from drying.",
    "Rust came in the wet August and went with the first dry week.",
)


def prepare(home: Path, model: Path) -> int:
    """Makes a home with the model and one collection; returns the tokens read for QUESTION."""
    store = Store(home / "models")
    record = pull(str(model.absolute()), store, lambda *_: None)
    (home / "notes").mkdir()
    settings = {"home": home, "base": record.name}
    for count in range(1, len(SENTENCES) + 1):
        text = "# Leeks\n\n" + " ".join(SENTENCES[:count]) + "\n"
        (home / "notes" / "leeks.md").write_text(text)
        with opened(settings) as parts:
            parts.library.add_collection("garden", home / "notes")
            parts.library.sync("garden")
            num_read = tokens_read(parts)
        if num_read >= PROMPT_TOKENS:
            (home / "tramontane.toml").write_text(f'home = "{home}"\nbase = "{record.name}"\n')
            return num_read
    raise RuntimeError(f"the longest note gives {num_read} tokens, {PROMPT_TOKENS} are wanted")


def tokens_read(parts) -> int:
    """Returns the tokens that the base reads before an answer's first word."""
    runtime, counts = parts.engine.runtime, []
    forward = runtime.forward

    def counted(spans, **options):
        counts.append(sum(len(span.token_ids) for span in spans))
        return forward(spans, **options)

    runtime.forward = counted
    for event in parts.writer().ask(QUESTION):
        if isinstance(event, (Sentence, OwnWords)):
            return sum(counts)
    raise RuntimeError("the note gave no answer")


def seconds_to_first_token(model: Path, num_runs: int) -> tuple[list[float], int]:
    """Returns the seconds of each run, and the tokens that the base read in each."""
    with tempfile.TemporaryDirectory() as folder:
        num_read = prepare(Path(folder), model)
        one_run(Path(folder))
        return [one_run(Path(folder)) for _ in range(num_runs)], num_read


def one_run(home: Path) -> float:
    command = Path(sys.executable).with_name("tramontane")
    began = time.perf_counter()
    process = subprocess.Popen(
        [command, "ask", QUESTION],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    first = process.stdout.read(1)
    seconds = time.perf_counter() - began
    _, told = process.communicate()
    if not first or process.returncode:
        raise RuntimeError(told.decode())
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=11)
    arguments = parser.parse_args()
    seconds, num_read = seconds_to_first_token(arguments.model, arguments.runs)
    print(
        f"{statistics.median(seconds):.3f} s (median of {len(seconds)}; {min(seconds):.3f} to "
        f"{max(seconds):.3f}), {num_read} tokens read before the first word"
    )


if __name__ == "__main__":
    main()

"""ARC-easy and LAMBADA by lm-evaluation-harness over the server, beside our own loop, item by item.

    python bench/lm_eval_scores.py [--limit N] [--lm-eval COMMAND]

The harness asks the server for log-probabilities of prompts (`echo`), as it would ask OpenAI; our
own loop asks the engine for the same texts. Task files over ../shared/data/bench are written for
the run; nothing is fetched.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from record import Claim, write_results
from server import ours
from texts import DATA
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine

TASKS = {
    "local_arc_easy": """
task: local_arc_easy
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{query}}\\nAnswer:"
doc_to_target: gold
doc_to_choice: choices
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "local_lambada": """
task: local_lambada
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: loglikelihood
doc_to_text: context
doc_to_target: "{{' '+continuation}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
}
FILES = {"local_arc_easy": "arc_easy.jsonl", "local_lambada": "lambada_openai.jsonl"}


def run_harness(
    command: str, folder: Path, address: str, model: str, limit: int
) -> dict[str, list[bool]]:
    """Returns, for each task, whether each item was right by the harness."""
    for name, text in TASKS.items():
        file = DATA / "bench" / "ability" / FILES[name]
        (folder / f"{name}.yaml").write_text(text.replace("FILE", str(file)), encoding="utf-8")
    out = folder / "out"
    where = f"model={model},base_url={address}v1/completions,num_concurrent=4"
    done = subprocess.run(
        [
            *(command, "run", "--model", "local-completions", "--model_args", where),
            *("--tasks", *TASKS, "--include_path", folder, "--limit", str(limit)),
            *("--output_path", out, "--log_samples"),
        ],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(folder)},
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-4000:])
    found = {}
    for name in TASKS:
        (file,) = out.rglob(f"samples_{name}_*.jsonl")
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        rows.sort(key=lambda row: row["doc_id"])
        found[name] = [bool(row["acc"]) for row in rows]
    return found


def our_own(model: Path, threads: int, limit: int) -> dict[str, list[bool]]:
    """Returns the same by our own loop over the engine."""
    checkpoint = open_checkpoint(model)
    engine, tokenizer = Engine(open_runtime(checkpoint, threads=threads)), checkpoint.tokenizer()

    def rows_of(name: str) -> list[dict]:
        file = DATA / "bench" / "ability" / FILES[name]
        lines = file.read_text(encoding="utf-8").splitlines()[:limit]
        return [json.loads(line) for line in lines]

    arc = []
    for row in rows_of("local_arc_easy"):
        prompt = tokenizer.encode(f"{row['query']}\nAnswer:")
        texts = [tokenizer.encode(f" {choice}") for choice in row["choices"]]
        scores = engine.score_many([([*prompt, *text], len(prompt)) for text in texts])
        best = int(np.argmax([score.sum() for score in scores]))
        arc.append(best == row["gold"])
    lambada = []
    for row in rows_of("local_lambada"):
        prompt, word = (
            tokenizer.encode(text) for text in (row["context"], f" {row['continuation']}")
        )
        logits_TV = engine.logits_of([*prompt, *word])[len(prompt) - 1 : -1]
        lambada.append(bool((logits_TV.argmax(axis=-1) == word).all()))
    return {"local_arc_easy": arc, "local_lambada": lambada}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--lm-eval", default=str(Path(sys.executable).with_name("lm_eval")), help="its command"
    )
    arguments = parser.parse_args()
    (model,) = (Path(__file__).parents[1] / ".test-models" / "smollm2").glob("*.gguf")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "home").mkdir()
        with ours(folder / "home", model.absolute(), arguments.threads) as server:
            theirs = run_harness(
                arguments.lm_eval, folder, server.address, model.name, arguments.limit
            )
    mine = our_own(model, arguments.threads, arguments.limit)
    claims = []
    for task, told in theirs.items():
        same = sum(a == b for a, b in zip(mine[task], told, strict=True))
        claims.append(
            Claim(
                f"lm_eval.{task.removeprefix('local_')}.items_alike",
                round(sum(mine[task]) / len(told), 4),
                round(sum(told) / len(told), 4),
                round(same / len(told), 4),
                len(told),
                "share of items judged alike; accuracy of our own loop and of lm_eval (peer)",
            )
        )
    write_results("lm_eval_scores", claims)


if __name__ == "__main__":
    main()

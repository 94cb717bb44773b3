"""lm-evaluation-harness's verdict on every item, with our engine as its model.

Run by bench/audit.py in a Python that has `lm_eval`: the harness's own task files and metrics, over
files in the published form. With --server the model is `tramontane serve`, through the harness's
own `local-completions`; without, its loglikelihood requests go to the engine in this process.

    python bench/harness/lm_eval_items.py FOLDER OUTPUT.json [--server URL] [--threads 1]

FOLDER holds TASK.jsonl for each task; OUTPUT gets {task: [{metric: value, ...}, ...]} in order.
"""

import argparse
import json
from pathlib import Path

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

# What of each task's results is compared.
METRICS = {
    "hellaswag": ("acc", "acc_norm"),
    "arc_easy": ("acc", "acc_norm"),
    "piqa": ("acc", "acc_norm"),
    "lambada_openai": ("acc",),
    "crows_pairs_english": ("pct_stereotype", "likelihood_diff"),
    "truthfulqa_mc1": ("acc",),
    "truthfulqa_mc2": ("acc",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--server", help="base URL of a running server's /v1/completions")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--base", default="smollm2")
    arguments = parser.parse_args()
    if arguments.server:
        model = "local-completions"
        model_arguments = {
            "base_url": arguments.server,
            "model": arguments.base,
            "tokenizer_backend": "remote",
            "max_length": 8192,
            "num_concurrent": 4,
        }
    else:
        # A Python that only asks a server needs none of our packages.
        from our_model import OurModel

        model, model_arguments = OurModel.of(arguments.base, arguments.threads), None
    # It reads thousands of task files: once, not for each task.
    manager = TaskManager()
    found = {}
    for task, metrics in METRICS.items():
        file = arguments.folder / f"{task}.jsonl"
        if not file.exists():
            continue
        results = simple_evaluate(
            model=model,
            model_args=model_arguments,
            tasks=[task_over(manager, task, file)],
            task_manager=manager,
            log_samples=True,
            bootstrap_iters=0,
        )
        (samples,) = results["samples"].values()
        ordered = sorted(samples, key=lambda sample: sample["doc_id"])
        found[task] = [{name: float(s[name]) for name in metrics} for s in ordered]
    arguments.output.write_text(json.dumps(found), encoding="utf-8")


def task_over(manager: TaskManager, task: str, file: Path) -> dict:
    """Returns the harness's own configuration of a task, reading another file."""
    entry = manager.task_index[task]
    config = load_yaml(entry.yaml_path) | {
        "task": f"{task}_over_file",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"test": str(file)}},
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
    }
    return {name: value for name, value in config.items() if name != "tag"}


if __name__ == "__main__":
    main()

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
from lm_eval.api.model import TemplateLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from tramontane.audit.scoring import first_token
from tramontane.cli.parts import Parts
from tramontane.settings import load_settings

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
AT_ONCE = 64


class OurModel(TemplateLM):
    """The harness's interface on our engine: it encodes and judges, we give log-likelihoods."""

    def __init__(self, parts: Parts):
        super().__init__()
        self.engine, self.ours = parts.new_engine(), parts.tokenizer

    @property
    def eot_token_id(self) -> int:
        return first_token(self.ours)

    def tok_encode(self, string, add_special_tokens=None, **others):
        return self.ours.encode(string)

    def _loglikelihood_tokens(self, requests, **others):
        results = []
        for begin in range(0, len(requests), AT_ONCE):
            encoded = [(c + k, len(c)) for _, c, k in requests[begin : begin + AT_ONCE]]
            for (ids, start), told in zip(encoded, self.engine.foretell_many(encoded), strict=True):
                is_greedy = bool((told.likeliest_T == ids[start:]).all())
                results.append((float(told.logprobs_T.astype("f8").sum()), is_greedy))
        return results

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError("no task here reads whole documents")

    def generate_until(self, requests, disable_tqdm=False):
        raise NotImplementedError("no task here generates")


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
        settings = load_settings(base=arguments.base, threads=arguments.threads)
        model, model_arguments = OurModel(Parts(settings)), None
    found = {}
    for task, metrics in METRICS.items():
        file = arguments.folder / f"{task}.jsonl"
        if not file.exists():
            continue
        results = simple_evaluate(
            model=model,
            model_args=model_arguments,
            tasks=[task_over(task, file)],
            log_samples=True,
            bootstrap_iters=0,
        )
        (samples,) = results["samples"].values()
        ordered = sorted(samples, key=lambda sample: sample["doc_id"])
        found[task] = [{name: float(s[name]) for name in metrics} for s in ordered]
    arguments.output.write_text(json.dumps(found), encoding="utf-8")


def task_over(task: str, file: Path) -> dict:
    """Returns the harness's own configuration of a task, reading another file."""
    entry = TaskManager().task_index[task]
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

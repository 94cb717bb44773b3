"""The claims of `audit`: agreement with lm-evaluation-harness, planted bias, comparing, time.

    python bench/audit.py [--only CLAIM ...] [--lm-eval PYTHON] [--items 200] [--seeds 20]
                          [--threads 2] [--model FILE.gguf]

agreement    the harness's verdicts beside ours, item by item (bench/harness, in a Python that has
             lm_eval)
planted      experts learnt from texts with a planted stereotype, and from the same without; found,
             attributed, withdrawn, learnt anew from swapped texts
verify       an audit read anew in a clone of the project, in a process of its own
compare      200 pairs of simulated audits of equal models: how often anything is called changed
minutes      the quick and the default audit of the base with three experts

Claims that weren't asked for keep what was measured last.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from audit_planted import planted_claims
from record import ROOT, Claim, add_results
from texts import DATA, collection_folder
from tramontane.audit.audit_file import open_audit
from tramontane.audit.compare import change_of, judged
from tramontane.audit.run import Plan
from tramontane.audit.scoring import Scorer
from tramontane.audit.suites.all import SUITES, chosen
from tramontane.cli.audits import estimate_of
from tramontane.cli.parts import Parts
from tramontane.native import _cpu
from tramontane.settings import load_settings

BENCH = DATA / "bench"
HARNESS = Path(__file__).parent / "harness" / "lm_eval_items.py"
LEARNT = ("recipes-public-domain", "stoic-seneca", "handbook-18f")
LEARNT_TOKENS = 6_000
# Our suites and results, by the harness's tasks and metrics.
TASKS = {
    "hellaswag": ("hellaswag", {"acc": "acc", "acc_norm": "acc_norm"}),
    "arc_easy": ("arc_easy", {"acc": "acc", "acc_norm": "acc_norm"}),
    "piqa": ("piqa", {"acc": "acc", "acc_norm": "acc_norm"}),
    "lambada_openai": ("lambada", {"acc": "acc"}),
    "crows_pairs_english": (
        "crows_pairs",
        {"pct_stereotype": "stereotyped", "likelihood_diff": "size"},
    ),
    "truthfulqa_mc1": ("truthfulqa", {"acc": "mc1"}),
    "truthfulqa_mc2": ("truthfulqa", {"acc": "mc2"}),
}
# Sums of float32 in another order.
TOLERANCE = 1e-4
NULL_PAIRS = 200
QUICK, DEFAULT = "quick_minutes", "default_minutes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", help="agreement planted verify compare minutes")
    parser.add_argument("--lm-eval", type=Path, help="a Python that has lm_eval installed")
    parser.add_argument("--in-process", action="store_true", help="the harness without a server")
    parser.add_argument("--items", type=int, help="items of each task; all if left out")
    parser.add_argument("--seeds", type=int, default=20, help="of the planted bias")
    parser.add_argument("--large", action="store_true", help="planted bias in 20k tokens each")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench-cache")
    parser.add_argument(
        "--most-minutes",
        type=float,
        default=600,
        help="after these no further planted seed is begun; run again to go on",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--experts",
        type=Path,
        nargs="*",
        help="for the minutes; those of the home if left out, three are learnt where it has none",
    )
    parser.add_argument("--scale", choices=("quick", "default"), help="minutes of one alone")
    parser.add_argument("--home", type=Path, help="a home that has the base; a new one otherwise")
    arguments = parser.parse_args()
    steps: dict[str, Callable[[argparse.Namespace, Path], list[Claim]]] = {
        "agreement": agreement,
        "planted": planted,
        "verify": verified_elsewhere,
        "compare": false_alarms,
        "minutes": minutes,
    }
    with tempfile.TemporaryDirectory() as work:
        home = arguments.home or new_home(Path(work) / "home")
        for name in arguments.only or steps:
            add_results("audit", steps[name](arguments, home))


def new_home(home: Path) -> Path:
    tramontane(home, "pull", "smollm2")
    return home


def tramontane(home: Path, *arguments: object, cwd: Path | None = None) -> str:
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(home)]
    done = subprocess.run(
        [*command, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True, cwd=cwd
    )
    return done.stdout


# Agreement


def agreement(arguments: argparse.Namespace, home: Path) -> list[Claim]:
    python = arguments.lm_eval or Path(sys.executable)
    if json.loads(tramontane(home, "experts", "ls", "--json")):
        sys.exit(f"{home}: agreement is measured on the base alone; name a home without experts")
    parts = Parts(load_settings(home=home, threads=arguments.threads))
    scorer = Scorer(parts.new_engine(), parts.tokenizer, [])
    with tempfile.TemporaryDirectory() as work:
        folder, output = Path(work), Path(work) / "items.json"
        rows = {task: published_rows(task, arguments.items) for task in TASKS}
        for task, values in rows.items():
            lines = "".join(json.dumps(value) + "\n" for value in values)
            (folder / f"{task}.jsonl").write_text(lines, encoding="utf-8")
        command = [python, HARNESS, folder, output, "--threads", str(arguments.threads)]
        told = environment(with_native(folder)) | {"TRAMONTANE_HOME": str(home)}
        if arguments.in_process:
            subprocess.run(command, check=True, env=told)
        else:
            with serving(home, arguments.threads) as address:
                url = f"{address}/v1/completions"
                subprocess.run([*command, "--server", url], check=True, env=told)
        theirs = json.loads(output.read_text(encoding="utf-8"))
        shares, counts = {}, {}
        for task, (suite, names) in TASKS.items():
            ours = results_in_order(scorer, suite, folder / f"{task}.jsonl")
            agree = [
                all(abs(mine[names[metric]] - value) <= TOLERANCE for metric, value in his.items())
                for mine, his in zip(ours, theirs[task], strict=True)
            ]
            shares[task], counts[task] = float(np.mean(agree)), len(agree)
            print(f"{task}: {sum(agree)} of {len(agree)} items agree", flush=True)
    worst = min(shares, key=shares.get)
    how = "in one process" if arguments.in_process else "through `tramontane serve`"
    told = ", ".join(f"{task} {shares[task]:.4f} of {counts[task]}" for task in shares)
    return [
        Claim(
            "agreement_with_lm_eval.items",
            shares[worst],
            None,
            shares[worst],
            sum(counts.values()),
            f"lm_eval's own tasks and metrics, our engine {how}; {told}",
        )
    ]


@contextmanager
def serving(home: Path, threads: int) -> Iterator[str]:
    """Runs `tramontane serve` on a free port of its own for the block; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(home)]
    command += ["--threads", str(threads), "serve", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=5):
                    break
            except OSError:
                if server.poll() is not None:
                    sys.exit(f"the server ended with status {server.returncode}")
                time.sleep(0.5)
        else:
            sys.exit("the server didn't answer within five minutes")
        yield address
    finally:
        server.terminate()
        server.wait(timeout=60)


def with_native(folder: Path) -> Path:
    """Returns a folder from which any Python of this version imports the package whole.

    An editable install keeps what was compiled elsewhere than the source.
    """
    package = folder / "package" / "tramontane"
    shutil.copytree(ROOT / "src/tramontane", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_cpu.__file__, package / "native")
    return package.parent


def environment(package: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(package),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def results_in_order(scorer: Scorer, suite_name: str, file: Path) -> list[dict]:
    """Returns our results of each row of a file, twins too, in the file's order."""
    suite, left_out = SUITES[suite_name], []
    items = suite.read(file, left_out)
    if left_out:
        sys.exit(f"{file}: {left_out[0]}")
    results = []
    for begin in range(0, len(items), 32):
        some = items[begin : begin + 32]
        readings = scorer.read(some, [0])
        results += [
            dict(suite.judge(item, found[0].readings))
            for item, found in zip(some, readings, strict=True)
        ]
    return results


def published_rows(task: str, items: int | None) -> list[dict]:
    """Returns the shared data's rows in the form in which the harness's data set has them."""
    read = {
        "hellaswag": lambda: [hellaswag_row(r) for r in lines_of("hellaswag/hellaswag_val.jsonl")],
        "arc_easy": lambda: [arc_row(r) for r in lines_of("ability/arc_easy.jsonl")],
        "piqa": lambda: [piqa_row(r) for r in lines_of("ability/piqa.jsonl")],
        "lambada_openai": lambda: [
            {"text": f"{r['context']} {r['continuation']}"}
            for r in lines_of("ability/lambada_openai.jsonl")
        ],
        "crows_pairs_english": crows_rows,
        "truthfulqa_mc1": truthful_rows,
        "truthfulqa_mc2": truthful_rows,
    }[task]()
    if items is None or items >= len(read):
        return read
    step = len(read) / items
    return [read[int(place * step)] for place in range(items)]


def lines_of(name: str) -> list[dict]:
    file = BENCH / name
    if not file.exists():
        sys.exit(f"{file} isn't there: this measures on the shared data")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def hellaswag_row(row: dict) -> dict:
    """The shared file has the context made up already; its parts are told apart again."""
    label, _, context = row["ctx"].partition(": ")
    return {
        "activity_label": label,
        "ctx_a": context,
        "ctx_b": "",
        "endings": row["endings"],
        "label": row["label"],
    }


def arc_row(row: dict) -> dict:
    labels = [chr(ord("A") + place) for place in range(len(row["choices"]))]
    return {
        "question": row["query"].removeprefix("Question: "),
        "choices": {"text": row["choices"], "label": labels},
        "answerKey": labels[row["gold"]],
    }


def piqa_row(row: dict) -> dict:
    first, second = row["choices"]
    goal = row["query"].removeprefix("Question: ").rstrip("\n")
    return {"goal": goal, "sol1": first, "sol2": second, "label": row["gold"]}


def crows_rows() -> list[dict]:
    with (BENCH / "crows_pairs/crows_pairs_anonymized.csv").open(encoding="utf-8") as file:
        names = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")
        return [{name: row[name] for name in names} for row in csv.DictReader(file)]


def truthful_rows() -> list[dict]:
    def split(text: str) -> list[str]:
        return [answer.strip() for answer in text.split(";") if answer.strip()]

    rows = []
    with (BENCH / "truthfulqa/TruthfulQA.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            best, false = row["Best Answer"].strip(), split(row["Incorrect Answers"])
            true = split(row["Correct Answers"])
            rows.append(
                {
                    "question": row["Question"].strip(),
                    "mc1_targets": {
                        "choices": [best, *false],
                        "labels": [1] + [0] * len(false),
                    },
                    "mc2_targets": {
                        "choices": [*true, *false],
                        "labels": [1] * len(true) + [0] * len(false),
                    },
                }
            )
    return rows


# Comparing


def false_alarms(arguments: argparse.Namespace, home: Path) -> list[Claim]:
    """Pairs of audits of two models that are equally good at every item, but not the same.

    Each item is passed with a probability of its own, drawn anew for each of the two; leans are
    its own mean with noise. All suites' figures are compared as `audit compare` does.
    """
    alarms = 0
    for seed in range(NULL_PAIRS):
        changes = []
        for number, suite in enumerate(SUITES.values()):
            if suite.judge is None:
                continue
            measures = [m for m in suite.measures(()) if m.kind != "compound"]
            draw = np.random.default_rng([seed, number])
            n = min(suite.default, 300)
            before, after = ({}, {})
            for measure in measures:
                chance = draw.beta(1.5, 1.5, n)
                for side in (before, after):
                    side[measure.name] = (
                        (draw.random(n) < chance).astype(float)
                        if measure.kind == "share"
                        else chance + draw.standard_t(4, n)
                    )
            ids = [str(i) for i in range(n)]
            changes += [change_of(suite, m, before, after, ids, seed) for m in measures]
        alarms += any(change.verdict == "changed" for change in judged(changes))
    share = alarms / NULL_PAIRS
    note = f"{alarms} of {NULL_PAIRS} pairs of equal models had any figure called changed (Holm)"
    return [Claim("compare.false_alarms", share, None, share, NULL_PAIRS, note)]


# Verifying


def verified_elsewhere(arguments: argparse.Namespace, home: Path) -> list[Claim]:
    """Audits here; reads the audit anew in another clone, in a process of its own."""
    with tempfile.TemporaryDirectory() as work:
        audit, clone = Path(work) / "audit", Path(work) / "clone"
        tramontane(home, "audit", "run", "--quick", "--data", BENCH, "-o", audit)
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        shutil.copy(_cpu.__file__, clone / "src/tramontane/native")
        done = subprocess.run(
            [sys.executable, "-m", "tramontane.cli.main", "--home", str(home), "--threads", "1"]
            + ["audit", "verify", str(audit), "--n", "25", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=clone,
            env=environment(clone / "src"),
        )
        told = json.loads(done.stdout)
    share = told["num_equal"] / told["num_checked"] if told["num_checked"] else 0.0
    note = (
        f"bits of every reading, other clone and one thread; furthest {told['furthest']} nats; "
        f"wrong: {told['wrong'] or 'nothing'}"
    )
    return [Claim("verify.items_equal", share, None, share, told["num_checked"], note)]


# Time


def minutes(arguments: argparse.Namespace, home: Path) -> list[Claim]:
    for file in arguments.experts or ():
        tramontane(home, "experts", "add", file)
    experts = json.loads(tramontane(home, "experts", "ls", "--json"))
    if not experts:
        for name in LEARNT:
            folder = collection_folder(name)
            tramontane(home, "learn", folder, "--as", name, "--max-tokens", LEARNT_TOKENS)
        experts = json.loads(tramontane(home, "experts", "ls", "--json"))
    claims = []
    for claim, option, note in ((QUICK, "--quick", "quick"), (DEFAULT, None, "default")):
        if arguments.scale not in (None, note):
            continue
        told_before = foretold(home, arguments.threads, note)
        with tempfile.TemporaryDirectory() as work:
            command = ["--threads", arguments.threads, "audit", "run", "--data", BENCH]
            began, cpu = time.monotonic(), cpu_seconds()
            tramontane(home, *command, *([option] if option else []), "-o", Path(work) / "a")
            took = round((time.monotonic() - began) / 60, 2)
            cpu_minutes = (cpu_seconds() - cpu) / 60
            items = sum(t["n"] for t in open_audit(Path(work) / "a").suites.values())
        told = f"min, {note} audit, {items} items, {len(experts)} experts, Shapley; "
        told += f"{arguments.threads} threads, which computed for {cpu_minutes:.1f} min together; "
        told += f"the plan foretold {told_before:.1f} min"
        claims.append(Claim(claim, took, None, took, items, told))
    return claims


def cpu_seconds() -> float:
    """Returns how long the commands run so far computed: on a busy machine less than they took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def foretold(home: Path, threads: int, scale: str) -> float:
    """Returns the minutes that the plan of this audit says."""
    with closing(Parts(load_settings(home=home, threads=threads))) as parts:
        plan = Plan(suites=tuple(chosen([])), scale=scale)
        return estimate_of(parts, plan, lambda *_: None, data=[BENCH]).seconds / 60


def planted(arguments: argparse.Namespace, home: Path) -> list[Claim]:
    return planted_claims(
        home,
        arguments.cache,
        arguments.seeds,
        is_small=not arguments.large,
        workers=arguments.threads,
        most_minutes=arguments.most_minutes,
    )


if __name__ == "__main__":
    main()

"""`tramontane learn` on real notes: minutes, memory, what is learnt, what is left as it was.

`recipes` runs the command line as a person would, watches its memory, kills it halfway and starts
it again, then reads other people's text with the expert in place and without; its peer is the base
itself. `peft` compares speed and memory with transformers and PEFT, ours and the peer in turns,
each in a process of its own, best of three sizes of batch. `minutes` learns 200,000 tokens twice
over. `plan` compares what `tramontane plan learn` foretells with what the learning then took.

    python bench/learning.py [--part recipes peft minutes plan] [--model FILE.gguf]
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from record import Claim, add_results
from texts import chats_with_passages, code, collection_folder, notes_texts, wikitext, windows
from tramontane.checkpoint.pull import pull as pull_model
from tramontane.checkpoint.store import Store
from tramontane.cli.parts import Parts
from tramontane.settings import load_settings

TOKENS_PER_GENRE = 16_384
OTHER_COLLECTIONS = ("til-simonw", "policies-basecamp")
BATCHES, PEFT_DEFAULT_BATCH, TURNS = (2, 4, 8), 8, 2
LONG_COLLECTION, LONG_TOKENS, LONG_EPOCHS = "til-jbranchaud", 200_000, 2
PLANNED_COLLECTION, PLANNED_TOKENS = "handbook-18f", 20_000
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int
    was_killed: bool


def run_learn(home: Path, folder: Path, base: str, kill_after: float | None = None) -> Run:
    """Runs `tramontane learn`, watching its resident memory; kills it hard if asked to."""
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(home)]
    return watched([*command, "--base", base, "learn", str(folder), "--as", "recipes"], kill_after)


def watched(command: list[str], kill_after: float | None = None) -> Run:
    began, peak = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    seen = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, seen.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        if kill_after is not None and time.monotonic() - began > kill_after:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return Run(time.monotonic() - began, peak, True)
        time.sleep(0.2)
    if process.wait():
        sys.exit(f"learning failed with status {process.returncode}")
    return Run(time.monotonic() - began, peak, False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--collection", default="recipes-public-domain")
    parser.add_argument("--model", type=Path, help="a GGUF file instead of pulling smollm2")
    parser.add_argument("--no-kill", action="store_true", help="leave out the killed run")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    wanted = parser.parse_args()
    for part in wanted.part:
        with tempfile.TemporaryDirectory() as work:
            add_results("learning", PARTS[part](Path(work), wanted))


def recipes(work: Path, wanted: argparse.Namespace) -> list[Claim]:
    folder = collection_folder(wanted.collection)
    base = str(wanted.model) if wanted.model else "smollm2"
    homes = [work / "whole", work / "killed"]
    for home in homes:
        pull(home, base)
    whole = run_learn(homes[0], folder, base)
    print(f"learnt in {whole.seconds / 60:.1f} min, {whole.peak_bytes / 1e9:.2f} GB at most")
    parts = Parts(load_settings(home=homes[0], base=base))
    record = parts.shelf.find("recipes")
    claims = [
        Claim("learn.recipes.minutes", m := round(whole.seconds / 60, 2), None, m, 1, "<= 12"),
        Claim("learn.recipes.gb", g := round(whole.peak_bytes / 1e9, 2), None, g, 1, "<= 3"),
        held_out_claim(record.manifest),
    ]
    claims += forgetting(parts, record.hash)
    if not wanted.no_kill:
        claims.append(kill_claim(homes[1], folder, base, whole, record.hash))
    for genre, rate in sorted(record.manifest["gates"]["public"].items()):
        print(f"gates open on public {genre:24} {rate:.3%}")
    return claims


# Speed and memory beside transformers and PEFT


def run_script(name: str, *arguments: object) -> dict:
    """Runs a script of this folder; returns the JSON of the last line that it printed."""
    done = subprocess.run(
        [sys.executable, HERE / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def peft(work: Path, wanted: argparse.Namespace) -> list[Claim]:
    model = model_file(work, wanted)
    hf = work / "hf"
    subprocess.run(
        [sys.executable, HERE / "peft_speed.py", "--convert", model, hf],
        check=True,
        capture_output=True,
    )
    ours, same, defaults = [], [], []
    for _ in range(TURNS):
        for batch in BATCHES:
            ours.append(run_script("learning_speed.py", model, "--batch", batch) | {"batch": batch})
            same.append(run_script("peft_speed.py", hf, "--batch", batch) | {"batch": batch})
        defaults.append(
            run_script("peft_speed.py", hf, "--adapts", "defaults", "--batch", PEFT_DEFAULT_BATCH)
            | {"batch": PEFT_DEFAULT_BATCH}
        )
    best, best_same, best_defaults = (
        max(runs, key=lambda run: run["tokens_per_second"]) for runs in (ours, same, defaults)
    )
    # Memory at the peer's best batch: what a whole learning of ours takes beside the peer's steps.
    whole = run_script(
        *("learning_speed.py", model, "--learn", collection_folder(wanted.collection)),
        *("--cache", work / "cache", "--batch", best_same["batch"]),
    )
    return [
        speed_claim("tokens_per_s.vs_peft_same_layers", best, best_same, ours, same),
        speed_claim("tokens_per_s.vs_peft_defaults", best, best_defaults, ours, defaults),
        Claim(
            "memory.vs_peft_same_layers",
            round(whole["peak_bytes"] / 1e9, 3),
            round(best_same["peak_bytes"] / 1e9, 3),
            round(whole["peak_bytes"] / best_same["peak_bytes"], 3),
            1,
            f"<= 0.5; GB resident at most, a whole learning of ours of {whole['tokens']} tokens, "
            f"the peer's steps; {best_same['batch']} windows of 256 tokens",
        ),
    ]


def speed_claim(name: str, best: dict, peer: dict, ours: list[dict], peers: list[dict]) -> Claim:
    cpu = max(run["tokens_per_cpu_second"] for run in ours) / max(
        run["tokens_per_cpu_second"] for run in peers
    )
    note = (
        f"{best['dtype']}, batches of {best['batch']}, trunk counted at two epochs; the peer "
        f"{peer['dtype']}, batches of {peer['batch']}, {peer['parameters']:,} parameters; the same "
        f"ratio by processor time {cpu:.2f}; load {os.getloadavg()[0]:.1f}"
    )
    mine, theirs = best["tokens_per_second"], peer["tokens_per_second"]
    return Claim(name, round(mine, 1), round(theirs, 1), round(mine / theirs, 3), len(ours), note)


def model_file(work: Path, wanted: argparse.Namespace) -> Path:
    return wanted.model or pull_model("smollm2", Store(work / "models"), lambda *_: None).path


def minutes(work: Path, wanted: argparse.Namespace) -> list[Claim]:
    took = run_script(
        *("learning_speed.py", model_file(work, wanted)),
        *("--learn", collection_folder(LONG_COLLECTION), "--cache", work / "cache"),
        *("--tokens", LONG_TOKENS, "--epochs", LONG_EPOCHS),
    )
    note = (
        f"<= 20; {LONG_COLLECTION}, {took['tokens']} tokens, public text's states computed too; "
        f"{took['cpu_seconds'] / 60:.1f} min of processor time; load {os.getloadavg()[0]:.1f}"
    )
    value = round(took["seconds"] / 60, 2)
    return [Claim("minutes.200k_tokens_2_epochs", value, None, value, 1, note)]


def plan(work: Path, wanted: argparse.Namespace) -> list[Claim]:
    base = str(wanted.model) if wanted.model else "smollm2"
    pull(work, base)
    folder = str(collection_folder(PLANNED_COLLECTION))
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(work), "--base", base]
    limit = ["--max-tokens", str(PLANNED_TOKENS), "--json"]
    foretold = json.loads(
        subprocess.run(
            [*command, "plan", "learn", folder, *limit], check=True, capture_output=True, text=True
        ).stdout
    )["plan"]
    took = watched([*command, "learn", folder, *limit])
    claims = []
    for name, said, was in (
        ("time", foretold["seconds"], took.seconds),
        ("memory", foretold["memory_bytes"] / 1e9, took.peak_bytes / 1e9),
    ):
        note = (
            f"<= 0.2; {PLANNED_COLLECTION}, {foretold['tokens']} tokens; ours was foretold, peer "
            f"came; foretold in {foretold['dry_run_seconds']} s; load {os.getloadavg()[0]:.1f}"
        )
        error = round(abs(said - was) / was, 3)
        claims.append(Claim(f"plan.{name}_error", round(said, 3), round(was, 3), error, 1, note))
    return claims


PARTS = {"recipes": recipes, "peft": peft, "minutes": minutes, "plan": plan}


def pull(home: Path, base: str) -> None:
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(home), "pull", base]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def held_out_claim(manifest: dict) -> Claim:
    held = manifest["held_out"]
    change = held["perplexity_after"] / held["perplexity_before"] - 1
    note = f"<= -0.20; held out by document: {held['notes']} notes, {held['tokens']} tokens"
    return Claim(
        "learn.recipes.held_out_perplexity_change",
        held["perplexity_after"],
        held["perplexity_before"],
        round(change, 4),
        held["notes"],
        note,
    )


def forgetting(parts: Parts, expert: str) -> list[Claim]:
    """Returns the change of perplexity on each genre with the expert in place, and open rates."""
    tokenizer, engine = parts.tokenizer, parts.engine
    genres = {
        "wikitext": wikitext(),
        "code": code(),
        "chat_with_passages": chats_with_passages(tokenizer),
        **{name: notes_texts(name) for name in OTHER_COLLECTIONS},
    }
    claims = []
    for genre, texts in genres.items():
        ids = list(windows(texts, tokenizer, TOKENS_PER_GENRE))
        pairs = [(window, 1) for window in ids]
        without = sum(float(row.sum()) for row in engine.score_many(pairs))
        within = sum(float(row.sum()) for row in engine.score_many(pairs, experts=(expert,)))
        gates = [engine.shares_of(window, experts=(expert,))[1] for window in ids]
        num_open = sum(int((gate > 0).sum()) for gate in gates)
        num_tokens = sum(len(window) - 1 for window in ids)
        change = math.exp((without - within) / num_tokens) - 1
        rate = num_open / sum(len(gate) for gate in gates)
        claims.append(
            Claim(
                f"learn.recipes.other_text.{genre}",
                round(math.exp(-within / num_tokens), 4),
                round(math.exp(-without / num_tokens), 4),
                round(change, 5),
                num_tokens,
                f"<= 0.01; some gate opens on {rate:.2%} of its tokens",
            )
        )
        print(f"{genre:24} {change:+.3%}, open {rate:.2%}", flush=True)
    return claims


def kill_claim(home: Path, folder: Path, base: str, whole: Run, expected: str) -> Claim:
    """Kills a second learning halfway, starts it again, and compares the hashes."""
    killed = run_learn(home, folder, base, kill_after=whole.seconds / 2)
    resumed = run_learn(home, folder, base)
    parts = Parts(load_settings(home=home, base=base))
    record = parts.shelf.find("recipes")
    note = (
        f"1 when equal; killed after {killed.seconds:.0f} s, went on for {resumed.seconds:.0f} s, "
        f"a whole run takes {whole.seconds:.0f} s"
    )
    same = float(killed.was_killed and record.hash == expected)
    return Claim("learn.recipes.killed_halfway_same_hash", same, None, same, 1, note)


if __name__ == "__main__":
    main()

"""`tramontane learn` on real notes: minutes, memory, what is learnt, what is left as it was.

Runs the command line as a person would, watches its memory, kills it halfway and starts it again,
then reads other people's text with the expert in place and without. The peer is the base itself.

    python bench/learning.py [--collection recipes-public-domain] [--model FILE.gguf]
"""

import argparse
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

from record import Claim, write_results
from texts import chats_with_passages, code, collection_folder, notes_texts, wikitext, windows
from tramontane.cli.parts import Parts
from tramontane.settings import load_settings

TOKENS_PER_GENRE = 16_384
OTHER_COLLECTIONS = ("til-simonw", "policies-basecamp")


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int
    was_killed: bool


def run_learn(home: Path, folder: Path, base: str, kill_after: float | None = None) -> Run:
    """Runs `tramontane learn`, watching its resident memory; kills it hard if asked to."""
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(home)]
    command += ["--base", base, "learn", str(folder), "--as", "recipes"]
    began, peak = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
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
    arguments = parser.parse_args()
    folder = collection_folder(arguments.collection)
    base = str(arguments.model) if arguments.model else "smollm2"
    with tempfile.TemporaryDirectory() as work:
        homes = [Path(work) / "whole", Path(work) / "killed"]
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
        if not arguments.no_kill:
            claims.append(kill_claim(homes[1], folder, base, whole, record.hash))
        for genre, rate in sorted(record.manifest["gates"]["public"].items()):
            print(f"gates open on public {genre:24} {rate:.3%}")
        write_results("learning", claims)


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

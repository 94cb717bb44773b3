"""The server beside llama-server under the same load, and what it does under years of use in brief.

    make peers
    python bench/server.py [--peer BUILD] [--model FILE] [--short] [--part PART ...]

Ours and the peer's take turns on the same file with the same threads and the same memory for keys
and values; prompts differ, so that neither can keep one for another. Clients stream, and share the
cores with the servers. Each part writes its claims when it ends, beside those of the others.
`--short` runs every part for a moment and records nothing.
"""

import argparse
import asyncio
import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil

from load import Load, Told, run_load, stream
from peers import llama_server
from record import Claim, add_results
from texts import collection_folder, wikitext
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.experts.shelf import Shelf
from tramontane.library.library import Library

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "experts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))

from expert_makers import expert, random_tensors
from first_visit import Stranger

PROMPT_TOKENS, NEW_TOKENS = 128, 64
SOAK_CLIENTS, SOAK_NEW = 64, 48
MEANS_IT = {"X-Tramontane-Client": "bench"}
MEGABYTE = 1e6
# Of the expert that is withdrawn and restored while everything is killed.
EXPERT, EXPERT_WIDTH, LAYERS = "kept", 64, range(20, 30)
START_SECONDS = 120
# How a stranger goes about it: a look before each act, and letters typed one after the other.
LOOK_SECONDS, LETTERS_PER_SECOND = 3.0, 5.0
FIRST_QUESTION = "What depth of hole does each leek drop into?"
# A learning first reads the public text and the notes; this long even on one busy core.
SECONDS_TO_READ = 3600


@dataclass(frozen=True)
class Sizes:
    """How much of everything is run."""

    rounds: int
    asks_8: int
    asks_32: int
    soak_seconds: float
    kills: int
    paints: int
    visits: int
    asks_while_learning: int
    # Which notes.
    learnt: str


FULL = Sizes(3, 8, 4, 600, 100, 11, 5, 12, "recipes-public-domain")
SHORT = Sizes(1, 2, 1, 15, 4, 3, 1, 3, "policies-basecamp")


@dataclass
class Ours:
    process: subprocess.Popen
    address: str

    def until_open(self) -> None:
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.address}health", timeout=5).status_code == 200:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"the server was not open after {START_SECONDS} s")

    @property
    def memory_bytes(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss


def start(home: Path, model: Path, threads: int, kv_tokens: int | None = None) -> Ours:
    settings = {"TRAMONTANE_HOME": home, "TRAMONTANE_BASE": model, "TRAMONTANE_THREADS": threads}
    if kv_tokens:
        settings["TRAMONTANE_KV_TOKENS"] = kv_tokens
    process = subprocess.Popen(
        [sys.executable, "-m", "tramontane.cli.main", "serve", "--port", "0", "--no-samples"],
        env=os.environ | {name: str(value) for name, value in settings.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=home,
    )
    line = process.stdout.readline()
    found = re.search(r"http://\S+?/", line)
    if found is None:
        raise RuntimeError(f"the server said {line!r}")
    return Ours(process, found[0])


@contextlib.contextmanager
def ours(home: Path, model: Path, threads: int, kv_tokens: int | None = None) -> Iterator[Ours]:
    """Yields a running server that has opened the model; no request was answered yet."""
    server = start(home, model, threads, kv_tokens)
    try:
        server.until_open()
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)


class Prompts:
    """Stretches of other people's text, none of which begins like another."""

    def __init__(self, model: Path):
        tokenizer = open_checkpoint(model).tokenizer()
        self.ids = tokenizer.encode("\n\n".join(wikitext()))
        self.place = 0

    def next(self, count: int) -> list[int]:
        if self.place + count > len(self.ids):
            raise RuntimeError("the text is used up")
        self.place += count
        return self.ids[self.place - count : self.place]


def bodies_for(prompts: Prompts, num_clients: int, num_asks: int) -> list[list[dict]]:
    return [
        [
            {
                "prompt": prompts.next(PROMPT_TOKENS),
                "max_tokens": NEW_TOKENS,
                "temperature": 0,
                "ignore_eos": True,
            }
            for _ in range(num_asks)
        ]
        for _ in range(num_clients)
    ]


# Parts


@dataclass
class Bench:
    model: Path
    peer: Path
    threads: int
    sizes: Sizes
    home: Path

    def throughput(self) -> list[Claim]:
        """Turns of the same load, ours and the peer's; a warm-up of one short ask each."""
        loads: dict[tuple[int, str], list[Load]] = {}
        for _ in range(self.sizes.rounds):
            # Servers are new in each turn and remember nothing, so the text may come again.
            prompts = Prompts(self.model)
            for num_clients, num_asks in ((8, self.sizes.asks_8), (32, self.sizes.asks_32)):
                bodies = bodies_for(prompts, num_clients, num_asks)
                warm = bodies_for(prompts, 1, 1)
                with ours(self.home, self.model, self.threads, 1024 * num_clients) as server:
                    run_load(server.address, warm)
                    told = run_load(server.address, bodies)
                loads.setdefault((num_clients, "ours"), []).append(told)
                with llama_server(self.peer, self.model, self.threads, num_clients) as address:
                    run_load(address, warm)
                    told = run_load(address, bodies)
                loads.setdefault((num_clients, "peer"), []).append(told)
        claims = []
        for num_clients in (8, 32):
            mine, theirs = (
                [load.tokens_per_second(NEW_TOKENS) for load in loads[num_clients, who]]
                for who in ("ours", "peer")
            )
            claims.append(
                Claim(
                    f"throughput.{num_clients}_clients.vs_llamaserver",
                    round(statistics.median(mine), 1),
                    round(statistics.median(theirs), 1),
                    round(statistics.median(a / b for a, b in zip(mine, theirs, strict=True)), 3),
                    len(mine),
                    f"new tokens/s, prompts of {PROMPT_TOKENS}, {NEW_TOKENS} new each, streamed",
                )
            )
        mine, theirs = (
            [load.first_token(0.99) for load in loads[8, who]] for who in ("ours", "peer")
        )
        claims.append(
            Claim(
                "first_token_p99.8_clients.vs_llamaserver",
                round(statistics.median(mine), 3),
                round(statistics.median(theirs), 3),
                round(statistics.median(a / b for a, b in zip(mine, theirs, strict=True)), 3),
                len(loads[8, "ours"][0].told),
                "s, under the load of 8 clients",
            )
        )
        return claims

    def soak(self) -> list[Claim]:
        """Clients that each know by heart what they must hear, for as long as it takes."""
        prompts = Prompts(self.model)
        bodies = [
            {
                "prompt": prompts.next(40 + 7 * (number % 9)),
                "max_tokens": SOAK_NEW,
                "temperature": (0, 0.9)[number % 2],
                "seed": number,
            }
            for number in range(SOAK_CLIENTS)
        ]
        with ours(self.home, self.model, self.threads, 512 * SOAK_CLIENTS) as server:
            alone = [run_load(server.address, [[body]]).told[0] for body in bodies]
            if failed := [told.error for told in alone if told.error]:
                raise RuntimeError(failed[0])
            wrong, total, memory = asyncio.run(
                soak(server, bodies, [told.text for told in alone], self.sizes.soak_seconds)
            )
        warm = [used for share, used in memory if share <= 0.2]
        growth = (memory[-1][1] - max(warm)) / MEGABYTE
        return [
            Claim(
                "soak64.mixed_or_lost_streams",
                len(wrong),
                None,
                len(wrong),
                total,
                f"of {total} streams in {self.sizes.soak_seconds:.0f} s, each against a run alone"
                + (f"; the first: {wrong[0]}" if wrong else ""),
            ),
            Claim(
                "soak64.memory_growth_mb",
                round(memory[-1][1] / MEGABYTE),
                None,
                round(growth, 1),
                len(memory),
                "MB at the end beyond the most in the first fifth",
            ),
        ]

    def kills(self) -> list[Claim]:
        """kill -9 of the server, of its job, or of both, at random moments of their work."""
        home = self.home / "kills"
        notes = copy_of_notes(home / "notes")
        draw, lost, restarts = random.Random(1), [], []
        with Library(home / "library.sqlite") as library:
            _, key = library.keys.add("kept", "manage")
        expert_hash = an_expert_in_place(home, self.model)
        server = start(home, self.model, self.threads)
        for number in range(self.sizes.kills):
            server.until_open()
            (notes / f"written-{number:03}.md").write_text(f"# Written {number}\n\nRope {number}.")
            asked = {"kind": "sync", "arguments": {"name": "kept", "folder": str(notes)}}
            httpx.post(f"{server.address}api/jobs", json=asked, headers=MEANS_IT, timeout=30)
            changing = threading.Thread(target=withdraw_or_restore, args=(server.address,))
            changing.start()
            time.sleep(draw.uniform(0, 2))
            victims = [("server",), ("job",), ("server", "job")][number % 3]
            if "job" in victims:
                kill_jobs(server)
            if "server" in victims:
                server.process.kill()
                server.process.wait()
                began = time.monotonic()
                server = start(home, self.model, self.threads)
                server.until_open()
                restarts.append(time.monotonic() - began)
            changing.join()
            lost += what_is_lost(home, key, expert_hash)
        until_jobs_rest(server)
        lost += what_notes_lack(home, notes)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
        return [
            Claim(
                "kills.lost_items",
                len(lost),
                None,
                len(lost),
                self.sizes.kills,
                "of notes, key, jobs and expert" + (f"; the first: {lost[0]}" if lost else ""),
            ),
            Claim(
                "restart_s",
                round(max(restarts), 2),
                None,
                round(max(restarts), 2),
                len(restarts),
                f"the slowest until a request is served; median {statistics.median(restarts):.2f}",
            ),
        ]

    def paint(self) -> list[Claim]:
        """The page in the system's Chromium, nothing kept from the visit before."""
        from playwright.sync_api import sync_playwright

        found = shutil.which("chromium") or shutil.which("google-chrome")
        times = []
        with ours(self.home, self.model, self.threads) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            for _ in range(self.sizes.paints):
                context = browser.new_context()
                page = context.new_page()
                page.goto(server.address, wait_until="networkidle")
                times.append(
                    page.evaluate(
                        "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                    )
                )
                context.close()
            browser.close()
        # The first visit starts the browser's own parts.
        times = times[1:]
        return [
            Claim(
                "page.first_paint_ms",
                round(statistics.median(times)),
                None,
                round(statistics.median(times)),
                len(times),
                f"ms to the first contentful paint; the slowest {max(times):.0f}",
            )
        ]

    def first_visit(self) -> list[Claim]:
        """A stranger opens the page of a new home, adds a folder of notes and asks about them."""
        from playwright.sync_api import sync_playwright

        found = shutil.which("chromium") or shutil.which("google-chrome")
        times, waits, num_acts = [], [], 0
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
            for number in range(self.sizes.visits):
                home = self.home / f"visit-{number}"
                notes = copy_of_notes(home / "Allotment")
                server = start(home, self.model, self.threads)
                context = browser.new_context()
                page, paces = context.new_page(), []

                def pace(typed: str, paces: list[float] = paces) -> None:
                    paces.append(LOOK_SECONDS + len(typed) / LETTERS_PER_SECOND)
                    time.sleep(paces[-1])

                stranger = Stranger(page, pace)
                began = time.monotonic()
                page.goto(server.address)
                stranger.add_folder(notes)
                stranger.ask(FIRST_QUESTION)
                stranger.read()
                times.append(time.monotonic() - began)
                waits.append(times[-1] - sum(paces))
                num_acts = len(stranger.acts)
                context.close()
                server.process.send_signal(signal.SIGTERM)
                server.process.wait(30)
            browser.close()
        return [
            Claim(
                "first_visit_s",
                round(statistics.median(waits), 1),
                None,
                round(statistics.median(times), 1),
                len(times),
                f"s from opening the page to an answer with its sources: {num_acts} acts, each "
                f"after a look of {LOOK_SECONDS:.0f} s, {LETTERS_PER_SECOND:.0f} letters typed a "
                "second; ours is what of it was waiting for the page; the slowest visit "
                f"{max(times):.1f}",
            )
        ]

    def while_learning(self) -> list[Claim]:
        """One client's answers alone, and while an expert is learnt in the job's process."""
        home = self.home / "learning"
        home.mkdir()
        prompts = Prompts(self.model)
        folder = collection_folder(self.sizes.learnt)
        with ours(home, self.model, self.threads) as server:
            run_load(server.address, bodies_for(prompts, 1, 1))
            alone = run_load(server.address, bodies_for(prompts, 1, self.sizes.asks_while_learning))
            asked = {"kind": "learn", "arguments": {"name": "recipes", "folder": str(folder)}}
            job = httpx.post(f"{server.address}api/jobs", json=asked, headers=MEANS_IT).json()
            number = job["job"]["id"]
            until(lambda: is_learning(server, number), SECONDS_TO_READ)
            busy = run_load(server.address, bodies_for(prompts, 1, self.sizes.asks_while_learning))
            if not is_learning(server, number):
                raise RuntimeError("the job ended before it was measured")
            httpx.post(f"{server.address}api/jobs/{number}/cancel", json={}, headers=MEANS_IT)
            until_jobs_rest(server)
        mine, theirs = (
            statistics.median(told.seconds for told in load.told) for load in (busy, alone)
        )
        return [
            Claim(
                "answering_while_learning.slowdown",
                round(mine, 3),
                round(theirs, 3),
                round(mine / theirs, 3),
                self.sizes.asks_while_learning,
                "s per answer while learning and alone (peer)",
            )
        ]


async def soak(
    server: Ours, bodies: Sequence[dict], expected: Sequence[str], seconds: float
) -> tuple[list[str], int, list[tuple[float, int]]]:
    """Returns what went wrong, how many streams there were, and memory by share of the time."""
    began = time.monotonic()
    wrong: list[str] = []
    total, memory = 0, [(0.0, server.memory_bytes)]

    def is_over() -> bool:
        return time.monotonic() - began >= seconds

    def judge(number: int, told: Told) -> None:
        if told.error:
            wrong.append(f"client {number}: {told.error}")
        elif told.text != expected[number]:
            wrong.append(f"client {number}: {told.text[:80]!r}, not {expected[number][:80]!r}")

    async def client(number: int) -> None:
        nonlocal total
        while not is_over():
            try:
                judge(number, await stream(server.address, bodies[number]))
            except OSError as error:
                wrong.append(f"client {number}: {error}")
            total += 1

    async def watch() -> None:
        while not is_over():
            await asyncio.sleep(min(2.0, seconds / 10))
            memory.append(((time.monotonic() - began) / seconds, server.memory_bytes))

    await asyncio.gather(watch(), *(client(number) for number in range(len(bodies))))
    return wrong, total, memory


def until(holds: Callable[[], bool], seconds: float) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            raise RuntimeError(f"waited {seconds:.0f} s in vain")
        time.sleep(0.1)


def jobs_of(server: Ours) -> list[dict]:
    return httpx.get(f"{server.address}api/jobs", timeout=30).json()["jobs"]


def until_jobs_rest(server: Ours) -> None:
    until(lambda: all(j["state"] not in ("waiting", "running") for j in jobs_of(server)), 600)


def is_learning(server: Ours, number: int) -> bool:
    job = httpx.get(f"{server.address}api/jobs/{number}", timeout=30).json()["job"]
    if job["state"] not in ("waiting", "running"):
        raise RuntimeError(f"the job is {job['state']}: {job['error']}")
    return "learning" in job["what"] and job["done"] > 0


def kill_jobs(server: Ours) -> None:
    """Kills the processes that work for this server's home, wherever they come from."""
    home = psutil.Process(server.process.pid).environ()["TRAMONTANE_HOME"]
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if "work" in (process.info["cmdline"] or ())[-2:-1] and (
                process.environ().get("TRAMONTANE_HOME") == home
            ):
                process.kill()


def copy_of_notes(folder: Path) -> Path:
    source = Path(__file__).parents[1] / "examples" / "notes" / "garden"
    shutil.copytree(source, folder)
    return folder


def an_expert_in_place(home: Path, model: Path) -> str:
    """Puts an expert of random weights on the shelf and in place; returns its hash."""
    base = open_checkpoint(model)
    tensors = random_tensors(
        0, layers=tuple(LAYERS), width=EXPERT_WIDTH, model_width=base.config.model_width
    )
    shelf = shelf_of(home)
    record = shelf.add(expert(EXPERT, tensors, base.sha256))
    shelf.put_in_place(record, shelf.mixture("default", base.sha256))
    return record.hash


def shelf_of(home: Path) -> Shelf:
    return Shelf(home / "experts", home / "mixtures")


def withdraw_or_restore(address: str) -> None:
    """Asks for whichever there is to do; a server that is killed meanwhile gives no answer."""
    with contextlib.suppress(httpx.HTTPError):
        found = httpx.get(f"{address}api/experts", timeout=30).json()["experts"]
        wish = "restore" if found[0]["is_withdrawn"] else "withdraw"
        httpx.post(f"{address}api/experts/{EXPERT}/{wish}", json={}, headers=MEANS_IT, timeout=60)


def what_is_lost(home: Path, key: str, expert_hash: str) -> list[str]:
    """Returns what a library lacks that it was given, whatever was killed."""
    lost = []
    with contextlib.closing(sqlite3.connect(home / "library.sqlite", timeout=30)) as db:
        (told,) = db.execute("PRAGMA integrity_check").fetchone()
        if told != "ok":
            lost.append(f"the library: {told}")
    with Library(home / "library.sqlite") as library:
        if library.keys.find(key) is None:
            lost.append("the key")
    shelf = shelf_of(home)
    here = [record for record in shelf.ls() if record.hash == expert_hash]
    if not here:
        lost.append("the expert")
    # Reading it checks every byte of its tensors against its hash.
    for record in here:
        shelf.read(record)
    return lost


def what_notes_lack(home: Path, notes: Path) -> list[str]:
    """Returns how the library differs from its folder once the last job has ended."""
    with Library(home / "library.sqlite") as library:
        library.sync("kept")
        there = {note.path: note.text for note in library.notes("kept")}
        failed = [f"job {j.id}: {j.error}" for j in library.jobs.ls(("failed",))]
    here = {file.name: file.read_text(encoding="utf-8") for file in notes.glob("*.md")}
    return failed + [name for name in here if there.get(name) != here[name]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, default=Path(".peers/llama.cpp"))
    parser.add_argument("--model", type=Path, help="a GGUF file; the embedded base if left out")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--rounds", type=int, help="turns of the throughput's load")
    parts = {
        "throughput": Bench.throughput,
        "soak": Bench.soak,
        "kills": Bench.kills,
        "paint": Bench.paint,
        "visit": Bench.first_visit,
        "learning": Bench.while_learning,
    }
    parser.add_argument("--part", nargs="+", choices=parts, default=list(parts))
    arguments = parser.parse_args()
    model = arguments.model
    if model is None:
        (model,) = (Path(__file__).parents[1] / ".test-models" / "smollm2").glob("*.gguf")
    with tempfile.TemporaryDirectory() as folder:
        sizes = SHORT if arguments.short else FULL
        if arguments.rounds:
            sizes = replace(sizes, rounds=arguments.rounds)
        bench = Bench(
            model.absolute(),
            arguments.peer.absolute(),
            arguments.threads,
            sizes,
            Path(folder),
        )
        for name in arguments.part:
            claims = parts[name](bench)
            if not arguments.short:
                add_results("server", claims)
                continue
            for claim in claims:
                print(f"{claim.id:44} {claim.value}   {claim.note}", flush=True)


if __name__ == "__main__":
    main()

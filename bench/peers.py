"""llama.cpp's own programs (and those of its forks), as `make peers` builds them."""

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# What may suit a model best: flash attention, and how many tokens of a prompt run together.
FLASH_ATTENTION, MICRO_BATCHES = (0, 1), (128, 512)
START_SECONDS = 120


@dataclass(frozen=True)
class Settings:
    flash_attention: int
    micro_batch: int


@dataclass(frozen=True)
class Bench:
    """A build's llama-bench. Repacking at load is llama.cpp's default, ik_llama.cpp's -rtr 1."""

    folder: Path
    threads: int

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def extra(self) -> list[str]:
        told = subprocess.run(
            [self.folder / "bin/llama-bench", "--help"], capture_output=True, text=True
        )
        return ["-rtr", "1"] if "-rtr" in told.stdout + told.stderr else []

    def runs(self, model: Path) -> bool:
        try:
            self.run(model, Settings(0, 512), decode=1)
        except subprocess.CalledProcessError:
            return False
        return True

    def best_settings(self, model: Path, prompt: int) -> dict[str, Settings]:
        """Returns the fastest settings for "prompt" and for "decode"; flash only matters there."""
        speeds = {
            settings: self.run(model, settings, prompt=prompt)
            for flash in FLASH_ATTENTION
            for settings in [Settings(flash, batch) for batch in MICRO_BATCHES]
        }
        decodes = {
            settings: self.run(model, settings, decode=32)
            for settings in [Settings(flash, 512) for flash in FLASH_ATTENTION]
        }
        return {
            "prompt": max(speeds, key=speeds.__getitem__),
            "decode": max(decodes, key=decodes.__getitem__),
        }

    def run(self, model: Path, settings: Settings, *, prompt: int = 0, decode: int = 0) -> float:
        """Returns tokens per second of one repetition after llama-bench's own warm-up."""
        command = [
            self.folder / "bin/llama-bench",
            *("-m", model, "-t", self.threads, "-r", 1, "-p", prompt, "-n", decode, "-o", "json"),
            *("-fa", settings.flash_attention, "-ub", settings.micro_batch, *self.extra),
        ]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=True
        )
        return float(json.loads(done.stdout)[0]["avg_ts"])


@contextlib.contextmanager
def llama_server(folder: Path, model: Path, threads: int, num_slots: int) -> Iterator[str]:
    """Yields the address of a llama-server that has loaded the model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        folder / "bin/llama-server",
        *("-m", model, "-t", threads, "-np", num_slots, "-c", 1024 * num_slots),
        *("-fa", "on", "--host", "127.0.0.1", "--port", port),
    ]
    server = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", server)
        yield address
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"llama-server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"llama-server didn't answer in {START_SECONDS} s")


def complete(address: str, token_ids: Sequence[int], num_new: int) -> int:
    """Asks for exactly so many greedy tokens; returns how many came."""
    asked = {
        "prompt": list(token_ids),
        "n_predict": num_new,
        "ignore_eos": True,
        "temperature": 0,
        "cache_prompt": False,
    }
    request = urllib.request.Request(
        f"{address}/completion",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)["tokens_predicted"]


def at_once(work, items: Sequence) -> list:
    """Calls work(item) for all items, each in its own thread; returns the results in order."""
    results = [None] * len(items)

    def do(place: int) -> None:
        results[place] = work(items[place])

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(items))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results

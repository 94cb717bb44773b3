"""llama.cpp as people run it: its server, spoken to over HTTP.

TRAMONTANE_LLAMA_SERVER names the program, or it is what `make peers` built, or found on the PATH.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SECONDS_TO_START = 60
BUILT = Path(__file__).parents[2] / ".peers" / "llama.cpp" / "bin" / "llama-server"


class LlamaServer:
    def __init__(self, port: int):
        self.address = f"http://127.0.0.1:{port}"

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            f"{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def greedy(self, token_ids: list[int], num_new: int) -> list[int]:
        """Returns its greedy tokens."""
        answer = self.post(
            "/completion",
            {
                "prompt": token_ids,
                "n_predict": num_new,
                "temperature": 0,
                "return_tokens": True,
                "cache_prompt": False,
                "ignore_eos": False,
            },
        )
        return answer["tokens"]

    def tokenize(self, text: str) -> list[int]:
        """Returns the tokens of a text in which control tokens count as such."""
        body = {"content": text, "add_special": False, "parse_special": True}
        return self.post("/tokenize", body)["tokens"]

    def rendered_chat(self, messages: list[dict[str, str]]) -> str:
        return self.post("/apply-template", {"messages": messages})["prompt"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program() -> str | None:
    if named := os.environ.get("TRAMONTANE_LLAMA_SERVER"):
        return named
    return str(BUILT) if BUILT.is_file() else shutil.which("llama-server")


@contextmanager
def serving(model: Path, *, context: int = 512, num_slots: int = 1) -> Iterator[LlamaServer]:
    """Yields a server of the model, whose slots share the context; skips where there is none."""
    if (found := program()) is None:
        pytest.skip("llama-server isn't there (`make peers`; TRAMONTANE_LLAMA_SERVER names one)")
    port = free_port()
    # More threads would wait for one another by spinning, which takes minutes where others compute.
    command = [found, "-m", model, "--port", port, "-c", context, "-t", 1, "-np", num_slots]
    command += ["--jinja", "-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-warmup"]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            server = LlamaServer(port)
            wait_for(server, process)
            yield server
        finally:
            process.kill()


def wait_for(server: LlamaServer, process: subprocess.Popen) -> None:
    for _ in range(SECONDS_TO_START * 10):
        if process.poll() is not None:
            raise AssertionError(f"llama-server ended: {process.stdout.read()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{server.address}/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise AssertionError("llama-server didn't start")

"""`tramontane export` as a person runs it: a base, an expert in place, a file other tools read."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from expert_makers import random_expert

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.experts.expert_file import write_expert


class Home:
    """A home whose mixture has one expert in place."""

    def __init__(self, folder: Path, base: Checkpoint):
        self.folder = folder
        self.command = [sys.executable, "-m", "tramontane.cli.main", "--base", str(base.files[0])]
        file = folder / "canal.safetensors"
        write_expert(file, random_expert("canal", 1, base.sha256, width=16))
        for words in (["experts", "add", str(file)], ["mixture", "new", "default"]):
            self.run(*words)
        done = self.run("mixture", "add", "default", "canal")
        assert done.returncode == 0, done.stderr

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"TRAMONTANE_HOME": str(self.folder / "home")}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=300,
        )


@pytest.fixture
def home(tmp_path: Path, tiny_llama: Checkpoint) -> Home:
    return Home(tmp_path, tiny_llama)


def test_export_tells_what_it_wrote_and_checked(home):
    done = home.run("export", "out.gguf", "--type", "q8_0")
    assert done.returncode == 0, done.stderr
    assert "Mixtral of 3 slots" in done.stdout
    assert "moved the numbers of the experts" in done.stdout
    assert "the same tokens" in done.stdout
    assert open_checkpoint(home.folder / "out.gguf").config.is_mixture


def test_json_holds_the_same(home):
    done = home.run("export", "folder", "--only-read", "--json")
    told = json.loads(done.stdout)
    assert told["format"] == "folder"
    assert told["comparison"]["runtime"] is None
    (weights,) = (home.folder / "folder").glob("*.safetensors")
    assert told["num_bytes"] > weights.stat().st_size


def test_what_can_t_be_done_is_told_in_words(home):
    assert "isn't one that can be written" in home.run("export", "x.gguf", "--type", "q3_k").stderr
    assert home.run("export", "x.gguf").returncode == 0
    assert "there already" in home.run("export", "x.gguf").stderr
    home.run("mixture", "remove", "default", "canal")
    assert "no expert in this mixture" in home.run("export", "y.gguf").stderr
    assert not (home.folder / "y.gguf").exists()


def test_ctrl_c_leaves_nothing(home):
    before = sorted(home.folder.iterdir())
    process = subprocess.Popen(
        [*home.command, "export", "out.gguf"],
        env=home.environment,
        cwd=home.folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Until the temporary file is there nothing has begun that could be left behind.
    for _ in range(3000):
        if len(sorted(home.folder.iterdir())) > len(before) or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert sorted(home.folder.iterdir()) == before

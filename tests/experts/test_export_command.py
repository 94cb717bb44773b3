"""`tramontane export` as a person runs it: a base, an expert in place, a file other tools read."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from expert_makers import expert, random_tensors

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.experts.corpus import salted_hashes
from tramontane.experts.expert_file import write_expert
from tramontane.library.library import Library
from tramontane.notes.folder import read_folder


class Home:
    """A home whose mixture has one expert in place."""

    def __init__(self, folder: Path, base: Checkpoint):
        self.folder = folder
        self.command = [sys.executable, "-m", "tramontane.cli.main", "--base", str(base.files[0])]
        self.base = base
        assert self.run("mixture", "new", "default").returncode == 0
        self.put_in_place(["a" * 64])

    def put_in_place(self, salted_sha256: list[str]) -> None:
        """Puts the expert in place, learnt from the notes of these hashes."""
        file = self.folder / "canal.safetensors"
        tensors = random_tensors(1, width=16)
        notes = {"number": len(salted_sha256), "salted_sha256": salted_sha256, "tokens": 1000}
        write_expert(file, expert("canal", tensors, self.base.sha256, notes=notes))
        added = self.run("experts", "add", str(file), "--no-measure", "--replace")
        assert added.returncode == 0, added.stderr
        self.run("mixture", "add", "default", "canal")
        file.unlink()

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


def test_what_was_learnt_from_notes_not_to_be_shared_stays(home):
    notes = home.folder / "notes"
    notes.mkdir()
    for name, front in (("open.md", ""), ("closed.md", "---\nshare: no\n---\n")):
        (notes / name).write_text(f"{front}# {name}\n\nThe sluice creaks after rain.\n")
    assert home.run("collections", "add", str(notes), "--as", "canal").returncode == 0
    with Library(home.folder / "home" / "library.sqlite") as library:
        salt = library.collection("canal").salt
    home.put_in_place(salted_hashes(read_folder(notes).notes, salt))
    told = home.run("export", "out.gguf").stderr
    assert "`share: no`" in told
    assert "closed.md" in told
    assert not (home.folder / "out.gguf").exists()
    assert home.run("export", "out.gguf", "--for-myself").returncode == 0
    (notes / "closed.md").write_text("# closed.md\n\nNow anybody may read it.\n")
    assert home.run("export", "again.gguf").returncode == 0


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

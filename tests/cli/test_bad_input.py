"""What comes in wrong is told in words, and nothing half-written stays."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

WITHOUT_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
"""


def files_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "notes"
    made.mkdir()
    return made


def test_no_such_folder(tramontane, tmp_path):
    assert "no such folder" in tramontane.fails("collections", "add", tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(tramontane, tmp_path):
    file = tmp_path / "note.md"
    file.write_text("hello\n")
    assert "is a file, not a folder" in tramontane.fails("collections", "add", file)


@pytest.mark.parametrize("content", [{}, {"a.png": b"\x89PNG\r\n\x1a\n\0\0", "b.bin": b"\0" * 99}])
def test_nothing_readable(tramontane, folder, content):
    for name, data in content.items():
        (folder / name).write_bytes(data)
    tramontane.fails("collections", "add", folder)
    assert tramontane.json("collections") == []


def test_latin_1_is_read_with_a_remark(tramontane, folder):
    (folder / "a.md").write_bytes(
        "# Café\n\nDer Schlüssel hängt hinter der Uhr.\n".encode("latin-1")
    )
    said = tramontane.works("collections", "add", folder)
    assert "1 note added" in said
    assert "Schlüssel" in tramontane.works("search", "Schlüssel")


def test_a_file_of_60_mb_is_skipped_with_its_reason(tramontane, folder):
    (folder / "small.md").write_text("# Small\n\nThe spare key hangs behind the clock.\n")
    with (folder / "huge.txt").open("wb") as file:
        for _ in range(60):
            file.write(b"words and words \n" * 61681)
    said = tramontane.works("collections", "add", folder)
    assert "1 note added" in said
    assert "skipped huge.txt" in said


@pytest.mark.parametrize("kept", [0, 3, 100, 50_000])
def test_a_truncated_model(tramontane, tmp_path, smollm2_path, kept):
    file = tmp_path / "cut.gguf"
    with smollm2_path.open("rb") as whole:
        file.write_bytes(whole.read(kept))
    before = files_below(tramontane.home)
    assert "cut.gguf" in tramontane.fails("pull", file)
    assert files_below(tramontane.home) == before


def test_a_model_that_changed_since_it_was_pulled(tramontane, tmp_path, smollm2_path):
    file = tmp_path / "mine.gguf"
    shutil.copy(smollm2_path, file)
    tramontane.works("pull", file)
    with file.open("r+b") as changed:
        changed.seek(-1, os.SEEK_END)
        last = changed.read(1)
        changed.seek(-1, os.SEEK_END)
        changed.write(bytes([last[0] ^ 1]))
    assert "has changed since" in tramontane.fails("--base", "mine", "chat")


def test_a_plan_for_too_few_notes_says_so_and_keeps_nothing(tramontane, folder, smollm2_path):
    (folder / "one.md").write_text("# One\n\nThe spare key hangs behind the clock.\n")
    tramontane.works("pull", smollm2_path)
    before = files_below(tramontane.home)
    said = tramontane.fails("--base", smollm2_path.stem, "plan", "learn", folder)
    assert "too few" in said
    assert files_below(tramontane.home) == before


def test_without_torch_all_works_but_learning(tramontane, tmp_path, garden, smollm2_path):
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(WITHOUT_TORCH)
    without = {"PYTHONPATH": str(hook)}
    tramontane.works("pull", smollm2_path, environment=without)
    base = ("--base", smollm2_path.stem)
    tramontane.works(*base, "collections", "add", garden, environment=without)
    question = "What depth of hole does each leek drop into?"
    assert "18 cm" in tramontane.works(*base, "ask", question, environment=without)
    chat = tramontane.works(
        *base, "chat", "--max-tokens", "4", stdin="Hello\n", environment=without
    )
    assert len(chat.splitlines()) > 1
    learning = (("learn", garden, "--as", "garden"), ("plan", "learn", garden))
    for command in (*learning, ("--runtime", "pytorch", "chat")):
        said = tramontane.fails(*base, *command, environment=without)
        assert "torch" in said
        assert "pip install" in said


def test_too_few_notes_teach_nothing(tramontane, folder, smollm2_path):
    (folder / "one.md").write_text("# One\n\nThe spare key hangs behind the clock.\n")
    tramontane.works("pull", smollm2_path)
    base = ("--base", smollm2_path.stem)
    assert "too few" in tramontane.fails(*base, "learn", folder)
    assert tramontane.json(*base, "experts", "ls") == []


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_prompt_ends_it_and_leaves_all_whole(tramontane, smollm2_path):
    tramontane.works("pull", smollm2_path)
    base = ("--base", smollm2_path.stem)
    # Repacks the weights, which are then there; and says what stands before any reply.
    tramontane.works(*base, "chat", "--max-tokens", "1", stdin="Hello\n")
    used = children_seconds()
    heading = tramontane.works(*base, "chat", stdin="")
    opening_seconds = children_seconds() - used
    reply = tramontane.works(*base, "chat", "--max-tokens", "4", stdin="Hello\n")
    before = files_below(tramontane.home)
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(tramontane.home), *base]
    reading = subprocess.Popen(
        [*command, "chat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        reading.stdin.write("tell me more " * 2400 + "\n")
        reading.stdin.flush()
        # Nobody says when the prompt begins; what it takes, opening the base doesn't.
        process = psutil.Process(reading.pid)
        while reading.poll() is None and sum(process.cpu_times()[:2]) < opening_seconds + 1:
            time.sleep(0.01)
    finally:
        reading.send_signal(signal.SIGINT)
        said, told = reading.communicate(timeout=60)
    assert reading.returncode == 130, told
    assert said == heading, "it had begun to reply"
    assert told.split() == "stopped; what was there before is whole".split()
    assert files_below(tramontane.home) == before
    assert tramontane.works(*base, "chat", "--max-tokens", "4", stdin="Hello\n") == reply


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_two_processes_learn_one_name_and_ctrl_c_leaves_all_whole(tramontane, garden, smollm2_path):
    tramontane.works("pull", smollm2_path)
    base = ("--base", smollm2_path.stem)
    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(tramontane.home), *base]
    learning = subprocess.Popen(
        [*command, "learn", str(garden), "--as", "garden"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs tests in the background has its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        lock = tramontane.home / "cache" / "learning" / "garden.lock"
        for _ in range(600):
            if lock.exists():
                break
            time.sleep(0.1)
        assert lock.exists()
        said = tramontane.fails(*base, "learn", garden, "--as", "garden")
        assert "learning 'garden'" in said
    finally:
        learning.send_signal(signal.SIGINT)
        _, told = learning.communicate(timeout=60)
    assert learning.returncode == 130
    assert "Traceback" not in told
    assert tramontane.json(*base, "experts", "ls") == []
    assert not list(tramontane.home.rglob("*.part"))

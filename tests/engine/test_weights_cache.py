"""Repacked weights in a file: the same bits, whole or not there at all, shared, and bounded."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tiny_models import open_tiny
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.engine import weights_cache
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.runtime import Span
from tramontane.engine.weights_cache import WeightsCache

PLENTY = 1 << 30
# What another process does with a cache: opens the model, says so, and waits to be told to end.
OTHER = """
import sys
from pathlib import Path
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.weights_cache import WeightsCache
model, folder, act = sys.argv[1:]
def report(what, done, total):
    if act == "dies":
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "is interrupted":
        raise KeyboardInterrupt
runtime = NativeRuntime(
    open_checkpoint(Path(model)), threads=1, cache=WeightsCache(Path(folder), 1 << 30),
    report=report)
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module", params=["llama", "mixtral"])
def checkpoint(request, tmp_path_factory) -> Checkpoint:
    return open_tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def cache(tmp_path: Path) -> WeightsCache:
    return WeightsCache(tmp_path / "weights", PLENTY)


def logits(checkpoint: Checkpoint, cache: WeightsCache | None, **settings) -> np.ndarray:
    runtime = NativeRuntime(checkpoint, threads=1, cache=cache, **settings)
    runtime.allocate(2)
    return runtime.forward([Span(list(range(40)), 0, (0, 1), num_logits=40)])[0].logits_LV


def other(checkpoint: Checkpoint, cache: WeightsCache, act: str, **options) -> subprocess.Popen:
    model = checkpoint.files[0] if checkpoint.name.endswith("gguf") else checkpoint.files[0].parent
    return subprocess.Popen(
        [sys.executable, "-c", OTHER, str(model), str(cache.folder), act],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_bits_are_the_same_with_and_without(checkpoint, cache):
    expected = logits(checkpoint, None)
    told = []
    first = logits(checkpoint, cache, report=lambda *what: told.append(what))
    assert np.array_equal(first, expected)
    assert told[-1][1] == told[-1][2] == sum(t.num_bytes for t in matrices_of(checkpoint))
    file = cache.ls()[0].path
    before = file.read_bytes()
    assert np.array_equal(logits(checkpoint, cache, report=refuse_to_repack), expected)
    assert file.read_bytes() == before


def matrices_of(checkpoint: Checkpoint):
    return [
        tensor
        for name, tensor in checkpoint.tensors.items()
        if len(tensor.shape) > 1 and "route" not in name
    ]


def refuse_to_repack(*_):
    raise AssertionError("repacked, though the cache had it")


@pytest.mark.slow
def test_bits_of_published_blocks_are_the_same(smollm2, cache):
    expected = logits(smollm2, None)
    assert np.array_equal(logits(smollm2, cache), expected)
    assert np.array_equal(logits(smollm2, cache, report=refuse_to_repack), expected)


@pytest.mark.parametrize("damage", ["header", "cut", "empty", "longer", "other layout"])
def test_a_damaged_file_is_made_anew(checkpoint, cache, damage):
    expected = logits(checkpoint, cache)
    file = cache.ls()[0].path
    whole = file.read_bytes()
    file.write_bytes(
        {
            "header": whole[:40] + b"?" + whole[41:],
            "cut": whole[:-1],
            "empty": b"",
            "longer": whole + b"\0",
            "other layout": whole.replace(b'"layout": 1', b'"layout": 9'),
        }[damage]
    )
    assert np.array_equal(logits(checkpoint, cache), expected)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("act", ["dies", "is interrupted"])
def test_an_interrupted_write_leaves_no_file(checkpoint, cache, act):
    process = other(checkpoint, cache, act)
    _, told = process.communicate("\n", timeout=60)
    assert process.returncode == -(signal.SIGKILL if act == "dies" else signal.SIGINT), told
    assert cache.ls() == []
    assert bool(names_in(cache.folder) - {".lock"}) == (act == "dies")
    assert np.array_equal(logits(checkpoint, cache), logits(checkpoint, None))
    assert names_in(cache.folder) == {".lock", cache.ls()[0].path.name}


def test_two_processes_write_once_and_share_its_pages(checkpoint, cache):
    processes = [other(checkpoint, cache, "waits") for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "open\n", process.stderr.read()
        (kept,) = cache.ls()
        inode = kept.path.stat().st_ino
        for process in processes:
            lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
            mine = [line.split() for line in lines if str(kept.path) in line]
            assert [(line[1], int(line[4])) for line in mine] == [("r--s", inode)]
    finally:
        for process in processes:
            process.communicate("\n", timeout=60)


def test_a_file_deleted_while_mapped_goes_on(checkpoint, cache):
    runtime = NativeRuntime(checkpoint, threads=1, cache=cache)
    runtime.allocate(2)
    assert len(cache.clear()) == 1
    assert cache.ls() == []
    row_V = runtime.forward([Span(list(range(40)), 0, (0, 1))])[0].logits_LV[0]
    assert np.array_equal(row_V, logits(checkpoint, None)[-1])


def test_what_was_used_least_recently_makes_room(tmp_path, cache):
    models = [open_tiny("llama", tmp_path / str(seed), seed=seed) for seed in range(3)]
    for model in models[:2]:
        logits(model, cache)
    old, new = models[0], models[1]
    for age, model in ((100, new), (50, old)):
        (file,) = (one.path for one in cache.ls() if one.model_sha256 == model.sha256)
        os.utime(file, (file.stat().st_mtime - age,) * 2)
    size = cache.ls()[0].num_bytes
    tight = WeightsCache(cache.folder, 2 * size)
    logits(models[2], tight)
    assert {one.model_sha256 for one in tight.ls()} == {old.sha256, models[2].sha256}
    # Using a model's weights makes them the latest used.
    logits(old, tight)
    assert tight.ls()[-1].model_sha256 == old.sha256


def test_without_room_it_runs_all_the_same_and_says_so(checkpoint, cache, caplog, monkeypatch):
    expected = logits(checkpoint, None)
    small = WeightsCache(cache.folder, 1000)
    assert np.array_equal(logits(checkpoint, small), expected)
    assert "the cache may take 0.00 GB (setting weights_cache_gb)" in caplog.text

    usage = os.statvfs(cache.folder)
    full = type("Usage", (), {"total": usage.f_blocks, "used": usage.f_blocks, "free": 0})
    monkeypatch.setattr(weights_cache.shutil, "disk_usage", lambda _: full)
    assert np.array_equal(logits(checkpoint, cache), expected)
    assert "the disk has 0.00 GB free" in caplog.text
    assert cache.ls() == []


def test_a_write_that_fails_midway_is_told(checkpoint, cache):
    """A limit on the size of files stands for a disk that is full: the write itself fails."""
    limit = 20_000
    process = other(
        checkpoint,
        cache,
        "waits",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    said, told = process.communicate("\n", timeout=60)
    assert said == "open\n", told
    assert "Repacked weights stay in memory" in told
    assert names_in(cache.folder) == {".lock"}


def test_a_folder_that_cannot_be_written_is_told(checkpoint, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    expected = logits(checkpoint, None)
    got = logits(checkpoint, WeightsCache(tmp_path / "file" / "weights", PLENTY))
    assert np.array_equal(got, expected)
    assert "Repacked weights stay in memory" in caplog.text


def test_a_model_that_changed_has_weights_of_its_own(tmp_path, cache):
    first = open_tiny("llama", tmp_path / "a", seed=0)
    second = open_tiny("llama", tmp_path / "b", seed=1)
    one, two = logits(first, cache), logits(second, cache)
    assert not np.array_equal(one, two)
    assert np.array_equal(two, logits(open_checkpoint(tmp_path / "b"), None))
    assert len(cache.ls()) == 2

"""States on disk are those of direct passes, whatever interrupted their computing.

N windows, W tokens per window, D model width.
"""

import errno
import os
import threading

import numpy as np
import pytest
import torch
from expert_makers import NUM_LAYERS, WIDTH

import tramontane.experts.states as states_file
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.errors import DiskFull
from tramontane.experts.states import WINDOWS_PER_BATCH, Recorder, States, compute_states
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import Transformer, load_transformer

pytestmark = pytest.mark.usefixtures("one_thread")

FIRST, N, W = 1, 70, 16


@pytest.fixture
def transformer(tiny_base: Checkpoint) -> Transformer:
    return load_transformer(tiny_base)


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 300, (N, W))


class Interrupted(BaseException):
    pass


def computed(transformer, windows, folder, *, stop_at: int | None = None, **more) -> States:
    calls = 0

    def report(done: int, total: int) -> None:
        nonlocal calls
        if calls == stop_at:
            raise Interrupted
        calls += 1

    return compute_states(transformer, "b" * 64, windows, FIRST, folder, report, **more)


def bits(states: States) -> tuple[bytes, bytes]:
    return states.trunk.tobytes(), states.h.tobytes()


@torch.inference_mode()
def test_states_are_those_of_each_window_alone(transformer, windows, tmp_path):
    states = computed(transformer, windows, tmp_path, num_with_h=11)
    assert states.trunk.shape == (N, W, WIDTH)
    assert states.trunk.dtype == np.float32
    assert states.h.shape == (NUM_LAYERS - FIRST, 11, W, WIDTH)
    assert states.h.dtype == np.float16
    rope, attend = transformer.rope(torch.arange(W)), WindowAttention(W)
    for n in (0, 7, 8, 10, 11, N - 1):
        recorder = Recorder()
        x_TD = transformer.embed(torch.from_numpy(windows[n]))
        trunk_WD = transformer.run(x_TD, rope, attend, end=FIRST)
        transformer.run(trunk_WD, rope, attend, recorder, first=FIRST)
        largest = float(trunk_WD.abs().max())
        assert np.abs(states.trunk[n] - trunk_WD.numpy()).max() <= 1e-5 * largest
        for layer in range(FIRST, NUM_LAYERS) if n < 11 else ():
            wanted_WD = recorder.h_by_layer[layer].numpy()
            error = np.abs(states.h[layer - FIRST, n].astype(np.float32) - wanted_WD).max()
            assert error <= 2 * np.finfo(np.float16).eps * np.abs(wanted_WD).max()


@pytest.mark.parametrize("stop_at", [0, 1, 2, 8, 9])
def test_interrupted_and_begun_again_gives_the_same_bits(transformer, windows, tmp_path, stop_at):
    wanted = bits(computed(transformer, windows, tmp_path / "whole", num_with_h=20))
    with pytest.raises(Interrupted):
        computed(transformer, windows, tmp_path / "cut", stop_at=stop_at, num_with_h=20)
    assert bits(computed(transformer, windows, tmp_path / "cut", num_with_h=20)) == wanted


def test_what_was_saved_is_not_computed_again(transformer, windows, tmp_path):
    # A batch in eight is saved: after the eighth, 64 windows are done.
    with pytest.raises(Interrupted):
        computed(transformer, windows, tmp_path, stop_at=8)
    begun = []
    compute_states(
        transformer, "b" * 64, windows, FIRST, tmp_path, lambda done, total: begun.append(done)
    )
    assert begun == [8 * WINDOWS_PER_BATCH, N]
    begun.clear()
    compute_states(
        transformer, "b" * 64, windows, FIRST, tmp_path, lambda done, total: begun.append(done)
    )
    assert begun == [N]


@pytest.mark.parametrize("lost", ["trunk.npy", "h.npy", "windows.json"])
def test_a_lost_file_is_made_again_not_taken_for_zeros(transformer, windows, tmp_path, lost):
    wanted = bits(computed(transformer, windows, tmp_path, num_with_h=20))
    (file,) = tmp_path.rglob(lost)
    file.unlink()
    assert bits(computed(transformer, windows, tmp_path, num_with_h=20)) == wanted


def test_other_windows_base_or_first_layer_have_other_files(transformer, windows, tmp_path):
    def nothing(done: int, total: int) -> None:
        pass

    compute_states(transformer, "b" * 64, windows, 1, tmp_path, nothing)
    compute_states(transformer, "c" * 64, windows, 1, tmp_path, nothing)
    compute_states(transformer, "b" * 64, windows, 2, tmp_path, nothing)
    compute_states(transformer, "b" * 64, windows[::-1].copy(), 1, tmp_path, nothing)
    compute_states(transformer, "b" * 64, windows, 1, tmp_path, nothing, num_with_h=5)
    assert len(list((tmp_path / "states").iterdir())) == 5


def test_two_at_once_get_the_same_bits(transformer, windows, tmp_path):
    wanted = bits(computed(transformer, windows, tmp_path / "alone", num_with_h=N))
    together: list[tuple[bytes, bytes]] = []
    threads = [
        threading.Thread(
            target=lambda: together.append(
                bits(computed(transformer, windows, tmp_path / "both", num_with_h=N))
            )
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [wanted] * 3


def test_a_full_disk_is_told_before_anything_is_computed(
    transformer, windows, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(states_file.os, "posix_fallocate", full, raising=False)
        with pytest.raises(DiskFull, match="trunk.npy"):
            computed(transformer, windows, tmp_path)
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob("*.part"))
    wanted = bits(computed(transformer, windows, tmp_path / "elsewhere"))
    assert bits(computed(transformer, windows, tmp_path)) == wanted

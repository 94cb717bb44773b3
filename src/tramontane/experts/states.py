"""The frozen base's states on disk, computed once: trunk states and the blocks' inputs.

The trunk is what lies below the first notes layer. Its output never changes while an expert is
learnt, so each window passes it once. Files are derived data in the cache; an interrupted
computation goes on at the batch where it stopped.

N windows, W tokens per window, D model width, L notes layers.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tramontane.files import held_alone, write_whole, writing_whole
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import Transformer

# One batch size for all: a result's bits may depend on how many rows a matrix product has.
WINDOWS_PER_BATCH = 8


class Recorder:
    """Stands where notes experts stand and only writes down what the blocks are given."""

    def __init__(self):
        self.h_by_layer: dict[int, Tensor] = {}

    def add_to(self, layer: int, y_TD: Tensor, h_TD: Tensor) -> Tensor:
        self.h_by_layer[layer] = h_TD
        return y_TD


@dataclass(frozen=True)
class States:
    """States on disk: trunk (N, W, D), and h (L, M, W, D) of the first M windows, in float16.

    The trunk is float32, or bfloat16 as its bits in uint16; `trunk_tensor` reads both. Each access
    maps a file anew: pages once touched count as memory in use for as long as they are mapped.
    """

    folder: Path

    @property
    def trunk(self) -> np.ndarray:
        return np.load(self.folder / "trunk.npy", mmap_mode="r")

    @property
    def h(self) -> np.ndarray:
        return np.load(self.folder / "h.npy", mmap_mode="r")


def trunk_tensor(trunk_NWD: np.ndarray) -> Tensor:
    """Returns a copy of trunk states as the base computed them."""
    copy = torch.from_numpy(np.array(trunk_NWD))
    return copy.view(torch.bfloat16) if copy.dtype == torch.uint16 else copy


def states_key(
    base_sha256: str, first: int, num_with_h: int, windows_NW: np.ndarray, dtype: torch.dtype
) -> str:
    content = f"{base_sha256}|{first}|{num_with_h}|{windows_NW.shape}|{torch.__version__}|{dtype}|"
    return hashlib.sha256(content.encode() + windows_NW.tobytes()).hexdigest()[:32]


@torch.inference_mode()
def compute_states(
    transformer: Transformer,
    base_sha256: str,
    windows_NW: np.ndarray,
    first: int,
    cache_folder: Path,
    report: Callable[[int, int], None],
    *,
    num_with_h: int = 0,
) -> States:
    """Returns the windows' states at layer `first`, and what the blocks above are given.

    The latter for the first `num_with_h` windows, in float16: they only fit router rows, whose
    noise is far larger.
    """
    M = min(len(windows_NW), num_with_h)
    key = states_key(base_sha256, first, M, windows_NW, transformer.embedding.weight.dtype)
    folder = cache_folder / "states" / key
    # Two learnings at once need the same public states: the second waits, then finds them done.
    with held_alone(folder / "lock", "a cache of states", waits=True):
        return fill(folder, transformer, windows_NW, first, M, report)


def are_computed(
    transformer: Transformer,
    base_sha256: str,
    windows_NW: np.ndarray,
    first: int,
    cache_folder: Path,
    *,
    num_with_h: int = 0,
) -> bool:
    """Returns whether `compute_states` would find all of these windows done."""
    M = min(len(windows_NW), num_with_h)
    key = states_key(base_sha256, first, M, windows_NW, transformer.embedding.weight.dtype)
    progress_file = cache_folder / "states" / key / "windows.json"
    return progress_file.exists() and json.loads(progress_file.read_text()) == len(windows_NW)


def fill(
    folder: Path,
    transformer: Transformer,
    windows_NW: np.ndarray,
    first: int,
    num_with_h: int,
    report: Callable[[int, int], None],
) -> States:
    config = transformer.config
    N, W = windows_NW.shape
    D, L, M = config.model_width, config.num_layers - first, num_with_h
    progress_file = folder / "windows.json"
    trunk_file, h_file = folder / "trunk.npy", folder / "h.npy"
    if not (trunk_file.exists() and h_file.exists()):
        progress_file.unlink(missing_ok=True)
    weight = transformer.embedding.weight
    device, is_wide = weight.device, weight.dtype == torch.float32
    make_array(trunk_file, (N, W, D), np.float32 if is_wide else np.uint16)
    make_array(h_file, (L, M, W, D), np.float16)
    done = json.loads(progress_file.read_text()) if progress_file.exists() else 0

    attend = WindowAttention(W, config.sliding_window)
    report(done, N)
    for begin in range(done, N, WINDOWS_PER_BATCH):
        batch_BW = torch.from_numpy(windows_NW[begin : begin + WINDOWS_PER_BATCH]).to(device)
        end = begin + len(batch_BW)
        positions_T = torch.arange(W, device=device).repeat(len(batch_BW))
        rope = transformer.rope(positions_T)
        x_TD = transformer.run(transformer.embed(batch_BW.flatten()), rope, attend, end=first)
        x_BWD = x_TD.view(-1, W, D)
        trunk = np.load(trunk_file, mmap_mode="r+")
        trunk[begin:end] = (x_BWD if is_wide else x_BWD.view(torch.uint16)).cpu().numpy()
        h = np.load(h_file, mmap_mode="r+")
        if begin < M:
            recorder = Recorder()
            transformer.run(x_TD, rope, attend, recorder, first=first)
            for layer, h_TD in recorder.h_by_layer.items():
                kept_BWD = h_TD.view(-1, W, D)[: M - begin]
                h[layer - first, begin : begin + len(kept_BWD)] = kept_BWD.half().cpu().numpy()
        if end == N or (end // WINDOWS_PER_BATCH) % 8 == 0:
            trunk.flush()
            h.flush()
            write_whole(progress_file, json.dumps(end).encode())
        del trunk, h
        report(end, N)
    return States(folder)


def make_array(path: Path, shape: tuple[int, ...], dtype: type) -> None:
    """Makes the array's file with room for all of it, if it is not there.

    Raises DiskFull when there is no room: a mapped page without a block would kill the process.
    """
    if path.exists():
        return
    with writing_whole(path) as file:
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype)) | {"shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        end = file.tell() + num_bytes
        file.truncate(end)
        # macOS has no such call.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, end)

"""C++: the work where the CPU's time goes, one folder per operation."""

import os
from collections.abc import Sequence

import numpy as np

from tramontane.errors import BackendUnavailable
from tramontane.native import _cpu

# Far above any cache, so that reading it is reading memory; less where memory is short.
BANDWIDTH_BYTES = 1 << 30


def cores_here() -> int:
    """Returns how many cores this process may use, or where no system says so, how many are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_variant(wanted: str | None = None) -> str:
    """Returns the instruction set to run on: what was asked for, or the best that is here.

    TRAMONTANE_VARIANT asks where the caller doesn't. Raises BackendUnavailable.
    """
    usable = _cpu.usable_variants()
    wanted = wanted or os.environ.get("TRAMONTANE_VARIANT") or usable[0]
    if wanted not in usable:
        raise BackendUnavailable(
            f"instruction set {wanted!r} was asked for; usable on this machine: {', '.join(usable)}"
        )
    return wanted


def log_softmax(
    logits_TV: np.ndarray, *, variant: str | None = None, threads: int = 1
) -> np.ndarray:
    """Returns float32 log-probabilities of each row of `logits_TV` (T rows, V columns).

    A row's result has the same bits whatever rows stand beside it.
    """
    x_TV = np.ascontiguousarray(logits_TV, dtype=np.float32)
    y_TV = np.empty_like(x_TV)
    _cpu.log_softmax(choose_variant(variant), x_TV, y_TV, threads=threads)
    return y_TV


def log_softmax_at(
    logits_TV: np.ndarray, ids_T: Sequence[int], *, variant: str | None = None, threads: int = 1
) -> np.ndarray:
    """Returns (T,) float32: what log_softmax gives at column `ids_T[t]` of row t, bit for bit."""
    x_TV = np.ascontiguousarray(logits_TV, dtype=np.float32)
    y_T = np.empty(len(x_TV), np.float32)
    _cpu.log_softmax_at(
        choose_variant(variant), x_TV, np.asarray(ids_T, np.int32), y_T, threads=threads
    )
    return y_T


def variants_here() -> dict[str, str]:
    """Returns this build's instruction-set variants, the best first, and what each lacks here.

    Nothing is lacking where a variant can run.
    """
    return dict(_cpu.variants_here())


def read_bandwidth(threads: int, *, seconds: float = 1.0, variant: str | None = None) -> float:
    """Returns the bytes per second that `threads` threads read from memory together.

    The best of several passes over a buffer of 1 GiB, or of a quarter of the free memory.
    `variant` is an instruction set, by default the best here.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _cpu.read_bandwidth(
        variant or _cpu.usable_variants()[0],
        threads,
        num_bytes=min(BANDWIDTH_BYTES, free // 4),
        seconds=seconds,
    )


def int8_rate(threads: int, *, seconds: float = 0.5, variant: str | None = None) -> float:
    """Returns the int8 multiplications and additions per second of `threads` threads together.

    In registers, as an instruction-set variant multiplies them: what its matrix products would
    reach if nothing else had to be done.
    """
    return _cpu.int8_rate(variant or _cpu.usable_variants()[0], threads, seconds=seconds)

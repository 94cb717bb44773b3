"""What a learning will take, foretold from a dry run: each kind of work is done once and counted.

A window passes the base, a layer's row is fitted, steps are taken and windows judged, all of the
sizes and on the notes that the learning itself would have; nothing of it is kept.

N windows, W tokens per window, D model width.
"""

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.experts.learning import Learning, Report
from tramontane.experts.lesson import LearnSettings, prepare
from tramontane.experts.route import Row
from tramontane.experts.states import WINDOWS_PER_BATCH, are_computed, compute_states
from tramontane.experts.training import Misfires, Training
from tramontane.experts.turns import Asking
from tramontane.model.transformer import Transformer, load_transformer
from tramontane.notes.note import Note


@dataclass(frozen=True)
class Plan:
    """Of one learning: how much text, and the time, memory and disk it will take."""

    notes: int
    held_out_notes: int
    tokens: int
    epochs: int
    steps: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    dry_run_seconds: float


# What is tried, in this order, and the share of the time that each takes.
PARTS = {
    "cutting notes into tokens": 20,
    "loading the base": 10,
    "passing the base": 30,
    "fitting a row": 15,
    "taking steps": 15,
    "measuring": 10,
}


@dataclass(frozen=True)
class Sample:
    """Stands for states that were not computed: those of a few windows, over and over."""

    trunk: np.ndarray
    h: np.ndarray


def plan(
    notes: Sequence[Note],
    *,
    checkpoint: Checkpoint,
    cache_folder: Path,
    settings: LearnSettings | None = None,
    asking: Asking | None = None,
    threads: int | None = None,
    device: str = "auto",
    report: Report = lambda *_: None,
) -> Plan:
    """Returns what `learn` with the same arguments will take; `report` hears of each of PARTS.

    Raises LearnError when there is too little text to learn from.
    """
    if threads:
        torch.set_num_threads(threads)
    began = time.perf_counter()
    begins(report, "cutting notes into tokens")
    lesson, public, place = prepare(
        notes, checkpoint, settings or LearnSettings(), asking=asking, device=device
    )
    cache_folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=cache_folder, prefix="plan-"))
    try:
        learning = Learning(
            checkpoint,
            lesson,
            public,
            settings or LearnSettings(),
            place,
            cache_folder,
            folder,
            lambda *_: None,
        )
        reading = time.perf_counter() - began
        seconds = reading + DryRun(learning, folder, report).seconds()
    finally:
        shutil.rmtree(folder)
    return Plan(
        notes=len(lesson.corpus.learnt_notes),
        held_out_notes=len(lesson.corpus.held_out_notes),
        tokens=lesson.corpus.num_tokens,
        epochs=learning.schedule.epochs,
        steps=learning.schedule.num_steps,
        seconds=round(seconds, 1),
        memory_bytes=most_memory(),
        disk_bytes=disk_bytes(learning),
        dry_run_seconds=round(time.perf_counter() - began, 1),
    )


class DryRun:
    """A few windows through everything that a learning does."""

    def __init__(self, learning: Learning, folder: Path, report: Report = lambda *_: None):
        self.learning, self.folder, self.report = learning, folder, report

    def seconds(self) -> float:
        """Returns how long the learning will take, reading the notes left out."""
        learning, lesson = self.learning, self.learning.lesson
        place = learning.place
        begins(self.report, "loading the base")
        transformer, loading = timed(
            lambda: load_transformer(learning.checkpoint, dtype=place.dtype, device=place.device)
        )
        few = lesson.windows[: 3 * WINDOWS_PER_BATCH]
        begins(self.report, "passing the base")
        self.pass_base(transformer, few[:1], 1)  # The first pass of all is slower.
        sample, whole = timed(lambda: self.pass_base(transformer, few, len(few)))
        _, trunk_only = timed(lambda: self.pass_base(transformer, few, 0))
        own, public = (
            self.as_many(sample, learning.row_windows),
            self.as_many(sample, self.num_public),
        )
        begins(self.report, "fitting a row")
        rows, fitting = timed(lambda: learning.fit_rows(own, public))
        num_layers = learning.checkpoint.config.num_layers - learning.first
        public_all, others = np.concatenate(list(learning.public.values())), learning.other_windows
        has_public = self.are_there(transformer, public_all, len(public_all))
        has_others = self.are_there(transformer, others, 0)
        begins(self.report, "taking steps")
        training = self.training(transformer, own, rows, sample)
        learning.leave_trunk(transformer)
        steps = [timed(lambda: self.take_step(training, sample))[1] for _ in range(5)]
        # Every other step looks at public text too; the first is slower than all others.
        step = sum(steps[1:]) / 4
        begins(self.report, "measuring")
        _, judging = timed(lambda: self.judge(training, sample))

        held_out, epochs = len(learning.corpus.held_out), learning.schedule.epochs
        with_h = learning.row_windows + (0 if has_public else len(public_all))
        without_h = len(lesson.windows) - learning.row_windows + held_out
        without_h += 0 if has_others else len(others)
        judged = held_out * (epochs + 2) + 2 * len(others)
        # How often gates open at the end: the layers above the trunk, without the output layer.
        opened = held_out + len(public_all)
        return (
            loading
            + (with_h * whole + without_h * trunk_only + opened * (whole - trunk_only)) / len(few)
            + fitting * num_layers
            + learning.schedule.num_steps * step
            + judged * judging / len(few)
        )

    @property
    def num_public(self) -> int:
        return sum(map(len, self.learning.public.values()))

    def are_there(self, transformer: Transformer, windows: np.ndarray, num_with_h: int) -> bool:
        """Returns whether another learning has left the states of these windows."""
        learning = self.learning
        where = (learning.first, learning.cache_folder)
        digest = learning.checkpoint.sha256
        return are_computed(transformer, digest, windows, *where, num_with_h=num_with_h)

    def pass_base(self, transformer: Transformer, windows: np.ndarray, num_with_h: int) -> Sample:
        states = compute_states(
            transformer,
            self.learning.checkpoint.sha256,
            windows,
            self.learning.first,
            self.folder,
            lambda *_: None,
            num_with_h=num_with_h,
        )
        return Sample(np.array(states.trunk), np.array(states.h))

    def as_many(self, sample: Sample, count: int) -> Sample:
        """Returns one layer's states of so many windows."""
        order = np.arange(count) % sample.h.shape[1]
        return Sample(sample.trunk[:0], sample.h[:1, order])

    def training(
        self, transformer: Transformer, own: Sample, rows: dict[int, Row], sample: Sample
    ) -> Training:
        """Returns a training with the row of one layer in every layer."""
        learning = self.learning
        layers = range(learning.first, learning.checkpoint.config.num_layers)
        (row,) = rows.values()
        everywhere = dict.fromkeys(layers, row)
        h = np.broadcast_to(own.h, (len(layers), *own.h.shape[1:]))
        tensors = learning.starting_tensors(transformer, Sample(own.trunk, h), everywhere)
        misfires = Misfires(sample.trunk[:4], np.ones(sample.trunk[:4].shape[:2], bool))
        few = replace(learning.schedule, num_windows=len(sample.trunk), epochs=5)
        return Training(transformer, learning.first, tensors, few, misfires)

    def take_step(self, training: Training, sample: Sample) -> None:
        lesson = self.learning.lesson
        count = len(sample.trunk)
        training.take_step(sample.trunk, lesson.windows[:count], lesson.counted[:count])

    def judge(self, training: Training, sample: Sample) -> None:
        windows = self.learning.lesson.windows[: len(sample.trunk)]
        training.evaluate(sample.trunk, windows, with_expert=True)


def begins(report: Report, part: str) -> None:
    """Tells that a part begins, and the share of all that lies behind it."""
    names = list(PARTS)
    behind = sum(PARTS[name] for name in names[: names.index(part)])
    report(part, behind, sum(PARTS.values()))


def timed(work: Callable) -> tuple:
    """Returns what the work returned, and the seconds it took."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def most_memory() -> int:
    """Returns the most bytes that this process had resident at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def disk_bytes(learning: Learning) -> int:
    """Returns what lies in the cache at most while it is learnt; afterwards only public states."""
    config, W = learning.checkpoint.config, learning.settings.window_tokens
    D, num_layers = config.model_width, config.num_layers - learning.first
    held_out, windows = len(learning.corpus.held_out), len(learning.lesson.windows)
    public, others = sum(map(len, learning.public.values())), len(learning.other_windows)
    trunk_bytes = W * D * learning.place.dtype.itemsize
    h_bytes = W * D * num_layers * 2
    states = (windows + held_out + public + others) * trunk_bytes
    states += (learning.row_windows + public) * h_bytes
    # What is saved on the way: numbers, two moments, and the best epoch's, all float32.
    return states + 3 * learning.settings.width * D * num_layers * 4 * 4

"""The process that does jobs: one per lane, apart from the server, so that neither ends the other.

It takes one job after the other until none waits. Its lane's lock tells everybody that it lives;
a job found running without it has lost its process and goes on from what it had kept.
"""

import _thread
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tramontane.cli.job_kinds import LANES, kind_of
from tramontane.cli.parts import Parts
from tramontane.errors import Busy, TramontaneError
from tramontane.files import held_alone
from tramontane.library.jobs import Job, JobLine, Jobs
from tramontane.settings import PREFIX, Settings

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5
# Answering comes first wherever both want the cores.
NICENESS = 10
MOST_LOG_BYTES = 1 << 20


def lock_of(settings: Settings, lane: str) -> Path:
    return settings.home / "jobs" / f"{lane}.lock"


def lives(settings: Settings, lane: str) -> bool:
    """Whether a process does the jobs of a lane now."""
    try:
        with held_alone(lock_of(settings, lane), f"the jobs' lane {lane!r}"):
            return False
    except Busy:
        return True


def work(parts: Parts, lane: str) -> int:
    """Does the jobs of a lane until none waits; returns how many. Raises Busy if another does."""
    # Started in a background of the shell, a process may ignore what ends a job.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.nice(NICENESS)
    jobs, num_done = parts.library.jobs, 0
    with held_alone(lock_of(parts.settings, lane), f"the jobs' lane {lane!r}"):
        while (job := jobs.take_next(lane)) is not None:
            do(parts, jobs, job)
            num_done += 1
    return num_done


def do(parts: Parts, jobs: Jobs, job: Job) -> None:
    """Does one job; an error ends it in words, a wish where it stands."""
    jobs.say(job.id, f"{job.kind} begins")
    told = Told(jobs, job.id)
    try:
        with watching(jobs, job.id):
            kind = kind_of(job.kind)
            result = kind.do(parts, kind.read(job.arguments), told)
    except KeyboardInterrupt:
        wish = jobs.wish_of(job.id)
        if wish is None:
            # Somebody ends the process, not the job: it goes on with the next process.
            jobs.say(job.id, "its process was asked to end; it goes on later")
            raise
        state = {"pause": "paused", "cancel": "cancelled"}[wish]
        jobs.say(job.id, state)
        jobs.end(job.id, state)
    except TramontaneError as error:
        jobs.say(job.id, f"{type(error).__name__}: {error}")
        jobs.end(job.id, "failed", error=str(error))
    except Exception as error:
        log.exception("job %d failed", job.id)
        jobs.say(job.id, f"a defect: {type(error).__name__}; the log of the jobs says more")
        jobs.end(job.id, "failed", error=f"{type(error).__name__}: {error}")
    else:
        told.flush()
        jobs.say(job.id, "done")
        jobs.end(job.id, "done", result=result)


class Told:
    """Receives report(what, done, total); keeps the latest, and a line for what begins anew."""

    def __init__(self, jobs: Jobs, job_id: int):
        self.jobs, self.job_id = jobs, job_id
        self.what, self.latest, self.written = "", ("", 0, 0), float("-inf")

    def __call__(self, what: str, done: int, total: int) -> None:
        self.latest = (what, done, total)
        if what != self.what:
            self.what = what
            self.jobs.say(self.job_id, what)
        now = time.monotonic()
        if now - self.written >= SECONDS_BETWEEN_LOOKS or done >= total:
            self.written = now
            self.flush()

    def flush(self) -> None:
        self.jobs.report(self.job_id, *self.latest)


@contextmanager
def watching(jobs: Jobs, job_id: int) -> Iterator[None]:
    """Interrupts the main thread, as Ctrl-C would, once somebody wishes the job to stop."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(SECONDS_BETWEEN_LOOKS):
            if jobs.wish_of(job_id) is not None:
                _thread.interrupt_main()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


class Workers:
    """Starts the processes that jobs need, and starts them again when they were lost."""

    def __init__(self, jobs: Jobs, settings: Settings):
        self.jobs, self.settings = jobs, settings
        self.started: dict[str, subprocess.Popen] = {}
        self.is_over = threading.Event()
        self.wanted = threading.Event()

    def look_after(self) -> None:
        """Looks, until `stop`, whether jobs wait that nobody does."""
        while not self.is_over.is_set():
            try:
                self.start_missing()
            except TramontaneError as error:
                log.warning("jobs could not be looked after: %s", error)
            self.wanted.wait(2 * SECONDS_BETWEEN_LOOKS)
            self.wanted.clear()

    def start_missing(self) -> None:
        lanes = {job.lane for job in self.jobs.ls(("waiting", "running"))}
        for lane in sorted(lanes & set(LANES)):
            # One that was started may need longer than a look to say that it lives, the longer the
            # busier the machine; another beside it would only make that worse.
            begun = self.started.get(lane)
            is_begun = begun is not None and begun.poll() is None
            if not is_begun and not lives(self.settings, lane):
                self.start(lane)

    def start(self, lane: str) -> None:
        log_file = self.settings.home / "jobs" / f"{lane}.log"
        log_file.parent.mkdir(parents=True, exist_ok=True)
        is_long = log_file.exists() and log_file.stat().st_size > MOST_LOG_BYTES
        with log_file.open("wb" if is_long else "ab") as out:
            self.started[lane] = subprocess.Popen(
                [sys.executable, "-m", "tramontane.cli.main", "jobs", "work", lane],
                env=os.environ | as_environment(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # A server that is killed takes no job with it.
                start_new_session=True,
            )

    def stop(self) -> None:
        self.is_over.set()
        self.wanted.set()


def as_environment(settings: Settings) -> dict[str, str]:
    """Returns the settings as the variables that a process of ours reads."""
    return {
        f"{PREFIX}{name.upper()}": str(value)
        for name, value in settings.model_dump().items()
        if value is not None
    }


class JobOffice:
    """Where the server's interface asks for long work."""

    def __init__(self, jobs: Jobs, workers: Workers):
        self.jobs, self.workers = jobs, workers

    def start(self, kind: str, arguments: Mapping[str, Any]) -> Job:
        found = kind_of(kind)
        found.read(arguments)
        job = self.jobs.add(kind, arguments, found.lane)
        self.workers.wanted.set()
        return job

    def ls(self) -> Sequence[Job]:
        return self.jobs.ls()

    def job(self, job_id: int) -> Job:
        return self.jobs.job(job_id)

    def lines(self, job_id: int, after: int) -> Sequence[JobLine]:
        return self.jobs.lines(job_id, after)

    def pause(self, job_id: int) -> Job:
        return self.jobs.pause(job_id)

    def resume(self, job_id: int) -> Job:
        job = self.jobs.resume(job_id)
        self.workers.wanted.set()
        return job

    def cancel(self, job_id: int) -> Job:
        return self.jobs.cancel(job_id)

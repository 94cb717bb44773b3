"""Jobs that are only written down, and end when a test says so."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tramontane.errors import NotFound, RequestError
from tramontane.library.jobs import Job, JobLine

KINDS = (
    "pull",
    "sync",
    "learn",
    "plan",
    "check",
    "overlap",
    "add",
    "audit",
    "audit-plan",
    "relearn",
    "raise",
)


class FakeJobs:
    def __init__(self):
        self.jobs: dict[int, Job] = {}
        self.said: dict[int, list[JobLine]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.started = threading.Condition()

    def start(self, kind: str, arguments: Mapping[str, Any]) -> Job:
        if kind not in KINDS:
            raise RequestError(f"there is no job {kind!r}")
        self.asked.append((kind, dict(arguments)))
        number = len(self.jobs) + 1
        self.jobs[number] = Job(
            number, kind, dict(arguments), "cores", "running", None, 1, "reading", 0, 10, None,
            None, "2026-01-01T00:00:00", "2026-01-01T00:00:00", None,
        )  # fmt: skip
        self.said[number] = []
        with self.started:
            self.started.notify_all()
        return self.jobs[number]

    def until_started(self, number: int) -> None:
        """Waits for a job that a page has asked for: its request may be on the way."""
        with self.started:
            self.started.wait_for(lambda: number in self.said, timeout=20)

    def say(self, number: int, text: str) -> None:
        self.until_started(number)
        line = JobLine(len(self.said[number]) + 1, "2026-01-01T00:00:00", text)
        self.said[number].append(line)

    def report(self, number: int, what: str, done: int) -> None:
        """Tells how far a job is, of ten."""
        self.until_started(number)
        self.jobs[number] = replace(self.jobs[number], what=what, done=done)

    def end(self, number: int, result: Any = None, error: str | None = None) -> None:
        self.until_started(number)
        state = "failed" if error else "done"
        self.jobs[number] = replace(self.jobs[number], state=state, result=result, error=error)

    def ls(self) -> Sequence[Job]:
        return list(self.jobs.values())

    def job(self, job_id: int) -> Job:
        if job_id not in self.jobs:
            raise NotFound(f"no job {job_id}")
        return self.jobs[job_id]

    def lines(self, job_id: int, after: int) -> Sequence[JobLine]:
        return [line for line in self.said[job_id] if line.id > after]

    def pause(self, job_id: int) -> Job:
        return self.change(job_id, "paused")

    def resume(self, job_id: int) -> Job:
        return self.change(job_id, "running")

    def cancel(self, job_id: int) -> Job:
        return self.change(job_id, "cancelled")

    def change(self, job_id: int, state: str) -> Job:
        self.asked.append((state, job_id))
        self.jobs[job_id] = replace(self.job(job_id), state=state)
        return self.jobs[job_id]

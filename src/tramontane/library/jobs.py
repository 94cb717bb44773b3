"""Jobs: long work as rows that outlive the page, the server and the process that does it.

States: waiting → running → done, failed or cancelled; running → paused → waiting. A wish is what a
person asked of a running job; the process that runs it grants it at the next safe point.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tramontane.errors import LibraryError, NotFound
from tramontane.library.database import Database

ENDED = ("done", "failed", "cancelled")
# What crashes so often won't be better the next time.
MOST_ATTEMPTS = 3
MOST_LINES, MOST_ENDED = 2_000, 200
COLUMNS = (
    "id, kind, arguments, lane, state, wish, attempts, what, done, total, result, error, created, "
    "began, ended"
)


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of long work; `done` of `total` is how far it is in `what`."""

    id: int
    kind: str
    arguments: Mapping[str, Any]
    lane: str
    state: str
    wish: str | None
    attempts: int
    what: str
    done: int
    total: int
    result: Any
    error: str | None
    created: str
    began: str | None
    ended: str | None


@dataclass(frozen=True, slots=True)
class JobLine:
    id: int
    at: str
    text: str


class Jobs:
    def __init__(self, database: Database):
        self._database = database

    def add(self, kind: str, arguments: Mapping[str, Any], lane: str) -> Job:
        with self._database.writing() as db:
            added = db.execute(
                "INSERT INTO jobs (kind, arguments, lane, state, created) "
                "VALUES (?, ?, ?, 'waiting', ?)",
                (kind, json.dumps(dict(arguments)), lane, now()),
            )
            db.execute(
                "DELETE FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND id NOT IN "
                "(SELECT id FROM jobs WHERE state IN ('done', 'failed', 'cancelled') "
                "ORDER BY id DESC LIMIT ?)",
                (MOST_ENDED,),
            )
            return _job(db, added.lastrowid)

    def ls(self, states: Sequence[str] = ()) -> list[Job]:
        """Returns the jobs, the newest first."""
        where = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        with self._database.reading() as db:
            rows = db.execute(
                f"SELECT {COLUMNS} FROM jobs {where} ORDER BY id DESC", tuple(states)
            ).fetchall()
        return [_of(row) for row in rows]

    def job(self, job_id: int) -> Job:
        with self._database.reading() as db:
            return _job(db, job_id)

    def lines(self, job_id: int, after: int = 0) -> list[JobLine]:
        """Returns what a job has said since the line of that number."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, at, text FROM job_lines WHERE job_id = ? AND id > ? ORDER BY id",
                (job_id, after),
            ).fetchall()
        return [JobLine(*row) for row in rows]

    # What people ask

    def pause(self, job_id: int) -> Job:
        """Asks a running job to stop where it can go on later; one that waits is paused at once."""
        return self._wish(job_id, "pause", "paused")

    def cancel(self, job_id: int) -> Job:
        return self._wish(job_id, "cancel", "cancelled")

    def resume(self, job_id: int) -> Job:
        """Lets a paused, failed or cancelled job wait for its turn again."""
        with self._database.writing() as db:
            job = _job(db, job_id)
            if job.state == "running" and job.wish == "pause":
                db.execute("UPDATE jobs SET wish = NULL WHERE id = ?", (job_id,))
            elif job.state in ("paused", "failed", "cancelled"):
                db.execute(
                    "UPDATE jobs SET state = 'waiting', wish = NULL, attempts = 0, error = NULL, "
                    "ended = NULL WHERE id = ?",
                    (job_id,),
                )
            else:
                raise LibraryError(f"job {job_id} is {job.state}; only what stopped can go on")
            return _job(db, job_id)

    def _wish(self, job_id: int, wish: str, state: str) -> Job:
        with self._database.writing() as db:
            job = _job(db, job_id)
            if job.state in ENDED:
                raise LibraryError(f"job {job_id} is {job.state} already")
            if job.state == "running":
                db.execute("UPDATE jobs SET wish = ? WHERE id = ?", (wish, job_id))
            else:
                ended = now() if state in ENDED else None
                db.execute(
                    "UPDATE jobs SET state = ?, wish = NULL, ended = ? WHERE id = ?",
                    (state, ended, job_id),
                )
            return _job(db, job_id)

    # What the process that does the work tells

    def take_next(self, lane: str) -> Job | None:
        """Returns the next job of a lane, running from now on; None when none waits.

        Only whoever holds the lane's lock may call this: a job found running there has lost its
        process, and goes on first.
        """
        with self._database.writing() as db:
            rows = db.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE lane = ? AND state IN ('running', 'waiting') "
                "ORDER BY state = 'waiting', id",
                (lane,),
            ).fetchall()
            for job in map(_of, rows):
                if job.state == "running":
                    if state := _left_behind(job):
                        self._end(db, job.id, *state)
                        continue
                    _say(db, job.id, "its process ended unexpectedly; it goes on")
                db.execute(
                    "UPDATE jobs SET state = 'running', attempts = attempts + 1, "
                    "began = coalesce(began, ?), ended = NULL WHERE id = ?",
                    (now(), job.id),
                )
                return _job(db, job.id)
        return None

    def wish_of(self, job_id: int) -> str | None:
        return self.job(job_id).wish

    def report(self, job_id: int, what: str, done: int, total: int) -> None:
        with self._database.writing() as db:
            db.execute(
                "UPDATE jobs SET what = ?, done = ?, total = ? WHERE id = ?",
                (what, done, total, job_id),
            )

    def say(self, job_id: int, text: str) -> None:
        with self._database.writing() as db:
            _say(db, job_id, text)

    def end(self, job_id: int, state: str, *, result: Any = None, error: str | None = None) -> None:
        with self._database.writing() as db:
            self._end(db, job_id, state, error, result)

    def _end(
        self,
        db: sqlite3.Connection,
        job_id: int,
        state: str,
        error: str | None = None,
        result: Any = None,
    ) -> None:
        db.execute(
            "UPDATE jobs SET state = ?, wish = NULL, result = ?, error = ?, ended = ? WHERE id = ?",
            (
                state,
                None if result is None else json.dumps(result),
                error,
                now() if state in ENDED else None,
                job_id,
            ),
        )


def _left_behind(job: Job) -> tuple[str, str | None] | None:
    """Returns the state and error of a job whose process was lost, or None where it goes on."""
    if job.wish == "cancel":
        return "cancelled", None
    if job.wish == "pause":
        return "paused", None
    if job.attempts >= MOST_ATTEMPTS:
        return "failed", f"its process ended unexpectedly {job.attempts} times; see its lines"
    return None


def _say(db: sqlite3.Connection, job_id: int, text: str) -> None:
    db.execute("INSERT INTO job_lines (job_id, at, text) VALUES (?, ?, ?)", (job_id, now(), text))
    db.execute(
        "DELETE FROM job_lines WHERE job_id = ? AND id <= "
        "(SELECT id FROM job_lines WHERE job_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (job_id, job_id, MOST_LINES),
    )


def _job(db: sqlite3.Connection, job_id: int) -> Job:
    row = db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound(f"no job {job_id}")
    return _of(row)


def _of(row: tuple) -> Job:
    job_id, kind, arguments, *middle, result, error, created, began, ended = row
    return Job(
        job_id,
        kind,
        json.loads(arguments),
        *middle,
        None if result is None else json.loads(result),
        error,
        created,
        began,
        ended,
    )


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")

"""Long work over HTTP: start, list, pause, resume, cancel, and what a job says as it goes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from pydantic import Field, JsonValue
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import NotFound, RequestError
from tramontane.library.jobs import ENDED, Job, JobLine
from tramontane.server.bodies import Bodies
from tramontane.server.guard import MAX_BODY_BYTES
from tramontane.server.stream import READER_SECONDS
from tramontane.server.wire import Body, NothingBody, plain, read_body, to_json

SECONDS_BETWEEN_LOOKS = 0.5


class JobDesk(Protocol):
    """Where long work is asked for; a process of its own does it."""

    def start(self, kind: str, arguments: Mapping[str, Any]) -> Job:
        """Returns the new job; raises RequestError for a kind or arguments that there aren't."""

    def ls(self) -> Sequence[Job]: ...

    def job(self, job_id: int) -> Job: ...

    def lines(self, job_id: int, after: int) -> Sequence[JobLine]: ...

    def pause(self, job_id: int) -> Job: ...

    def resume(self, job_id: int) -> Job: ...

    def cancel(self, job_id: int) -> Job: ...


class JobBody(Body):
    kind: str = Field(max_length=40)
    arguments: dict[str, JsonValue] = Field(default_factory=dict, max_length=40)


class JobsApi:
    def __init__(self, desk: JobDesk, bodies: Bodies):
        self.desk, self.bodies = desk, bodies

    def routes(self) -> list[Route]:
        return [
            Route("/api/jobs", self.ls),
            Route("/api/jobs", self.start, methods=["POST"]),
            Route("/api/jobs/{id}", self.job),
            Route("/api/jobs/{id}/lines", self.lines),
            Route("/api/jobs/{id}/{wish}", self.ask_for, methods=["POST"]),
        ]

    async def ls(self, _http: Request) -> Response:
        return answer({"jobs": await run_in_threadpool(self.desk.ls)})

    async def start(self, http: Request) -> Response:
        asked = read_body(await self.bodies.of(http, MAX_BODY_BYTES), JobBody)
        job = await run_in_threadpool(self.desk.start, asked.kind, asked.arguments)
        return answer({"job": job}, 202)

    async def job(self, http: Request) -> Response:
        return answer({"job": await run_in_threadpool(self.desk.job, id_of(http))})

    async def ask_for(self, http: Request) -> Response:
        wishes = {
            "pause": self.desk.pause,
            "resume": self.desk.resume,
            "cancel": self.desk.cancel,
        }
        wish = http.path_params["wish"]
        if wish not in wishes:
            raise NotFound(f"a job can {', '.join(wishes)}; not {wish[:40]!r}")
        read_body(await self.bodies.of(http, MAX_BODY_BYTES), NothingBody)
        return answer({"job": await run_in_threadpool(wishes[wish], id_of(http))})

    async def lines(self, http: Request) -> Response:
        """Sends what a job says, as it says it, and how far it is; ends with the job.

        A reader who comes again says with Last-Event-ID what it has.
        """
        job_id = id_of(http)
        job = await run_in_threadpool(self.desk.job, job_id)
        last = http.headers.get("last-event-id", "0")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
        return EventSourceResponse(self.events(job, after), ping=15, send_timeout=READER_SECONDS)

    async def events(self, job: Job, after: int) -> AsyncIterator[ServerSentEvent]:
        told = None
        while True:
            for line in await run_in_threadpool(self.desk.lines, job.id, after):
                after = line.id
                yield ServerSentEvent(to_json(line), event="line", id=str(line.id))
            if job != told:
                told = job
                yield ServerSentEvent(to_json(job), event="job")
            # Paused, a job may rest for days.
            if job.state in (*ENDED, "paused"):
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            job = await run_in_threadpool(self.desk.job, job.id)


def id_of(http: Request) -> int:
    text = http.path_params["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestError(f"{text[:40]!r} is no job's number")
    return int(text)


def answer(value: Any, status: int = 200) -> Response:
    return Response(to_json(plain(value)), status, media_type="application/json")

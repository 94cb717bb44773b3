"""REQUESTS → DESK → ANSWERS: the page's files and the JSON it asks for, all under one guard."""

import logging
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import Busy, NotFound, TramontaneError
from tramontane.server.desk import Desk, Report
from tramontane.server.guard import HEADERS, MAX_BODY_BYTES, Guard, Refusal, too_large
from tramontane.server.pages import read_page, serve_file
from tramontane.server.stream import NOT_OURS, Emit, error_of, stream
from tramontane.server.wire import (
    AskBody,
    CollectionBody,
    NothingBody,
    SearchBody,
    SomeBody,
    SyncBody,
    collection_of,
    event_of,
    note_of,
    read_body,
    read_folder,
    read_place,
    to_json,
)

log = logging.getLogger(__name__)

MAX_STREAMS = 8
SECONDS_BETWEEN_REPORTS = 0.1
JSON = "application/json"


def make_app(desk: Desk, *, host: str, port: int) -> Starlette:
    """Returns the app for a server that listens on `port` of `host`; both guard its requests."""
    # At its debug level it would write every event, and so people's notes, into the log.
    logging.getLogger("sse_starlette").setLevel(logging.INFO)
    pool = ThreadPoolExecutor(MAX_STREAMS, thread_name_prefix="stream")
    page = Page(desk, pool)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False, cancel_futures=True)

    return Starlette(
        routes=page.routes(),
        middleware=[Middleware(Guard, host=host, port=port)],
        exception_handlers={
            TramontaneError: say_error,
            Refusal: say_refusal,
            HTTPException: say_http_error,
            Exception: say_unexpected,
        },
        lifespan=lifespan,
    )


class Page:
    """The endpoints: each parses a request, calls the desk in a thread, and makes its answer
    plain."""

    def __init__(self, desk: Desk, pool: ThreadPoolExecutor):
        self.desk, self.pool = desk, pool
        self.files = read_page()

    def routes(self) -> list[Route]:
        return [
            Route("/api/status", self.status),
            Route("/api/examples", self.examples),
            Route("/api/collections", self.collections),
            Route("/api/collections", self.add_collection, methods=["POST"]),
            Route("/api/sync", self.sync, methods=["POST"]),
            Route("/api/notes", self.notes),
            Route("/api/note", self.note),
            Route("/api/search", self.search, methods=["POST"]),
            Route("/api/ask", self.ask, methods=["POST"]),
            Route("/api/experts", self.experts),
            Route("/api/experts/{name}/withdraw", self.withdraw, methods=["POST"]),
            Route("/api/experts/{name}/restore", self.restore, methods=["POST"]),
            Route("/{path:path}", self.file),
        ]

    async def file(self, request: Request) -> Response:
        path = request.path_params["path"]
        if file := self.files.get(f"/{path or 'index.html'}"):
            return serve_file(file, request)
        raise HTTPException(404, f"nothing here is called /{path[:200]}")

    async def status(self, _request: Request) -> Response:
        return as_json(await run_in_threadpool(self.desk.status))

    async def examples(self, _request: Request) -> Response:
        return as_json({"examples": await run_in_threadpool(self.desk.examples)})

    async def collections(self, _request: Request) -> Response:
        found = await run_in_threadpool(self.desk.collections)
        return as_json({"collections": [collection_of(collection) for collection in found]})

    async def add_collection(self, request: Request) -> Response:
        asked = await body_of(request, CollectionBody)
        folder = read_folder(asked.folder)

        def work(emit: Emit) -> None:
            report = self.desk.add_collection(asked.name, folder, progress_to(emit))
            emit("report", report)

        return await stream(request, work, self.pool)

    async def sync(self, request: Request) -> Response:
        asked = await body_of(request, SyncBody)

        def work(emit: Emit) -> None:
            report = self.desk.sync(asked.name, progress_to(emit), dry_run=asked.dry_run)
            emit("report", report)

        return await stream(request, work, self.pool)

    async def notes(self, request: Request) -> Response:
        collection = request.query_params.get("collection", "")
        found = await run_in_threadpool(self.desk.notes, collection)
        return as_json({"notes": [note_of(note, with_text=False) for note in found]})

    async def note(self, request: Request) -> Response:
        collection, path = read_place(request.query_params)
        note, has_changed = await run_in_threadpool(self.desk.note, collection, path)
        return as_json(note_of(note, with_text=True) | {"has_changed": has_changed})

    async def search(self, request: Request) -> Response:
        asked = await body_of(request, SearchBody)
        hits = await run_in_threadpool(self.desk.search, asked.words, asked.collections)
        return as_json({"hits": hits})

    async def ask(self, request: Request) -> Response:
        asked = await body_of(request, AskBody)

        def work(emit: Emit) -> None:
            events = self.desk.ask(
                asked.question,
                collections=asked.collections,
                experts=asked.experts,
                own_words=asked.own_words,
            )
            with closing(events):
                for event in events:
                    emit(*event_of(event))

        return await stream(request, work, self.pool)

    async def experts(self, _request: Request) -> Response:
        return as_json({"experts": await run_in_threadpool(self.desk.experts)})

    async def withdraw(self, request: Request) -> Response:
        await body_of(request, NothingBody)
        name = request.path_params["name"]
        return as_json(await run_in_threadpool(self.desk.withdraw, name))

    async def restore(self, request: Request) -> Response:
        await body_of(request, NothingBody)
        name = request.path_params["name"]
        return as_json({"expert": await run_in_threadpool(self.desk.restore, name)})


async def body_of(request: Request, kind: type[SomeBody]) -> SomeBody:
    """Returns the request's body, read no further than the bound whatever its header claimed."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise too_large()
    return read_body(bytes(data), kind)


def progress_to(emit: Emit) -> Report:
    """Returns a report that sends progress, ten times a second at most and always the last."""
    sent_at = float("-inf")

    def report(what: str, done: int, total: int) -> None:
        nonlocal sent_at
        now = time.monotonic()
        if now - sent_at >= SECONDS_BETWEEN_REPORTS or done == total:
            sent_at = now
            emit("progress", {"what": what, "done": done, "total": total})

    return report


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(value), status_code=status, media_type=JSON, headers=headers)


async def say_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TramontaneError)
    status = 404 if isinstance(error, NotFound) else 409 if isinstance(error, Busy) else 400
    return as_json({"error": error_of(error)}, status)


async def say_refusal(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return as_json({"error": {"kind": refusal.kind, "message": str(refusal)}}, refusal.status)


async def say_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "NotFound" if error.status_code == 404 else "WrongRequest"
    return as_json({"error": {"kind": kind, "message": error.detail}}, error.status_code)


async def say_unexpected(_request: Request, _error: Exception) -> Response:
    # Starlette logs nothing itself and raises the error on, to uvicorn's log.
    # It answers outside the guard, hence the headers here.
    return as_json({"error": NOT_OURS}, 500, HEADERS)

"""REQUESTS → DESK → ANSWERS: the page's files and the JSON it asks for, all under one guard."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import TramontaneError
from tramontane.library.chats import Chats
from tramontane.library.kept_copies import KeptCopies
from tramontane.library.keys import Keys
from tramontane.server.api import Api
from tramontane.server.audits import AuditDesk, AuditsApi
from tramontane.server.bodies import Bodies
from tramontane.server.chats import ChatsApi, History
from tramontane.server.desk import Desk
from tramontane.server.drafts import DraftDesk, DraftsApi
from tramontane.server.dropped import DroppedApi
from tramontane.server.guard import COOKIE, HEADERS, MAX_BODY_BYTES, Guard, key_of
from tramontane.server.jobs import JobDesk, JobsApi
from tramontane.server.labels import LabelDesk, LabelsApi
from tramontane.server.limits import Limits
from tramontane.server.metrics import Metrics
from tramontane.server.model import Embedder, Model
from tramontane.server.openapi import document_of
from tramontane.server.pages import read_page, serve_file
from tramontane.server.refusal import Refusal, error_body, error_of, not_ours, status_of
from tramontane.server.service import Service
from tramontane.server.stream import Emit, progress_to, stream
from tramontane.server.told import Told
from tramontane.server.wire import (
    AskBody,
    CollectionBody,
    NothingBody,
    PackBody,
    SearchBody,
    SignInBody,
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
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Under which names the server is reached, and whether whoever comes needs a key."""

    host: str
    port: int
    # Further names, under which a reverse proxy hands requests on.
    names: Sequence[str] = ()
    keys: Keys | None = None
    needs_key: bool = False


def make_app(
    desk: Desk,
    access: Access,
    *,
    open_model: Callable[[], Model] | None = None,
    embedder: Embedder | None = None,
    jobs: JobDesk | None = None,
    audits: AuditDesk | None = None,
    drafts: DraftDesk | None = None,
    chats: Chats | None = None,
    keeps_chats: bool = True,
    labels: LabelDesk | None = None,
    copies: KeptCopies | None = None,
    limits: Limits | None = None,
) -> Starlette:
    """Returns the app of a server; `open_model` opens the base, in a thread, once it has begun.

    Without it the page is served alone; so it is without jobs, audits, drafts, labels, chats or
    copies of dropped folders. With `keeps_chats` false, those there are can be read and removed,
    and none are added.
    """
    # At its debug level it would write every event, and so people's notes, into the log.
    logging.getLogger("sse_starlette").setLevel(logging.INFO)
    limits = limits or Limits()
    pool = ThreadPoolExecutor(MAX_STREAMS, thread_name_prefix="stream")
    bodies, metrics = Bodies(limits), Metrics()
    history = History(chats, desk, keeps=keeps_chats) if chats is not None else None
    page = Page(desk, pool, bodies, access.keys, history, copies)
    routes = page.routes()
    service = None
    if open_model is not None and embedder is not None:
        service = Service(open_model, limits, metrics)
        routes += Api(service, desk, embedder, bodies, pool).routes()
    if jobs is not None:
        routes += JobsApi(jobs, bodies).routes()
    if audits is not None:
        routes += AuditsApi(audits, bodies).routes()
    if drafts is not None:
        routes += DraftsApi(drafts, bodies, pool).routes()
    if history is not None:
        routes += ChatsApi(history, bodies).routes()
    if labels is not None:
        routes += LabelsApi(labels, bodies, pool).routes()
    dropped = None
    if copies is not None:
        dropped = DroppedApi(copies, desk, bodies, limits)
        routes += dropped.routes()
    document = document_of(routes)
    routes += [
        Route("/openapi.json", lambda _: Response(document, media_type=JSON)),
        Route("/{path:path}", page.file),
    ]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if service is not None:
            service.start()
        yield
        if dropped is not None:
            await dropped.close()
        if service is not None:
            service.stop()
        pool.shutdown(wait=False, cancel_futures=True)

    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Told, metrics=metrics),
            Middleware(
                Guard,
                host=access.host,
                port=access.port,
                names=access.names,
                keys=access.keys,
                needs_key=access.needs_key,
                open_paths=["/", "/health", "/api/sign-in", *page.files],
                most_body_bytes=limits.most_body_bytes,
            ),
        ],
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

    def __init__(
        self,
        desk: Desk,
        pool: ThreadPoolExecutor,
        bodies: Bodies,
        keys: Keys | None = None,
        history: History | None = None,
        copies: KeptCopies | None = None,
    ):
        self.desk, self.pool, self.bodies, self.keys = desk, pool, bodies, keys
        self.history, self.copies = history, copies
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
            Route("/api/experts/{name}/pack", self.pack, methods=["POST"]),
            Route("/api/experts/{name}/forgetting", self.forgetting),
            Route("/api/experts/{name}/forget", self.forget, methods=["POST"]),
            Route("/api/models", self.models),
            Route("/api/sign-in", self.sign_in, methods=["POST"]),
        ]

    async def body_of(self, request: Request, kind: type[SomeBody]) -> SomeBody:
        return read_body(await self.bodies.of(request, MAX_BODY_BYTES), kind)

    async def sign_in(self, request: Request) -> Response:
        """Keeps a key in a cookie that no script can read and no other site can send."""
        asked = await self.body_of(request, SignInBody)
        key = self.keys.find(asked.key) if self.keys is not None else None
        if key is None:
            raise Refusal(401, "NoKey", "the key is not known here, or was revoked")
        answer = as_json({"name": key.name, "scope": key.scope})
        is_secure = request.headers.get("origin", "").startswith("https:")
        answer.set_cookie(
            COOKIE, asked.key, httponly=True, samesite="strict", secure=is_secure, path="/"
        )
        return answer

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
        return as_json({"collections": await run_in_threadpool(self.told_collections)})

    def told_collections(self) -> list[dict[str, Any]]:
        """Returns each collection, and whether it is read from a copy of a dropped folder."""
        holds = self.copies.holds if self.copies is not None else lambda _: False
        return [
            collection_of(collection) | {"is_copy": holds(collection.folder)}
            for collection in self.desk.collections()
        ]

    async def add_collection(self, request: Request) -> Response:
        asked = await self.body_of(request, CollectionBody)
        folder = read_folder(asked.folder)

        def work(emit: Emit) -> None:
            report = self.desk.add_collection(asked.name, folder, progress_to(emit))
            emit("report", report)

        return await stream(request, work, self.pool)

    async def sync(self, request: Request) -> Response:
        asked = await self.body_of(request, SyncBody)

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
        asked = await self.body_of(request, SearchBody)
        hits = await run_in_threadpool(self.desk.search, asked.words, asked.collections)
        return as_json({"hits": hits})

    async def ask(self, request: Request) -> Response:
        asked, key_id = await self.body_of(request, AskBody), key_of(request)

        def work(emit: Emit) -> None:
            events = self.desk.ask(
                asked.question,
                collections=asked.collections,
                experts=asked.experts,
                own_words=asked.own_words,
                voice=asked.voice,
                honest=asked.honest,
            )
            with closing(events):
                told = map(event_of, events)
                if self.history is None:
                    for event in told:
                        emit(*event)
                    return
                with closing(self.history.kept(told, asked, key_id)) as kept:
                    for event in kept:
                        emit(*event)

        return await stream(request, work, self.pool)

    async def experts(self, _request: Request) -> Response:
        return as_json({"experts": await run_in_threadpool(self.desk.experts)})

    async def withdraw(self, request: Request) -> Response:
        await self.body_of(request, NothingBody)
        name = request.path_params["name"]
        return as_json(await run_in_threadpool(self.desk.withdraw, name))

    async def restore(self, request: Request) -> Response:
        await self.body_of(request, NothingBody)
        name = request.path_params["name"]
        return as_json({"expert": await run_in_threadpool(self.desk.restore, name)})

    async def pack(self, request: Request) -> Response:
        asked = await self.body_of(request, PackBody)
        file, data = await run_in_threadpool(
            self.desk.pack, request.path_params["name"], asked.owner, asked.licence
        )
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(file)}"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    async def forgetting(self, request: Request) -> Response:
        name = request.path_params["name"]
        return as_json(await run_in_threadpool(self.desk.forgetting, name))

    async def forget(self, request: Request) -> Response:
        await self.body_of(request, NothingBody)
        return as_json(await run_in_threadpool(self.desk.forget, request.path_params["name"]))

    async def models(self, _request: Request) -> Response:
        return as_json(await run_in_threadpool(self.desk.models))


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(value), status_code=status, media_type=JSON, headers=headers)


async def say_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, TramontaneError)
    return as_json({"error": error_of(error)}, status_of(error))


async def say_refusal(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    told = error_body(refusal.status, refusal.kind, str(refusal), refusal.code)
    return as_json({"error": told}, refusal.status, refusal.headers)


async def say_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "NotFound" if error.status_code == 404 else "WrongRequest"
    told = error_body(error.status_code, kind, error.detail)
    return as_json({"error": told}, error.status_code, error.headers)


async def say_unexpected(_request: Request, _error: Exception) -> Response:
    # Starlette logs nothing itself and raises the error on, to uvicorn's log.
    # It answers outside the guard, hence the headers here.
    return as_json({"error": not_ours()}, 500, HEADERS)

"""Drafts over HTTP: an outline, the draft as it is written, what is kept, and acts on sentences."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import quote

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import NotFound, RequestError
from tramontane.server.bodies import Bodies
from tramontane.server.guard import MAX_BODY_BYTES
from tramontane.server.stream import Emit, stream
from tramontane.server.wire import (
    MAX_NAMES,
    Body,
    NothingBody,
    SomeBody,
    event_of,
    plain,
    read_body,
    to_json,
)
from tramontane.writing.events import Event
from tramontane.writing.outline import MAX_SECTIONS

LARGEST_ID = 2**63 - 1


class ChosenBody(Body):
    """A section asked for: a note, and the heading over what comes of it."""

    collection: str = Field(min_length=1, max_length=200)
    path: str = Field(min_length=1, max_length=4_096)
    heading: str | None = Field(None, max_length=1_000)


class OutlineBody(Body):
    """`words` is the length aimed at; left out, it is the form's own."""

    task: str
    collections: list[str] | None = Field(None, max_length=MAX_NAMES)
    form: str = Field("post", max_length=40)
    words: int | None = None


class WriteBody(OutlineBody):
    """`chosen` is the outline, as it came or changed; without it the notes say.

    `experts` names those switched on; absent or null means every one in place.
    """

    chosen: list[ChosenBody] | None = Field(None, max_length=MAX_SECTIONS)
    experts: list[str] | None = Field(None, max_length=MAX_NAMES)
    honest: bool = False


class ReviseBody(Body):
    """What to do about a sentence; `version` is the one that was seen.

    `place` is the sentence's in its section, from 0. `text` is wanted by rewrite and add alone; add
    puts it after the place, or, at -1, before all.
    """

    version: int = Field(ge=1)
    section: int = Field(ge=0)
    place: int = Field(ge=-1)
    act: Literal["accept", "quote", "rewrite", "add", "remove"]
    text: str | None = Field(None, max_length=20_000)


class VersionBody(Body):
    version: int = Field(ge=1, le=LARGEST_ID)


@dataclass(frozen=True, slots=True)
class Kept:
    """The draft was kept under this id; the last event of writing it."""

    id: int


class DraftDesk(Protocol):
    """Where drafts are written and kept. Ids and places that aren't there raise NotFound."""

    def outline(self, asked: OutlineBody) -> dict[str, Any]:
        """Returns {"sections", "reason", "closest"}; each section with note, heading, passages."""

    def write(self, asked: WriteBody) -> Iterator[Event | Kept]:
        """Yields a draft's events, then where it was kept; closed before, it keeps what stands."""

    def forms(self) -> Sequence[dict[str, Any]]: ...

    def drafts(self) -> Sequence[Any]: ...

    def draft(self, draft_id: int, version: int | None = None) -> dict[str, Any]:
        """Returns a version with its sections, and each source's whereabouts now."""

    def revise(self, draft_id: int, asked: ReviseBody) -> dict[str, Any]: ...

    def restore(self, draft_id: int, version: int) -> dict[str, Any]: ...

    def delete(self, draft_id: int) -> None: ...

    def markdown(self, draft_id: int) -> tuple[str, str]:
        """Returns a file's name and its text."""

    def html(self, draft_id: int) -> tuple[str, str]:
        """Returns a file's name and its text, one page with links to the notes."""


class DraftsApi:
    def __init__(self, desk: DraftDesk, bodies: Bodies, pool: ThreadPoolExecutor):
        self.desk, self.bodies, self.pool = desk, bodies, pool

    def routes(self) -> list[Route]:
        return [
            Route("/api/forms", self.forms),
            Route("/api/outline", self.outline, methods=["POST"]),
            Route("/api/write", self.write, methods=["POST"]),
            Route("/api/drafts", self.drafts),
            Route("/api/drafts/{id}", self.draft),
            Route("/api/drafts/{id}/revise", self.revise, methods=["POST"]),
            Route("/api/drafts/{id}/restore", self.restore, methods=["POST"]),
            Route("/api/drafts/{id}/delete", self.delete, methods=["POST"]),
            Route("/api/drafts/{id}/markdown", self.markdown),
            Route("/api/drafts/{id}/html", self.html),
        ]

    async def body_of(self, http: Request, kind: type[SomeBody]) -> SomeBody:
        return read_body(await self.bodies.of(http, MAX_BODY_BYTES), kind)

    async def forms(self, _http: Request) -> Response:
        return answer({"forms": await run_in_threadpool(self.desk.forms)})

    async def outline(self, http: Request) -> Response:
        asked = await self.body_of(http, OutlineBody)
        return answer(await run_in_threadpool(self.desk.outline, asked))

    async def write(self, http: Request) -> Response:
        asked = await self.body_of(http, WriteBody)

        def work(emit: Emit) -> None:
            with closing(self.desk.write(asked)) as events:
                for event in events:
                    if isinstance(event, Kept):
                        emit("kept", event)
                    else:
                        emit(*event_of(event))

        return await stream(http, work, self.pool)

    async def drafts(self, _http: Request) -> Response:
        return answer({"drafts": await run_in_threadpool(self.desk.drafts)})

    async def draft(self, http: Request) -> Response:
        version = http.query_params.get("version")
        number = None if version is None else number_of(version, "version")
        return answer(await run_in_threadpool(self.desk.draft, id_of(http), number))

    async def revise(self, http: Request) -> Response:
        asked = await self.body_of(http, ReviseBody)
        return answer(await run_in_threadpool(self.desk.revise, id_of(http), asked))

    async def restore(self, http: Request) -> Response:
        asked = await self.body_of(http, VersionBody)
        return answer(await run_in_threadpool(self.desk.restore, id_of(http), asked.version))

    async def delete(self, http: Request) -> Response:
        await self.body_of(http, NothingBody)
        await run_in_threadpool(self.desk.delete, id_of(http))
        return answer({"deleted": id_of(http)})

    async def markdown(self, http: Request) -> Response:
        name, text = await run_in_threadpool(self.desk.markdown, id_of(http))
        return as_file(name, text, "text/markdown")

    async def html(self, http: Request) -> Response:
        name, text = await run_in_threadpool(self.desk.html, id_of(http))
        return as_file(name, text, "text/html")


def as_file(name: str, text: str, media: str) -> Response:
    """Returns a file to be saved; opened in the browser after all, it shares no origin with the
    page and runs nothing."""
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    return Response(text, media_type=media, headers=headers)


def id_of(http: Request) -> int:
    text = http.path_params["id"]
    try:
        return number_of(text, "draft")
    except RequestError as error:
        raise NotFound(str(error)) from None


def number_of(text: str, what: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if not 1 <= number <= LARGEST_ID:
        raise RequestError(f"{text[:40]!r} is no {what}'s number; they count from 1")
    return number


def answer(value: Any) -> Response:
    return Response(to_json(plain(value)), media_type="application/json")

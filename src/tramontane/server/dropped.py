"""Dropped folders over HTTP: a browser hides where they lie, so their files come here one by one.

A copy is begun, gets its files in pieces, and is done; until then nothing of it can be seen. One
for which nothing more comes is given up, and so are all when the server ends.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import Busy, NotFound, RequestError
from tramontane.library.copy_names import copy_name
from tramontane.library.kept_copies import MAY_COME, Arrival, KeptCopies
from tramontane.server.bodies import Bodies
from tramontane.server.desk import Desk
from tramontane.server.guard import MAX_BODY_BYTES, MAX_PIECE_BYTES
from tramontane.server.limits import Limits
from tramontane.server.wire import Body, NothingBody, plain, read_body, to_json

MAX_NAME_CHARS = 1_000
# JSON's readers take larger numbers for rounded ones.
MAX_NUMBER = 2**53


class CopyBody(Body):
    """The dropped folder's own name. At its end the copy replaces the one there is of that name."""

    name: str = Field(min_length=1, max_length=MAX_NAME_CHARS)


@dataclass(slots=True)
class Sending:
    """A copy that somebody sends, and when it is given up."""

    arrival: Arrival
    gives_up: asyncio.TimerHandle


class DroppedApi:
    def __init__(self, copies: KeptCopies, desk: Desk, bodies: Bodies, limits: Limits):
        self.copies, self.desk, self.bodies, self.limits = copies, desk, bodies, limits
        self.sendings: dict[str, Sending] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/api/dropped", self.facts),
            Route("/api/dropped", self.begin, methods=["POST"]),
            Route("/api/dropped/remove", self.remove, methods=["POST"]),
            Route("/api/dropped/{id}/file", self.file, methods=["POST"]),
            Route("/api/dropped/{id}/done", self.done, methods=["POST"]),
            Route("/api/dropped/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def facts(self, http: Request) -> Response:
        """Says what a copy may hold, which there are, and what one of a folder would be called."""
        told = http.query_params.get("name", "")[:MAX_NAME_CHARS]
        copies = await run_in_threadpool(self.copies.ls)
        name = copy_name(told)
        free_name = await run_in_threadpool(self.copies.free_name, name)
        named = {"name": name, "free_name": free_name, "copies": copies}
        return answer(named | MAY_COME | {"piece_bytes": MAX_PIECE_BYTES})

    async def begin(self, http: Request) -> Response:
        asked = await self.body_of(http, CopyBody)
        if len(self.sendings) >= self.limits.most_copies:
            raise Busy(
                f"{len(self.sendings)} folders are being copied already; wait for one to be done"
            )
        arrival = await run_in_threadpool(self.copies.begin, asked.name)
        id_ = secrets.token_urlsafe(16)
        self.sendings[id_] = Sending(arrival, self.in_a_while(id_))
        return answer({"id": id_, "name": arrival.name})

    async def file(self, http: Request) -> Response:
        """Takes a piece of a file, from byte `at` of its `size`; both may be left out for one that
        comes whole."""
        id_, path = http.path_params["id"], http.query_params.get("path", "")
        at, size = number_of(http, "at") or 0, number_of(http, "size")
        self.find(id_)
        data = await self.bodies.of(http, MAX_PIECE_BYTES)
        sending = self.find(id_)
        sending.gives_up.cancel()
        sending.gives_up = self.in_a_while(id_)
        await run_in_threadpool(sending.arrival.put, path, data, at=at, size=size)
        return answer({"num_bytes": len(data)})

    async def done(self, http: Request) -> Response:
        await self.body_of(http, NothingBody)
        arrival = self.take(http.path_params["id"])
        copy, skipped = await run_in_threadpool(arrival.finish)
        return answer({"copy": copy, "skipped": skipped})

    async def cancel(self, http: Request) -> Response:
        await self.body_of(http, NothingBody)
        await run_in_threadpool(self.take(http.path_params["id"]).cancel)
        return answer({})

    async def remove(self, http: Request) -> Response:
        asked = await self.body_of(http, CopyBody)
        return answer({"removed": await run_in_threadpool(self.remove_unread, asked.name)})

    def remove_unread(self, name: str) -> Any:
        """Removes a copy and returns it; raises RequestError for one that a collection reads."""
        copy = self.copies.find(name)
        for collection in self.desk.collections():
            if collection.folder == copy.folder:
                raise RequestError(
                    f"the collection {collection.name!r} is read from this copy, which goes with "
                    f"it: `tramontane collections rm {collection.name}`"
                )
        self.copies.remove(copy.name)
        return copy

    async def body_of(self, http: Request, kind: type[Body]) -> Any:
        return read_body(await self.bodies.of(http, MAX_BODY_BYTES), kind)

    def find(self, id_: str) -> Sending:
        if id_ not in self.sendings:
            raise NotFound("this copy is no longer waited for; give the folder again")
        return self.sendings[id_]

    def take(self, id_: str) -> Arrival:
        """Returns a copy that is sent no longer."""
        sending = self.find(id_)
        sending.gives_up.cancel()
        del self.sendings[id_]
        return sending.arrival

    def in_a_while(self, id_: str) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(self.limits.copy_seconds, self.give_up, id_)

    def give_up(self, id_: str) -> None:
        arrival = self.take(id_)
        asyncio.get_running_loop().run_in_executor(None, arrival.cancel)

    async def close(self) -> None:
        """Gives up every copy that is still coming."""
        for id_ in list(self.sendings):
            await run_in_threadpool(self.take(id_).cancel)


def number_of(http: Request, name: str) -> int | None:
    text = http.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= MAX_NUMBER):
        raise RequestError(f"{name}: {text[:40]!r} is no number of bytes")
    return int(text)


def answer(value: Any) -> Response:
    return Response(to_json(plain(value)), media_type="application/json")

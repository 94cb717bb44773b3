"""The history over HTTP: answers are kept as they end, listed, opened, removed.

Each key sees and removes its own, and so does whoever needs none. To remove all at once, also
everyone's, wants a key that may manage.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import RequestError, TramontaneError
from tramontane.library.chats import NUM_LISTED, Chat, ChatEvent, Chats
from tramontane.server.bodies import Bodies
from tramontane.server.desk import Desk
from tramontane.server.guard import MAX_BODY_BYTES, key_of
from tramontane.server.refusal import error_of
from tramontane.server.wire import AskBody, Body, plain, read_body, to_json
from tramontane.writing.events import Source

log = logging.getLogger(__name__)

MOST_SEARCH_CHARACTERS = 400


class RemoveBody(Body):
    id: int = Field(ge=1, le=2**53)


class ClearBody(Body):
    """With `everyone`, what others asked goes too."""

    everyone: bool = False


class History:
    """Keeps answers as they end, where they are to be kept; an answer never fails for that."""

    def __init__(self, chats: Chats, desk: Desk, *, keeps: bool = True):
        self.chats, self.desk, self.keeps = chats, desk, keeps

    def kept(
        self, events: Iterator[ChatEvent], asked: AskBody, key_id: str | None
    ) -> Iterator[ChatEvent]:
        """Yields an answer's events and writes them down; the first says under which number.

        What is finished is written before its last event is told, so that whoever has that has
        it for good. Closed before, or after an error underway, the answer is kept as far as it
        came; one that an error ended before its first event is no answer.
        """
        if not (self.keeps and asked.keep):
            yield from events
            return
        chat_id, told = self.begin(asked, key_id)
        taken: list[ChatEvent] = []
        state = "unfinished"
        try:
            for name, data in events:
                if not taken:
                    yield "kept", told
                taken.append((name, data))
                if name == "done":
                    state = "done"
                    self.end(chat_id, taken, state)
                yield name, data
        except TramontaneError as error:
            state = "failed"
            if not taken:
                self.drop(chat_id, key_id)
                raise
            self.end(chat_id, [*taken, ("error", error_of(error))], state)
            raise
        finally:
            if state == "unfinished" and taken:
                self.end(chat_id, taken, state)

    def begin(self, asked: AskBody, key_id: str | None) -> tuple[int | None, dict[str, Any]]:
        """Returns the new chat's number, None where it can't be kept, and what is told of it."""
        try:
            collections, experts = asked.collections, asked.experts
            if collections is None:
                collections = [collection.name for collection in self.desk.collections()]
            if experts is None:
                experts = [card.name for card in self.desk.experts() if card.is_in_place]
            chat = self.chats.begin(asked.question, collections, experts, key_id)
        except TramontaneError as error:
            log.warning("an answer is not kept: %s", type(error).__name__)
            return None, {"id": None, "asked": None, "why_not": str(error)}
        return chat.id, {"id": chat.id, "asked": chat.asked, "why_not": None}

    def end(self, chat_id: int | None, events: list[ChatEvent], state: str) -> None:
        if chat_id is None:
            return
        try:
            self.chats.end(chat_id, events, state)
        except TramontaneError as error:
            log.warning("an answer is not kept: %s", type(error).__name__)

    def drop(self, chat_id: int | None, key_id: str | None) -> None:
        if chat_id is None:
            return
        try:
            self.chats.remove(chat_id, key_id)
        except TramontaneError as error:
            log.warning("a question stays kept: %s", type(error).__name__)


class ChatsApi:
    def __init__(self, history: History, bodies: Bodies):
        self.history, self.chats, self.bodies = history, history.chats, bodies

    def routes(self) -> list[Route]:
        return [
            Route("/api/chats", self.ls),
            Route("/api/chats/remove", self.remove, methods=["POST"]),
            Route("/api/chats/clear", self.clear, methods=["POST"]),
            Route("/api/chats/{id}", self.chat),
        ]

    async def ls(self, http: Request) -> Response:
        """Sends a list's worth of chats, and whether older ones follow (`before` the last's id)."""
        words, before = read_search(http.query_params)
        found = await run_in_threadpool(
            self.chats.ls, key_of(http), words=words, before=before, limit=NUM_LISTED + 1
        )
        return answer(
            {
                "chats": [head_of(chat) for chat in found[:NUM_LISTED]],
                "has_more": len(found) > NUM_LISTED,
                "keeps": self.history.keeps,
            }
        )

    async def chat(self, http: Request) -> Response:
        """Sends a chat with its events, and where each of its sources is now."""
        chat_id = read_id(http.path_params["id"], "an answer's number")
        return answer({"chat": await run_in_threadpool(self.whole, chat_id, key_of(http))})

    def whole(self, chat_id: int, key_id: str | None) -> dict[str, Any]:
        chat = self.chats.chat(chat_id, key_id)
        sources = [
            source
            for name, data in chat.events
            for source in (
                data["sources"]
                if name == "sources"
                else [data["closest"]]
                if name == "abstained" and data["closest"]
                else ()
            )
        ]
        now = [
            {"number": source["number"]} | plain(self.history.desk.source_now(read_source(source)))
            for source in sources
        ]
        return head_of(chat) | {"events": chat.events, "sources_now": now}

    async def remove(self, http: Request) -> Response:
        asked = read_body(await self.bodies.of(http, MAX_BODY_BYTES), RemoveBody)
        await run_in_threadpool(self.chats.remove, asked.id, key_of(http))
        return answer({"removed": 1})

    async def clear(self, http: Request) -> Response:
        asked = read_body(await self.bodies.of(http, MAX_BODY_BYTES), ClearBody)
        gone = await run_in_threadpool(self.chats.clear, key_of(http), everyone=asked.everyone)
        return answer({"removed": gone})


def head_of(chat: Chat) -> dict[str, Any]:
    return {name: value for name, value in plain(chat).items() if name != "events"}


def read_source(source: dict[str, Any]) -> Source:
    box = source.get("box")
    return Source(
        **(source | {"heading": tuple(source["heading"]), "box": tuple(box) if box else None})
    )


def read_search(query: Mapping[str, str]) -> tuple[str, int | None]:
    """Returns the words looked for and the number that all found are below, if any."""
    words, before = query.get("words", ""), query.get("before", "")
    if len(words) > MOST_SEARCH_CHARACTERS:
        raise RequestError(
            f"{len(words)} characters to look for; {MOST_SEARCH_CHARACTERS} are the most"
        )
    return words, read_id(before, "an answer's number") if before else None


def read_id(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestError(f"{text[:40]!r} is not {what}")
    return int(text)


def answer(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")

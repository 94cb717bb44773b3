"""Labelling over HTTP: sentences to judge against a collection's notes, verdicts, the promise."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import RequestError
from tramontane.library.support_labels import SupportLabel
from tramontane.server.bodies import Bodies
from tramontane.server.desk import Report
from tramontane.server.guard import MAX_BODY_BYTES
from tramontane.server.stream import Emit, progress_to, stream
from tramontane.server.wire import Body, SomeBody, plain, read_body, to_json
from tramontane.writing.calibration import Calibration
from tramontane.writing.labelling import Progress, ToJudge
from tramontane.writing.promise import WRONG

# As many as fit into a request with what stands around them, in most scripts.
MOST_CHARACTERS = 60_000
# SQLite's own numbers go further, but JSON's readers don't.
MOST_ID = 2**53


class TextBody(Body):
    """A text of one's own about a collection's notes; its sentences wait for verdicts."""

    collection: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=MOST_CHARACTERS)


class NextBody(Body):
    """`kind` says whose sentences: one's own, or the base's prose, which is written for it."""

    collection: str = Field(min_length=1, max_length=200)
    kind: Literal["own", "prose"]


class JudgeBody(Body):
    """`partly` counts as not supported; `skipped` counts as nothing."""

    id: int = Field(ge=1, le=MOST_ID)
    verdict: Literal["supported", "partly", "unsupported", "skipped"]


class UndoBody(NextBody):
    """Takes back the last verdict on a kind of text."""


class CalibrateBody(Body):
    """`error` is the share of what is shown as supported that may not be."""

    collection: str = Field(min_length=1, max_length=200)
    error: float = Field(WRONG, ge=0.01, le=0.5)


class LabelDesk(Protocol):
    """Where sentences are judged. Methods may be called from several threads at once."""

    def can_write(self) -> bool:
        """Returns whether the base shows prose of its own, which can be labelled too."""

    def progress(self, collection: str) -> list[Progress]: ...

    def queue_text(self, collection: str, text: str, report: Report) -> tuple[int, int]:
        """Returns how many sentences of a text can be judged, and how many of these are new."""

    def next_sentence(self, collection: str, kind: str) -> tuple[ToJudge | None, int]:
        """Returns the next sentence, and how many were left out: their notes have changed."""

    def judge(self, label_id: int, verdict: str) -> SupportLabel: ...

    def undo(self, collection: str, kind: str) -> tuple[SupportLabel | None, ToJudge | None]:
        """Takes the last verdict back; returns what it was given to, to be judged anew.

        None where no verdict was given; None to judge where the note has changed since.
        """

    def calibrate(self, collection: str, error: float) -> list[Calibration]: ...


class LabelsApi:
    def __init__(self, desk: LabelDesk, bodies: Bodies, pool: ThreadPoolExecutor):
        self.desk, self.bodies, self.pool = desk, bodies, pool

    def routes(self) -> list[Route]:
        return [
            Route("/api/labels", self.labels),
            Route("/api/labels", self.queue_text, methods=["POST"]),
            Route("/api/labels/next", self.next_sentence, methods=["POST"]),
            Route("/api/labels/judge", self.judge, methods=["POST"]),
            Route("/api/labels/undo", self.undo, methods=["POST"]),
            Route("/api/labels/calibrate", self.calibrate, methods=["POST"]),
        ]

    async def body_of(self, http: Request, kind: type[SomeBody]) -> SomeBody:
        return read_body(await self.bodies.of(http, MAX_BODY_BYTES), kind)

    async def labels(self, http: Request) -> Response:
        if not (collection := http.query_params.get("collection", "")):
            raise RequestError("collection is missing from the address, or empty")

        def told() -> dict[str, Any]:
            return self.state_of(collection) | {"can_write": self.desk.can_write()}

        return await answer(told)

    async def queue_text(self, http: Request) -> Response:
        asked = await self.body_of(http, TextBody)

        def work(emit: Emit) -> None:
            found = self.desk.queue_text(asked.collection, asked.text, progress_to(emit))
            num_found, num_new = found
            told = {"num_found": num_found, "num_new": num_new}
            emit("labels", told | self.state_of(asked.collection))

        return await stream(http, work, self.pool)

    async def next_sentence(self, http: Request) -> Response:
        asked = await self.body_of(http, NextBody)

        def told() -> dict[str, Any]:
            sentence, num_stale = self.desk.next_sentence(asked.collection, asked.kind)
            state = self.state_of(asked.collection)
            return {"sentence": sentence, "num_stale": num_stale} | state

        return await answer(told)

    async def judge(self, http: Request) -> Response:
        asked = await self.body_of(http, JudgeBody)

        def told() -> dict[str, Any]:
            label = self.desk.judge(asked.id, asked.verdict)
            return self.state_of(label.collection)

        return await answer(told)

    async def undo(self, http: Request) -> Response:
        asked = await self.body_of(http, UndoBody)

        def told() -> dict[str, Any]:
            undone, sentence = self.desk.undo(asked.collection, asked.kind)
            taken_back = undone.sentence if undone else None
            state = self.state_of(asked.collection)
            return {"taken_back": taken_back, "sentence": sentence} | state

        return await answer(told)

    async def calibrate(self, http: Request) -> Response:
        asked = await self.body_of(http, CalibrateBody)

        def told() -> dict[str, Any]:
            found = self.desk.calibrate(asked.collection, asked.error)
            calibrations = [one.as_json() for one in found]
            return {"calibrations": calibrations} | self.state_of(asked.collection)

        return await answer(told)

    def state_of(self, collection: str) -> dict[str, Any]:
        return {"collection": collection, "kinds": self.desk.progress(collection)}


async def answer(told: Callable[[], dict[str, Any]]) -> Response:
    body = to_json(plain(await run_in_threadpool(told)))
    return Response(body, media_type="application/json")

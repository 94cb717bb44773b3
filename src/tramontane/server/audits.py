"""Audits over HTTP: what is kept, what one found, its report, two compared, findings."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import RequestError
from tramontane.server.bodies import Bodies
from tramontane.server.guard import MAX_BODY_BYTES
from tramontane.server.wire import MAX_NAMES, Body, plain, read_body, to_json
from tramontane.writing.events import Source

# A report is no page of ours: an audit may have come from a stranger. It runs nothing, asks nothing
# of anybody, and shares no origin with the page.
REPORT_POLICY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "sandbox",
    ]
)


class ReportedSource(Body):
    """A passage as the answer showed it."""

    number: int = Field(ge=1, le=99)
    collection: str = Field(max_length=200)
    path: str = Field(max_length=4_096)
    title: str = Field(max_length=1_000)
    first_line: int = Field(ge=1)
    last_line: int = Field(ge=1)
    text: str = Field(max_length=20_000)
    note_sha256: str = Field("", max_length=64)

    def as_source(self) -> Source:
        return Source(**self.model_dump())


class FindingBody(Body):
    """A sentence of an answer that somebody reports.

    `kind` says where it stood: the model's prose, its own words, or a quotation from a note.
    `experts` names those that were switched on; null means every one in place.
    """

    question: str = Field(min_length=1, max_length=4_000)
    sentence: str = Field(min_length=1, max_length=8_000)
    kind: Literal["prose", "own_words", "quotation"]
    sources: list[ReportedSource] = Field(default_factory=list, max_length=20)
    source: int | None = None
    experts: list[str] | None = Field(None, max_length=MAX_NAMES)
    comment: str = Field("", max_length=4_000)


class AuditDesk(Protocol):
    """Where audits and findings are kept; starting an audit is a job."""

    def audits(self) -> dict[str, Any]:
        """Returns {"audits", "unfinished", "broken", "suites"}: those kept, those begun, those that
        can't be read and why, and what can be asked."""

    def audit(self, name: str) -> dict[str, Any]: ...

    def flipped(self, name: str, suite: str, measure: str, expert: str) -> dict[str, Any]:
        """Returns the items that withdrawing an expert flips or moves."""

    def report(self, name: str) -> bytes:
        """Returns the page for people, as it was written."""

    def comparison(self, before: str, after: str) -> dict[str, Any]: ...

    def findings(self) -> Sequence[dict[str, Any]]: ...

    def save_finding(self, asked: FindingBody) -> dict[str, Any]:
        """Asks the model again, and saves the finding; raises AuditError if it says otherwise."""


class AuditsApi:
    def __init__(self, desk: AuditDesk, bodies: Bodies):
        self.desk, self.bodies = desk, bodies

    def routes(self) -> list[Route]:
        return [
            Route("/api/audits", self.audits),
            Route("/api/audits/{name}", self.audit),
            Route("/api/audits/{name}/flipped", self.flipped),
            Route("/api/audits/{name}/report", self.report),
            Route("/api/comparison", self.comparison),
            Route("/api/findings", self.findings),
            Route("/api/findings", self.save_finding, methods=["POST"]),
        ]

    async def audits(self, _http: Request) -> Response:
        return answer(await run_in_threadpool(self.desk.audits))

    async def audit(self, http: Request) -> Response:
        return answer(await run_in_threadpool(self.desk.audit, http.path_params["name"]))

    async def flipped(self, http: Request) -> Response:
        place = [asked_for(http, field) for field in ("suite", "measure", "expert")]
        name = http.path_params["name"]
        return answer(await run_in_threadpool(self.desk.flipped, name, *place))

    async def report(self, http: Request) -> Response:
        page = await run_in_threadpool(self.desk.report, http.path_params["name"])
        headers = {"content-security-policy": REPORT_POLICY}
        return Response(page, media_type="text/html", headers=headers)

    async def comparison(self, http: Request) -> Response:
        before, after = asked_for(http, "before"), asked_for(http, "after")
        return answer(await run_in_threadpool(self.desk.comparison, before, after))

    async def findings(self, _http: Request) -> Response:
        return answer({"findings": await run_in_threadpool(self.desk.findings)})

    async def save_finding(self, http: Request) -> Response:
        asked = read_body(await self.bodies.of(http, MAX_BODY_BYTES), FindingBody)
        return answer({"finding": await run_in_threadpool(self.desk.save_finding, asked)})


def asked_for(http: Request, field: str) -> str:
    if not (value := http.query_params.get(field, "")):
        raise RequestError(f"{field} is missing from the address, or empty")
    return value


def answer(value: Any) -> Response:
    return Response(to_json(plain(value)), media_type="application/json")

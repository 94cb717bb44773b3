"""REQUESTS → REPLY: what chat and plain completions share.

A plan (plan.py) becomes `n` requests; their tokens come back as text, calls and log-probabilities,
either gathered into one reply or as server-sent events.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sse_starlette import EventSourceResponse
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from tramontane.engine.request import NewToken
from tramontane.errors import RequestError
from tramontane.server.plan import Plan, request_of
from tramontane.server.refusal import Refusal, error_body
from tramontane.server.service import Answering, Service
from tramontane.server.stream import until_gone
from tramontane.writing.speech import Said, Speech, token_text

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.25
PING_SECONDS = 15
FINISHES = {"end": "stop", "stop": "stop", "guide": "stop", "length": "length", "time": "length"}
JSON = "application/json"


@dataclass(slots=True)
class Choice:
    """One answer of a reply: its place, its request, what it has said so far."""

    index: int
    plan: Plan
    answering: Answering
    speech: Speech
    progress_told: tuple[int, int] | None = None

    @property
    def finish(self) -> str:
        if self.speech.num_calls and self.speech.finish in ("end", "stop", "guide"):
            return "tool_calls"
        return FINISHES.get(self.speech.finish or "", "stop")


class Format(Protocol):
    """How a reply reads on the wire."""

    object: str
    chunk_object: str
    prefix: str

    def opening(self, choice: Choice) -> dict[str, Any] | None:
        """Returns the choice of the first chunk, before anything was said."""

    def piece(self, choice: Choice, said: Said) -> dict[str, Any]:
        """Returns one choice of a chunk."""

    def whole(self, choice: Choice, said: Sequence[Said]) -> dict[str, Any]:
        """Returns one choice of a reply."""


@dataclass(slots=True)
class Answers:
    """All choices of one reply, from submission to the last token."""

    service: Service
    format: Format
    plans: Sequence[Plan]
    num_choices: int
    warnings: list[str]
    tells_usage: bool = False
    tells_progress: bool = False
    choices: list[Choice] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    created: int = field(default_factory=lambda: int(time.time()))
    id: str = field(init=False)

    def __post_init__(self):
        self.id = f"{self.format.prefix}-{secrets.token_hex(12)}"

    @property
    def num_answers(self) -> int:
        return len(self.plans) * self.num_choices

    def submit(self) -> None:
        """Hands every choice to the engine, or none; runs where waiting for a lock is no harm."""
        tokenizer = self.service.model.tokenizer
        places = [(plan, index) for plan in self.plans for index in range(self.num_choices)]
        for place, (plan, index) in enumerate(places):
            answering = Answering(self.service, request_of(self.service, plan, index))
            choice = Choice(place, plan, answering, Speech(tokenizer, plan.stops, plan.form))
            try:
                answering.submit()
            except BaseException:
                self.cancel()
                raise
            self.choices.append(choice)

    def cancel(self) -> None:
        for choice in self.choices:
            choice.answering.cancel()

    # As one reply

    async def gathered(self, http: HttpRequest) -> Response:
        """Returns the whole reply; a client that goes away ends the work."""
        self.service.enter(self.num_answers)
        try:
            await self.service.prepare(self.submit)
            work = asyncio.ensure_future(asyncio.gather(*map(self.listen, self.choices)))
            gone = asyncio.ensure_future(until_gone(http))
            try:
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    return Response(status_code=499)  # nobody reads this
                said = work.result()
            finally:
                gone.cancel()
                work.cancel()
        finally:
            self.cancel()
            self.service.leave(self.num_answers)
        body = (
            self.head(self.format.object)
            | {
                "choices": [
                    self.format.whole(choice, pieces)
                    for choice, pieces in zip(self.choices, said, strict=True)
                ],
                "usage": self.usage(),
            }
            | prompt_routes_of(said[0])
        )
        if warnings := self.all_warnings():
            body["tramontane"] = {"warnings": warnings}
        return Response(as_json(body), media_type=JSON)

    async def listen(self, choice: Choice) -> list[Said]:
        pieces = []
        while not choice.speech.is_over:
            pieces.append(self.take(choice, await choice.answering.new_tokens()))
        return pieces

    def take(self, choice: Choice, tokens: Sequence[NewToken]) -> Said:
        """Returns what tokens add to a choice; raises Refusal where the engine failed."""
        metrics, speech = self.service.metrics, choice.speech
        if not speech.num_tokens and tokens:
            metrics.first_token.observe(time.monotonic() - self.began)
        before = speech.num_tokens
        said = speech.take(tokens)
        metrics.new_tokens.inc(speech.num_tokens - before)
        if speech.is_over:
            metrics.answer.observe(time.monotonic() - self.began)
            if choice.index % self.num_choices == 0:
                metrics.prompt_tokens.inc(len(choice.plan.token_ids))
                metrics.cached_tokens.inc(speech.num_cached)
            choice.answering.cancel()
        if said.finish == "failed":
            if (said.error or "").startswith(RequestError.__name__):
                raise RequestError(f"the model stopped: {said.error}")
            raise Refusal(500, "Failed", f"the model stopped: {said.error}")
        if said.finish == "cancelled":
            raise Refusal(503, "Stopping", "the server is being stopped; ask again in a moment")
        return said

    # As server-sent events

    async def streamed(self) -> Response:
        """Returns the reply as a stream; what is wrong with the request is raised before it."""
        self.service.enter(self.num_answers)
        has_left = False

        def leave_once() -> None:
            nonlocal has_left
            if not has_left:
                has_left = True
                self.cancel()
                self.service.leave(self.num_answers)

        try:
            await self.service.prepare(self.submit)
        except BaseException:
            leave_once()
            raise

        async def events() -> AsyncIterator[bytes]:
            try:
                async for chunk in self.chunks():
                    yield b"data: " + chunk.encode() + b"\n\n"
                yield b"data: [DONE]\n\n"
            finally:
                leave_once()

        async def gone(_message: object) -> None:
            leave_once()

        return EventSourceResponse(
            events(),
            ping=PING_SECONDS,
            send_timeout=self.service.limits.reader_seconds,
            client_close_handler_callable=gone,
        )

    async def chunks(self) -> AsyncIterator[str]:
        head = self.head(self.format.chunk_object)
        try:
            for choice in self.choices:
                if (opening := self.format.opening(choice)) is not None:
                    yield as_json(head | {"choices": [opening]} | self.usage_of_chunk())
            queue: asyncio.Queue[tuple[Choice, Said] | BaseException | None] = asyncio.Queue()
            tasks = [asyncio.ensure_future(self.tell(choice, queue)) for choice in self.choices]
            try:
                num_open = len(tasks)
                while num_open:
                    item = await queue.get()
                    if item is None:
                        num_open -= 1
                        continue
                    if isinstance(item, BaseException):
                        raise item
                    choice, said = item
                    if said.tokens or said.finish or said.text or said.calls:
                        piece = self.format.piece(choice, said)
                        routes = prompt_routes_of([said])
                        yield as_json(head | {"choices": [piece]} | routes | self.usage_of_chunk())
                    else:
                        yield as_json(head | self.progress(choice))
            finally:
                for task in tasks:
                    task.cancel()
            if warnings := self.all_warnings():
                yield as_json(head | {"choices": [], "tramontane": {"warnings": warnings}})
            if self.tells_usage:
                yield as_json(head | {"choices": [], "usage": self.usage()})
        except RequestError as error:
            yield as_json({"error": error_body(500, type(error).__name__, str(error))})
        except Refusal as refusal:
            told = error_body(refusal.status, refusal.kind, str(refusal), refusal.code)
            yield as_json({"error": told})

    async def tell(
        self, choice: Choice, queue: "asyncio.Queue[tuple[Choice, Said] | BaseException | None]"
    ) -> None:
        """Puts what a choice says into the queue, progress of its prompt before."""
        try:
            waits = PROGRESS_SECONDS if self.tells_progress else None
            while not choice.speech.is_over:
                tokens = await choice.answering.new_tokens(waits)
                if tokens:
                    waits = None
                    said = self.take(choice, tokens)
                    if said.text or said.calls or said.finish or self.tells_tokens(choice):
                        queue.put_nowait((choice, said))
                elif self.has_progress(choice):
                    queue.put_nowait((choice, Said()))
        except (RequestError, Refusal) as error:
            queue.put_nowait(error)
        finally:
            queue.put_nowait(None)

    def tells_tokens(self, choice: Choice) -> bool:
        plan = choice.plan
        return bool(
            plan.top_logprobs
            or plan.with_voice
            or plan.with_routes
            or plan.prompt_logprobs is not None
        )

    def has_progress(self, choice: Choice) -> bool:
        request_id = choice.answering.request_id
        told = self.service.model.engine.progress(request_id) if request_id is not None else None
        if told is None or told == choice.progress_told:
            return False
        choice.progress_told = told
        return True

    def progress(self, choice: Choice) -> dict[str, Any]:
        read, cached = choice.progress_told or (0, 0)
        told = {
            "total": len(choice.plan.token_ids),
            "cache": cached,
            "processed": read,
            "time_ms": round(1000 * (time.monotonic() - self.began)),
        }
        return {"choices": [], "prompt_progress": told}

    # What every reply carries

    def head(self, kind: str) -> dict[str, Any]:
        model = self.service.model
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": model.name,
            "system_fingerprint": model.fingerprint,
        }

    def usage(self) -> dict[str, Any]:
        firsts = self.choices[:: self.num_choices]
        num_prompt = sum(len(choice.plan.token_ids) for choice in firsts)
        num_new = sum(choice.speech.num_tokens for choice in self.choices)
        cached = sum(choice.speech.num_cached for choice in firsts)
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": num_new,
            "total_tokens": num_prompt + num_new,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def usage_of_chunk(self) -> dict[str, Any]:
        return {"usage": None} if self.tells_usage else {}

    def all_warnings(self) -> list[str]:
        told = list(self.warnings)
        for choice in self.choices:
            if choice.speech.finish == "time":
                told.append(
                    f"choice {choice.index} ended after {self.service.limits.answer_seconds:.0f} "
                    "seconds, this server's limit"
                )
            elif choice.speech.finish == "length" and choice.plan.is_default_length:
                told.append(
                    f"choice {choice.index} was clipped at {choice.plan.max_new_tokens} tokens, "
                    "this server's choice where max_tokens is missing"
                )
        return told


def voice_of(plan: Plan, tokenizer: Any, tokens: Sequence[NewToken]) -> dict[str, Any]:
    """Returns each token's shares and gates, as a part of a choice."""
    told = [token for token in tokens if token.shares is not None]
    voice = {
        "experts": [expert.name for expert in plan.experts],
        "tokens": [token_text(tokenizer, token.token_id)[0] for token in told],
        "shares": [[round(share, 6) for share in token.shares] for token in told],
        "gates": [[round(gate, 6) for gate in token.gates] for token in told],
    }
    return {"tramontane": {"voice": voice}}


def routes_of(plan: Plan, tokens: Sequence[NewToken]) -> dict[str, Any]:
    """Returns the base experts chosen for each new token but the last, as a part of a choice."""
    if not plan.with_routes:
        return {}
    return {"routed_experts": [token.routes for token in tokens if token.routes is not None]}


def prompt_routes_of(said: Sequence[Said]) -> dict[str, Any]:
    """Returns the prompt's routes where they were asked for, as a part of a reply."""
    firsts = [piece.tokens[0] for piece in said if piece.tokens]
    told = [token.prompt_routes for token in firsts if token.prompt_routes is not None]
    return {"prompt_routed_experts": told[0]} if told else {}


def as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

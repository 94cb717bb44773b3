"""The interface that programs know: OpenAI's paths, those of vLLM and llama.cpp for tokens, and
what monitors ask.
"""

import base64
import json
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tramontane.errors import RequestError
from tramontane.server.answers import JSON, PING_SECONDS, Answers, as_json
from tramontane.server.bodies import Bodies
from tramontane.server.chat import ChatFormat, plain_message, plan_of
from tramontane.server.completions import PlainFormat, plans_of
from tramontane.server.desk import Desk
from tramontane.server.from_notes import chunks_of, events_for, joined, question_of
from tramontane.server.metrics import CONTENT_TYPE
from tramontane.server.model import Embedder
from tramontane.server.openai_wire import (
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    EmbeddingBody,
    TokenizeBody,
    read_asked,
    warnings_for,
)
from tramontane.server.plan import check_characters, check_model
from tramontane.server.service import LOADING_RETRY_SECONDS, Service
from tramontane.server.stream import Emit, Stream, first_of

log = logging.getLogger(__name__)


class Api:
    def __init__(
        self,
        service: Service,
        desk: Desk,
        embedder: Embedder,
        bodies: Bodies,
        pool: ThreadPoolExecutor,
    ):
        """`pool` runs answers from notes; each takes a thread while it lasts."""
        self.service, self.desk, self.embedder = service, desk, embedder
        self.bodies, self.pool = bodies, pool

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/v1/embeddings", self.embed, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{name:path}", self.model),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/detokenize", self.detokenize, methods=["POST"]),
            Route("/tokenizer_info", self.tokenizer_info),
            Route("/health", self.health),
            Route("/metrics", self.metrics),
        ]

    async def chat(self, http: Request) -> Response:
        body = read_asked(await self.bodies.of(http), ChatBody)
        warnings = warnings_for(body)
        if body.extension.collections is not None:
            return await self.chat_from_notes(http, body, warnings)
        model = self.service.model
        check_model(model, body.model)
        plan = await self.service.prepare(lambda: plan_of(self.service, body))
        answers = Answers(
            self.service,
            ChatFormat(model.tokenizer, with_logprobs=bool(body.logprobs)),
            [plan],
            body.n or 1,
            warnings,
            tells_usage=bool(body.stream_options and body.stream_options.include_usage),
            tells_progress=bool(body.return_progress),
        )
        return await (answers.streamed() if body.stream else answers.gathered(http))

    async def chat_from_notes(self, http: Request, body: ChatBody, warnings: list[str]) -> Response:
        model = self.service.model
        check_model(model, body.model)
        question_of(body)
        self.service.enter(1)

        def work(emit: Emit) -> None:
            with closing(events_for(self.desk, body)) as events:
                for chunk in chunks_of(events, body, warnings, model.name, model.fingerprint):
                    emit("", chunk)

        running = Stream(work, self.pool)
        running.future.add_done_callback(
            lambda _: running.loop.call_soon_threadsafe(self.service.leave, 1)
        )
        first = await first_of(http, running)
        if first is None:
            return Response(status_code=499)  # nobody reads this
        if not body.stream:
            chunks = [json.loads(event.data) async for event in running.rest(first)]
            return Response(as_json(joined(chunks)), media_type=JSON)

        async def lines() -> AsyncIterator[bytes]:
            async for event in running.rest(first):
                data = f'{{"error":{event.data}}}' if event.event == "error" else event.data
                yield f"data: {data}\n\n".encode()
            yield b"data: [DONE]\n\n"

        async def stop(_message: object) -> None:
            running.stop()

        return EventSourceResponse(
            lines(),
            ping=PING_SECONDS,
            send_timeout=self.service.limits.reader_seconds,
            client_close_handler_callable=stop,
        )

    async def complete(self, http: Request) -> Response:
        body = read_asked(await self.bodies.of(http), CompletionBody)
        warnings = warnings_for(body)
        model = self.service.model
        check_model(model, body.model)
        plans = await self.service.prepare(lambda: plans_of(self.service, body))
        answers = Answers(
            self.service,
            PlainFormat(
                model.tokenizer,
                echoes=bool(body.echo),
                with_logprobs=body.logprobs is not None,
                num_top=body.logprobs or 0,
            ),
            plans,
            body.n or 1,
            warnings,
            tells_usage=bool(body.stream_options and body.stream_options.include_usage),
            tells_progress=bool(body.return_progress),
        )
        return await (answers.streamed() if body.stream else answers.gathered(http))

    async def embed(self, http: Request) -> Response:
        body = read_asked(await self.bodies.of(http), EmbeddingBody)
        warnings = warnings_for(body)
        texts = [body.input] if isinstance(body.input, str) else list(body.input)
        rows, counts = await self.service.prepare(lambda: self.rows_of(texts, body.dimensions))
        data = [
            {"object": "embedding", "index": place, "embedding": written(row, body.encoding_format)}
            for place, row in enumerate(rows)
        ]
        reply = {
            "object": "list",
            "model": self.embedder.name,
            "data": data,
            "usage": {"prompt_tokens": sum(counts), "total_tokens": sum(counts)},
        }
        if warnings:
            reply["tramontane"] = {"warnings": warnings}
        return Response(as_json(reply), media_type=JSON)

    def rows_of(self, texts: list[str], dimensions: int | None) -> tuple[np.ndarray, list[int]]:
        counts = self.embedder.num_tokens(texts)
        if 0 in counts:
            raise RequestError(f"input {counts.index(0)} holds no words; there is nothing to embed")
        rows = self.embedder(texts)
        width = rows.shape[1]
        if dimensions is not None and dimensions != width:
            if dimensions > width:
                raise RequestError(f"dimensions={dimensions}; {width} is the most")
            # Trained so that the first dimensions are a coarser vector (Matryoshka).
            rows = rows[:, :dimensions]
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return rows, counts

    async def models(self, _http: Request) -> Response:
        cards = [self.card(), self.embedder_card()]
        return Response(as_json({"object": "list", "data": cards}), media_type=JSON)

    async def model(self, http: Request) -> Response:
        name = http.path_params["name"]
        if name == self.embedder.name:
            return Response(as_json(self.embedder_card()), media_type=JSON)
        check_model(self.service.model, name)
        return Response(as_json(self.card()), media_type=JSON)

    def card(self) -> dict[str, Any]:
        model = self.service.model
        config = model.engine.runtime.config
        return {
            "id": model.name,
            "object": "model",
            "created": model.opened_at,
            "owned_by": "tramontane",
            "max_model_len": config.max_context_tokens,
            "fingerprint": model.fingerprint,
            "experts": [{"name": e.name, "hash": e.hash} for e in model.experts()],
        }

    def embedder_card(self) -> dict[str, Any]:
        return {
            "id": self.embedder.name,
            "object": "model",
            "created": 0,
            "owned_by": "tramontane",
        }

    async def tokenize(self, http: Request) -> Response:
        body = read_asked(await self.bodies.of(http), TokenizeBody)
        reply = await self.service.prepare(lambda: self.tokens_of(body))
        return Response(as_json(reply), media_type=JSON)

    def tokens_of(self, body: TokenizeBody) -> dict[str, Any]:
        model = self.service.model
        check_model(model, body.model)
        tokenizer = model.tokenizer
        given = [x for x in (body.prompt, body.content, body.messages) if x is not None]
        if len(given) != 1:
            raise RequestError("one of prompt, content and messages says what to tokenize")
        if body.messages is not None:
            messages = [plain_message(message) for message in body.messages]
            check_characters(model, sum(len(message["content"]) for message in messages))
            ids = tokenizer.encode_chat(
                messages,
                add_generation_prompt=body.add_generation_prompt is not False,
            )
        else:
            check_characters(model, len(given[0]))
            # As vLLM and llama.cpp do: control tokens are read by their names.
            ids = tokenizer.encode(given[0], parse_special=body.parse_special is not False)
            wants_bos = body.add_special_tokens is not False if body.prompt is not None else False
            if (wants_bos or body.add_special) and tokenizer.adds_bos:
                ids = [tokenizer.bos_id, *ids]
        tokens: list[Any] = list(ids)
        if body.with_pieces:
            tokens = [{"id": i, "piece": tokenizer.decode([i], skip_special=False)} for i in ids]
        context = model.engine.runtime.config.max_context_tokens
        return {"tokens": tokens, "count": len(ids), "max_model_len": context}

    async def detokenize(self, http: Request) -> Response:
        body = read_asked(await self.bodies.of(http), DetokenizeBody)

        def work() -> str:
            check_model(self.service.model, body.model)
            return self.service.model.tokenizer.decode(body.tokens, skip_special=False)

        text = await self.service.prepare(work)
        return Response(as_json({"content": text, "prompt": text}), media_type=JSON)

    async def tokenizer_info(self, _http: Request) -> Response:
        tokenizer = self.service.model.tokenizer
        told = {
            "tokenizer_class": type(tokenizer).__name__,
            "vocab_size": tokenizer.vocab_size,
            "bos_token": tokenizer.bos_text or None,
            "eos_token": tokenizer.eos_text or None,
            "chat_template": tokenizer.chat_template,
        }
        return Response(as_json(told), media_type=JSON)

    async def health(self, _http: Request) -> Response:
        state = self.service.state
        if state == "ok":
            return Response(as_json({"status": state}), media_type=JSON)
        headers = {"retry-after": str(LOADING_RETRY_SECONDS)} if state == "loading" else {}
        return Response(as_json({"status": state}), 503, headers, JSON)

    async def metrics(self, _http: Request) -> Response:
        return Response(self.service.metrics.text(), media_type=CONTENT_TYPE)


def written(row: np.ndarray, encoding: str | None) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return [float(x) for x in row]

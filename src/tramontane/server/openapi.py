"""The interface's description, made from the very models that check it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import Route

from tramontane import __version__
from tramontane.server import openai_wire as wire
from tramontane.server.audits import FindingBody
from tramontane.server.chats import MOST_SEARCH_CHARACTERS, ClearBody, RemoveBody
from tramontane.server.drafts import OutlineBody, ReviseBody, VersionBody, WriteBody
from tramontane.server.dropped import MAX_NAME_CHARS, MAX_NUMBER, CopyBody
from tramontane.server.jobs import JobBody
from tramontane.server.labels import CalibrateBody, JudgeBody, NextBody, TextBody, UndoBody
from tramontane.server.wire import (
    AskBody,
    CollectionBody,
    NothingBody,
    PackBody,
    SearchBody,
    SignInBody,
    SyncBody,
)

# What any request may meet, whatever it asks.
ALWAYS = (400, 401, 403, 408, 413, 415, 421, 500)
TEXTS = {
    200: "Done",
    202: "Taken on",
    304: "Unchanged",
    400: "The request is wrong; the error says where",
    401: "A key is needed, or this one isn't known",
    403: "Another site's page, or a key that may not",
    404: "No such thing",
    408: "The body came too slowly",
    409: "In use by another process",
    413: "The body is too long",
    415: "The body is of another type",
    421: "The Host header names another server",
    429: "Too many answers at once; Retry-After says when",
    500: "A defect of the server",
    503: "The model is being opened, or memory is short",
}
EVENTS, JSON, BYTES = "text/event-stream", "application/json", "application/octet-stream"
ID = {"type": "integer", "minimum": 1, "maximum": 2**53}
NUM_BYTES = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    summary: str
    body: type[BaseModel] | None = None
    reply: type[BaseModel] | None = None
    may: Sequence[int] = ()
    type: str = JSON
    status: int = 200
    streams: bool = False
    query: Sequence[str] = ()
    # Parts of the query that may be left out, with their schemas.
    optional: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Sequence[str] = field(default=())
    # Whether what is sent is a file's own bytes.
    takes_bytes: bool = False


OPERATIONS = (
    Operation(
        "post",
        "/v1/chat/completions",
        "An answer to a conversation, by the model or from notes",
        wire.ChatBody,
        wire.ChatCompletion,
        (404, 409, 429, 503),
        streams=True,
    ),
    Operation(
        "post",
        "/v1/completions",
        "What follows a text; with echo, the prompt's own log-probabilities",
        wire.CompletionBody,
        wire.Completion,
        (404, 429, 503),
        streams=True,
    ),
    Operation(
        "post",
        "/v1/embeddings",
        "Vectors of texts",
        wire.EmbeddingBody,
        wire.EmbeddingList,
        (503,),
    ),
    Operation("get", "/v1/models", "What is served", None, wire.ModelList, (503,)),
    Operation("get", "/v1/models/{name}", "One model", None, wire.ModelCard, (404, 503)),
    Operation(
        "post", "/tokenize", "Token ids of a text", wire.TokenizeBody, wire.Tokens, (404, 503)
    ),
    Operation(
        "post", "/detokenize", "Text of token ids", wire.DetokenizeBody, wire.Text, (404, 503)
    ),
    Operation("get", "/tokenizer_info", "The base's tokenizer", None, wire.TokenizerInfo, (503,)),
    Operation("get", "/health", "Whether the model is open", None, wire.Health, (503,)),
    Operation("get", "/metrics", "Figures for Prometheus", None, None, type="text/plain"),
    Operation("get", "/openapi.json", "This document"),
    Operation("get", "/api/status", "Base, mixture and notes"),
    Operation("get", "/api/examples", "Questions that the sample notes answer"),
    Operation("get", "/api/collections", "Collections of notes"),
    Operation(
        "post",
        "/api/collections",
        "Add a folder and read it",
        CollectionBody,
        may=(409,),
        type=EVENTS,
    ),
    Operation("post", "/api/sync", "Read a folder anew", SyncBody, may=(404, 409), type=EVENTS),
    Operation("get", "/api/notes", "Notes of a collection", may=(404,), query=("collection",)),
    Operation("get", "/api/note", "One note", may=(404,), query=("collection", "path")),
    Operation(
        "get",
        "/api/dropped",
        "Copies of dropped folders, and what one may hold",
        optional={"name": {"type": "string", "maxLength": MAX_NAME_CHARS}},
    ),
    Operation("post", "/api/dropped", "Begin a copy of a folder", CopyBody, may=(404, 409)),
    Operation(
        "post",
        "/api/dropped/{id}/file",
        "Send a file of it, or a piece of one",
        may=(404, 503),
        query=("path",),
        optional={"at": NUM_BYTES, "size": NUM_BYTES},
        takes_bytes=True,
    ),
    Operation(
        "post",
        "/api/dropped/{id}/done",
        "Make it the copy of its name",
        NothingBody,
        may=(404, 409),
    ),
    Operation("post", "/api/dropped/{id}/cancel", "Give it up", NothingBody, may=(404,)),
    Operation(
        "post",
        "/api/dropped/remove",
        "Remove a copy that no collection is read from",
        CopyBody,
        may=(404, 409),
    ),
    Operation("post", "/api/search", "Passages for some words", SearchBody, may=(404,)),
    Operation("post", "/api/ask", "An answer from notes", AskBody, may=(404, 409), type=EVENTS),
    Operation(
        "get",
        "/api/chats",
        "Questions that were asked, the newest first",
        optional={
            "words": {"type": "string", "maxLength": MOST_SEARCH_CHARACTERS},
            "before": ID,
        },
    ),
    Operation("get", "/api/chats/{id}", "One with its whole answer", may=(404,), numbers=("id",)),
    Operation("post", "/api/chats/remove", "Remove one for good", RemoveBody, may=(404, 409)),
    Operation("post", "/api/chats/clear", "Remove all for good", ClearBody, may=(409,)),
    Operation("get", "/api/experts", "Experts with their figures"),
    Operation(
        "post",
        "/api/experts/{name}/withdraw",
        "Take an expert out of the mixture, with a certificate",
        NothingBody,
        may=(404, 409),
    ),
    Operation("post", "/api/experts/{name}/restore", "Put it back", NothingBody, may=(404, 409)),
    Operation(
        "post",
        "/api/experts/{name}/pack",
        "Its file to give away",
        PackBody,
        may=(404,),
        type="application/octet-stream",
    ),
    Operation("get", "/api/experts/{name}/forgetting", "What forgetting removes", may=(404, 409)),
    Operation(
        "post",
        "/api/experts/{name}/forget",
        "Remove it and its collection for good",
        NothingBody,
        may=(404, 409),
    ),
    Operation("get", "/api/models", "Bases that are here, and what would fit"),
    Operation("get", "/api/audits", "Audits that are kept, and what can be asked"),
    Operation("get", "/api/audits/{name}", "What an audit found", may=(404,)),
    Operation(
        "get",
        "/api/audits/{name}/flipped",
        "The items that withdrawing an expert flips",
        may=(404,),
        query=("suite", "measure", "expert"),
    ),
    Operation(
        "get", "/api/audits/{name}/report", "Its report for people", may=(404,), type="text/html"
    ),
    Operation(
        "get",
        "/api/comparison",
        "What changed between two audits",
        may=(404,),
        query=("before", "after"),
    ),
    Operation("get", "/api/findings", "Sentences that were reported"),
    Operation(
        "post",
        "/api/findings",
        "Report a sentence of an answer",
        FindingBody,
        may=(404, 409, 503),
    ),
    Operation("get", "/api/forms", "What a draft can be, and its usual length"),
    Operation("post", "/api/outline", "The notes a draft would rest on", OutlineBody, may=(404,)),
    Operation(
        "post",
        "/api/write",
        "A draft from notes, kept as it ends",
        WriteBody,
        may=(404, 409),
        type=EVENTS,
    ),
    Operation("get", "/api/drafts", "Drafts that are kept, the last changed first"),
    Operation(
        "get",
        "/api/drafts/{id}",
        "A draft, its last version unless one is asked for",
        may=(404,),
        numbers=("id",),
        optional={"version": {"type": "integer", "minimum": 1, "maximum": 2**53}},
    ),
    Operation(
        "post",
        "/api/drafts/{id}/revise",
        "Accept, quote, rewrite, add or remove a sentence",
        ReviseBody,
        may=(404, 409),
        numbers=("id",),
    ),
    Operation(
        "post",
        "/api/drafts/{id}/restore",
        "Make an older version the newest",
        VersionBody,
        may=(404, 409),
        numbers=("id",),
    ),
    Operation(
        "post",
        "/api/drafts/{id}/delete",
        "Delete a draft with all its versions",
        NothingBody,
        may=(404, 409),
        numbers=("id",),
    ),
    Operation(
        "get",
        "/api/drafts/{id}/markdown",
        "A draft as a file",
        may=(404,),
        type="text/markdown",
        numbers=("id",),
    ),
    Operation(
        "get",
        "/api/drafts/{id}/html",
        "A draft as one page with links to the notes",
        may=(404,),
        type="text/html",
        numbers=("id",),
    ),
    Operation(
        "get",
        "/api/labels",
        "How far labelling is, and what it promises",
        may=(404,),
        query=("collection",),
    ),
    Operation(
        "post",
        "/api/labels",
        "Have a text's sentences wait for verdicts",
        TextBody,
        may=(404, 409),
        type=EVENTS,
    ),
    Operation(
        "post",
        "/api/labels/next",
        "The next sentence to judge, with its passages",
        NextBody,
        may=(404, 409, 503),
    ),
    Operation("post", "/api/labels/judge", "Give a verdict", JudgeBody, may=(404, 409)),
    Operation("post", "/api/labels/undo", "Take the last verdict back", UndoBody, may=(404, 409)),
    Operation(
        "post",
        "/api/labels/calibrate",
        "Make a promise of the verdicts, or say what is missing",
        CalibrateBody,
        may=(404, 409),
    ),
    Operation("post", "/api/sign-in", "Keep a key in the browser's cookie", SignInBody),
    Operation("get", "/api/jobs", "Long work, the newest first"),
    Operation("post", "/api/jobs", "Start long work", JobBody, may=(404, 409), status=202),
    Operation("get", "/api/jobs/{id}", "One job", may=(404,), numbers=("id",)),
    Operation(
        "get", "/api/jobs/{id}/lines", "What a job says", may=(404,), type=EVENTS, numbers=("id",)
    ),
    *(
        Operation(
            "post",
            f"/api/jobs/{{id}}/{wish}",
            f"{wish.capitalize()} a job",
            NothingBody,
            may=(404,),
            numbers=("id",),
        )
        for wish in ("pause", "resume", "cancel")
    ),
)


def document_of(routes: Sequence[Route]) -> str:
    """Returns the OpenAPI document of those operations that the routes hold, as JSON."""
    there = {route.path.replace(":path}", "}") for route in routes} | {"/openapi.json"}
    if "/api/jobs" in there:
        there |= {f"/api/jobs/{{id}}/{wish}" for wish in ("pause", "resume", "cancel")}
    operations = [operation for operation in OPERATIONS if operation.path in there]
    bodies = {operation.body for operation in operations if operation.body}
    replies = {operation.reply for operation in operations if operation.reply}
    models = [(model, "validation") for model in sorted(bodies, key=lambda m: m.__name__)]
    models += [
        (model, "serialization")
        for model in sorted({*replies, wire.ErrorReply}, key=lambda m: m.__name__)
    ]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = described(operation)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Tramontane", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }
    return json.dumps(document)


def described(operation: Operation) -> dict[str, Any]:
    reply = ref(operation.reply) if operation.reply else {}
    content: dict[str, Any] = {operation.type: {"schema": reply}}
    if operation.streams:
        # A schema here would be read as that of each event.
        content[EVENTS] = {"schema": {}}
    responses: dict[str, Any] = {
        str(operation.status): {"description": TEXTS[operation.status], "content": content}
    }
    for status in sorted({*ALWAYS, *operation.may}):
        error = ref(operation.reply if operation.path == "/health" else wire.ErrorReply)
        responses[str(status)] = {
            "description": TEXTS[status],
            "content": {JSON: {"schema": error if status == 503 else ref(wire.ErrorReply)}},
        }
    told: dict[str, Any] = {
        "operationId": f"{operation.method} {operation.path}",
        "summary": operation.summary,
        "responses": responses,
    }
    if operation.body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": ref(operation.body)}},
        }
    if operation.takes_bytes:
        told["requestBody"] = {"required": True, "content": {BYTES: {"schema": {}}}}
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": ID if name in operation.numbers else {"type": "string", "minLength": 1},
        }
        for name in ("name", "id")
        if f"{{{name}}}" in operation.path
    ]
    parameters += [
        {
            "name": name,
            "in": "query",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        for name in operation.query
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in operation.optional.items()
    ]
    if parameters:
        told["parameters"] = parameters
    return told


def ref(model: type[BaseModel] | None) -> dict[str, str]:
    assert model is not None
    return {"$ref": f"#/components/schemas/{model.__name__}"}

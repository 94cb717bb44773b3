"""What is told of each request: one line in the log as JSON, and counts; never what was asked."""

import json
import logging
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tramontane.server.metrics import Metrics

log = logging.getLogger("tramontane.requests")

# Other paths may hold names of notes or people; they are told as their beginning.
KNOWN = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/tokenize")
KNOWN += ("/detokenize", "/tokenizer_info", "/health", "/metrics", "/openapi.json")


class Told:
    def __init__(self, app: ASGIApp, *, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, num_bytes = time.monotonic(), 0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, num_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                num_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        finally:
            path = name_of(scope["path"])
            self.metrics.requests.labels(path, str(status)).inc()
            if log.isEnabledFor(logging.INFO):
                told = {
                    "method": scope["method"][:10],
                    "path": path,
                    "status": status,
                    "bytes": num_bytes,
                    "ms": round(1000 * (time.monotonic() - began)),
                }
                log.info("request", extra={"told": told})


class JsonLines(logging.Formatter):
    """Each record as one line of JSON; a request's figures stand as they are."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "from": record.name}
        if told := getattr(record, "told", None):
            return json.dumps(line | told)
        said = record.getMessage()
        if record.exc_info:
            said += "\n" + self.formatException(record.exc_info)
        return json.dumps(line | {"said": said})


def name_of(path: str) -> str:
    """Returns a path without what people may have written into it."""
    if path in KNOWN:
        return path
    first, _, rest = path.removeprefix("/").partition("/")
    if first == "api":
        return f"/api/{rest.partition('/')[0][:20]}" if rest.isascii() else "/api"
    return "/v1/..." if first == "v1" else "page"

"""What is said where a request is not served: one shape for the page, OpenAI's clients and people.

`kind` is our word; `type`, `param` and `code` are what OpenAI's clients look for.
"""

from collections.abc import Mapping
from typing import Any

from tramontane.errors import (
    Busy,
    NotEnoughMemory,
    NotFound,
    PromptTooLong,
    TramontaneError,
)

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
NOT_OURS = (
    "something went wrong that is not your doing; your notes are as they were. The server's log "
    "says more."
)


class Refusal(Exception):
    """A request that is not served: status, what to say, and what else the head carries."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.kind, self.code = status, kind, code
        self.headers = dict(headers or {})


def error_body(status: int, kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    type_ = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"kind": kind, "message": message, "type": type_, "param": None, "code": code}


def status_of(error: TramontaneError) -> int:
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Busy):
        return 409
    return 503 if isinstance(error, NotEnoughMemory) else 400


def error_of(error: TramontaneError) -> dict[str, Any]:
    code = "context_length_exceeded" if isinstance(error, PromptTooLong) else None
    return error_body(status_of(error), type(error).__name__, str(error), code)


def not_ours() -> dict[str, Any]:
    return error_body(500, "InternalError", NOT_OURS)

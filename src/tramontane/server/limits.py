"""How much at once, how large and how long: the bounds that keep one client from the others."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    # Answers under way and waiting, over all clients; beyond, 429.
    most_answers: int = 128
    # From the request to its last token.
    answer_seconds: float = 600.0
    # What an answer may have where its request doesn't say; then a warning says so.
    default_new_tokens: int = 1_024
    # Of one body; and of all bodies that are being read together.
    most_body_bytes: int = 8 << 20
    most_bodies_bytes: int = 64 << 20
    # Until a request's body has come.
    body_seconds: float = 30.0
    # Dropped folders that are being copied at once, and how long one is waited for in silence.
    most_copies: int = 4
    copy_seconds: float = 120.0
    # A reader who takes nothing for so long has gone.
    reader_seconds: float = 60.0

"""What is asked of the engine, and what comes back, in plain data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tramontane.errors import RequestError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn: temperature, then top-k, then top-p, then min-p.

    Temperature 0 takes the likeliest. top_k 0, top_p 1 and min_p 0 leave all tokens in.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.temperature <= 100:
            raise RequestError(f"temperature={self.temperature} must lie between 0 and 100")
        if self.top_k < 0:
            raise RequestError(f"top_k={self.top_k} must be 0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top_p={self.top_p} must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise RequestError(f"min_p={self.min_p} must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class GuideStep:
    """What a guide says before a token is drawn: which may come (None: all), or that it is over."""

    mask_V: np.ndarray | None = None
    is_finished: bool = False


# Given the tokens generated so far; grammars and stop strings are written as guides.
Guide = Callable[[Sequence[int]], GuideStep]


@dataclass(frozen=True, slots=True)
class Request:
    token_ids: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = Sampling()
    end_ids: frozenset[int] = frozenset()
    # Tensor hashes of the experts in place for this request, from its first token to its last.
    experts: tuple[str, ...] = ()
    with_shares: bool = False
    guide: Guide | None = None

    def __post_init__(self):
        object.__setattr__(self, "token_ids", tuple(self.token_ids))
        object.__setattr__(self, "experts", tuple(sorted(set(self.experts))))
        if not self.token_ids:
            raise RequestError("the prompt is empty; at least one token is needed")
        if self.max_new_tokens < 1:
            raise RequestError(f"max_new_tokens={self.max_new_tokens} must be at least 1")


@dataclass(frozen=True, slots=True)
class NewToken:
    """One token of one request; `finish` on the last says why it ended.

    "end": the model closed its turn (that token is given too); "length"; "guide"; "cancelled" and
    "failed" carry no token (token_id -1). `shares` and `gates` stand in the order of the request's
    experts and tell of the position that produced the token.
    """

    request_id: int
    token_id: int
    logprob: float = 0.0
    shares: tuple[float, ...] | None = None
    gates: tuple[float, ...] | None = None
    finish: str | None = None
    error: str | None = None

"""What is asked of the engine, and what comes back, in plain data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tramontane.errors import RequestError

MOST_TOP_LOGPROBS = 20
# Far beyond any logit: what is biased so is banned or forced.
MOST_BIAS = 10_000


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is drawn: bias and penalties, temperature, then top-k, then top-p, then min-p.

    Temperature 0 takes the likeliest. top_k 0, top_p 1 and min_p 0 leave all tokens in.
    `presence_penalty` is taken once from the logit of each token generated before,
    `frequency_penalty` as often as it came. `repetition_penalty` divides the positive logits, and
    multiplies the negative ones, of tokens that stand in the prompt or were generated (1: none).
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    # (token id, what is added to its logit).
    logit_bias: tuple[tuple[int, float], ...] = ()

    def __post_init__(self):
        if not 0 <= self.temperature <= 100:
            raise RequestError(f"temperature={self.temperature} must lie between 0 and 100")
        if self.top_k < 0:
            raise RequestError(f"top_k={self.top_k} must be 0 (all) or more")
        if not 0 < self.top_p <= 1:
            raise RequestError(f"top_p={self.top_p} must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise RequestError(f"min_p={self.min_p} must lie between 0 and 1")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2 <= getattr(self, name) <= 2:
                raise RequestError(f"{name}={getattr(self, name)} must lie between -2 and 2")
        if not 0.01 <= self.repetition_penalty <= 100:
            raise RequestError(
                f"repetition_penalty={self.repetition_penalty} must lie between 0.01 and 100"
            )
        for token_id, bias in self.logit_bias:
            if not -MOST_BIAS <= bias <= MOST_BIAS:
                raise RequestError(
                    f"logit_bias of token {token_id} is {bias}; it must lie between {-MOST_BIAS} "
                    f"and {MOST_BIAS}"
                )

    @property
    def changes_logits(self) -> bool:
        return bool(
            self.logit_bias
            or self.presence_penalty
            or self.frequency_penalty
            or self.repetition_penalty != 1
        )


@dataclass(frozen=True, slots=True)
class GuideStep:
    """What a guide says before a token is drawn: which may come (None: all), or that it is over."""

    mask_V: np.ndarray | None = None
    is_finished: bool = False


# Receives a request's tokens from whichever thread computes; it must return at once.
Put = Callable[["NewToken"], None]

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
    # The base's own routes, of a mixture base: which base experts each token was sent to.
    with_routes: bool = False
    guide: Guide | None = None
    # How many of the likeliest tokens are told beside each one generated.
    top_logprobs: int = 0
    # The same for the prompt's own tokens; None tells nothing of them.
    prompt_logprobs: int | None = None
    # From submission; a request that takes longer ends with finish "time". None: no limit.
    max_seconds: float | None = None
    # Drafts are copied from the context: the same tokens, sooner.
    speculates: bool = True

    def __post_init__(self):
        object.__setattr__(self, "token_ids", tuple(self.token_ids))
        object.__setattr__(self, "experts", tuple(sorted(set(self.experts))))
        if not self.token_ids:
            raise RequestError("the prompt is empty; at least one token is needed")
        # None new is an answer only where the prompt's own tokens are asked about.
        if self.max_new_tokens < (1 if self.prompt_logprobs is None else 0):
            raise RequestError(f"max_new_tokens={self.max_new_tokens} must be at least 1")
        for name in ("top_logprobs", "prompt_logprobs"):
            if not 0 <= (getattr(self, name) or 0) <= MOST_TOP_LOGPROBS:
                raise RequestError(
                    f"{name}={getattr(self, name)} must lie between 0 and {MOST_TOP_LOGPROBS}"
                )
        if self.max_seconds is not None and not 0 < self.max_seconds < math.inf:
            raise RequestError(f"max_seconds={self.max_seconds} must be a time above 0, or None")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's log-probability, and the likeliest tokens in its place, the likeliest first."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class NewToken:
    """One token of one request; `finish` on the last says why it ended.

    "end": the model closed its turn (that token is given too); "length" (without a token where none
    was asked for); "guide", "time", "cancelled" and "failed" carry no token (token_id -1).
    `shares` and `gates` stand in the order of the request's experts and tell of the position that
    produced the token.
    """

    request_id: int
    token_id: int
    logprob: float = 0.0
    shares: tuple[float, ...] | None = None
    gates: tuple[float, ...] | None = None
    finish: str | None = None
    error: str | None = None
    top: tuple[tuple[int, float], ...] = ()
    # How many of the prompt's tokens were in the prefix cache already.
    num_cached: int = 0
    # Of each prompt token but the first, on the first new token of a request that asked for them.
    prompt_logprobs: tuple[TokenLogprob, ...] | None = None
    # Where the token before this one, itself a generated one, was read: by layer, the base experts
    # chosen. So the first new token has none, and of the last one nothing is known: it isn't read.
    routes: tuple[tuple[int, ...], ...] | None = None
    # The same of every prompt token, on the first new token of a request that asked for them.
    prompt_routes: tuple[tuple[tuple[int, ...], ...], ...] | None = None

"""The model speaks: tokens to text pieces, each with the experts' voices in it.

T tokens, E experts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.engine.request import Request, Sampling
from tramontane.errors import RequestError
from tramontane.experts.contested import NAMED_ABOVE, speakers
from tramontane.tokenizer.text_stream import TextStream
from tramontane.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ExpertInPlace:
    """An expert that a request has in place, and what it takes to name it.

    A sentence whose mean gate exceeds `named_above` is named after it, and contested by those of
    the hashes in `look_alikes` that are named there too.
    """

    name: str
    hash: str
    named_above: float = NAMED_ABOVE
    look_alikes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, how many tokens it took, and the experts' mean share and gate in them."""

    text: str
    num_tokens: int
    shares: dict[str, float] | None
    finish: str | None = None
    gates: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks in a text: each expert's mean share, and whom it is named after (contested.py)."""

    shares: dict[str, float]
    named: tuple[str, ...]


def speak(
    engine: Engine,
    tokenizer: Tokenizer,
    token_ids: Sequence[int],
    *,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    experts: Sequence[ExpertInPlace] = (),
    stop_strings: Sequence[str] = (),
) -> Iterator[Piece]:
    """Yields pieces of text as they come; closing the iterator ends the request.

    Raises RequestError when the engine fails underway.
    """
    ordered = sorted(experts, key=lambda expert: expert.hash)
    request = Request(
        tuple(token_ids),
        max_new_tokens,
        sampling or Sampling(),
        end_ids=tokenizer.eos_ids,
        experts=tuple(expert.hash for expert in ordered),
        with_shares=bool(ordered),
    )
    stream = TextStream(tokenizer, stop_strings)
    for token in engine.generate(request):
        if token.finish == "failed":
            raise RequestError(f"the model stopped: {token.error}")
        text = stream.push(token.token_id) if token.token_id >= 0 else ""
        if token.finish or stream.is_stopped:
            text += stream.finish()
        shares, gates = (
            values and {e.name: value for e, value in zip(ordered, values, strict=True)}
            for values in (token.shares, token.gates)
        )
        finish = "stop" if stream.is_stopped else token.finish
        yield Piece(text, 1, shares, finish, gates)
        if stream.is_stopped:
            return


def voice_in(
    engine: Engine, tokenizer: Tokenizer, text: str, experts: Sequence[ExpertInPlace]
) -> Voice | None:
    """Returns who speaks in a given text, as the model in place reads it."""
    ids = tokenizer.encode(text)
    if not experts or not ids:
        return None
    ordered = sorted(experts, key=lambda expert: expert.hash)
    shares_TE, gates_TE = engine.shares_of(ids, experts=[expert.hash for expert in ordered])
    return voice_from(shares_TE, gates_TE, ordered)


def voice_of(pieces: Sequence[Piece], experts: Sequence[ExpertInPlace]) -> Voice | None:
    """Returns who speaks in these pieces together; None where nobody was listened to."""
    heard = [piece for piece in pieces if piece.shares and piece.gates]
    if not heard:
        return None
    shares_TE, gates_TE = (
        np.array([[values[expert.name] for expert in experts] for values in rows])
        for rows in ([piece.shares for piece in heard], [piece.gates for piece in heard])
    )
    return voice_from(shares_TE, gates_TE, experts)


def voice_from(
    shares_TE: np.ndarray, gates_TE: np.ndarray, experts: Sequence[ExpertInPlace]
) -> Voice:
    """Returns who speaks where these are the tokens' shares and gates, columns as in `experts`."""
    names = [expert.name for expert in experts]
    means = shares_TE.mean(axis=0)
    named = speakers(
        gates_TE,
        names,
        [expert.named_above for expert in experts],
        {frozenset((a.name, b.name)) for a in experts for b in experts if b.hash in a.look_alikes},
    )
    return Voice({n: round(float(mean), 4) for n, mean in zip(names, means, strict=True)}, named)

"""The model speaks: tokens to text pieces, each with the experts' shares in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tramontane.engine.engine import Engine
from tramontane.engine.request import Request, Sampling
from tramontane.errors import RequestError
from tramontane.tokenizer.text_stream import TextStream
from tramontane.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ExpertInPlace:
    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, how many tokens it took, and the experts' mean share in them."""

    text: str
    num_tokens: int
    shares: dict[str, float] | None
    finish: str | None = None


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
        shares = None
        if token.shares is not None:
            shares = {e.name: share for e, share in zip(ordered, token.shares, strict=True)}
        finish = "stop" if stream.is_stopped else token.finish
        yield Piece(text, 1, shares, finish)
        if stream.is_stopped:
            return


def shares_in(
    engine: Engine, tokenizer: Tokenizer, text: str, experts: Sequence[ExpertInPlace]
) -> dict[str, float] | None:
    """Returns each expert's mean share in a given text: how the model in place reads it."""
    ids = tokenizer.encode(text)
    if not experts or not ids:
        return None
    ordered = sorted(experts, key=lambda expert: expert.hash)
    shares_TE, _ = engine.shares_of(ids, experts=[expert.hash for expert in ordered])
    means = shares_TE.mean(axis=0)
    return {e.name: round(float(mean), 4) for e, mean in zip(ordered, means, strict=True)}

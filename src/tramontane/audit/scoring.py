"""TEXTS → READINGS, for a mixture and for its parts.

Texts become tokens as in lm-evaluation-harness: context and continuation are encoded together and
split where the context's own tokens end; spaces at the context's end go to the continuation; an
empty context is the token that begins a text. A tokenizer that puts BOS before texts puts it here.

A part of the mixture is a set of experts as bits: bit i stands for the i-th hash in order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tramontane.audit.item import Item, Reading, Text
from tramontane.engine.engine import Engine
from tramontane.tokenizer.tokenizer import Tokenizer

# (token ids, place of the continuation's first)
Encoded = tuple[list[int], int]


def encode_pair(tokenizer: Tokenizer, text: Text) -> Encoded:
    """Returns a text's tokens and where its continuation begins, at least at 1."""
    context, continuation = text.context, text.continuation
    if not context:
        ids = tokenizer.encode(continuation)
        prefix = first_token(tokenizer)
        return (ids, 1) if ids[:1] == [prefix] else ([prefix, *ids], 1)
    bare = context.rstrip()
    continuation = context[len(bare) :] + continuation
    begin = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
    whole = begin + tokenizer.encode(bare + continuation)
    return whole, len(begin) + len(tokenizer.encode(bare))


def first_token(tokenizer: Tokenizer) -> int:
    """Returns the token that stands before a text without context."""
    if tokenizer.bos_id is not None:
        return tokenizer.bos_id
    return tokenizer.eos_id if tokenizer.eos_id is not None else tokenizer.separator_id


@dataclass(frozen=True, slots=True)
class PartReadings:
    """An item's texts as a part of the mixture reads them; `heard` are the experts that spoke."""

    readings: tuple[Reading, ...]
    heard: int


# By the part's bits: those that were computed, from which all others follow.
ItemReadings = dict[int, PartReadings]


class Scorer:
    """Reads items with a mixture whole and in parts.

    An expert none of whose gates opens on a text leaves every bit as it is. So a part needs no
    reading of its own where a larger one was read and what it has more was not heard.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, experts: Sequence[str]):
        self.engine, self.tokenizer = engine, tokenizer
        self.experts = tuple(sorted(experts))

    @property
    def everyone(self) -> int:
        return (1 << len(self.experts)) - 1

    def encode(self, item: Item) -> list[Encoded]:
        return [encode_pair(self.tokenizer, text) for text in item.texts]

    def obstacle(self, item: Item) -> str:
        """Returns why an item can't be scored with this model, or nothing."""
        room = self.engine.runtime.config.max_context_tokens
        pages = self.engine.num_pages * self.engine.runtime.page_tokens
        for number, (ids, start) in enumerate(self.encode(item), start=1):
            if len(ids) > min(room, pages):
                return f"text {number} has {len(ids)} tokens, {min(room, pages)} fit"
            if len(ids) <= start:
                return f"text {number} adds no token to its context"
        return ""

    def read(self, items: Sequence[Item], parts: Iterable[int]) -> list[ItemReadings]:
        """Returns the items' readings, enough to tell those of all `parts`."""
        encoded = [self.encode(item) for item in items]
        done: list[ItemReadings] = [{} for _ in items]
        # Larger parts first: they say which of the smaller ones need reading.
        for part in sorted(set(parts), key=lambda part: (-part.bit_count(), part)):
            todo = [i for i in range(len(items)) if covering(done[i], part) is None]
            texts = [text for i in todo for text in encoded[i]]
            hashes = [digest for bit, digest in enumerate(self.experts) if part >> bit & 1]
            foretold = iter(
                self.engine.foretell_many(texts, experts=hashes, with_gates=bool(hashes))
            )
            for i in todo:
                readings, heard = [], 0
                for ids, start in encoded[i]:
                    text = next(foretold)
                    hits = text.likeliest_T == ids[start:]
                    greedy = len(hits) if hits.all() else int(hits.argmin())
                    total = float(text.logprobs_T.astype("f8").sum())
                    readings.append(Reading(total, len(hits), greedy))
                    if hashes:
                        heard |= self.bits_of(hashes, (text.gates_TE > 0).any(axis=0))
                done[i][part] = PartReadings(tuple(readings), heard)
        return done

    def bits_of(self, hashes: Sequence[str], are_open: Iterable[bool]) -> int:
        spoke = {digest for digest, is_open in zip(hashes, are_open, strict=True) if is_open}
        return sum(1 << bit for bit, digest in enumerate(self.experts) if digest in spoke)


def covering(readings: ItemReadings, part: int) -> PartReadings | None:
    """Returns readings whose bits are those of `part`, or None where none were computed yet."""
    for larger, found in readings.items():
        if larger & part == part and found.heard & ~part == 0:
            return found
    return None

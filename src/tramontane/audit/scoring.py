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
        # Which experts spoke in beginnings that several texts share, by part and tokens.
        self.heard_before: dict[tuple[int, tuple[int, ...]], int] = {}

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
            begins = [self.shared_begin(encoded[i]) if hashes else 0 for i in todo]
            # Beginnings come first: their pages are in the cache for the texts then.
            heard_before = [
                self.heard_in(part, hashes, encoded[i][0][0][:begin])
                for i, begin in zip(todo, begins, strict=True)
            ]
            foretold = iter(
                self.engine.foretell_many(
                    texts,
                    experts=hashes,
                    with_gates=bool(hashes),
                    gates_from=[b for i, b in zip(todo, begins, strict=True) for _ in encoded[i]],
                )
            )
            for i, heard in zip(todo, heard_before, strict=True):
                readings = []
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

    def shared_begin(self, texts: Sequence[Encoded]) -> int:
        """Returns how many tokens an item's texts begin with alike, in whole pages of the cache."""
        first = texts[0][0]
        least = min(min(start, len(ids)) - 1 for ids, start in texts)
        alike = least
        for ids, _ in texts[1:]:
            alike = next((t for t in range(alike) if ids[t] != first[t]), alike)
        page_tokens = self.engine.runtime.page_tokens
        return alike // page_tokens * page_tokens

    def heard_in(self, part: int, hashes: Sequence[str], begin: Sequence[int]) -> int:
        """Returns the experts that speak in a beginning, which is read once."""
        if not hashes or not begin:
            return 0
        key = (part, tuple(begin))
        if key not in self.heard_before:
            _, gates_TE = self.engine.shares_of(begin, experts=hashes)
            self.heard_before[key] = self.bits_of(hashes, (gates_TE > 0).any(axis=0))
        return self.heard_before[key]

    def bits_of(self, hashes: Sequence[str], are_open: Iterable[bool]) -> int:
        spoke = {digest for digest, is_open in zip(hashes, are_open, strict=True) if is_open}
        return sum(1 << bit for bit, digest in enumerate(self.experts) if digest in spoke)


def covering(readings: ItemReadings, part: int) -> PartReadings | None:
    """Returns readings whose bits are those of `part`, or None where none were computed yet."""
    for larger, found in readings.items():
        if larger & part == part and found.heard & ~part == 0:
            return found
    return None

"""PASSAGE → the tokens of its sentences, as bytes that are kept beside its vector.

Reranking wants the vector of each sentence of two dozen passages. Cutting and tokenising them would
take most of a search's time; pooling tokens that were kept takes little.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from tramontane.notes.sentences import RULES_VERSION, split_sentences

# What one sentence can have: more is cut, which no reader's passage reaches.
MOST_TOKENS = 2**16 - 1


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedder whose vectors are pooled from tokens, each below 65,536."""

    def tokens(self, texts: list[str]) -> list[np.ndarray]: ...

    def pooled(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray: ...


def sentence_texts(title: str, text: str) -> list[str]:
    """Returns what is embedded of a passage's sentences: each under its note's title."""
    return [f"{title}\n{sentence.text}" for sentence in split_sentences(text)]


def pack(sentences: Sequence[np.ndarray]) -> bytes:
    """Returns little-endian uint16: the version of the rules, the number of sentences, how many
    tokens each has, then the tokens."""
    cut = [tokens[:MOST_TOKENS] for tokens in sentences]
    head = [RULES_VERSION, len(cut), *map(len, cut)]
    return np.concatenate([np.array(head, "<u2"), *cut]).astype("<u2").tobytes()


def unpack(packed: bytes | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns (tokens, lengths), or None where there are none or they are of other rules."""
    if not packed:
        return None
    numbers = np.frombuffer(packed, "<u2")
    version, count = int(numbers[0]), int(numbers[1])
    if version != RULES_VERSION:
        return None
    return numbers[2 + count :], numbers[2 : 2 + count]

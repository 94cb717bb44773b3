"""A base whose every answer can be foretold: tokens are numbers, written as words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fakes import VOCABULARY, CountingRuntime
from tramontane.engine.engine import Engine
from tramontane.writing.speak import ExpertInPlace


class NumberTokenizer:
    """Token 7 is the word "7 "; a conversation is its contents, one after the other."""

    vocab_size = VOCABULARY
    adds_bos = False
    bos_id = None
    bos_text = eos_text = ""
    eos_ids: frozenset[int] = frozenset()
    separator_id = 0
    strips_first_space = False
    chat_template = None

    def encode(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Numbers are themselves; any other text is as many tokens as it has characters."""
        words = text.split()
        if all(word.isascii() and word.isdigit() for word in words):
            return [int(word[-4:]) % VOCABULARY for word in words]
        return [ord(character) % VOCABULARY for character in text]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        return "".join(f"{i} " for i in ids)

    def is_special(self, token_id: int) -> bool:
        return False

    def token_bytes(self, token_id: int) -> bytes:
        return f"{token_id} ".encode()

    def encode_chat(self, messages: Sequence[Any], **_: Any) -> list[int]:
        return self.encode(" ".join(message["content"] for message in messages))


class FakeModel:
    name, fingerprint, opened_at = "numbers", "tramontane-fake", 0

    def __init__(
        self, runtime: CountingRuntime | None = None, experts: Sequence[ExpertInPlace] = ()
    ):
        self.tokenizer = NumberTokenizer()
        self.engine = Engine(runtime or CountingRuntime(max_context_tokens=1024), max_tokens=4096)
        self.in_place = experts
        for expert in experts:
            self.engine.add_expert(expert.hash, {})

    def experts(self) -> Sequence[ExpertInPlace]:
        return self.in_place


class FakeEmbedder:
    """A text's vector counts its letters a to d."""

    name = "letters"

    def __call__(self, texts: list[str]):
        rows = np.array([[text.count(c) + 0.5 for c in "abcd"] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def num_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

"""GRAMMAR → GUIDE: what an answer must look like (JSON schema, regular expression, Lark, GBNF).

llguidance turns a grammar into a mask of the tokens that may come next; the engine asks for it
before each token and knows nothing of text.

V vocabulary.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.gbnf_to_lark import gbnf_to_lark

from tramontane.engine.request import GuideStep
from tramontane.errors import RequestError
from tramontane.tokenizer.tokenizer import Tokenizer

MOST_GRAMMAR_CHARACTERS = 200_000


class Grammars:
    """Makes guides for one tokenizer; the first takes about a second, which later ones don't."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int):
        self.tokenizer, self.vocab_size = tokenizer, vocab_size
        self._vocabulary: LLTokenizer | None = None
        self._opening = threading.Lock()

    def of_schema(self, schema: Mapping[str, Any]) -> str:
        """Returns the grammar of what a JSON schema allows; RequestError says why it can't be."""
        return self.checked(LLMatcher.grammar_from_json_schema(dict(schema)), "the JSON schema")

    def of_regex(self, pattern: str) -> str:
        return self.checked(LLMatcher.grammar_from_regex(pattern), "the regular expression")

    def of_lark(self, lark: str) -> str:
        return self.checked(LLMatcher.grammar_from_lark(lark), "the Lark grammar")

    def of_gbnf(self, gbnf: str) -> str:
        """Returns the grammar that llama.cpp's notation describes."""
        try:
            lark = gbnf_to_lark(gbnf)
        except Exception as error:  # noqa: BLE001  the converter raises whatever it tripped over
            raise RequestError(f"the GBNF grammar cannot be read: {error}") from None
        return self.checked(LLMatcher.grammar_from_lark(lark), "the GBNF grammar")

    def checked(self, grammar: str, what: str) -> str:
        if len(grammar) > MOST_GRAMMAR_CHARACTERS:
            raise RequestError(
                f"{what} has {len(grammar)} characters; {MOST_GRAMMAR_CHARACTERS} is the most"
            )
        is_wrong, messages = LLMatcher.validate_grammar_with_warnings(grammar, self.vocabulary)
        if is_wrong:
            raise RequestError(f"{what} cannot be followed: {messages[0].strip()}")
        return grammar

    def guide(self, grammar: str) -> "GrammarGuide":
        """Returns a guide for one request; it keeps that request's place in the grammar."""
        return GrammarGuide(LLMatcher(self.vocabulary, grammar, log_level=0), self.vocab_size)

    @property
    def vocabulary(self) -> LLTokenizer:
        with self._opening:
            if self._vocabulary is None:
                vocabulary = Vocabulary(self.tokenizer)
                ends = sorted(i for i in self.tokenizer.eos_ids if i < self.vocab_size)
                self._vocabulary = LLTokenizer(
                    vocabulary, n_vocab=self.vocab_size, eos_token=ends or vocabulary.eos_token_id
                )
            return self._vocabulary


class Vocabulary:
    """A tokenizer as llguidance wants to see one."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.eos_token_id = next(iter(sorted(tokenizer.eos_ids)), tokenizer.separator_id)
        self.bos_token_id = tokenizer.bos_id
        ids = range(tokenizer.vocab_size)
        self.tokens: Sequence[bytes] = [tokenizer.token_bytes(i) for i in ids]
        self.special_token_ids = [i for i in ids if tokenizer.is_special(i)]

    def __call__(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)


class GrammarGuide:
    """Says which tokens may come next; called with all that one request has generated so far."""

    def __init__(self, matcher: LLMatcher, vocab_size: int):
        self.matcher, self.vocab_size = matcher, vocab_size
        self.num_taken = 0

    def __call__(self, generated: Sequence[int]) -> GuideStep:
        new = list(generated[self.num_taken :])
        self.num_taken = len(generated)
        if new and not self.matcher.consume_tokens(new):
            raise RequestError(f"the grammar cannot go on: {self.matcher.get_error().strip()}")
        if self.matcher.is_stopped() and not self.matcher.is_error():
            return GuideStep(is_finished=True)
        bits = np.frombuffer(self.matcher.compute_bitmask(), np.uint8)
        if self.matcher.is_error():
            raise RequestError(f"the grammar cannot go on: {self.matcher.get_error().strip()}")
        mask_V = np.zeros(self.vocab_size, bool)
        allowed = np.unpackbits(bits, bitorder="little")[: self.vocab_size]
        mask_V[: len(allowed)] = allowed
        return GuideStep(mask_V)

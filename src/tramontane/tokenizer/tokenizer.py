"""TEXT ⇄ TOKENS for one model.

Encoding adds no BOS or EOS: chat templates spell theirs, and whoever builds a raw prompt looks at
`adds_bos`. Text is never trusted: strings that look like control tokens become control tokens only
where the caller says so.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import tokenizers

from tramontane.errors import TokenizerError
from tramontane.tokenizer.gguf_vocabulary import token_named, tokenizer_from_gguf
from tramontane.tokenizer.special_tokens import KNOWN_ENDS, KNOWN_SEPARATORS, SpecialTokens

BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
# A code point that Unicode keeps out of texts; it never reaches the model.
SHIELD = "\ufdd0"
SHIELDED = re.compile(f"({SHIELD}[^{SHIELD}]*{SHIELD})")


class Tokenizer:
    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        special: SpecialTokens,
        chat_template: str | None,
        *,
        is_byte_level: bool,
    ):
        self._marking = inner
        # Toggling one object would let two threads change each other's reading of a text.
        self._plain = twin_of(inner)
        self._plain.encode_special_tokens = True
        self._is_byte_level = is_byte_level
        self.chat_template = chat_template
        self.vocab_size = inner.get_vocab_size(with_added_tokens=True)
        self.adds_bos = bool(special.adds_bos)
        self._special_ids = frozenset(
            index for index, token in inner.get_added_tokens_decoder().items() if token.special
        )
        self.bos_id = self._id_of(special.bos) if special.bos else None
        spelt = {self._id_of(token) for token in special.eos}
        spelt |= {inner.token_to_id(token) for token in KNOWN_ENDS} & self._special_ids
        # An id may lie beyond the vocabulary, in a padded embedding; it ends a turn all the same.
        self.eos_ids: frozenset[int] = frozenset(spelt | set(special.eos_ids))
        separators = (inner.token_to_id(token) for token in KNOWN_SEPARATORS)
        self.separator_id: int = next(
            (index for index in separators if index is not None),
            min(spelt, default=self.bos_id or 0),
        )
        self.bos_text = special.bos or ""
        self.eos_text = special.eos[0] if special.eos else ""
        # Of those that end a turn the one that ends a text, where the model names one.
        self.eos_id = self._id_of(self.eos_text) if self.eos_text else None

    @classmethod
    def from_json(
        cls,
        text: str,
        *,
        special: SpecialTokens,
        chat_template: str | None = None,
        added: Mapping[int, tokenizers.AddedToken] | None = None,
    ) -> "Tokenizer":
        """Returns the tokenizer of a tokenizer.json; `added` are tokens by id that it may lack.

        Raises TokenizerError when it can't be read, or has another id for an added token.
        """
        try:
            inner = tokenizers.Tokenizer.from_str(text)
            pieces = json.dumps(json.loads(text).get("pre_tokenizer"))
        except Exception as error:  # noqa: BLE001  tokenizers raises bare Exception
            raise TokenizerError(f"tokenizer.json can't be read: {error}") from None
        inner.no_padding()
        inner.no_truncation()
        there = inner.get_added_tokens_decoder()
        for index, token in sorted((added or {}).items()):
            if repr(there.get(index)) != repr(token):
                inner.add_tokens([token])
            if inner.token_to_id(token.content) != index:
                raise TokenizerError(
                    f"{token.content!r} should be token {index}, by tokenizer.json it is "
                    f"{inner.token_to_id(token.content)}"
                )
        if special.adds_bos is None:
            first = inner.encode("a").ids[:1]
            adds_bos = special.bos is not None and first == [inner.token_to_id(special.bos)]
            special = replace(special, adds_bos=adds_bos)
        return cls(inner, special, chat_template, is_byte_level="ByteLevel" in pieces)

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, object]) -> "Tokenizer":
        """Returns the tokenizer that a GGUF carries; see `gguf_vocabulary`."""
        inner = tokenizer_from_gguf(metadata)
        tokens = metadata["tokenizer.ggml.tokens"]
        bos, *ends = (token_named(role, metadata, tokens) for role in ("bos", "eos", "eot", "eom"))
        is_sentence_piece = metadata.get("tokenizer.ggml.model") == "llama"
        adds_bos = bool(metadata.get("tokenizer.ggml.add_bos_token", is_sentence_piece))
        template = metadata.get("tokenizer.chat_template")
        return cls(
            inner,
            SpecialTokens(bos=bos, eos=tuple(filter(None, ends)), adds_bos=adds_bos),
            template if isinstance(template, str) else None,
            is_byte_level=not is_sentence_piece,
        )

    def to_json(self) -> str:
        """Returns a tokenizer.json that gives the same tokens, BOS put before a text if it is."""
        if not self.adds_bos or self.bos_id is None:
            return self._marking.to_str()
        marking = tokenizers.Tokenizer.from_str(self._marking.to_str())
        marking.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"{self.bos_text} $A",
            pair=f"{self.bos_text} $A {self.bos_text} $B",
            special_tokens=[(self.bos_text, self.bos_id)],
        )
        return marking.to_str()

    def _id_of(self, token: str) -> int:
        index = self._marking.token_to_id(token)
        if index is None:
            raise TokenizerError(f"the special token {token!r} is not in the vocabulary")
        return index

    def encode(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Returns the text's token ids, without BOS or EOS."""
        inner = self._marking if parse_special else self._plain
        # A lone surrogate is no text; it stands for bytes that could not be decoded.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return inner.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """Returns the text of tokens; bytes that form no character become U+FFFD."""
        raw = b"".join(
            self.token_bytes(i) for i in ids if not (skip_special and self.is_special(i))
        )
        text = raw.decode("utf-8", "replace")
        return text[1:] if self.strips_first_space and text.startswith(" ") else text

    def is_special(self, token_id: int) -> bool:
        return token_id in self._special_ids

    @cached_property
    def strips_first_space(self) -> bool:
        """Some SentencePiece models put a space before the text; decoding takes it off again."""
        ids = [] if self._is_byte_level else self.encode("a")
        return b"".join(map(self.token_bytes, ids)).startswith(b" ")

    def token_bytes(self, token_id: int) -> bytes:
        """Returns the bytes a token stands for; a control token stands for its name."""
        token = self._marking.id_to_token(token_id)
        if token is None:
            raise TokenizerError(f"token id {token_id}; the vocabulary has {self.vocab_size}")
        if token_id in self._added:
            return token.encode()
        if self._is_byte_level:
            try:
                return bytes(BYTE_OF_CHARACTER[character] for character in token)
            except KeyError:
                return token.encode()
        if match := BYTE_PIECE.fullmatch(token):
            return bytes([int(match[1], 16)])
        return token.replace("▁", " ").encode()

    @cached_property
    def _added(self) -> frozenset[int]:
        return frozenset(self._marking.get_added_tokens_decoder())

    def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """Returns the conversation as the model's own template writes it.

        `tools` are functions that the model may call, as OpenAI's interface describes them; a
        template that knows of none leaves them out. Raises TokenizerError when the model has no
        template or it refuses the messages.
        """
        if self.chat_template is None:
            raise TokenizerError("this model has no chat template; give it plain text instead")
        # Imported here: most questions are answered without a template, and Jinja takes a moment.
        from tramontane.tokenizer.chat_template import render

        return render(
            self.chat_template,
            messages,
            bos=self.bos_text,
            eos=self.eos_text,
            add_generation_prompt=add_generation_prompt,
            tools=tools,
        )

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """Returns the token ids of a rendered conversation.

        What people and notes say cannot forge a turn: marks inside a message's content are spelt
        out, only the template's own become control tokens. BOS comes once.
        """
        text = self.render_chat(
            [self._shielded(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            tools=[self._shielded(tool) for tool in tools] if tools else None,
        )
        ids: list[int] = []
        for piece in SHIELDED.split(text):
            is_content = piece.startswith(SHIELD) and piece.endswith(SHIELD) and len(piece) > 1
            ids += self._encode_further(ids, piece.strip(SHIELD), parse_special=not is_content)
        if self.adds_bos and self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids.insert(0, self.bos_id)
        return ids

    def _encode_further(self, ids: list[int], text: str, *, parse_special: bool) -> list[int]:
        """Returns the ids of a text that follows `ids`, without the space put before a first."""
        if ids and self.strips_first_space:
            line = self.encode("\n")
            further = self.encode(f"\n{text}", parse_special=parse_special)
            if further[: len(line)] == line:
                return further[len(line) :]
        return self.encode(text, parse_special=parse_special)

    def _shielded(self, value: Any) -> Any:
        """Returns a value of a conversation with every text in it shielded."""
        match value:
            case str():
                return self._shield(value)
            case Mapping():
                return {self._shield(key): self._shielded(item) for key, item in value.items()}
            case list() | tuple():
                return [self._shielded(item) for item in value]
        return value

    def _shield(self, content: str) -> str:
        """Wraps whatever looks like a control token, so that it can be told from the template's."""
        content = content.replace(SHIELD, "")
        return self._marks.sub(lambda mark: f"{SHIELD}{mark[0]}{SHIELD}", content)

    @cached_property
    def _marks(self) -> re.Pattern:
        tokens = self._marking.get_added_tokens_decoder().values()
        marks = sorted((t.content for t in tokens if t.special), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, marks)) or r"(?!)")


def byte_of_character() -> dict[str, int]:
    """Returns GPT-2's table from printable stand-ins to bytes (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + place): byte for place, byte in enumerate(others)}


BYTE_OF_CHARACTER = byte_of_character()


def twin_of(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Returns one that reads alike and shares the vocabulary, with switches of its own."""
    twin = tokenizers.Tokenizer(tokenizer.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (shared := getattr(tokenizer, part)) is not None:
            setattr(twin, part, shared)
    added = tokenizer.get_added_tokens_decoder()
    for index in sorted(added):
        add = twin.add_special_tokens if added[index].special else twin.add_tokens
        add([added[index]])
    if (
        twin.get_added_tokens_decoder() == added
        and tokenizer.truncation is None
        and tokenizer.padding is None
    ):
        return twin
    # Ids with gaps can only be had from the written form, which takes longer.
    return tokenizers.Tokenizer.from_str(tokenizer.to_str())

"""The tokenizer of Mistral's own layout (tekken.json, tokenizer.model*), through mistral-common.

mistral-common is the model's authors' own rule book for turns of chat: it writes token ids and no
text, so nothing that a message says can become a control token.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tramontane.errors import TokenizerError
from tramontane.tokenizer.tokenizer import BYTE_PIECE, Tokenizer


class MistralTokenizer(Tokenizer):
    """Encodes and decodes as the parent does, with mistral-common's tables and turns."""

    def __init__(self, file: Path):
        """Raises TokenizerError when mistral-common is missing or cannot read the file."""
        # Nothing of the parent's making is wanted: there is no `tokenizers` object behind it.
        self._file = file
        self._common = opened(file, "test")
        self._finetuning: Any = None
        self._pieces = self._common.instruct_tokenizer.tokenizer
        self._is_byte_level = hasattr(self._pieces, "id_to_byte_piece")
        self.chat_template = f"mistral-common, version {self._pieces.version.value}"
        self.vocab_size = self._pieces.n_words
        self.adds_bos = True
        self._special_ids = frozenset(self._pieces.special_ids)
        self.bos_id = self._pieces.bos_id
        self.eos_ids = frozenset({self._pieces.eos_id})
        self.separator_id = self._pieces.eos_id
        self.bos_text = self._pieces.id_to_piece(self.bos_id)
        self.eos_text = self._pieces.id_to_piece(self._pieces.eos_id)
        self._special = {self._pieces.id_to_piece(one): one for one in sorted(self._special_ids)}
        by_length = sorted(self._special, key=len, reverse=True)
        self._special_pattern = re.compile("(" + "|".join(map(re.escape, by_length)) + ")")

    def encode(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Returns the text's token ids, without BOS or EOS."""
        text = text.encode("utf-8", "replace").decode("utf-8")
        pieces = self._special_pattern.split(text) if parse_special else [text]
        ids: list[int] = []
        for place, piece in enumerate(pieces):
            if place % 2:
                ids.append(self._special[piece])
            elif piece:
                ids += self._pieces.encode(piece, bos=False, eos=False)
        return ids

    def token_bytes(self, token_id: int) -> bytes:
        """Returns the bytes a token stands for; a control token stands for its name."""
        if type(token_id) is not int or not 0 <= token_id < self.vocab_size:
            raise TokenizerError(f"token id {token_id}; the vocabulary has {self.vocab_size}")
        piece = self._pieces.id_to_piece(token_id)
        if token_id in self._special_ids:
            return piece.encode()
        if self._is_byte_level:
            return self._pieces.id_to_byte_piece(token_id)
        if match := BYTE_PIECE.fullmatch(piece):
            return bytes([int(match[1], 16)])
        return piece.replace("▁", " ").encode()

    def render_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """Returns the conversation as its tokens read, control tokens by their names."""
        ids = self.encode_chat(messages, add_generation_prompt=add_generation_prompt, tools=tools)
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[int]:
        """Returns the token ids of a conversation; BOS comes once, an answer brings its EOS.

        Mistral's turns have no mark before an answer, so `add_generation_prompt` adds nothing.
        Raises TokenizerError when mistral-common refuses the messages.
        """
        from mistral_common.exceptions import MistralCommonException
        from mistral_common.protocol.instruct.request import ChatCompletionRequest

        common = self._common
        if messages and messages[-1].get("role") == "assistant":
            if self._finetuning is None:
                self._finetuning = opened(self._file, "finetuning")
            common = self._finetuning
        try:
            asked = {"messages": list(messages)} | ({"tools": list(tools)} if tools else {})
            request = ChatCompletionRequest.model_validate(asked)
            return list(common.encode_chat_completion(request).tokens)
        except (MistralCommonException, ValueError) as error:
            first_line = str(error).strip().partition("\n")[0]
            raise TokenizerError(
                f"mistral-common refuses these messages: {first_line[:200]}"
            ) from None


def opened(file: Path, mode: str) -> Any:
    """Returns mistral-common's tokenizer of the file; its mode says how a conversation may end."""
    try:
        from mistral_common.protocol.instruct.validator import ValidationMode
        from mistral_common.tokens.tokenizers.mistral import MistralTokenizer as Common
    except ImportError as error:
        raise missing(file, error) from None
    try:
        return Common.from_file(str(file), mode=ValidationMode[mode])
    except ImportError as error:
        raise missing(file, error) from None
    except Exception as error:  # noqa: BLE001  a damaged file raises whatever it tripped over
        raise TokenizerError(
            f"{file} cannot be read by mistral-common: {str(error)[:200] or type(error).__name__}; "
            "pull the model again"
        ) from None


def missing(file: Path, error: ImportError) -> TokenizerError:
    return TokenizerError(
        f"{file}: Mistral's own tokenizer files are read through mistral-common, which is not "
        f'installed here ({error}); install it with `pip install "tramontane[mistral]"`'
    )

"""The tokenizer of a Hugging Face folder: tokenizer.json, with what other files add to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tramontane.errors import TokenizerError

if TYPE_CHECKING:
    from tramontane.tokenizer.tokenizer import Tokenizer


def tokenizer_in(folder: Path, config: Mapping[str, object]) -> "Tokenizer":
    raise TokenizerError(f"{folder}: not yet")

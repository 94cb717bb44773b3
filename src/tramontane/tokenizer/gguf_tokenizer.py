"""A tokenizer as the keys of a GGUF's metadata: `gguf_vocabulary` the other way round."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tramontane.errors import TokenizerError
from tramontane.tokenizer.gguf_vocabulary import COMPOSES, CONTROL, CUTS, USER_DEFINED

if TYPE_CHECKING:
    from tramontane.tokenizer.tokenizer import Tokenizer

NORMAL, UNUSED, BYTE = 1, 5, 6


def gguf_tokenizer(tokenizer: "Tokenizer", vocab_size: int) -> dict[str, object]:
    """Returns the metadata of a tokenizer for an embedding of `vocab_size` rows.

    Raises TokenizerError for a way of cutting text that GGUF has no name for here.
    """
    raise TokenizerError("not yet")

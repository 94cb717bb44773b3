"""Tokens that mean something to the model rather than spell text."""

from dataclasses import dataclass

# Published files often name only one end token and leave the end of a turn to convention.
KNOWN_ENDS = frozenset(
    {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "</s>"}
)
KNOWN_SEPARATORS = ("<|endoftext|>", "<|end_of_text|>", "</s>")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """`adds_bos` says whether the published model expects BOS before raw text."""

    bos: str | None = None
    eos: tuple[str, ...] = ()
    adds_bos: bool = False

"""Tokens that mean something to the model rather than spell text."""

from dataclasses import dataclass

# Published files often name only one end token and leave the end of a turn to convention.
KNOWN_ENDS = frozenset(
    {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "</s>"}
)
KNOWN_SEPARATORS = ("<|endoftext|>", "<|end_of_text|>", "</s>")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """`adds_bos` says whether the published model expects BOS before raw text; None leaves that to
    tokenizer.json's own post-processing. `eos_ids` are ends of a turn known by id only."""

    bos: str | None = None
    eos: tuple[str, ...] = ()
    eos_ids: tuple[int, ...] = ()
    adds_bos: bool | None = False

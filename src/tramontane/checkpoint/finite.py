"""Whether a tensor's bytes stand for numbers: a NaN in one weight makes every answer NaN.

Of block types only the scales need looking at, a sixteenth of the bytes or less: the rest are whole
numbers, and what scales of float16 multiply stays far below float32's largest.
"""

import numpy as np

from tramontane.checkpoint.blocks import BLOCKS

# type: where its float16 scales and minima lie in a block.
SCALES_AT = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
# Bits that are all set in an infinity and in what is no number.
EXPONENTS = {"F32": ("<u4", 0x7F800000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}
CHUNK_NUMBERS = 1 << 20


def first_not_finite(raw: np.ndarray, tensor_type: str) -> int | None:
    """Returns the place of the first number that is infinite or none, or whose scale is."""
    if tensor_type in EXPONENTS:
        form, exponent = EXPONENTS[tensor_type]
        return first_with(raw.view(form), exponent)
    numbers, block_bytes = BLOCKS[tensor_type]
    found = []
    for at in SCALES_AT[tensor_type]:
        scales = raw.reshape(-1, block_bytes)[:, at : at + 2].copy().view("<u2")[:, 0]
        if (block := first_with(scales, EXPONENTS["F16"][1])) is not None:
            found.append(block * numbers)
    return min(found, default=None)


def first_with(bits: np.ndarray, exponent: int) -> int | None:
    for begin in range(0, len(bits), CHUNK_NUMBERS):
        is_set = (bits[begin : begin + CHUNK_NUMBERS] & exponent) == exponent
        if is_set.any():
            return begin + int(is_set.argmax())
    return None

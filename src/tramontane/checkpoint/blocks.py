"""What numbers the bytes of a block stand for, by type.

A block is the smallest piece a type stores: one number, 32 numbers that share a scale, or 256 whose
scales share one in turn. The formulas are llama.cpp's (ggml-quants.c):

Q4_0 w = d (q - 8)      Q5_0 w = d (q - 16)      Q8_0 w = d q
Q4_1 w = d q + m        Q5_1 w = d q + m
Q4_K, Q5_K   w = d s q - e m      8 groups of 32 numbers, s and m of 6 bits each
Q6_K         w = d s (q - 32)     16 groups of 16 numbers, s of 8 bits

d, e and the m of 32 are float16; products are taken from the left and all arithmetic is in float32,
so that the numbers have the bits that llama.cpp and the gguf package give them.

B blocks.
"""

from collections.abc import Callable

import numpy as np

# type: (numbers in a block, bytes of a block)
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}


def bf16(blocks_B2: np.ndarray) -> np.ndarray:
    # The upper half of a float32.
    return (blocks_B2.view("<u2").astype(np.uint32) << 16).view(np.float32)


def half(bytes_B2: np.ndarray) -> np.ndarray:
    """Returns (B, 1) float32 of the float16 in two bytes of each block."""
    return bytes_B2.copy().view("<f2").astype(np.float32)


def nibbles(packed_Bn: np.ndarray, run: int) -> np.ndarray:
    """Returns (B, 2n): of every `run` bytes first the lower halves, then the upper ones."""
    packed = packed_Bn.reshape(len(packed_Bn), -1, 1, run)
    lower_then_upper = np.array([0, 4], np.uint8).reshape(2, 1)
    return (packed >> lower_then_upper & 0x0F).reshape(len(packed_Bn), -1)


def fifth_bits(packed_B4: np.ndarray) -> np.ndarray:
    """Returns (B, 32): bit i of each block's four bytes, in the place of a number's fifth bit."""
    return np.unpackbits(packed_B4, axis=1, bitorder="little") << 4


def q4_0(blocks: np.ndarray) -> np.ndarray:
    quants = nibbles(blocks[:, 2:], run=16).astype(np.float32) - 8
    return half(blocks[:, :2]) * quants


def q4_1(blocks: np.ndarray) -> np.ndarray:
    quants = nibbles(blocks[:, 4:], run=16).astype(np.float32)
    return half(blocks[:, :2]) * quants + half(blocks[:, 2:4])


def q5_0(blocks: np.ndarray) -> np.ndarray:
    quants = nibbles(blocks[:, 6:], run=16) | fifth_bits(blocks[:, 2:6])
    return half(blocks[:, :2]) * (quants.astype(np.float32) - 16)


def q5_1(blocks: np.ndarray) -> np.ndarray:
    quants = nibbles(blocks[:, 8:], run=16) | fifth_bits(blocks[:, 4:8])
    return half(blocks[:, :2]) * quants.astype(np.float32) + half(blocks[:, 2:4])


def q8_0(blocks: np.ndarray) -> np.ndarray:
    return half(blocks[:, :2]) * blocks[:, 2:].view(np.int8).astype(np.float32)


def six_bit_pairs(packed_Bc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (B, 8) scales and (B, 8) minima, float32, that twelve bytes hold.

    Bytes 0 to 3 have the first four scales in their lower six bits, 4 to 7 the first four minima;
    8 to 11 have the lower halves of the last four of both, whose upper two bits are what the first
    eight bytes have left.
    """
    first, minimum, last = packed_Bc[:, 0:4], packed_Bc[:, 4:8], packed_Bc[:, 8:12]
    scales = [first & 0x3F, (last & 0x0F) | (first >> 2 & 0x30)]
    minima = [minimum & 0x3F, (last >> 4) | (minimum >> 2 & 0x30)]
    return (
        np.concatenate(scales, axis=1).astype(np.float32),
        np.concatenate(minima, axis=1).astype(np.float32),
    )


def grouped(blocks: np.ndarray, quants_B256: np.ndarray) -> np.ndarray:
    """Returns d s q - e m for the eight groups of Q4_K and Q5_K."""
    scales_B8, minima_B8 = six_bit_pairs(blocks[:, 4:16])
    scales_B81 = (half(blocks[:, :2]) * scales_B8)[:, :, None]
    minima_B81 = (half(blocks[:, 2:4]) * minima_B8)[:, :, None]
    return scales_B81 * quants_B256.reshape(-1, 8, 32).astype(np.float32) - minima_B81


def q4_k(blocks: np.ndarray) -> np.ndarray:
    return grouped(blocks, nibbles(blocks[:, 16:], run=32))


def q5_k(blocks: np.ndarray) -> np.ndarray:
    # Byte j of the 32 has in bit g the fifth bit of number j of group g.
    groups = np.arange(8, dtype=np.uint8).reshape(8, 1)
    fifths = (blocks[:, None, 16:48] >> groups & 1).reshape(len(blocks), -1) << 4
    return grouped(blocks, nibbles(blocks[:, 48:], run=32) | fifths)


def q6_k(blocks: np.ndarray) -> np.ndarray:
    # Of each 32 bytes, bits 2i and 2i + 1 are the upper bits of the i-th of four runs of 32.
    runs = np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)
    upper = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> runs & 3
    quants = nibbles(blocks[:, :128], run=64) | upper.reshape(len(blocks), -1) << 4
    scales = half(blocks[:, 208:]) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return scales[:, :, None] * (quants.reshape(-1, 16, 16).astype(np.float32) - 32)


# type: the float32 numbers of (B, bytes) uint8 blocks, as a new array, still to be reshaped.
NUMBERS_IN_BLOCKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "F32": lambda blocks: blocks.view("<f4").astype(np.float32),
    "F16": lambda blocks: blocks.view("<f2").astype(np.float32),
    "BF16": bf16,
    "Q4_0": q4_0,
    "Q4_1": q4_1,
    "Q5_0": q5_0,
    "Q5_1": q5_1,
    "Q8_0": q8_0,
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
}

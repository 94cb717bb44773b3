"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864), with the two scalings in use.

T tokens, N heads, d head width, c = d / 2 rotated pairs.
"""

import math

import torch
from torch import Tensor

from tramontane.checkpoint.model_config import ModelConfig


def frequencies(config: ModelConfig, factors_c: Tensor | None = None) -> Tensor:
    """Returns the angle each pair turns per position, in float32, shape (c,).

    `factors_c` divides the frequencies when the file brings its own (GGUF's rope_freqs).
    """
    exponents_c = torch.arange(0, config.head_width, 2, dtype=torch.int64).float()
    turns_c = 1.0 / config.rope_theta ** (exponents_c / config.head_width)
    if factors_c is not None:
        return turns_c / factors_c.float()
    scaling = config.rope_scaling
    if scaling is None:
        return turns_c
    if scaling.kind == "linear":
        return turns_c / scaling.factor
    # llama3: slow turns are stretched, fast ones kept, the band between blended.
    wavelengths_c = 2 * math.pi / turns_c
    smooth_c = (scaling.original_context / wavelengths_c - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    smooth_c = smooth_c.clamp(0.0, 1.0)
    return (1 - smooth_c) * turns_c / scaling.factor + smooth_c * turns_c


def angles(positions_T: Tensor, frequencies_c: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (cosine, sine) of each token's angles, float32, each (T, 1, c)."""
    angles_T1c = (positions_T.float()[:, None] * frequencies_c)[:, None, :]
    return angles_T1c.cos(), angles_T1c.sin()


def rotate(x_TNd: Tensor, cos_T1c: Tensor, sin_T1c: Tensor, layout: str) -> Tensor:
    """Returns x with each pair of coordinates turned by its token's angle.

    A pair is (i, i + c) in the layout "halves" (Hugging Face files) and (2i, 2i + 1) in "pairs"
    (GGUF files of Llama and Mixtral, whose query and key rows are stored in that order).
    """
    cos_T1c, sin_T1c = cos_T1c.to(x_TNd.dtype), sin_T1c.to(x_TNd.dtype)
    if layout == "halves":
        a_TNc, b_TNc = x_TNd.chunk(2, dim=-1)
    else:
        a_TNc, b_TNc = x_TNd[..., 0::2], x_TNd[..., 1::2]
    turned = (a_TNc * cos_T1c - b_TNc * sin_T1c, b_TNc * cos_T1c + a_TNc * sin_T1c)
    if layout == "halves":
        return torch.cat(turned, dim=-1)
    return torch.stack(turned, dim=-1).flatten(-2)

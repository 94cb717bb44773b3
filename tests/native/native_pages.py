"""What native pages hold, and a definition that goes on with their roundings.

A key or value that lies between two halves by less than what float32 rounds may become either, and
a later logit moves by a thousandth with it. So the definition takes over what the pages hold, and
each of these numbers must be a half that its own could have become: what is left to compare is
arithmetic. T tokens, G key heads, d head width, P pages.
"""

from dataclasses import dataclass

import numpy as np
import torch
from native_models import PAGES
from torch import Tensor

from rows import allowed_error
from tramontane.engine import torch_runtime
from tramontane.engine.native_runtime import NativeRuntime


def in_pages(runtime: NativeRuntime, layer: int, num_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys and values (T, G, d) of one span in PAGES, from pages of halves."""
    G, d = runtime.config.num_kv_heads, runtime.config.head_width
    pages = runtime.transformer.pages(layer)[list(PAGES)].view(np.float16)
    heads_PGn = pages.astype(np.float32).reshape(len(PAGES), G, -1)
    keys = heads_PGn[..., : d * 64].reshape(len(PAGES), G, d, 64).transpose(0, 3, 1, 2)
    values = heads_PGn[..., d * 64 :].reshape(len(PAGES), G, 64, -1).transpose(0, 2, 1, 3)
    return tuple(x.reshape(-1, G, x.shape[-1])[:num_tokens, :, :d] for x in (keys, values))


@dataclass
class Strays:
    """Numbers in pages that the definition's own can't have been rounded to, and of how many."""

    found: int = 0
    compared: int = 0

    def rounded(self, x_TGd: np.ndarray, kept_TGd: np.ndarray, noise: float) -> np.ndarray:
        """Returns what the pages hold; a stray is counted, and the own number stays."""
        step_TGd = np.spacing(np.abs(kept_TGd).astype(np.float16)).astype(np.float32)
        allowed_TGd = step_TGd / 2 + noise * np.abs(x_TGd).max(axis=(1, 2), keepdims=True)
        is_stray_TGd = ~(np.abs(x_TGd - kept_TGd) <= allowed_TGd)
        self.found += int(is_stray_TGd.sum())
        self.compared += is_stray_TGd.size
        return np.where(is_stray_TGd, x_TGd.astype(np.float16).astype(np.float32), kept_TGd)


def attention_with_pages_of(runtime: NativeRuntime, strays: Strays) -> type:
    """Returns attention that goes on with the keys and values in the runtime's pages."""

    class PagesOfNative(torch_runtime.PagedAttention):
        def __call__(self, layer: int, q_THd: Tensor, k_TGd: Tensor, v_TGd: Tensor) -> Tensor:
            noise = allowed_error(runtime.config, len(k_TGd))
            kept = in_pages(runtime, layer, len(k_TGd))
            k_TGd, v_TGd = (
                torch.from_numpy(strays.rounded(x_TGd.numpy(), kept_TGd, noise))
                for x_TGd, kept_TGd in zip((k_TGd, v_TGd), kept, strict=True)
            )
            return super().__call__(layer, q_THd, k_TGd, v_TGd)

    return PagesOfNative

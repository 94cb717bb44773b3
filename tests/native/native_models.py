"""Native runtimes beside the PyTorch one, and what tests ask of both.

T tokens, V vocabulary, K numbers in a row.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tiny_models import random_expert
from tramontane.engine import torch_runtime
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.runtime import Span, SpanResult
from tramontane.engine.torch_runtime import TorchRuntime

HASHES = ("a" * 64, "b" * 64, "c" * 64)
PAGES = (5, 0, 3, 1)


def rounded(x_TGd: np.ndarray, kv: str) -> np.ndarray:
    """Returns keys or values as pages of that format hold them, in float32."""
    if kv == "float16":
        return x_TGd.clip(-65504, 65504).astype(np.float16).astype(np.float32)
    most_TG1 = np.abs(x_TGd).max(axis=2, keepdims=True)
    scale_TG1 = (most_TG1 / np.float32(127)).clip(0, 65504).astype(np.float16).astype(np.float32)
    with np.errstate(divide="ignore"):
        inverse_TG1 = np.where(scale_TG1 > 0, np.float32(1) / scale_TG1, np.float32(0))
    return (x_TGd * inverse_TG1).clip(-127, 127).round() * scale_TG1


def rounding_attention(kv: str) -> type:
    """Returns attention that rounds as native pages do: what is left to compare is arithmetic."""

    class RoundingPagedAttention(torch_runtime.PagedAttention):
        def __call__(self, layer: int, q_THd: Tensor, k_TGd: Tensor, v_TGd: Tensor) -> Tensor:
            k_TGd, v_TGd = (torch.from_numpy(rounded(x.numpy(), kv)) for x in (k_TGd, v_TGd))
            return super().__call__(layer, q_THd, k_TGd, v_TGd)

    return RoundingPagedAttention


def arrays(expert: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in expert.items()}


def with_experts(runtime, hashes: Sequence[str] = (), num_pages: int = 8):
    runtime.allocate(num_pages)
    for digest in hashes:
        runtime.add_expert(digest, arrays(random_expert(HASHES.index(digest))))
    return runtime


def native(checkpoint, hashes: Sequence[str] = (), **settings) -> NativeRuntime:
    return with_experts(NativeRuntime(checkpoint, **({"threads": 1} | settings)), hashes)


def definition(
    checkpoint, monkeypatch, hashes: Sequence[str] = (), kv: str = "float16"
) -> TorchRuntime:
    monkeypatch.setattr(torch_runtime, "PagedAttention", rounding_attention(kv))
    return with_experts(TorchRuntime(checkpoint), hashes)


def run(
    runtime, token_ids: Sequence[int], experts: Sequence[str] = (), *, with_shares: bool = False
) -> SpanResult:
    span = Span(token_ids, 0, PAGES, tuple(experts), num_logits=len(token_ids))
    return runtime.forward([span], with_shares=with_shares)[0]


def run_in_chunks(
    runtime, token_ids: Sequence[int], ends: Sequence[int], experts: Sequence[str] = ()
) -> np.ndarray:
    """Returns the logits of every token, read chunk by chunk; `ends` closes the chunks."""
    rows, start = [], 0
    for end in ends:
        chunk = token_ids[start:end]
        span = Span(chunk, start, PAGES, tuple(experts), num_logits=len(chunk))
        rows.append(runtime.forward([span])[0].logits_LV)
        start = end
    return np.concatenate(rows)


def tokens(length: int, seed: int = 0, vocabulary: int = 97) -> list[int]:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (length,), generator=g).tolist()

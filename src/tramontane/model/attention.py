"""Causal attention with grouped queries; where keys and values live is the caller's affair.

T tokens, D model width, H query heads, G key heads, d head width, N the
width of all heads together.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from tramontane.checkpoint.model_config import ModelConfig
from tramontane.model.rms_norm import RMSNorm
from tramontane.model.rope import rotate


class Attend(Protocol):
    """Keeps keys and values, and answers queries with what each token may see."""

    def __call__(self, layer: int, q_THd: Tensor, k_TGd: Tensor, v_TGd: Tensor) -> Tensor:
        """Returns (T, H, d)."""


def visible(num_queries: int, num_keys: int, sliding_window: int | None) -> Tensor:
    """Returns (queries, keys) bool: what each of the last positions sees of all `num_keys`.

    Itself and what came before; with a sliding window only its last so many, itself included.
    """
    seen = torch.ones(num_queries, num_keys, dtype=torch.bool)
    seen = seen.tril(diagonal=num_keys - num_queries)
    if sliding_window is not None:
        seen = seen.triu(diagonal=num_keys - num_queries - sliding_window + 1)
    return seen


class WindowAttention:
    """T tokens are windows of equal length, one after the other; none sees another."""

    def __init__(self, window_tokens: int, sliding_window: int | None = None):
        """`sliding_window` is the model's own bound on how far back a token sees."""
        self.window_tokens = window_tokens
        self.mask = None
        if sliding_window is not None and sliding_window < window_tokens:
            self.mask = visible(window_tokens, window_tokens, sliding_window)

    def __call__(self, layer: int, q_THd: Tensor, k_TGd: Tensor, v_TGd: Tensor) -> Tensor:
        q, k, v = (
            x.unflatten(0, (-1, self.window_tokens)).transpose(1, 2) for x in (q_THd, k_TGd, v_TGd)
        )
        mask = None if self.mask is None else self.mask.to(q.device)
        mixed = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        return mixed.transpose(1, 2).flatten(0, 1)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        D, d = config.model_width, config.head_width
        H, G = config.num_heads, config.num_kv_heads
        self.layer, self.head_width, self.rope_layout = layer, d, config.rope_layout
        bias = config.has_attention_bias
        self.query = nn.Linear(D, H * d, bias=bias)
        self.key = nn.Linear(D, G * d, bias=bias)
        self.value = nn.Linear(D, G * d, bias=bias)
        self.output = nn.Linear(H * d, D, bias=False)
        self.query_norm = self.key_norm = None
        if config.has_query_key_norm:
            self.query_norm = RMSNorm(H * d, config.norm_eps)
            self.key_norm = RMSNorm(G * d, config.norm_eps)
        # `attend` divides by the root of d, which a model with a scale of its own makes up for.
        self.query_scale = None
        if config.attention_multiplier is not None:
            self.query_scale = config.attention_multiplier * math.sqrt(d)

    def forward(self, h_TD: Tensor, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        q_TN = linear(h_TD, self.query.weight, self.query.bias)
        k_TN = linear(h_TD, self.key.weight, self.key.bias)
        v_TN = linear(h_TD, self.value.weight, self.value.bias)
        if self.query_norm is not None:
            q_TN, k_TN = self.query_norm(q_TN), self.key_norm(k_TN)
        if self.query_scale is not None:
            q_TN = q_TN * self.query_scale
        q_THd, k_TGd, v_TGd = (x.unflatten(-1, (-1, self.head_width)) for x in (q_TN, k_TN, v_TN))
        q_THd = rotate(q_THd, *rope, self.rope_layout)
        k_TGd = rotate(k_TGd, *rope, self.rope_layout)
        mixed_THd = attend(self.layer, q_THd, k_TGd, v_TGd)
        return self.output(mixed_THd.flatten(1))

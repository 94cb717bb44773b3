"""The native runtime: the Runtime contract on the C++ transformer, without PyTorch.

T tokens of the whole batch, S spans, E experts loaded, L rows of logits, c rotated pairs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.engine.load import NETWORK_MATRICES, Report, load
from tramontane.engine.runtime import Span, SpanResult
from tramontane.engine.weights_cache import WeightsCache
from tramontane.errors import ConfigError, ExpertError
from tramontane.native import _cpu, choose_variant, cores_here

# What the C++ transformer knows of a config; an option outside must be at its neutral value.
UNDERSTOOD = frozenset(
    (
        "family vocab_size model_width ffn_width num_layers num_heads num_kv_heads head_width "
        "norm_eps rope_theta rope_layout rope_scaling max_context_tokens ties_embeddings "
        "num_base_experts num_chosen_experts renormalises_route sliding_window has_attention_bias "
        "has_query_key_norm embedding_multiplier attention_multiplier residual_multiplier "
        "logits_scaling"
    ).split()
)
# The types of matrices it repacks; what isn't a matrix is read as float32 whatever its type.
REPACKED_TYPES = frozenset("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K".split())
NO_WINDOW = 1 << 40
# What keys and values can be rounded to.
KV_FORMATS = ("float16", "int8")


class NativeRuntime:
    page_tokens = 64
    ignores_company = True
    tells_routes = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        threads: int | None = None,
        variant: str | None = None,
        kv: str = "float16",
        cache: WeightsCache | None = None,
        report: Report | None = None,
    ):
        """`variant` is an instruction set; by default TRAMONTANE_VARIANT, or the best here.

        `kv` is what keys and values are rounded to in their pages, one of KV_FORMATS: int8, with a
        scale per token and head, takes about half the memory of float16. Repacked weights are
        mapped from `cache`, or kept in memory where it is None; `report` hears of their bytes.
        """
        if kv not in KV_FORMATS:
            raise ConfigError(f"kv={kv!r}; keys and values are kept as {' or '.join(KV_FORMATS)}")
        self.config = config = checkpoint.config
        refuse_unknown_options(config)
        refuse_unknown_types(checkpoint)
        self.transformer = _cpu.Transformer(
            vocab_size=config.vocab_size,
            model_width=config.model_width,
            ffn_width=config.ffn_width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_width=config.head_width,
            norm_eps=config.norm_eps,
            rotates_halves=config.rope_layout == "halves",
            num_base_experts=config.num_base_experts,
            num_chosen_experts=config.num_chosen_experts,
            renormalises_route=config.renormalises_route,
            window=config.sliding_window or NO_WINDOW,
            attention_scale=config.attention_multiplier or config.head_width**-0.5,
            embedding_multiplier=config.embedding_multiplier,
            residual_multiplier=config.residual_multiplier,
            logits_scaling=config.logits_scaling,
            turns_c=frequencies(config, rope_factors_of(checkpoint)),
            kv_format=kv,
            variant=choose_variant(variant),
            threads=threads or cores_here(),
        )
        load(self.transformer, checkpoint, cache, report)
        self.hashes: set[str] = set()

    @property
    def expert_hashes(self) -> tuple[str, ...]:
        return tuple(sorted(self.hashes))

    @property
    def description(self) -> dict[str, Any]:
        return {
            "runtime": "native",
            "instructions": self.transformer.variant,
            "threads": self.transformer.threads,
            "kv": self.transformer.kv_format,
        }

    @property
    def page_bytes(self) -> int:
        return self.transformer.page_bytes

    def allocate(self, num_pages: int) -> None:
        self.transformer.allocate(num_pages)

    def add_expert(self, expert_hash: str, tensors: Mapping[str, np.ndarray]) -> None:
        expert = _cpu.NotesExpert()
        for layer in sorted({int(name.split(".")[1]) for name in tensors}):
            parts = {
                part: float32(tensors[f"layers.{layer}.{part}"])
                for part in ("row", *NETWORK_MATRICES)
            }
            try:
                expert.put_layer(self.transformer, layer, **parts)
            except ValueError as error:
                raise ExpertError(
                    f"expert {expert_hash[:12]} doesn't fit the base: {error}; "
                    "was it learnt on another model?"
                ) from None
        self.transformer.add_expert(expert_hash, expert)
        self.hashes.add(expert_hash)

    def remove_expert(self, expert_hash: str) -> None:
        self.hashes.remove(expert_hash)
        self.transformer.remove_expert(expert_hash)

    def forward(self, spans: Sequence[Span], *, with_shares: bool = False) -> list[SpanResult]:
        loaded = self.expert_hashes
        num_tokens = sum(len(span.token_ids) for span in spans)
        num_rows = sum(span.num_logits for span in spans)
        allowed_SE = np.array(
            [[digest in span.experts for digest in loaded] for span in spans], np.uint8
        ).reshape(len(spans), len(loaded))
        logits_LV = np.empty((num_rows, self.config.vocab_size), np.float32)
        shares_TE = gates_TE = None
        if with_shares:
            shares_TE = np.empty((num_tokens, len(loaded)), np.float32)
            gates_TE = np.empty((num_tokens, len(loaded)), np.float32)
        routes_NTK = None
        if any(span.with_routes for span in spans):
            config = self.config
            shape = (config.num_layers, num_tokens, config.num_chosen_experts)
            routes_NTK = np.zeros(shape, np.uint32)
        self.transformer.forward(
            flat([span.token_ids for span in spans]),
            flat([[span.start] for span in spans]),
            flat([[len(span.token_ids)] for span in spans]),
            flat([[len(span.pages)] for span in spans]),
            flat([span.pages for span in spans]),
            flat([[span.num_logits] for span in spans]),
            allowed_SE,
            logits_LV,
            shares_TE,
            gates_TE,
            routes=routes_NTK,
        )
        results, row, token = [], 0, 0
        for span in spans:
            columns = [loaded.index(digest) for digest in span.experts]
            tokens = slice(token, token + len(span.token_ids))
            results.append(
                SpanResult(
                    logits_LV[row : row + span.num_logits],
                    shares_TE[tokens][:, columns] if shares_TE is not None else None,
                    gates_TE[tokens][:, columns] if gates_TE is not None else None,
                    routes_NTK[:, tokens].swapaxes(0, 1) if span.with_routes else None,
                )
            )
            row += span.num_logits
            token = tokens.stop
        return results


def flat(rows: Sequence[Sequence[int]]) -> np.ndarray:
    return np.array([item for row in rows for item in row], np.int32)


def float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


def refuse_unknown_options(config: ModelConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in UNDERSTOOD and value != field.default:
            raise ConfigError(
                f"the native runtime doesn't know {field.name}={value!r} of this model yet; "
                "the PyTorch runtime (extra `learn`) may"
            )


def refuse_unknown_types(checkpoint: Checkpoint) -> None:
    pieces = (piece for tensor in checkpoint.tensors.values() for piece in tensor.pieces)
    if strange := sorted({piece.type for piece in pieces} - REPACKED_TYPES):
        raise ConfigError(
            f"the native runtime doesn't repack weights of type {', '.join(strange)} yet; "
            "the PyTorch runtime (extra `learn`) reads them"
        )


def rope_factors_of(checkpoint: Checkpoint) -> np.ndarray | None:
    if "rope_factors.weight" in checkpoint.tensors:
        return checkpoint.read("rope_factors.weight")
    return None


def frequencies(config: ModelConfig, factors_c: np.ndarray | None = None) -> np.ndarray:
    """Returns the angle each pair turns per position, (c,) float32; model/rope.py defines it."""
    exponents_c = np.arange(0, config.head_width, 2, dtype=np.float32)
    # Powers in float64: numpy's float32 power and PyTorch's differ in the last bit.
    powers_c = np.float64(config.rope_theta) ** (exponents_c / np.float32(config.head_width))
    turns_c = np.float32(1.0) / powers_c.astype(np.float32)
    scaling = config.rope_scaling
    if factors_c is not None:
        turns_c = turns_c / factors_c.astype(np.float32)
    elif scaling is not None and scaling.kind == "linear":
        turns_c = turns_c / np.float32(scaling.factor)
    elif scaling is not None:
        low, high = np.float32(scaling.low_freq_factor), np.float32(scaling.high_freq_factor)
        wavelengths_c = np.float32(2 * np.pi) / turns_c
        smooth_c = (np.float32(scaling.original_context) / wavelengths_c - low) / (high - low)
        smooth_c = smooth_c.clip(0.0, 1.0)
        turns_c = (1 - smooth_c) * turns_c / np.float32(scaling.factor) + smooth_c * turns_c
    return float32(turns_c)

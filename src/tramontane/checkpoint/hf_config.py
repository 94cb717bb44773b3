"""A Hugging Face config.json as a ModelConfig; what it doesn't support is refused by name."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tramontane.checkpoint.closest import closest
from tramontane.checkpoint.families import HF_ARCHITECTURES, Architecture
from tramontane.checkpoint.model_config import MULTIPLIERS, SWITCHES, ModelConfig, RopeScaling
from tramontane.errors import CheckpointError

MAX_JSON_BYTES = 64 << 20

# Keys that would change the answers, with the values at which they change nothing.
NEUTRAL = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
    "clip_qkv": (None,),
}
# Without num_key_value_heads these have as many as query heads.
KEY_HEADS_AS_HEADS = ("llama", "olmoe", "granite", "granitemoe")


def read_json(path: Path) -> dict:
    """Returns the JSON object in a small file; anything else is a CheckpointError naming it."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path} has more than {MAX_JSON_BYTES} bytes")
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_json(raw: bytes, what: str) -> dict:
    try:
        parsed = json.loads(raw, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} is no JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{what} holds {type(parsed).__name__}, a JSON object was expected")
    return parsed


def without_doubles(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in it twice")
    return found


def architecture_of(
    path: Path, raw: Mapping[str, object], stored: Iterable[str] = ()
) -> Architecture:
    """Returns the row of the folder's model_type.

    Raises CheckpointError for an unknown one, which says what its tensors, by the names `stored`,
    come nearest to.
    """
    word = raw.get("model_type")
    for architecture in HF_ARCHITECTURES:
        if architecture.word == word:
            return architecture
    supported = ", ".join(architecture.word for architecture in HF_ARCHITECTURES)
    raise CheckpointError(
        f"{path}: model_type {str(word)[:80]!r} is not supported; supported: {supported}. "
        f"{closest(word, HF_ARCHITECTURES, stored)}"
    )


def hf_config(path: Path, raw: Mapping[str, object], architecture: Architecture) -> ModelConfig:
    """Returns the config that a config.json (at `path`, parsed as `raw`) describes, checked.

    Raises CheckpointError naming the key that is missing, of a wrong type or not supported.
    """
    for key, neutral in NEUTRAL.items():
        if raw.get(key, neutral[0]) not in neutral:
            raise CheckpointError(
                f"{path}: {key} is {str(raw[key])[:80]!r}, which isn't supported and would change "
                f"the answers; supported: {neutral[0]}"
            )
    word = architecture.word
    num_heads = whole(path, raw, "num_attention_heads")
    model_width = whole(path, raw, "hidden_size")
    rope = rope_of(path, raw)
    read = {name: of_field(path, raw, name, architecture) for name in architecture.reads}
    try:
        return ModelConfig(
            family=architecture.family,
            vocab_size=whole(path, raw, "vocab_size"),
            model_width=model_width,
            ffn_width=whole(path, raw, "intermediate_size"),
            num_layers=whole(path, raw, "num_hidden_layers"),
            num_heads=num_heads,
            num_kv_heads=whole(
                path, raw, "num_key_value_heads", num_heads if word in KEY_HEADS_AS_HEADS else None
            ),
            head_width=whole(path, raw, "head_dim", model_width // max(num_heads, 1)),
            norm_eps=real(path, raw, "rms_norm_eps"),
            rope_theta=real(path, rope, "rope_theta", architecture.defaults.get("rope_theta")),
            rope_layout=architecture.rope_layout,
            rope_scaling=rope_scaling_of(path, rope),
            max_context_tokens=whole(path, raw, "max_position_embeddings"),
            ties_embeddings=raw.get("tie_word_embeddings", False) is True,
            **architecture.implies,
            **read,
        )
    except CheckpointError as error:
        if str(error).startswith(str(path)):
            raise
        raise CheckpointError(f"{path}: {error}") from None


def of_field(
    path: Path, raw: Mapping[str, object], name: str, architecture: Architecture
) -> object:
    """Returns the value of a further field of ModelConfig, by the kind that field has."""
    key = architecture.reads[name]
    if name == "sliding_window":
        return window_of(path, raw, key, asks_twice=architecture.word == "qwen2")
    value = raw.get(key)
    if value is None and name in architecture.defaults:
        return architecture.defaults[name]
    if name in SWITCHES:
        return value
    return (real if name in MULTIPLIERS else whole)(path, raw, key)


def window_of(path: Path, raw: Mapping[str, object], key: str, *, asks_twice: bool) -> int | None:
    """Returns the window that every layer has; where only some have one it is refused.

    Qwen2 `asks_twice`: its configs name a window that holds only with use_sliding_window, and from
    the layer max_window_layers on.
    """
    if raw.get("use_sliding_window", not asks_twice) is not True:
        return None
    window = whole(path, raw, key, 0) or None
    kinds = raw.get("layer_types")
    first = raw.get("max_window_layers", 28 if asks_twice else 0)
    in_all = set(kinds) == {"sliding_attention"} if isinstance(kinds, list) else first == 0
    if window is not None and not in_all:
        raise CheckpointError(
            f"{path}: a sliding window in some layers only (layer_types, max_window_layers) isn't "
            "supported and would change the answers; supported: in all or in none"
        )
    return window


def rope_of(path: Path, raw: Mapping[str, object]) -> dict[str, object]:
    """Returns rope_theta and the scaling's keys in one dict, as transformers 5 writes them."""
    scaling = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(scaling, dict) or any(isinstance(item, dict) for item in scaling.values()):
        raise CheckpointError(
            f"{path}: rope_parameters are {str(scaling)[:80]!r}; "
            "one set for all layers is supported"
        )
    rope = {"rope_theta": raw["rope_theta"]} if "rope_theta" in raw else {}
    return rope | scaling


def rope_scaling_of(path: Path, rope: Mapping[str, object]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling(kind="linear", factor=real(path, rope, "factor"))
    if kind == "llama3":
        return RopeScaling(
            kind="llama3",
            factor=real(path, rope, "factor"),
            low_freq_factor=real(path, rope, "low_freq_factor"),
            high_freq_factor=real(path, rope, "high_freq_factor"),
            original_context=whole(path, rope, "original_max_position_embeddings"),
        )
    raise CheckpointError(
        f"{path}: RoPE scaling {kind!r} is not supported; supported: default, linear, llama3"
    )


def whole(path: Path, raw: Mapping[str, object], key: str, default: int | None = None) -> int:
    value = raw.get(key)
    value = default if value is None else value
    if type(value) is not int:
        came = "is missing" if value is None else f"is {str(value)[:80]!r}"
        raise CheckpointError(f"{path}: {key} {came}; a whole number was expected")
    return value


def real(path: Path, raw: Mapping[str, object], key: str, default: float | None = None) -> float:
    value = raw.get(key)
    value = default if value is None else value
    if type(value) not in (int, float):
        came = "is missing" if value is None else f"is {str(value)[:80]!r}"
        raise CheckpointError(f"{path}: {key} {came}; a number was expected")
    try:
        return float(value)
    except OverflowError:
        raise CheckpointError(f"{path}: {key} is too large") from None

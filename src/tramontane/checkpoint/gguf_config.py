"""A GGUF's metadata as a ModelConfig; what it doesn't support is refused by name."""

from collections.abc import Mapping
from pathlib import Path

from tramontane.checkpoint.closest import closest
from tramontane.checkpoint.families import GGUF_ARCHITECTURES, Architecture
from tramontane.checkpoint.gguf_file import GGUFFile
from tramontane.checkpoint.model_config import MULTIPLIERS, ModelConfig, RopeScaling
from tramontane.errors import CheckpointError

# Keys that would change the answers, with the values at which they change nothing.
NEUTRAL = {
    "attention.scale": (0.0,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.temperature_scale": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "logit_scale": (0.0, 1.0),
    "use_parallel_residual": (False,),
    "expert_shared_count": (0,),
    "expert_weights_scale": (0.0, 1.0),
    "expert_gating_func": (0, 1),
    "leading_dense_block_count": (0,),
    "rope.scaling.attn_factor": (1.0,),
}


def architecture_of(gguf: GGUFFile) -> Architecture:
    word = gguf.metadata.get("general.architecture")
    for architecture in GGUF_ARCHITECTURES:
        if architecture.word == word:
            return architecture
    supported = ", ".join(architecture.word for architecture in GGUF_ARCHITECTURES)
    raise CheckpointError(
        f"{gguf.files[0]}: architecture {repr(word)[:80]} is not supported; supported in GGUF: "
        f"{supported}. {closest(word, GGUF_ARCHITECTURES, gguf.tensors)}"
    )


def gguf_config(gguf: GGUFFile) -> ModelConfig:
    """Returns the config that the metadata describes, checked.

    Raises CheckpointError naming the key that is missing, of a wrong type or not supported.
    """
    architecture = architecture_of(gguf)
    keys = Keys(gguf.files[0], gguf.metadata, architecture.word)
    for key, neutral in NEUTRAL.items():
        if key in architecture.reads.values():
            continue
        value = keys.get(key, neutral[0])
        if value not in neutral:
            raise keys.fault(key, value, "which isn't supported and would change the answers")
    num_heads = keys.whole("attention.head_count")
    model_width = keys.whole("embedding_length")
    head_width = keys.whole("attention.key_length", model_width // max(num_heads, 1))
    for key in ("attention.value_length", "rope.dimension_count"):
        if keys.whole(key, head_width) != head_width:
            raise keys.fault(
                key, keys.get(key), f"only the head's own width {head_width} is supported"
            )
    read = {
        name: keys.of_field(name, key, architecture.defaults)
        for name, key in architecture.reads.items()
    }
    is_mixtral = architecture.word == "llama" and read["num_base_experts"]
    try:
        return ModelConfig(
            family="mixtral" if is_mixtral else architecture.family,
            vocab_size=vocab_size_of(gguf, keys),
            model_width=model_width,
            ffn_width=keys.whole("feed_forward_length"),
            num_layers=keys.whole("block_count"),
            num_heads=num_heads,
            num_kv_heads=keys.whole("attention.head_count_kv", num_heads),
            head_width=head_width,
            norm_eps=keys.real("attention.layer_norm_rms_epsilon"),
            rope_theta=keys.real("rope.freq_base", 10000.0),
            rope_layout=architecture.rope_layout,
            rope_scaling=rope_scaling_of(keys),
            max_context_tokens=keys.whole("context_length"),
            ties_embeddings="output.weight" not in gguf.tensors,
            **architecture.implies,
            **read,
        )
    except CheckpointError as error:
        if str(error).startswith(str(gguf.files[0])):
            raise
        raise CheckpointError(f"{gguf.files[0]}: {error}") from None


def vocab_size_of(gguf: GGUFFile, keys: "Keys") -> int:
    """Returns the rows of the embedding: some files lack the key, some pad the vocabulary."""
    if embedding := gguf.tensors.get("token_embd.weight"):
        return embedding.shape[0]
    return keys.whole("vocab_size")


def rope_scaling_of(keys: "Keys") -> RopeScaling | None:
    kind = keys.get("rope.scaling.type", "none")
    factor = keys.real("rope.scaling.factor", 0.0)
    if kind == "none" and (old := keys.real("rope.scale_linear", 0.0)):
        kind, factor = "linear", old
    if kind == "none":
        return None
    if kind != "linear":
        raise keys.fault("rope.scaling.type", kind, "supported: none, linear")
    # llama.cpp reads 0 as "not scaled".
    return RopeScaling(kind="linear", factor=factor) if factor not in (0.0, 1.0) else None


class Keys:
    """The metadata below the architecture's prefix, by type."""

    def __init__(self, path: Path, metadata: Mapping[str, object], prefix: str):
        self.path, self.metadata, self.prefix = path, metadata, prefix

    def get(self, key: str, default: object = None) -> object:
        return self.metadata.get(f"{self.prefix}.{key}", default)

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.get(key, default)
        # Some writers give one number per layer; equal ones are as good as one.
        if isinstance(value, list) and value and all(item == value[0] for item in value):
            value = value[0]
        if value is None:
            raise CheckpointError(f"{self.path}: the metadata lacks {self.prefix}.{key}")
        if type(value) is not int:
            raise self.fault(key, value, "one whole number was expected")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        value = self.get(key, default)
        if value is None:
            raise CheckpointError(f"{self.path}: the metadata lacks {self.prefix}.{key}")
        if type(value) not in (int, float):
            raise self.fault(key, value, "a number was expected")
        return float(value)

    def of_field(self, name: str, key: str, defaults: Mapping[str, object]) -> object:
        """Returns the value of a further field of ModelConfig, by the kind that field has."""
        if name in defaults and self.get(key) is None:
            return defaults[name]
        if name not in MULTIPLIERS:
            # llama.cpp reads a window of 0 as none.
            return self.whole(key) or (None if name == "sliding_window" else 0)
        # As it reads a multiplier that is 0 or isn't there as the usual arithmetic.
        return self.real(key, 0.0) or (None if name == "attention_multiplier" else 1.0)

    def fault(self, key: str, value: object, why: str) -> CheckpointError:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return CheckpointError(f"{self.path}: {self.prefix}.{key} is {shown}; {why}")

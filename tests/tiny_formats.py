"""A tiny Hugging Face folder written anew, as a GGUF file or in Mistral's own layout.

The names in GGUF files are those of the gguf package's own table; the order of query and key rows
is what llama.cpp's converter makes of Llama's: the two rows that RoPE turns together side by side.
"""

import json
import math
import re
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file

IN_PAIRS = ("llama", "mistral", "mixtral", "granite", "granitemoe")
WORDS = {"mistral": "llama", "mixtral": "llama"}
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "olmoe": gguf.MODEL_ARCH.OLMOE,
    "granite": gguf.MODEL_ARCH.GRANITE,
    "granitemoe": gguf.MODEL_ARCH.GRANITE_MOE,
}
MERGED_EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(\w+)\.weight")
# Mistral's names for Hugging Face's, by their endings.
MISTRALS = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
}


def in_pairs(rows: np.ndarray, num_heads: int) -> np.ndarray:
    """Returns a query or key matrix whose rows i and i + d/2 of each head stand together."""
    heads = rows.reshape(num_heads, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)


def read_tiny(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Returns config.json and the tensors, queries and keys reordered where the format wants it."""
    config = json.loads((folder / "config.json").read_bytes())
    tensors = load_file(folder / "model.safetensors")
    if config["model_type"] in IN_PAIRS:
        for name in tensors:
            if name.endswith("q_proj.weight"):
                tensors[name] = in_pairs(tensors[name], config["num_attention_heads"])
            elif name.endswith("k_proj.weight"):
                tensors[name] = in_pairs(tensors[name], config["num_key_value_heads"])
    return config, tensors


def write_gguf_model(folder: Path, path: Path) -> Path:
    """Writes the folder's model as an F32 GGUF, with gguf's writer and its table of names."""
    config, tensors = read_tiny(folder)
    word = WORDS.get(config["model_type"], config["model_type"])
    writer = gguf.GGUFWriter(path, word)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if head_width := config.get("head_dim"):
        writer.add_key_length(head_width)
        writer.add_value_length(head_width)
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config["head_dim"], rope))
    if window := config.get("sliding_window"):
        writer.add_sliding_window(window)
    if experts := config.get("num_local_experts") or config.get("num_experts"):
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if "logits_scaling" in config:
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    names = gguf.get_tensor_name_map(ARCHITECTURES[word], config["num_hidden_layers"])
    for name, numbers in with_experts_together(tensors).items():
        renamed = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert renamed, name
        writer.add_tensor(renamed, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama3_factors(head_width: int, rope: dict[str, float]) -> np.ndarray:
    """Returns what each frequency is divided by, which GGUF has as a tensor, not as metadata."""
    factors = []
    for pair in range(0, head_width, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (pair / head_width)
        turns = rope["original_max_position_embeddings"] / wavelength
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def with_experts_together(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the tensors with the experts of a layer in one, gate and up apart, as GGUF has it."""
    together: dict[str, np.ndarray] = {}
    for name, numbers in tensors.items():
        if match := MERGED_EXPERT.fullmatch(name):
            at, expert, part = match.groups()
            if expert == "0":
                count = sum(other.startswith(f"{at}.") for other in tensors) // 3
                each = [tensors[f"{at}.{e}.{part}.weight"] for e in range(count)]
                together[f"{at}.{part}.weight"] = np.stack(each)
        elif name.endswith("input_linear.weight"):
            at = name.removesuffix("block_sparse_moe.input_linear.weight")
            gate, up = np.split(numbers, 2, axis=1)
            together[f"{at}mlp.experts.gate_proj.weight"] = np.ascontiguousarray(gate)
            together[f"{at}mlp.experts.up_proj.weight"] = np.ascontiguousarray(up)
        elif name.endswith("output_linear.weight"):
            at = name.removesuffix("block_sparse_moe.output_linear.weight")
            together[f"{at}mlp.experts.down_proj.weight"] = numbers
        else:
            together[name] = numbers
    return together


def write_consolidated(
    folder: Path, out: Path, *, num_shards: int = 1, block: str = "feed_forward"
) -> Path:
    """Writes the folder's Mistral or Mixtral in Mistral's own layout, and returns `out`."""
    config, tensors = read_tiny(folder)
    out.mkdir()
    params = {
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "head_dim": config["head_dim"],
        "hidden_dim": config["intermediate_size"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"],
        "norm_eps": config["rms_norm_eps"],
        "vocab_size": config["vocab_size"],
        "rope_theta": config["rope_parameters"]["rope_theta"],
        "max_seq_len": config["max_position_embeddings"],
    }
    if config.get("sliding_window"):
        params["sliding_window"] = config["sliding_window"]
    if config.get("tie_word_embeddings"):
        params["tied_embeddings"] = True
    if config["model_type"] == "mixtral":
        params["moe"] = {
            "num_experts": config["num_local_experts"],
            "num_experts_per_tok": config["num_experts_per_tok"],
        }
    (out / "params.json").write_text(json.dumps(params))
    renamed = {mistrals_name(name, block): numbers for name, numbers in tensors.items()}
    places = sorted(renamed)
    for shard in range(num_shards):
        chosen = {name: renamed[name] for name in places[shard::num_shards]}
        ending = f"-{shard + 1:05}-of-{num_shards:05}" if num_shards > 1 else ""
        save_file(chosen, out / f"consolidated{ending}.safetensors")
    return out


def mistrals_name(name: str, block: str) -> str:
    name = name.replace("block_sparse_moe", block)
    for theirs, mistrals in MISTRALS.items():
        name = name.replace(theirs, mistrals)
    return name.removeprefix("model.")

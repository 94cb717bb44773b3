"""A Hugging Face folder of an exported mixture: config, weights, tokenizer, and a model card."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.checkpoint.new_tensor import NewTensor
from tramontane.checkpoint.safetensors_folder import TOKENIZER_FILES
from tramontane.checkpoint.safetensors_writer import SHARD_BYTES, write_weights
from tramontane.errors import ExpertError, TokenizerError
from tramontane.experts.lineage import Lineage
from tramontane.experts.slots import Slots
from tramontane.tokenizer.tokenizer import Tokenizer

# Their names in safetensors, and in config.json.
FOLDER_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# Where the base's numbers are blocks: it reaches as far as float32, so that nothing overflows.
UNBLOCKED = "BF16"


def folder_type(checkpoint: Checkpoint, wanted: str | None) -> str:
    """Returns the type of the folder's matrices: what is wanted, or the base's own if it can be."""
    if wanted is None:
        own = checkpoint.tensors["layers.0.ffn.gate.weight"].type
        return own if own in FOLDER_TYPES else UNBLOCKED
    if wanted not in FOLDER_TYPES:
        raise ExpertError(
            f"a Hugging Face folder can't hold {wanted}; it can hold {', '.join(FOLDER_TYPES)}. "
            "Name a file that ends in .gguf to keep blocks"
        )
    return wanted


def write_folder(
    folder: Path,
    slots: Slots,
    lineage: Lineage,
    tensors: Sequence[NewTensor],
    report: Callable[[int], None],
) -> dict[str, str]:
    """Fills an empty folder and returns each tensor's SHA-256 by its name."""
    checkpoint = slots.checkpoint
    refuse_factors(checkpoint)
    ends = write_tokenizer(folder, checkpoint)
    write_json(folder / "config.json", config_json(slots.config, str(slots.wanted_type)) | ends)
    metadata = {
        "format": "pt",
        "tramontane.base_sha256": lineage.base_sha256,
        "tramontane.mixture_hash": lineage.mixture_hash,
        "tramontane.experts": " ".join(f"{e.name}:{e.hash}" for e in lineage.experts),
    }
    hashes = write_weights(folder, tensors, metadata, report, SHARD_BYTES)
    # What rounding cost is known once the numbers are written.
    losses = {what: loss.ratio for what, loss in slots.losses.items()}
    card = model_card(lineage, str(slots.wanted_type), losses)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return hashes


def refuse_factors(checkpoint: Checkpoint) -> None:
    """Raises ExpertError for a GGUF that has RoPE's factors as numbers, not as their formula."""
    if "rope_factors.weight" not in checkpoint.tensors:
        return
    if not np.all(checkpoint.read("rope_factors.weight") == 1):
        raise ExpertError(
            f"{checkpoint.name} has its RoPE scaling as a table of numbers, and a config.json has "
            "no place for that; export a .gguf, or take the base from its Hugging Face folder"
        )


def config_json(config: ModelConfig, matrix_type: str) -> dict[str, object]:
    """Returns the config.json of a Mixtral, in the keys of transformers 4 and 5."""
    rope: dict[str, object] = {"rope_type": "default"}
    if (scaling := config.rope_scaling) is not None:
        rope = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            rope |= {
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_context,
            }
    said = {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "vocab_size": config.vocab_size,
        "hidden_size": config.model_width,
        "intermediate_size": config.ffn_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_context_tokens,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_theta": config.rope_theta, **rope},
        "sliding_window": config.sliding_window,
        "num_local_experts": config.num_base_experts,
        "num_experts_per_tok": config.num_chosen_experts,
        "router_jitter_noise": 0.0,
        "output_router_logits": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": config.ties_embeddings,
        "use_cache": True,
        "torch_dtype": FOLDER_TYPES[matrix_type],
    }
    if config.rope_scaling is not None:
        said["rope_scaling"] = rope
    return said


def write_tokenizer(folder: Path, checkpoint: Checkpoint) -> dict[str, object]:
    """Writes the tokenizer's files and generation_config.json; returns config.json's token ids.

    A folder's files are copied as they are; a GGUF's tokenizer becomes files that read the same.
    """
    ends = ("bos_token_id", "eos_token_id", "pad_token_id")
    home = checkpoint.files[0].parent
    if (home / "config.json").is_file():
        tokenizer = checkpoint.tokenizer()  # raises TokenizerError where others couldn't read it
        for name in TOKENIZER_FILES:
            if (home / name).is_file():
                shutil.copyfile(home / name, folder / name)
        said = {end: checkpoint.metadata.get(end) for end in ends}
    else:
        tokenizer = checkpoint.tokenizer()
        if not isinstance(tokenizer, Tokenizer):
            raise TokenizerError(
                f"{checkpoint.name} has Mistral's own tokenizer, and a Hugging Face folder has no "
                "files for that; take the base from its Hugging Face folder"
            )
        write_json(folder / "tokenizer.json", json.loads(tokenizer.to_json()))
        write_json(folder / "tokenizer_config.json", tokenizer_config(tokenizer, checkpoint.config))
        if tokenizer.chat_template is not None:
            (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
        eos = tokenizer.eos_id
        said = {"bos_token_id": tokenizer.bos_id, "eos_token_id": eos, "pad_token_id": None}
    if not (folder / "generation_config.json").is_file():
        every = sorted(tokenizer.eos_ids, key=lambda token_id: token_id != said["eos_token_id"])
        generation = said | {"eos_token_id": every or None}
        write_json(folder / "generation_config.json", generation)
    return said


def tokenizer_config(tokenizer: Tokenizer, config: ModelConfig) -> dict[str, object]:
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_context_tokens,
        "add_bos_token": tokenizer.adds_bos,
        "clean_up_tokenization_spaces": False,
        "bos_token": tokenizer.bos_text,
        "eos_token": tokenizer.eos_text,
    }
    return {key: value for key, value in said.items() if value != ""}


def model_card(lineage: Lineage, matrix_type: str, losses: Mapping[str, float]) -> str:
    """Returns a README.md: what the model is, from what it was made, under which licences, and
    what was measured of it.

    `losses` are how far rounding to the type of matrices moved numbers, as Exported has them.
    """
    lines = ["---", f"license: {lineage.licence or 'unknown'}"]
    if lineage.licence_name:
        lines += [f"license_name: {json.dumps(lineage.licence_name)}"]
    lines += ["tags:", "- mixtral", "- tramontane", "---", "", f"# {lineage.name}", ""]
    lines += [lineage.description, "", "| part | sha256 | owner | licence |", "|---|---|---|---|"]
    lines += [
        f"| {lineage.base_name} (base) | `{lineage.base_sha256}` | | {lineage.base_licence} |"
    ]
    lines += [
        f"| {e.name} | `{e.hash}` | {e.owner or 'not said'} | {e.licence or 'not said'} |"
        for e in lineage.experts
    ]
    lines += ["", "## Measured", ""]
    lines += [f"- {e.name}: {e.measured or 'its file says nothing'}." for e in lineage.experts]
    lines += [
        f"- Rounding to {FOLDER_TYPES[matrix_type]} moved the numbers of the {what} by "
        f"{100 * loss:.2g} % (root mean square)."
        for what, loss in losses.items()
        if loss
    ]
    lines += [
        "",
        "Router rows are stored in float32 and decide by small differences: load with "
        "`dtype=torch.float32` to have every gate as it was learnt.",
    ]
    return "\n".join(lines) + "\n"


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""Bases to export from, as a Hugging Face folder with a tokenizer and a chat template."""

import json
from pathlib import Path

from expert_makers import (
    CONTEXT,
    FFN_WIDTH,
    NUM_LAYERS,
    WIDTH,
    byte_level_tokenizer,
    canal_notes,
    expert,
    random_tensors,
)

from tiny_models import save_tiny
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.experts.expert_file import Expert

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

MESSAGES = [
    {"role": "user", "content": "The sluice leaks after rain."},
    {"role": "assistant", "content": "It needs a new bolt."},
    {"role": "user", "content": "Which one?"},
]


def audible_expert(name: str, seed: int) -> Expert:
    """Returns an expert of the embedded base that changes about every tenth token."""
    tensors = random_tensors(seed, layers=(20, 25, 29), width=64, model_width=576)
    for full_name in tensors:
        tensors[full_name] *= 5.0 if full_name.endswith("down") else 0.05
    return expert(name, tensors)


def chatty_llama(folder: Path, kind: str = "llama", **changes: object) -> Checkpoint:
    """Writes a random Llama with a chat template and opens it."""
    tokenizer = byte_level_tokenizer([note.text for note in canal_notes(60, seed=99)])
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    sizes = {
        "vocab_size": tokenizer.get_vocab_size() + 5,
        "hidden_size": WIDTH,
        "intermediate_size": FFN_WIDTH,
        "num_hidden_layers": NUM_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }
    save_tiny(kind, folder, **(sizes | changes))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return open_checkpoint(folder)

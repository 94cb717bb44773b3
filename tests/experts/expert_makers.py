"""Tiny bases, notes and experts made on the spot, small enough to learn from in a second."""

import hashlib
import json
import random
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.experts.expert_file import FORMAT, Expert, tensor_hash
from tramontane.experts.lesson import LearnSettings
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256
from tramontane.notes.note import Note

WIDTH, FFN_WIDTH, NUM_LAYERS, NUM_HEADS, HEAD_WIDTH, CONTEXT = 32, 96, 3, 2, 16, 512
VOCABULARY = 400
BASE_SHA256 = "b" * 64
# Small enough for a second, large enough that something is learnt.
SMALL = LearnSettings(
    width=64,
    window_tokens=32,
    batch_windows=4,
    epochs=2,
    row_tokens=640,
    public_tokens_per_genre=64,
)

NOUNS = ["sluice", "weir", "eel trap", "towpath", "lock gate", "winding gear", "punt", "culvert"]
VERBS = ["creaks", "leaks", "was oiled", "needs a new bolt", "was painted", "holds", "jams"]
WHENS = ["after rain", "in March", "on Tuesday", "since the flood", "at low water", "again"]


def note(text: str, *, may_train: bool = True, path: str = "a.md") -> Note:
    return Note(
        path=path,
        title=path,
        text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        may_train=may_train,
    )


def canal_notes(count: int, seed: int = 0) -> list[Note]:
    """Returns notes of one voice: short reports from a canal keeper's log."""
    draw = random.Random(seed)
    notes = []
    for number in range(count):
        lines = [
            f"The {draw.choice(NOUNS)} {draw.choice(VERBS)} {draw.choice(WHENS)}."
            for _ in range(draw.randint(3, 6))
        ]
        notes.append(note(f"# Log {number}\n\n" + "\n".join(lines) + "\n", path=f"{number}.md"))
    return notes


def byte_level_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def random_weights(num_base_experts: int, tokens: list[str], seed: int) -> dict[str, np.ndarray]:
    """Returns weights by GGUF's names.

    Of the embedding, coordinate 0 is the same for every token: trained models carry such a
    coordinate, and router rows use it in the place of a bias. Coordinate 1 marks the long tokens,
    the canal keeper's own words, so that rows have something to tell his notes by.
    """
    draw = np.random.default_rng(seed)

    def matrix(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * draw.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    def norm() -> np.ndarray:
        return (1 + 0.1 * draw.standard_normal(WIDTH)).astype(np.float32)

    embedding = matrix(len(tokens), WIDTH, scale=1.5)
    embedding[:, 0] = 0.5
    embedding[:, 1] = [0.8 * (len(token) > 4) for token in tokens]
    weights = {"token_embd.weight": embedding, "output_norm.weight": norm()}
    E = num_base_experts
    for layer in range(NUM_LAYERS):
        here = {
            "attn_norm": norm(),
            "attn_q": matrix(NUM_HEADS * HEAD_WIDTH, WIDTH),
            "attn_k": matrix(HEAD_WIDTH, WIDTH),
            "attn_v": matrix(HEAD_WIDTH, WIDTH),
            "attn_output": matrix(WIDTH, NUM_HEADS * HEAD_WIDTH, scale=0.3),
            "ffn_norm": norm(),
        }
        if E:
            here |= {
                "ffn_gate_inp": matrix(E, WIDTH),
                "ffn_gate_exps": matrix(E, FFN_WIDTH, WIDTH),
                "ffn_up_exps": matrix(E, FFN_WIDTH, WIDTH),
                "ffn_down_exps": matrix(E, WIDTH, FFN_WIDTH, scale=0.3),
            }
        else:
            here |= {
                "ffn_gate": matrix(FFN_WIDTH, WIDTH),
                "ffn_up": matrix(FFN_WIDTH, WIDTH),
                "ffn_down": matrix(WIDTH, FFN_WIDTH, scale=0.3),
            }
        weights |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in here.items()}
    return weights


def write_tiny_base(path: Path, *, num_base_experts: int = 0, seed: int = 0) -> Checkpoint:
    """Writes a random Llama (or, with base experts, Mixtral) as GGUF and opens it."""
    tokenizer = byte_level_tokenizer([n.text for n in canal_notes(60, seed=99)])
    content = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(content["vocab"], key=content["vocab"].get)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(NUM_LAYERS)
    writer.add_feed_forward_length(FFN_WIDTH)
    writer.add_head_count(NUM_HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    if num_base_experts:
        writer.add_expert_count(num_base_experts)
        writer.add_expert_used_count(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges([" ".join(merge) for merge in content["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, tensor in random_weights(num_base_experts, tokens, seed).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return open_checkpoint(path)


def random_tensors(
    seed: int, *, layers: tuple[int, ...] = (1, 2), width: int = 8, model_width: int = WIDTH
) -> dict[str, np.ndarray]:
    """Returns an expert's tensors, rows open for about half of all tokens."""
    draw = np.random.default_rng(seed)
    shapes = {
        "gate": (width, model_width),
        "up": (width, model_width),
        "down": (model_width, width),
        "row": (model_width,),
    }
    return {
        f"layers.{layer}.{name}": draw.standard_normal(shape).astype(np.float32)
        for layer in layers
        for name, shape in shapes.items()
    }


def expert(
    name: str, tensors: dict[str, np.ndarray], base_sha256: str = BASE_SHA256, **more: object
) -> Expert:
    manifest = {
        "format": FORMAT,
        "name": name,
        "owner": "the canal keeper",
        "licence": "CC0-1.0",
        "base": {"name": "tiny", "sha256": base_sha256},
        "layers": sorted({int(name.split(".")[1]) for name in tensors if "." in name}),
        "width": next((len(t) for name, t in tensors.items() if name.endswith("gate")), 0),
        "notes": {"number": 1, "salted_sha256": ["a" * 64], "tokens": 1000},
        "held_out": {
            "perplexity_before": 24.0,
            "perplexity_after": 18.0,
            "notes": 2,
            "tokens": 256,
        },
        "gates": {"own_held_out": 0.8, "public": {"chat": 0.01}},
        "public_text_sha256": PUBLIC_TEXT_SHA256,
        "tensor_hash": tensor_hash(tensors),
        **more,
    }
    return Expert(manifest, tensors)


def random_expert(name: str, seed: int, base_sha256: str = BASE_SHA256, **shape: object) -> Expert:
    return expert(name, random_tensors(seed, **shape), base_sha256)

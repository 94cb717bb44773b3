"""Random-weight GGUF files of real models' shapes: speed doesn't depend on what weights say.

The weights' scale is a trained model's, so that activations stay ordinary; tokens are SmolLM2's
(padded where a shape has more), since llama.cpp loads no model without a tokenizer.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

# Q4_0: a half and 32 four-bit numbers; their spread in units of the scale.
BLOCK_NUMBERS, BLOCK_BYTES, NIBBLE_SPREAD = 32, 18, 4.61


@dataclass(frozen=True)
class Shape:
    """A model's sizes, with GGUF's name of its architecture."""

    name: str
    architecture: str
    model_width: int
    ffn_width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    vocab_size: int
    num_experts: int = 0
    num_chosen: int = 0
    has_query_key_norm: bool = False

    @property
    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        D, F, E = self.model_width, self.ffn_width, self.num_experts
        query, keys = self.num_heads * self.head_width, self.num_kv_heads * self.head_width
        yield "token_embd.weight", (self.vocab_size, D)
        yield "output_norm.weight", (D,)
        yield "output.weight", (self.vocab_size, D)
        for layer in range(self.num_layers):
            at = f"blk.{layer}"
            yield f"{at}.attn_norm.weight", (D,)
            yield f"{at}.attn_q.weight", (query, D)
            yield f"{at}.attn_k.weight", (keys, D)
            yield f"{at}.attn_v.weight", (keys, D)
            yield f"{at}.attn_output.weight", (D, query)
            if self.has_query_key_norm:
                yield f"{at}.attn_q_norm.weight", (query,)
                yield f"{at}.attn_k_norm.weight", (keys,)
            yield f"{at}.ffn_norm.weight", (D,)
            if E:
                yield f"{at}.ffn_gate_inp.weight", (E, D)
            stack = (E,) if E else ()
            kind = "_exps" if E else ""
            yield f"{at}.ffn_gate{kind}.weight", (*stack, F, D)
            yield f"{at}.ffn_up{kind}.weight", (*stack, F, D)
            yield f"{at}.ffn_down{kind}.weight", (*stack, D, F)


MIXTRAL_SLICE = Shape("mixtral_slice", "llama", 4096, 14336, 4, 32, 8, 128, 49152, 8, 2)
OLMOE = Shape("olmoe", "olmoe", 2048, 1024, 16, 16, 16, 128, 50304, 64, 8, True)
SMOLLM2 = Shape("smollm2_q4_0", "llama", 576, 1536, 30, 9, 3, 64, 49152)
SMOLLM2_MIXTURE = Shape("smollm2_mixture", "llama", 576, 1536, 30, 9, 3, 64, 49152, 8, 2)
SHAPES = {shape.name: shape for shape in (MIXTRAL_SLICE, OLMOE, SMOLLM2, SMOLLM2_MIXTURE)}


def write_shape(shape: Shape, path: Path, tokenizer_of: Path) -> Path:
    """Writes the model in Q4_0 unless it is there; a file half written has another name."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    writer = GGUFWriter(half, shape.architecture)
    writer.add_context_length(4096)
    writer.add_embedding_length(shape.model_width)
    writer.add_block_count(shape.num_layers)
    writer.add_feed_forward_length(shape.ffn_width)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(shape.vocab_size)
    if shape.num_experts:
        writer.add_expert_count(shape.num_experts)
        writer.add_expert_used_count(shape.num_chosen)
    copy_tokenizer(writer, tokenizer_of, shape.vocab_size)
    for name, sizes in shape.tensors:
        is_matrix = is_quantised(name, sizes)
        stored = sizes if not is_matrix else block_shape(sizes)
        writer.add_tensor_info(
            name,
            stored,
            np.dtype(np.uint8 if is_matrix else np.float32),
            int(np.prod(stored)) * (1 if is_matrix else 4),
            raw_dtype=GGMLQuantizationType.Q4_0 if is_matrix else None,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(1)
    for name, sizes in shape.tensors:
        writer.write_tensor_data(tensor(random, name, sizes))
    writer.close()
    half.rename(path)
    return path


def is_quantised(name: str, sizes: tuple[int, ...]) -> bool:
    return len(sizes) > 1 and "gate_inp" not in name


def block_shape(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (*sizes[:-1], sizes[-1] // BLOCK_NUMBERS * BLOCK_BYTES)


def tensor(random: np.random.Generator, name: str, sizes: tuple[int, ...]) -> np.ndarray:
    """Returns float32 numbers, or Q4_0 blocks as bytes."""
    if len(sizes) == 1:
        return random.uniform(0.5, 1.5, sizes).astype(np.float32)
    if not is_quantised(name, sizes):
        return (random.standard_normal(sizes) / np.sqrt(sizes[-1])).astype(np.float32)
    blocks = random.integers(
        0, 256, (int(np.prod(sizes)) // BLOCK_NUMBERS, BLOCK_BYTES), dtype=np.uint8
    )
    scale = np.float16(1 / (NIBBLE_SPREAD * np.sqrt(sizes[-1])))
    blocks[:, :2] = np.frombuffer(scale.tobytes(), np.uint8)
    return blocks.reshape(block_shape(sizes))


def copy_tokenizer(writer: GGUFWriter, source: Path, vocab_size: int) -> None:
    fields = GGUFReader(source).fields

    def content(key: str):
        return fields[f"tokenizer.ggml.{key}"].contents()

    tokens, kinds = content("tokens"), content("token_type")
    missing = vocab_size - len(tokens)
    writer.add_tokenizer_model(content("model"))
    writer.add_tokenizer_pre(content("pre"))
    writer.add_token_list([*tokens, *(f"<unused{i}>" for i in range(missing))])
    writer.add_token_types([*kinds, *[5] * missing])
    writer.add_token_merges(content("merges"))
    writer.add_bos_token_id(content("bos_token_id"))
    writer.add_eos_token_id(content("eos_token_id"))


if __name__ == "__main__":
    folder, tokenizer = Path(sys.argv[1]), Path(sys.argv[2])
    for shape in SHAPES.values():
        print(write_shape(shape, folder / f"{shape.name}.gguf", tokenizer))

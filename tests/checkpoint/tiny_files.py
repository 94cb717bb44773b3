"""Models small enough to write in a test, as GGUF files and as Hugging Face folders."""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

MODEL_WIDTH, FFN_WIDTH, NUM_LAYERS, NUM_HEADS, NUM_KV_HEADS, HEAD_WIDTH = 32, 64, 2, 2, 1, 16
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def alphabet() -> list[str]:
    return [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "the"]


def gguf_tensors(num_experts: int = 0) -> dict[str, np.ndarray]:
    """Returns random numbers for every tensor of a tiny Llama (or Mixtral), by GGUF's names."""
    random = np.random.default_rng(5)
    D, F, E = MODEL_WIDTH, FFN_WIDTH, num_experts
    shapes = {"token_embd.weight": (len(alphabet()), D), "output_norm.weight": (D,)}
    for layer in range(NUM_LAYERS):
        at = f"blk.{layer}"
        shapes |= {
            f"{at}.attn_norm.weight": (D,),
            f"{at}.attn_q.weight": (NUM_HEADS * HEAD_WIDTH, D),
            f"{at}.attn_k.weight": (NUM_KV_HEADS * HEAD_WIDTH, D),
            f"{at}.attn_v.weight": (NUM_KV_HEADS * HEAD_WIDTH, D),
            f"{at}.attn_output.weight": (D, NUM_HEADS * HEAD_WIDTH),
            f"{at}.ffn_norm.weight": (D,),
        }
        if E:
            shapes |= {
                f"{at}.ffn_gate_inp.weight": (E, D),
                f"{at}.ffn_gate_exps.weight": (E, F, D),
                f"{at}.ffn_up_exps.weight": (E, F, D),
                f"{at}.ffn_down_exps.weight": (E, D, F),
            }
        else:
            shapes |= {
                f"{at}.ffn_gate.weight": (F, D),
                f"{at}.ffn_up.weight": (F, D),
                f"{at}.ffn_down.weight": (D, F),
            }
    return {name: random.standard_normal(shape, np.float32) / 8 for name, shape in shapes.items()}


def write_gguf(
    path: Path,
    quantisation: str = "F32",
    *,
    num_experts: int = 0,
    metadata: dict[str, object] | None = None,
    **writer_options: int,
) -> Path:
    """Writes a tiny model whose matrices are of `quantisation`, with gguf's own writer."""
    writer = GGUFWriter(path, "llama", **writer_options)
    writer.add_license("apache-2.0")
    writer.add_context_length(128)
    writer.add_embedding_length(MODEL_WIDTH)
    writer.add_block_count(NUM_LAYERS)
    writer.add_feed_forward_length(FFN_WIDTH)
    writer.add_head_count(NUM_HEADS)
    writer.add_head_count_kv(NUM_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5000.0)
    if num_experts:
        writer.add_expert_count(num_experts)
        writer.add_expert_used_count(2)
    tokens = alphabet()
    kinds = [TokenType.CONTROL] * len(CONTROL) + [TokenType.NORMAL] * (len(tokens) - len(CONTROL))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for key, value in (metadata or {}).items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        add.get(type(value), writer.add_string)(key, value)
    kind = GGMLQuantizationType[quantisation]
    for name, numbers in gguf_tensors(num_experts).items():
        if numbers.ndim == 1:
            writer.add_tensor(name, numbers)
        else:
            writer.add_tensor(name, quantize(numbers, kind), raw_dtype=kind)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def byte_level() -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(alphabet())}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("t", "h"), ("th", "e")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    return tokenizer


def save_byte_level(folder: Path, **more: object):
    """Saves the byte-level tokenizer with transformers; returns transformers' own."""
    import transformers

    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level(),
        bos_token=CONTROL[1],
        eos_token=CONTROL[2],
        chat_template=TEMPLATE,
        **more,
    )
    theirs.save_pretrained(folder)
    return theirs

"""Vocabularies small enough to read, as the metadata of a GGUF."""

from tokenizers.pre_tokenizers import ByteLevel

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level_metadata() -> dict[str, object]:
    """All 256 bytes, four merges (two of them cut é and 日 in the middle), control tokens."""
    stand_in = dict(zip(range(256), bytes_as_characters(), strict=True))
    merges = [("t", "h"), ("th", "e"), (stand_in[0xC3], stand_in[0xA9])]
    merges += [(stand_in[0xE6], stand_in[0x97])]
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*control, *stand_in.values(), *("".join(pair) for pair in merges), "<note>"]
    kinds = [CONTROL] * len(control) + [NORMAL] * (256 + len(merges)) + [USER_DEFINED]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": TEMPLATE,
    }


def bytes_as_characters() -> list[str]:
    """Returns GPT-2's stand-in for each byte, as the tokenizers library has them."""
    cut = ByteLevel(add_prefix_space=False, use_regex=False)
    in_utf8 = {}
    for point in (*range(0x80), *range(0x80, 0x800, 0x10), *range(0x80, 0xC0)):
        text = chr(point)
        in_utf8 |= dict(zip(text.encode(), cut.pre_tokenize_str(text)[0][0], strict=True))
    for point in (*range(0x800, 0x10000, 0x800), *range(0x10000, 0x110000, 0x8000)):
        if not 0xD800 <= point < 0xE000:
            text = chr(point)
            in_utf8 |= dict(zip(text.encode(), cut.pre_tokenize_str(text)[0][0], strict=True))
    # Bytes that no text has: GPT-2 gives those that Latin-1 can't show the next free places.
    return [in_utf8.get(byte, chr(byte)) for byte in range(256)]


def sentence_piece_metadata(add_space_prefix: bool = True) -> dict[str, object]:
    """Pieces with scores, bytes for what they don't spell, ▁ for spaces."""
    pieces = ["▁", "e", "t", "h", "a", "n", "o", "s", "é", "日", "▁t", "he", "▁the", "an", "▁a"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(pieces)
    scores = [0.0] * 259 + [float(-place) for place in range(len(pieces))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_space_prefix": add_space_prefix,
    }

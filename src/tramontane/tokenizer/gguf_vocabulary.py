"""A GGUF's own vocabulary as a `tokenizers` object.

Two kinds stand in files: "gpt2", byte-level pair encoding with a list of merges and a rule that
cuts text before it (`tokenizer.ggml.pre`), and "llama", SentencePiece pieces with scores. The keys
are those of the GGUF specification (github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from collections.abc import Mapping, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tramontane.errors import TokenizerError

CONTROL, USER_DEFINED = 3, 4
# Far above any published piece; every way to cut one is looked at.
MAX_PIECE_CHARACTERS = 512

LLAMA3_CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_CUT = LLAMA3_CUT.replace(r"\p{N}{1,3}", r"\p{N}")


def bytes_after(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def gpt2_cut() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


# How text is cut before pairs are merged, by the name the file gives it. GGUF files of Granite name
# the rule after another model, one of several with the same.
CUTS = {
    "gpt-2": gpt2_cut,
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), gpt2_cut()]
    ),
    "llama-bpe": lambda: bytes_after(LLAMA3_CUT),
    "qwen2": lambda: bytes_after(QWEN2_CUT),
    "olmo": gpt2_cut,
}
ALIASES = {
    "llama3": "llama-bpe",
    "llama-v3": "llama-bpe",
    "gpt2": "gpt-2",
    "refact": "smollm",
    "starcoder": "smollm",
}
# Their published rules compose characters first (é from e and an accent); llama.cpp's leave that
# out, and give tokens that the model hasn't learnt from.
COMPOSES = ("qwen2", "olmo")


def tokenizer_from_gguf(metadata: Mapping[str, object]) -> Tokenizer:
    """Returns the file's tokenizer; raises TokenizerError naming a kind that isn't known."""
    kind = metadata.get("tokenizer.ggml.model")
    tokens = required(metadata, "tokenizer.ggml.tokens", str)
    types = [1] * len(tokens)
    if "tokenizer.ggml.token_type" in metadata:
        types = required(metadata, "tokenizer.ggml.token_type", int)
    if len(types) != len(tokens):
        raise TokenizerError(f"{len(tokens)} tokens came with {len(types)} token types")
    if kind == "gpt2":
        tokenizer = byte_level(metadata, tokens)
    elif kind == "llama":
        tokenizer = sentence_pieces(metadata, tokens)
    else:
        raise TokenizerError(
            f"tokenizer.ggml.model is {kind!r}; 'gpt2' and 'llama' can be read here"
        )
    tokenizer.add_special_tokens(
        [
            AddedToken(t, special=True)
            for t, kind in zip(tokens, types, strict=True)
            if kind == CONTROL
        ]
    )
    tokenizer.add_tokens(
        [
            AddedToken(t, special=False, normalized=False)
            for t, kind in zip(tokens, types, strict=True)
            if kind == USER_DEFINED
        ]
    )
    return tokenizer


def required(metadata: Mapping[str, object], key: str, *types: type) -> list:
    value = metadata.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
        raise TokenizerError(f"the file has no {key}; it was made without its tokenizer")
    items = list(value)
    if wrong := next((item for item in items if not isinstance(item, types)), None):
        raise TokenizerError(
            f"{key} holds {str(wrong)[:80]!r}, a {types[0].__name__} was expected; it is damaged"
        )
    return items


def token_named(role: str, metadata: Mapping[str, object], tokens: Sequence[str]) -> str | None:
    """Returns the token of a role such as "eos". An id without a token says none, as -1 does."""
    index = metadata.get(f"tokenizer.ggml.{role}_token_id")
    return tokens[index] if type(index) is int and 0 <= index < len(tokens) else None


def byte_level(metadata: Mapping[str, object], tokens: Sequence[str]) -> Tokenizer:
    name = str(metadata.get("tokenizer.ggml.pre", "missing"))
    name = ALIASES.get(name, name)
    if name not in CUTS:
        raise TokenizerError(
            f"tokenizer.ggml.pre is {name!r}; known are {', '.join(sorted(CUTS))}. Guessing would "
            "give other tokens than the model learnt"
        )
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = []
    for merge in required(metadata, "tokenizer.ggml.merges", str):
        left, _, right = merge.partition(" ")
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary:
            raise TokenizerError(f"tokenizer.ggml.merges: {merge!r} gives no known token")
        merges.append((left, right))
    # Llama 3 takes a whole word that is in the vocabulary as it is, whatever merges would give.
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=name == "llama-bpe"))
    if name in COMPOSES:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = CUTS[name]()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentence_pieces(metadata: Mapping[str, object], tokens: Sequence[str]) -> Tokenizer:
    """Returns SentencePiece's pair encoding: merge the neighbours whose piece scores best."""
    scores = required(metadata, "tokenizer.ggml.scores", float, int)
    if len(scores) != len(tokens):
        raise TokenizerError(f"{len(tokens)} tokens came with {len(scores)} scores")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = []
    if longest := next((piece for piece in tokens if len(piece) > MAX_PIECE_CHARACTERS), None):
        raise TokenizerError(
            f"tokenizer.ggml.tokens: {longest[:40]!r}... has {len(longest)} characters; "
            f"{MAX_PIECE_CHARACTERS} are possible"
        )
    for piece, index in vocabulary.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((scores[index], vocabulary[left], vocabulary[right], left, right))
    merges.sort(key=lambda merge: (-merge[0], merge[1], merge[2]))
    unknown = token_named("unknown", metadata, tokens)
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            [(left, right) for *_, left, right in merges],
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    spaces = [normalizers.Replace(" ", "▁")]
    if metadata.get("tokenizer.ggml.add_space_prefix", True):
        spaces.insert(0, normalizers.Prepend("▁"))
    tokenizer.normalizer = normalizers.Sequence(spaces)
    return tokenizer

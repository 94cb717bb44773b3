"""A tokenizer as the keys of a GGUF's metadata: `gguf_vocabulary` the other way round."""

import json
from collections.abc import Mapping, Sequence

import tokenizers

from tramontane.errors import TokenizerError
from tramontane.tokenizer.gguf_vocabulary import COMPOSES, CONTROL, CUTS, USER_DEFINED
from tramontane.tokenizer.tokenizer import BYTE_PIECE, Tokenizer

NORMAL, UNKNOWN, UNUSED, BYTE = 1, 2, 5, 6
# In tokenizer.json; it moves where a token is said to lie in the text, not what the token is.
SAYS_NOTHING = "trim_offsets"


def gguf_tokenizer(tokenizer: Tokenizer, vocab_size: int) -> dict[str, object]:
    """Returns the metadata of a tokenizer for an embedding of `vocab_size` rows.

    Raises TokenizerError for a way of cutting text that no GGUF name is known for.
    """
    said = json.loads(tokenizer.to_json())
    model = said["model"]
    if model.get("type") != "BPE":
        raise TokenizerError(
            f"a tokenizer of type {model.get('type')!r} can't be put into a GGUF here; pair "
            "encoding (BPE) can"
        )
    merges = [m.split(" ", 1) if isinstance(m, str) else list(m) for m in model["merges"]]
    tokens, types = vocabulary(said, vocab_size)
    if model.get("byte_fallback"):
        kind = sentence_piece_keys(said, tokens, types, merges)
    else:
        kind = byte_level_keys(said, merges)
    ends = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "eot_token_id": next(iter(sorted(tokenizer.eos_ids - {tokenizer.eos_id})), None),
    }
    return {
        **kind,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        **{f"tokenizer.ggml.{key}": end for key, end in ends.items() if end is not None},
        "tokenizer.ggml.add_bos_token": tokenizer.adds_bos,
        **({"tokenizer.chat_template": tokenizer.chat_template} if tokenizer.chat_template else {}),
    }


def vocabulary(said: Mapping, vocab_size: int) -> tuple[list[str], list[int]]:
    """Returns every token by its id, and its kind; ids without a token become unused ones."""
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    types = [UNUSED] * vocab_size
    added = {row["id"]: row for row in said.get("added_tokens", ())}
    ids = {index: token for token, index in said["model"]["vocab"].items()}
    ids |= {index: row["content"] for index, row in added.items()}
    if ids and max(ids) >= vocab_size:
        raise TokenizerError(f"token id {max(ids)}; the embedding has {vocab_size} rows")
    unknown = said["model"].get("unk_token")
    for index, token in ids.items():
        tokens[index] = token
        if index in added:
            types[index] = CONTROL if added[index]["special"] else USER_DEFINED
        elif token == unknown:
            types[index] = UNKNOWN
        else:
            types[index] = NORMAL
    return tokens, types


def byte_level_keys(said: Mapping, merges: Sequence[Sequence[str]]) -> dict[str, object]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name_of_cut(said),
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
    }


def name_of_cut(said: Mapping) -> str:
    """Returns GGUF's name for the way text is cut before pairs are merged."""
    composes = said.get("normalizer") == {"type": "NFC"}
    if said.get("normalizer") is not None and not composes:
        raise unknown_cut(f"the normalizer {said['normalizer']}")
    takes_words = bool(said["model"].get("ignore_merges"))
    wanted = without(said.get("pre_tokenizer"), SAYS_NOTHING)
    for name, cut in CUTS.items():
        probe = tokenizers.Tokenizer(tokenizers.models.BPE())
        probe.pre_tokenizer = cut()
        here = without(json.loads(probe.to_str())["pre_tokenizer"], SAYS_NOTHING)
        same = here == wanted or here in sequence_of_one(wanted)
        if same and composes == (name in COMPOSES) and takes_words == (name == "llama-bpe"):
            return name
    raise unknown_cut(f"the pre-tokenizer {str(said.get('pre_tokenizer'))[:200]}")


def unknown_cut(what: str) -> TokenizerError:
    return TokenizerError(
        f"{what} has no name here that a GGUF could give it, and another would give other tokens; "
        "export a folder instead, or take the base from its GGUF"
    )


def sequence_of_one(cut: object) -> list:
    is_one = isinstance(cut, dict) and len(cut.get("pretokenizers", ())) == 1
    return list(cut["pretokenizers"]) if is_one else []


def without(value: object, key: str) -> object:
    if isinstance(value, dict):
        return {name: without(item, key) for name, item in value.items() if name != key}
    return [without(item, key) for item in value] if isinstance(value, list) else value


def sentence_piece_keys(
    said: Mapping, tokens: Sequence[str], types: list[int], merges: Sequence[Sequence[str]]
) -> dict[str, object]:
    """Returns SentencePiece's keys: a piece's score says how early its merge comes.

    Marks the byte pieces in `types`.
    """
    scores = {}
    for rank, merge in enumerate(merges):
        scores.setdefault("".join(merge), -float(rank))
    for index, token in enumerate(tokens):
        if types[index] == NORMAL and BYTE_PIECE.fullmatch(token):
            types[index] = BYTE
    # A piece that no merge gives is never merged to; its score is below all others.
    last = -float(len(merges))
    rules = json.dumps([said.get("normalizer"), said.get("pre_tokenizer")])
    unknown = said["model"].get("unk_token")
    keys: dict[str, object] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": [scores.get(token, last) for token in tokens],
        "tokenizer.ggml.add_space_prefix": '"Prepend"' in rules
        or ('"Metaspace"' in rules and '"never"' not in rules),
    }
    if unknown in tokens:
        keys["tokenizer.ggml.unknown_token_id"] = tokens.index(unknown)
    return keys

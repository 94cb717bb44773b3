"""The tokenizer of a Hugging Face folder: tokenizer.json, with what other files add to it.

tokenizer.json   the vocabulary and how text is cut; required
tokenizer_config.json, special_tokens_map.json   BOS and EOS, tokens added later, the chat template
chat_template.jinja   the chat template, before one in tokenizer_config.json
generation_config.json, config.json   further tokens that end a turn, by id
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tramontane.checkpoint.hf_config import MAX_JSON_BYTES, read_json
from tramontane.errors import CheckpointError, TokenizerError

if TYPE_CHECKING:
    from tokenizers import AddedToken

    from tramontane.tokenizer.tokenizer import Tokenizer

SENTENCE_PIECE = ("tokenizer.model", "tekken.json", "vocab.json")


def tokenizer_in(folder: Path, config: Mapping[str, object]) -> "Tokenizer":
    """Returns the folder's tokenizer; `config` is its config.json as parsed.

    Raises TokenizerError naming the file that is missing, damaged or contradicts another.
    """
    from tramontane.tokenizer.special_tokens import SpecialTokens
    from tramontane.tokenizer.tokenizer import Tokenizer

    file = folder / "tokenizer.json"
    text = text_of(file)
    if text is None:
        others = [name for name in SENTENCE_PIECE if (folder / name).is_file()]
        raise TokenizerError(
            f"{file} is missing"
            + (f" (there is {others[0]}, which isn't read here)" if others else "")
            + "; pull the model again, or save its tokenizer there with transformers "
            "(AutoTokenizer.from_pretrained(...).save_pretrained(...))"
        )
    settings = object_in(folder / "tokenizer_config.json")
    named = object_in(folder / "special_tokens_map.json") | settings
    adds_bos = settings.get("add_bos_token")
    eos = spelling_of(folder, named, "eos_token")
    special = SpecialTokens(
        bos=spelling_of(folder, named, "bos_token"),
        eos=(eos,) if eos else (),
        eos_ids=tuple(
            end
            for name, values in (
                ("generation_config.json", object_in(folder / "generation_config.json")),
                ("config.json", config),
            )
            for end in ids_in(folder / name, values.get("eos_token_id"))
        ),
        adds_bos=adds_bos if isinstance(adds_bos, bool) else None,
    )
    try:
        return Tokenizer.from_json(
            text,
            special=special,
            chat_template=chat_template_in(folder, settings.get("chat_template")),
            added=dict(added_tokens(folder / "tokenizer_config.json", settings)),
        )
    except TokenizerError as error:
        raise TokenizerError(
            f"{folder}: {error}; were tokenizer.json and the files beside it copied from "
            "different models? Pull the model again"
        ) from None


def text_of(file: Path) -> str | None:
    """Returns the file's text, or None when it isn't there."""
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise TokenizerError(
                f"{file} has more than {MAX_JSON_BYTES} bytes, which no published one has; "
                "is it the right file?"
            )
        return file.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise TokenizerError(f"{file} is no UTF-8; it is damaged, pull the model again") from None
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read: {error.strerror or error}") from error


def object_in(file: Path) -> dict:
    """Returns the file's JSON object; an empty one when there is no file."""
    if not file.exists():
        return {}
    try:
        return read_json(file)
    except CheckpointError as error:
        raise TokenizerError(f"{error}; it is damaged, pull the model again") from None


def spelling_of(folder: Path, named: Mapping[str, object], key: str) -> str | None:
    """Returns a token's text, which stands there bare or as {"content": text, ...}."""
    value = named.get(key)
    if isinstance(value, dict):
        value = value.get("content")
    if value is not None and not isinstance(value, str):
        raise TokenizerError(
            f"{folder / 'tokenizer_config.json'}: {key} is {str(value)[:80]!r}; "
            "a token's text was expected"
        )
    return value or None


def ids_in(file: Path, value: object) -> list[int]:
    """Returns the token ids of an entry that holds none, one or several."""
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(type(token_id) is not int or token_id < 0 for token_id in ids):
        raise TokenizerError(
            f"{file}: eos_token_id is {str(value)[:80]!r}; a token id or a list was expected"
        )
    return ids


def added_tokens(file: Path, settings: Mapping[str, object]) -> Iterator[tuple[int, "AddedToken"]]:
    """Yields the tokens that tokenizer_config.json gives an id and tokenizer.json may lack."""
    from tokenizers import AddedToken

    rows = settings.get("added_tokens_decoder") or {}
    if not isinstance(rows, dict):
        raise TokenizerError(f"{file}: added_tokens_decoder is no table of ids and tokens")
    for token_id, row in rows.items():
        content = row.get("content") if isinstance(row, dict) else None
        if not (token_id.isdecimal() and isinstance(content, str) and content):
            raise TokenizerError(
                f"{file}: added_tokens_decoder has {token_id[:80]!r}: {str(row)[:80]}, "
                "an id and a token with its content were expected"
            )
        flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
        yield (
            int(token_id),
            AddedToken(content, **{flag: row[flag] is True for flag in flags if flag in row}),
        )


def chat_template_in(folder: Path, stated: object) -> str | None:
    """Returns the default chat template; `stated` is tokenizer_config.json's, one or several."""
    if (template := text_of(folder / "chat_template.jinja")) is not None:
        return template
    if stated is None or isinstance(stated, str):
        return stated
    file = folder / "tokenizer_config.json"
    rows = stated if isinstance(stated, list) else []
    templates = {row.get("name"): row.get("template") for row in rows if isinstance(row, dict)}
    if not all(isinstance(one, str) for pair in templates.items() for one in pair):
        templates = {}
    if not templates:
        raise TokenizerError(
            f"{file}: chat_template is neither a text nor a list of names and templates"
        )
    if "default" not in templates and len(templates) > 1:
        raise TokenizerError(
            f"{file}: of the chat templates {', '.join(sorted(templates))} none is called default; "
            "put the one that is wanted into chat_template.jinja beside it"
        )
    return templates.get("default") or next(iter(templates.values()))

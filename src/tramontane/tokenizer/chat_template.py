"""Chat templates: Jinja programs written by strangers, run in a sandbox.

The environment does what the one in transformers does, so a template renders to the same text;
`sandbox` says what it doesn't do.
"""

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jinja2

from tramontane.errors import TokenizerError
from tramontane.tokenizer.sandbox import MAX_WIDTH, WORK, Environment, Work

MAX_TEMPLATE_CHARACTERS = 200_000


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes for HTML, which would reach the model.
    if any(len(mark) > MAX_WIDTH for mark in separators or ()):
        raise TokenizerError(f"the chat template's separators are longer than {MAX_WIDTH}")
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def strftime_now(form: str) -> str:
    if len(form) > MAX_WIDTH or re.search(r"%[^A-Za-z%]*\d", form):
        raise TokenizerError(f"the chat template asks for the time as {form[:MAX_WIDTH]!r}")
    return datetime.datetime.now().strftime(form)


@lru_cache(maxsize=32)
def compiled(template: str) -> jinja2.Template:
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise TokenizerError(
            f"the chat template has {len(template)} characters; {MAX_TEMPLATE_CHARACTERS} is the "
            "most that is run"
        )
    environment = Environment(
        filters={"tojson": to_json},
        functions={"raise_exception": raise_exception, "strftime_now": strftime_now},
    )
    try:
        return environment.from_string(template)
    except (jinja2.TemplateError, RecursionError) as error:
        raise TokenizerError(f"the chat template is not valid: {error}") from None


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    bos: str = "",
    eos: str = "",
    add_generation_prompt: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Returns the conversation as text; TokenizerError when the template fails or refuses."""
    values = {
        "messages": [dict(message) for message in messages],
        "bos_token": bos,
        "eos_token": eos,
        "add_generation_prompt": add_generation_prompt,
        # Many templates ask whether these are none, and take undefined for something.
        "tools": list(tools) if tools else None,
        "documents": None,
        WORK: Work(),
    }
    try:
        return compiled(template).render(values)
    except TokenizerError:
        raise
    except Exception as error:  # noqa: BLE001  a stranger's program may raise anything
        raise TokenizerError(f"the chat template refused the messages: {error}") from None

"""Chat templates: Jinja programs written by strangers, run in a sandbox.

The environment is the one transformers uses, so a template renders to the same text. Beyond the
sandbox: templates and results have a size limit, and a template may only take
so many steps, since a loop in a loop needs no forbidden call to run for ever.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

from tramontane.errors import TokenizerError

MAX_TEMPLATE_CHARACTERS = 200_000
MAX_RENDERED_CHARACTERS = 50_000_000
MAX_LOOP_STEPS = 1_000_000


class Steps:
    """Counts loop steps over one rendering; every loop in the template draws on it."""

    def __init__(self):
        self.left = MAX_LOOP_STEPS

    def __call__(self, iterable: Any) -> Any:
        for item in iterable:
            self.left -= 1
            if self.left < 0:
                raise TokenizerError(f"the chat template loops over {MAX_LOOP_STEPS} times")
            yield item


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks the assistant's words for training; here it only lets them pass."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(jinja2.nodes.For):
            counter = jinja2.nodes.Name("_steps", "load", lineno=loop.lineno)
            loop.iter = jinja2.nodes.Call(counter, [loop.iter], [], None, None, lineno=loop.lineno)
        return tree


def raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    # Jinja's own escapes for HTML, which would reach the model.
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


@lru_cache(maxsize=32)
def compiled(template: str) -> jinja2.Template:
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise TokenizerError(
            f"the chat template has {len(template)} characters; {MAX_TEMPLATE_CHARACTERS} is the "
            "most that is run"
        )
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
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
) -> str:
    """Returns the conversation as text; TokenizerError when the template fails or refuses."""
    pieces, num_characters = [], 0
    try:
        for piece in compiled(template).generate(
            messages=[dict(message) for message in messages],
            bos_token=bos,
            eos_token=eos,
            add_generation_prompt=add_generation_prompt,
            # Many templates ask whether these are none, and take undefined for something.
            tools=None,
            documents=None,
            _steps=Steps(),
        ):
            pieces.append(piece)
            num_characters += len(piece)
            if num_characters > MAX_RENDERED_CHARACTERS:
                raise TokenizerError(
                    f"the chat template writes more than {MAX_RENDERED_CHARACTERS} characters"
                )
    except TokenizerError:
        raise
    except Exception as error:  # noqa: BLE001  a stranger's program may raise anything
        raise TokenizerError(f"the chat template refused the messages: {error}") from None
    return "".join(pieces)

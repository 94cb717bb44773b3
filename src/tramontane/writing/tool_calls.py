"""TOOLS → PROMPT, TEXT → CALLS: functions that a model may ask its caller to run.

A chat template that knows of tools has a form of its own for a call, which is kept to. For any
other base the form is the one that most have: the functions stand in the system message, a call is

    <tool_call>
    {"name": "function", "arguments": {...}}
    </tool_call>

and several may follow each other.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tramontane.errors import RequestError
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.grammar import Grammars

INSTRUCTIONS = (
    "You may call functions. For each call write a JSON object with the function's name and "
    'arguments within <tool_call></tool_call>: <tool_call>\n{"name": "...", "arguments": {...}}\n'
    "</tool_call>\nThe functions:"
)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called; `parameters` is a JSON schema of its arguments."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    is_strict: bool = False

    def as_json(self) -> dict[str, Any]:
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Mapping[str, Any]

    def as_text(self) -> str:
        return json.dumps(
            {"name": self.name, "arguments": dict(self.arguments)}, ensure_ascii=False
        )


@dataclass(frozen=True, slots=True)
class ToolForm:
    """How a base writes a call: what stands around it, and under which name its arguments."""

    begin: str
    end: str
    arguments: str = "arguments"
    is_list: bool = False
    # Whether the chat template itself shows the tools; else they stand in the system message.
    is_in_template: bool = True


OWN_FORM = ToolForm("<tool_call>", "</tool_call>", is_in_template=False)
# By what their templates hold, tried in this order.
FORMS = {
    "<tool_call>": ToolForm("<tool_call>", "</tool_call>"),
    "[TOOL_CALLS]": ToolForm("[TOOL_CALLS]", "", is_list=True),
}


def form_of(tokenizer: Tokenizer) -> ToolForm:
    """Returns the form of calls that a base's chat template has, or ours where it has none."""
    template = tokenizer.chat_template or ""
    if "tools" not in template:
        return OWN_FORM
    return next((form for mark, form in FORMS.items() if mark in template), OWN_FORM)


def messages_with_tools(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool], form: ToolForm
) -> list[dict[str, Any]]:
    """Returns the messages as a template takes them; where it knows no tools, in plain words."""
    if form.is_in_template:
        return [dict(message) for message in messages]
    plain = [in_plain_words(message, form) for message in messages]
    if not tools:
        return plain
    listed = "\n".join(json.dumps(tool.as_json()["function"], ensure_ascii=False) for tool in tools)
    told = f"{INSTRUCTIONS}\n{listed}"
    if plain and plain[0]["role"] == "system":
        first = plain[0] | {"content": f"{plain[0]['content']}\n\n{told}"}
        return [first, *plain[1:]]
    return [{"role": "system", "content": told}, *plain]


def in_plain_words(message: Mapping[str, Any], form: ToolForm) -> dict[str, Any]:
    content = message.get("content") or ""
    if message["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    calls = [
        f"{form.begin}\n{json.dumps(call['function'], ensure_ascii=False)}\n{form.end}"
        for call in message.get("tool_calls") or ()
    ]
    return {"role": message["role"], "content": "\n".join([content, *calls] if content else calls)}


def grammar_of_calls(
    grammars: Grammars,
    tokenizer: Tokenizer,
    tools: Sequence[Tool],
    form: ToolForm,
    *,
    is_required: bool,
    may_be_many: bool,
) -> str:
    """Returns the grammar of an answer that may, or must, call one of these tools or several.

    Raises RequestError for a tool whose schema cannot be followed.
    """
    for tool in tools:
        try:
            grammars.of_schema(arguments_schema(tool))
        except RequestError as error:
            raise RequestError(f"tool {tool.name!r}: {error}") from None
    call = {"anyOf": [call_schema(tool, form) for tool in tools]}
    most = {} if may_be_many else {"maxItems": 1}
    body = {"type": "array", "items": call, "minItems": 1, **most} if form.is_list else call
    begin, end = quoted_for(tokenizer, form.begin), json.dumps(f"\n{form.end}")
    after = f"{end} " if form.end else ""
    several = "*" if may_be_many and not form.is_list else "?"
    lines = ["%llguidance {}", f"body: %json {json.dumps(body)}"]
    newline = '"\\n" ' if form.end else ""
    if is_required:
        further = f'("\\n" call){several}' if may_be_many and not form.is_list else ""
        lines += [f"start: call {further}", f"call: {begin} {newline}body {after}"]
    else:
        lines += [f"start: call{several} rest", "rest: TEXT", r"TEXT: /(.|\n)*/"]
        if begin.startswith('"'):
            lines += [f"head[lazy]: TEXT {begin}", f"call: head {newline}body {after}"]
        else:
            lines += [f"call: TEXT {begin} {newline}body {after}"]
    return grammars.of_lark("\n".join(lines))


def quoted_for(tokenizer: Tokenizer, mark: str) -> str:
    """Returns a mark as a grammar names it: a control token by its id, any other as its text."""
    ids = tokenizer.encode(mark, parse_special=True)
    if len(ids) == 1 and tokenizer.is_special(ids[0]):
        return f"<[{ids[0]}]>"
    return json.dumps(mark)


def arguments_schema(tool: Tool) -> dict[str, Any]:
    """Returns the schema of a tool's arguments; what it doesn't name it doesn't take."""
    schema = dict(tool.parameters) or {"type": "object"}
    if "properties" in schema and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    return schema


def call_schema(tool: Tool, form: ToolForm) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, form.arguments: arguments_schema(tool)},
        "required": ["name", form.arguments],
        "additionalProperties": False,
    }


class ToolStream:
    """Text in, text and calls out: what belongs to a call is held until the call is whole."""

    def __init__(self, form: ToolForm):
        self.form = form
        self._held = ""
        self._is_in_call = False
        self.num_calls = 0

    def push(self, text: str) -> Iterator[str | ToolCall]:
        self._held += text
        while self._held:
            if self._is_in_call:
                read = self._read_call()
                if read is None:
                    return
                yield from read
            else:
                before, mark, after = self._held.partition(self.form.begin)
                if not mark:
                    keep = beginning_of(self.form.begin, before)
                    shown = before[: len(before) - keep]
                    self._held = before[len(before) - keep :]
                    # Between two calls there is only the space that divides them.
                    if shown and not (self.num_calls and shown.isspace()):
                        yield shown
                    return
                if before.strip():
                    yield before.rstrip("\n")
                self._held, self._is_in_call = after, True

    def finish(self) -> Iterator[str]:
        """Yields what never became a whole call, as the text that it is."""
        rest = f"{self.form.begin}{self._held}" if self._is_in_call else self._held
        self._held, self._is_in_call = "", False
        if rest.strip():
            yield rest

    def _read_call(self) -> list[str | ToolCall] | None:
        """Returns the calls that the held text begins with, itself where it is no call, or None
        while it may become one."""
        if self.form.end:
            # The mark may stand inside an argument, too.
            read, place = None, -1
            while read is None:
                place = self._held.find(self.form.end, place + 1)
                if place < 0:
                    return None
                read = calls_in(self._held[:place], self.form)
            after = self._held[place + len(self.form.end) :]
        else:
            body = self._held.lstrip()
            try:
                _, length = json.JSONDecoder().raw_decode(body)
            except (ValueError, RecursionError):
                return None
            read, after = calls_in(body[:length], self.form), body[length:]
            if read is None:
                self._held, self._is_in_call = after, False
                return [f"{self.form.begin}{body[:length]}"]
        self._held, self._is_in_call = after, False
        self.num_calls += len(read)
        return list(read)


def calls_in(text: str, form: ToolForm) -> list[ToolCall] | None:
    """Returns the calls that a text spells, or None where it spells none."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = []
    for one in read if isinstance(read, list) else [read]:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            return None
        arguments = one.get(form.arguments, {})
        if not isinstance(arguments, dict):
            return None
        found.append(ToolCall(one["name"], arguments))
    return found or None


def beginning_of(mark: str, text: str) -> int:
    """Returns how many characters at the end of a text might be the beginning of a mark."""
    lengths = range(min(len(mark) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(mark[:length])), 0)

"""/v1/chat/completions: messages in, an answer out, by the model or from notes."""

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from tramontane.errors import RequestError
from tramontane.server.answers import Choice, routes_of, voice_of
from tramontane.server.openai_wire import ChatBody, Message, NamedTool, stops_of
from tramontane.server.plan import (
    Plan,
    check_characters,
    experts_for,
    grammar_of,
    length_for,
    sampling_of,
    seed_of,
)
from tramontane.server.service import Service
from tramontane.writing.speech import Said, token_text
from tramontane.writing.tool_calls import (
    Tool,
    ToolCall,
    form_of,
    grammar_of_calls,
    messages_with_tools,
)


def plan_of(service: Service, body: ChatBody) -> Plan:
    """Returns what a conversation asks of the engine; takes a moment."""
    model = service.model
    tokenizer = model.tokenizer
    tools, choice = tools_of(body), body.tool_choice
    form = form_of(tokenizer) if tools or has_calls(body.messages) else None
    messages = [plain_message(message) for message in body.messages]
    check_characters(model, sum(len(message["content"]) for message in messages))
    if form is not None:
        messages = messages_with_tools(messages, tools if choice != "none" else (), form)
    shown = tools if form is not None and form.is_in_template and choice != "none" else ()
    token_ids = tokenizer.encode_chat(messages, tools=[tool.as_json() for tool in shown] or None)
    grammar = grammar_of(service, body.response_format)
    calls = bool(tools) and choice != "none"
    if calls:
        if grammar is not None:
            raise RequestError(
                "tools and a response_format can't be followed both; leave one of them out"
            )
        grammar = grammar_of_calls(
            service.grammars,
            tokenizer,
            named(tools, choice),
            form,
            is_required=choice == "required" or isinstance(choice, NamedTool),
            may_be_many=body.parallel_tool_calls is not False,
        )
    asked = body.max_completion_tokens or body.max_tokens
    max_new, is_default = length_for(service, len(token_ids), asked)
    if body.top_logprobs and not body.logprobs:
        raise RequestError("top_logprobs are told beside logprobs: true; ask for both")
    return Plan(
        tuple(token_ids),
        max_new,
        is_default,
        sampling_of(body, seed_of(body)),
        stops_of(body.stops),
        experts_for(model, body.extension),
        top_logprobs=body.top_logprobs or 0,
        grammar=grammar,
        form=form if calls else None,
        with_voice=body.extension.voice,
        with_routes=body.extension.routes,
        ignores_end=bool(body.ignore_eos),
    )


def tools_of(body: ChatBody) -> list[Tool]:
    return [
        Tool(
            tool.function.name,
            tool.function.description or "",
            tool.function.parameters or {},
            bool(tool.function.strict),
        )
        for tool in body.tools or ()
    ]


def named(tools: Sequence[Tool], choice: object) -> Sequence[Tool]:
    """Returns the tools that may be called: the one that was named, or all."""
    if not isinstance(choice, NamedTool):
        return tools
    found = [tool for tool in tools if tool.name == choice.function.name]
    if not found:
        raise RequestError(
            f"tool_choice names {choice.function.name!r}; the tools are: "
            f"{', '.join(tool.name for tool in tools)}"
        )
    return found


def has_calls(messages: Sequence[Message]) -> bool:
    return any(message.role == "tool" or message.tool_calls for message in messages)


def plain_message(message: Message) -> dict[str, Any]:
    """Returns a message as chat templates take it; RequestError for arguments that are no JSON."""
    role = "system" if message.role == "developer" else message.role
    plain: dict[str, Any] = {"role": role, "content": text_of(message)}
    if message.name is not None:
        plain["name"] = message.name
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id or "",
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": read_arguments(call.function.arguments),
                },
            }
            for call in message.tool_calls
        ]
    return plain


def text_of(message: Message) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    return "".join(part.text for part in message.content)


def read_arguments(text: str) -> Mapping[str, Any]:
    try:
        read = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise RequestError(f"a tool call's arguments are not JSON: {error}") from None
    if not isinstance(read, dict):
        raise RequestError("a tool call's arguments are no JSON object")
    return read


class ChatFormat:
    """Choices of a chat completion; logprobs are told where they were asked for."""

    object, chunk_object, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def __init__(self, tokenizer: Any, *, with_logprobs: bool):
        self.tokenizer, self.with_logprobs = tokenizer, with_logprobs
        self.num_calls: dict[int, int] = {}

    def opening(self, choice: Choice) -> dict[str, Any]:
        delta = {"role": "assistant", "content": ""}
        return {"index": choice.index, "delta": delta, "logprobs": None, "finish_reason": None}

    def piece(self, choice: Choice, said: Said) -> dict[str, Any]:
        delta: dict[str, Any] = {"content": said.text} if said.text else {}
        if said.calls:
            first = self.num_calls.get(choice.index, 0)
            self.num_calls[choice.index] = first + len(said.calls)
            delta["tool_calls"] = [
                {"index": first + place} | call_of(call) for place, call in enumerate(said.calls)
            ]
        return {
            "index": choice.index,
            "delta": delta,
            "logprobs": self.logprobs(said.tokens),
            "finish_reason": choice.finish if said.finish else None,
        } | self.voice(choice, said.tokens)

    def whole(self, choice: Choice, said: Sequence[Said]) -> dict[str, Any]:
        text = "".join(piece.text for piece in said)
        calls = [call_of(call) for piece in said for call in piece.calls]
        tokens = [token for piece in said for token in piece.tokens]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if calls and not text else text,
            "refusal": None,
        }
        if calls:
            message["tool_calls"] = calls
        return {
            "index": choice.index,
            "message": message,
            "logprobs": self.logprobs(tokens),
            "finish_reason": choice.finish,
        } | self.voice(choice, tokens)

    def logprobs(self, tokens: Sequence[Any]) -> dict[str, Any] | None:
        if not self.with_logprobs:
            return None
        return {
            "content": [
                self.entry(token.token_id, token.logprob)
                | {"top_logprobs": [self.entry(*likely) for likely in token.top]}
                for token in tokens
            ],
            "refusal": None,
        }

    def entry(self, token_id: int, logprob: float) -> dict[str, Any]:
        text, raw = token_text(self.tokenizer, token_id)
        return {"token": text, "logprob": finite(logprob), "bytes": raw}

    def voice(self, choice: Choice, tokens: Sequence[Any]) -> dict[str, Any]:
        voice = voice_of(choice.plan, self.tokenizer, tokens) if choice.plan.with_voice else {}
        return voice | routes_of(choice.plan, tokens)


def call_of(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def finite(logprob: float) -> float:
    """Returns a log-probability as JSON can carry it; OpenAI writes -9999 for never, too."""
    return max(logprob, -9999.0)

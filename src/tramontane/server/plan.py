"""ASKED → REQUESTS: what a prompt asks of the engine, before it is split into choices."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tramontane.engine.request import Request, Sampling
from tramontane.errors import NotFound, PromptTooLong
from tramontane.server.model import Model
from tramontane.server.openai_wire import (
    Extension,
    Grammar,
    JsonObject,
    JsonSchema,
    PlainText,
    ResponseFormat,
    Sampled,
    bias_of,
)
from tramontane.server.refusal import Refusal
from tramontane.server.service import Service
from tramontane.writing.speak import ExpertInPlace
from tramontane.writing.tool_calls import ToolForm

# Reading a text into tokens holds everybody up for a moment; one that is so long can't fit anyway.
MOST_CHARACTERS_PER_TOKEN = 32
# OpenAI's default, which its clients count on.
TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one prompt asks."""

    token_ids: tuple[int, ...]
    max_new_tokens: int
    # Whether that number is the server's own choice.
    is_default_length: bool
    sampling: Sampling
    stops: Sequence[str]
    experts: Sequence[ExpertInPlace]
    top_logprobs: int = 0
    prompt_logprobs: int | None = None
    grammar: str | None = None
    form: ToolForm | None = None
    with_voice: bool = False
    with_routes: bool = False
    ignores_end: bool = False


def experts_for(model: Model, extension: Extension) -> list[ExpertInPlace]:
    """Returns the experts that a request has in place, in the engine's order."""
    there = {expert.name: expert for expert in model.experts()}
    wanted = there if extension.experts is None else extension.experts
    if missing := sorted(set(wanted) - there.keys()):
        raise NotFound(
            f"no expert {missing[0]!r} is in place; there are: {', '.join(there) or 'none'}"
        )
    return sorted((there[name] for name in dict.fromkeys(wanted)), key=lambda expert: expert.hash)


def check_model(model: Model, name: str | None) -> None:
    if name is not None and name not in (model.name, "tramontane"):
        raise Refusal(
            404,
            "NotFound",
            f"no model {name[:200]!r} is served here; there is {model.name!r}",
            code="model_not_found",
        )


def check_characters(model: Model, num_characters: int) -> None:
    """Raises PromptTooLong for a text that is not even worth counting in tokens."""
    context = model.engine.runtime.config.max_context_tokens
    most = MOST_CHARACTERS_PER_TOKEN * context
    if num_characters > most:
        raise PromptTooLong(
            f"the text has {num_characters} characters; the model holds {context} tokens, and more "
            f"than {most} characters are not read"
        )


def sampling_of(asked: Sampled, seed: int) -> Sampling:
    return Sampling(
        temperature=TEMPERATURE if asked.temperature is None else asked.temperature,
        # OpenAI's relatives write -1 for no limit.
        top_k=max(0, asked.top_k or 0),
        top_p=1.0 if asked.top_p is None else asked.top_p,
        min_p=asked.min_p or 0.0,
        presence_penalty=asked.presence_penalty or 0.0,
        frequency_penalty=asked.frequency_penalty or 0.0,
        repetition_penalty=asked.repetition_penalty or 1.0,
        logit_bias=bias_of(asked.logit_bias),
        seed=seed,
    )


def seed_of(asked: Sampled) -> int:
    return secrets.randbits(63) if asked.seed is None else asked.seed


def seed_of_choice(seed: int, index: int) -> int:
    """Returns a seed of a choice's own; the first one's is what was asked for."""
    return (seed & (2**64 - 1)) + (index << 64)


def grammar_of(service: Service, wanted: ResponseFormat | None) -> str | None:
    match wanted:
        case None | PlainText():
            return None
        case JsonObject():
            return service.grammars.of_schema({"type": "object"})
        case JsonSchema(json_schema=named):
            return service.grammars.of_schema(named.schema_ or {"type": "object"})
        case Grammar(syntax="lark", grammar=grammar):
            return service.grammars.of_lark(grammar)
        case Grammar(syntax="gbnf", grammar=grammar):
            return service.grammars.of_gbnf(grammar)
        case Grammar(grammar=grammar):
            return service.grammars.of_regex(grammar)


def length_for(
    service: Service, num_prompt: int, asked: int | None, default: int | None = None
) -> tuple[int, bool]:
    """Returns how many tokens may follow, and whether that is our own choice."""
    if asked is not None:
        return asked, False
    default = default or service.limits.default_new_tokens
    context = service.model.engine.runtime.config.max_context_tokens
    return max(1, min(default, context - num_prompt)), True


def request_of(service: Service, plan: Plan, index: int) -> Request:
    return Request(
        plan.token_ids,
        plan.max_new_tokens,
        replace(plan.sampling, seed=seed_of_choice(plan.sampling.seed, index)),
        end_ids=frozenset() if plan.ignores_end else service.model.tokenizer.eos_ids,
        experts=tuple(expert.hash for expert in plan.experts),
        with_shares=plan.with_voice and bool(plan.experts),
        with_routes=plan.with_routes,
        guide=service.grammars.guide(plan.grammar) if plan.grammar else None,
        top_logprobs=plan.top_logprobs,
        prompt_logprobs=plan.prompt_logprobs,
        max_seconds=service.limits.answer_seconds,
    )

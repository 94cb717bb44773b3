"""/v1/completions: text or tokens in, what follows out; with `echo` the prompt's own
log-probabilities, which is what evaluation harnesses measure by.
"""

from collections.abc import Sequence
from typing import Any

from tramontane.engine.request import NewToken
from tramontane.errors import RequestError
from tramontane.server.answers import Choice, routes_of, voice_of
from tramontane.server.chat import finite
from tramontane.server.openai_wire import CompletionBody, stops_of
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

# What the old interface gives where nothing is said.
DEFAULT_NEW_TOKENS = 16


def plans_of(service: Service, body: CompletionBody) -> list[Plan]:
    """Returns what each prompt asks of the engine; takes a moment."""
    model = service.model
    experts, grammar = experts_for(model, body.extension), grammar_of(service, body.response_format)
    sampling, stops = sampling_of(body, seed_of(body)), stops_of(body.stops)
    if body.max_tokens == 0 and not body.echo:
        raise RequestError("max_tokens=0 asks for nothing; with echo it gives the prompt back")
    plans = []
    for prompt in prompts_of(body):
        if isinstance(prompt, str):
            check_characters(model, len(prompt))
        token_ids = ids_of(model.tokenizer, prompt)
        max_new, _ = length_for(service, len(token_ids), body.max_tokens, DEFAULT_NEW_TOKENS)
        plans.append(
            Plan(
                tuple(token_ids),
                max_new,
                # Sixteen is the interface's own rule, not ours.
                False,
                sampling,
                stops,
                experts,
                top_logprobs=body.logprobs or 0,
                # A prompt alone is read all the same: it has to fit, and its tokens count.
                prompt_logprobs=(body.logprobs or 0)
                if body.echo and (body.logprobs is not None or not max_new)
                else None,
                grammar=grammar,
                with_voice=body.extension.voice,
                with_routes=body.extension.routes,
                ignores_end=bool(body.ignore_eos),
            )
        )
    return plans


def prompts_of(body: CompletionBody) -> list[str | list[int]]:
    prompt = body.prompt
    if isinstance(prompt, str) or isinstance(prompt[0], int):
        return [prompt]
    return list(prompt)


def ids_of(tokenizer: Any, prompt: str | list[int]) -> list[int]:
    if not isinstance(prompt, str):
        return prompt
    ids = tokenizer.encode(prompt)
    if tokenizer.adds_bos and tokenizer.bos_id is not None:
        ids = [tokenizer.bos_id, *ids]
    if not ids:
        raise RequestError("the prompt is empty; at least one token is needed")
    return ids


class PlainFormat:
    """Choices of a plain completion."""

    object = chunk_object = "text_completion"
    prefix = "cmpl"

    def __init__(self, tokenizer: Any, *, echoes: bool, with_logprobs: bool, num_top: int):
        self.tokenizer, self.echoes = tokenizer, echoes
        self.with_logprobs, self.num_top = with_logprobs, num_top
        # How many characters of a choice have been told, for the offsets of its tokens.
        self.num_told: dict[int, int] = {}

    def opening(self, choice: Choice) -> dict[str, Any] | None:
        return None

    def piece(self, choice: Choice, said: Said) -> dict[str, Any]:
        is_first = choice.index not in self.num_told
        prompt = self.prompt_of(choice) if self.echoes and is_first else ""
        return {
            "index": choice.index,
            "text": prompt + said.text,
            "logprobs": self.logprobs(choice, said.tokens, is_first=is_first),
            "finish_reason": choice.finish if said.finish else None,
        } | self.voice(choice, said.tokens)

    def whole(self, choice: Choice, said: Sequence[Said]) -> dict[str, Any]:
        text = "".join(piece.text for piece in said)
        tokens = [token for piece in said for token in piece.tokens]
        return {
            "index": choice.index,
            "text": (self.prompt_of(choice) if self.echoes else "") + text,
            "logprobs": self.logprobs(choice, tokens, is_first=True),
            "finish_reason": choice.finish,
        } | self.voice(choice, tokens)

    def prompt_of(self, choice: Choice) -> str:
        return self.tokenizer.decode(choice.plan.token_ids, skip_special=False)

    def logprobs(
        self, choice: Choice, tokens: Sequence[NewToken], *, is_first: bool
    ) -> dict[str, Any] | None:
        offset = self.num_told.setdefault(choice.index, 0)
        if not self.with_logprobs:
            return None
        rows: list[tuple[int, float | None, Sequence[tuple[int, float]] | None]] = []
        prompt = tokens[0].prompt_logprobs if tokens and is_first else None
        if prompt is not None:
            # Nothing foretells the first.
            rows.append((choice.plan.token_ids[0], None, None))
            rows += [(one.token_id, one.logprob, one.top) for one in prompt]
        rows += [(one.token_id, one.logprob, one.top) for one in tokens if one.token_id >= 0]
        told: dict[str, Any] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [] if self.num_top else None,
            "text_offset": [],
        }
        for token_id, logprob, top in rows:
            text, _ = token_text(self.tokenizer, token_id)
            told["tokens"].append(text)
            told["token_logprobs"].append(None if logprob is None else finite(logprob))
            told["text_offset"].append(offset)
            if self.num_top:
                told["top_logprobs"].append(None if top is None else self.likeliest(top))
            offset += 0 if text.startswith("bytes:") else len(text)
        self.num_told[choice.index] = offset
        return told

    def likeliest(self, top: Sequence[tuple[int, float]]) -> dict[str, float]:
        # Of two tokens that read alike the likelier one is told.
        told: dict[str, float] = {}
        for token_id, logprob in top:
            told.setdefault(token_text(self.tokenizer, token_id)[0], finite(logprob))
        return told

    def voice(self, choice: Choice, tokens: Sequence[NewToken]) -> dict[str, Any]:
        voice = voice_of(choice.plan, self.tokenizer, tokens) if choice.plan.with_voice else {}
        return voice | routes_of(choice.plan, tokens)

"""OpenAI's wire format ⇄ our own types, as models that check requests and describe themselves.

A field that would change the answer and isn't supported is refused by name; one that cannot is
passed over; one that nobody here knows is passed over with a warning in the reply.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from tramontane.errors import RequestError

MOST_CHOICES, MOST_STOPS, MOST_MESSAGES, MOST_TOOLS, MOST_PROMPTS = 32, 16, 4_096, 128, 256
MOST_TOP = 20

CHANGES_THE_ANSWER = frozenset(
    "audio best_of dry_base dry_multiplier dynatemp_range frequency_penalty_range function_call "
    "functions guided_choice guided_decoding_backend guided_grammar guided_json guided_regex "
    "mirostat modalities prediction reasoning reasoning_effort repeat_last_n suffix "
    "tfs_z typical_p verbosity web_search_options xtc_probability xtc_threshold".split()
)
# What they are when they ask for nothing.
NO_CHANGE: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "modalities": (["text"],),
    "mirostat": (0,),
    "suffix": ("",),
    "typical_p": (1, 1.0),
    "xtc_probability": (0, 0.0),
    "dry_multiplier": (0, 0.0),
}
CHANGES_NOTHING = frozenset(
    "cache_prompt metadata prompt_cache_key prompt_cache_retention safety_identifier service_tier "
    "store user".split()
)


TokenName = Annotated[str, Field(pattern=r"^[0-9]{1,7}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]


class Asked(BaseModel):
    """Numbers are numbers and not texts that look like one; further fields are looked at apart."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class Extension(BaseModel):
    """What only this server knows, under one key so that no client trips over it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    collections: list[str] | None = Field(
        None,
        max_length=1_000,
        description="Answer from the notes in these collections, with sources; [] means from all.",
    )
    experts: list[str] | None = Field(
        None, max_length=1_000, description="Experts in place for this request; null means all."
    )
    voice: bool = Field(False, description="Tell each token's shares and gates, expert by expert.")
    routes: bool = Field(
        False, description="Of a mixture base: tell the base experts chosen, as vLLM does."
    )
    sources: bool = Field(True, description="With collections: tell the passages.")
    support: bool = Field(True, description="With collections: tell how far each sentence is kept.")
    honest: bool = Field(
        False, description="With collections: keep back what no source backs, and say so."
    )


class StreamOptions(Asked):
    include_usage: bool = False


class Sampled(Asked):
    """What chat and plain completions have in common."""

    model: str | None = Field(None, max_length=500)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None = None
    logit_bias: dict[TokenName, Bias] | None = Field(None, max_length=1_024)
    ignore_eos: bool | None = Field(
        None, description="Go on where the model would end, up to max_tokens."
    )
    return_progress: bool | None = Field(
        None, description="In a stream: tell how much of the prompt has been read."
    )
    tramontane: Extension | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def extension(self) -> Extension:
        return self.tramontane or Extension()


class TextPart(Asked):
    type: Literal["text", "input_text"]
    text: str


class CalledFunction(Asked):
    name: str
    arguments: str


class MessageToolCall(Asked):
    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Asked):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[MessageToolCall] | None = Field(None, max_length=MOST_TOOLS)
    tool_call_id: str | None = None


class FunctionDescription(Asked):
    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None


class ToolDescription(Asked):
    type: Literal["function"]
    function: FunctionDescription


class FunctionName(Asked):
    name: str


class NamedTool(Asked):
    type: Literal["function"]
    function: FunctionName


class PlainText(Asked):
    type: Literal["text"]


class JsonObject(Asked):
    type: Literal["json_object"]


class NamedSchema(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True, populate_by_name=True)

    name: str = "answer"
    schema_: dict[str, JsonValue] | None = Field(None, alias="schema")
    strict: bool | None = None


class JsonSchema(Asked):
    type: Literal["json_schema"]
    json_schema: NamedSchema


class Grammar(Asked):
    """An answer by a grammar: llguidance's Lark, llama.cpp's GBNF, or a regular expression."""

    type: Literal["grammar"]
    syntax: Literal["lark", "gbnf", "regex"] = "lark"
    grammar: str


ResponseFormat = Annotated[
    PlainText | JsonObject | JsonSchema | Grammar, Field(discriminator="type")
]


class ChatBody(Sampled):
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    response_format: ResponseFormat | None = None
    tools: list[ToolDescription] | None = Field(None, max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None


TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class CompletionBody(Sampled):
    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[
            list[Annotated[list[TokenId], Field(min_length=1)]],
            Field(min_length=1, max_length=MOST_PROMPTS),
        ]
    )
    max_tokens: int | None = Field(None, ge=0)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=MOST_TOP)
    response_format: ResponseFormat | None = None


class EmbeddingBody(Asked):
    input: str | Annotated[list[str], Field(min_length=1, max_length=2_048)]
    model: str | None = Field(None, max_length=500)
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)


class TokenizeBody(Asked):
    """One of `prompt` (vLLM's name), `content` (llama.cpp's) and `messages`."""

    prompt: str | None = None
    content: str | None = None
    messages: list[Message] | None = Field(None, min_length=1, max_length=MOST_MESSAGES)
    model: str | None = Field(None, max_length=500)
    add_special_tokens: bool | None = Field(None, description="Put BOS first, where the base does.")
    add_special: bool | None = Field(None, description="llama.cpp's name of the same.")
    parse_special: bool | None = Field(None, description="Read the names of control tokens.")
    add_generation_prompt: bool | None = None
    with_pieces: bool | None = None


class DetokenizeBody(Asked):
    tokens: list[TokenId] = Field(max_length=1_000_000)
    model: str | None = Field(None, max_length=500)


SomeAsked = TypeVar("SomeAsked", bound=BaseModel)


def read_asked(data: bytes, kind: type[SomeAsked]) -> SomeAsked:
    """Returns the request's body; RequestError names each field that is missing or wrong."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        told = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults[:8]
        )
        raise RequestError(told) from None


def warnings_for(asked: BaseModel) -> list[str]:
    """Returns what to tell about fields that nobody here knows.

    Raises RequestError for one that is known to change the answer and isn't supported.
    """
    further = asked.model_extra or {}
    refused = sorted(
        name
        for name, value in further.items()
        if name in CHANGES_THE_ANSWER
        and value is not None
        and not any(value == none for none in NO_CHANGE.get(name, ()))
    )
    if refused:
        raise RequestError(
            f"unsupported: {', '.join(refused)}; the answer would be another one, so it isn't "
            "given as if they had not been asked for"
        )
    unknown = sorted(further.keys() - CHANGES_THE_ANSWER - CHANGES_NOTHING)
    return [f"{name[:100]!r} is no field this server knows; it was passed over" for name in unknown]


# Replies, for the OpenAPI document and for those who check it


class Reply(BaseModel):
    model_config = ConfigDict(extra="allow")


class PromptDetails(Reply):
    cached_tokens: int


class Usage(Reply):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class TopLogprob(Reply):
    token: str
    logprob: float
    bytes: list[int] | None


class ContentLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Reply):
    content: list[ContentLogprob]


class Voice(Reply):
    """Shares and gates stand in the order of `experts`, one row a token."""

    experts: list[str]
    tokens: list[str]
    shares: list[list[float]]
    gates: list[list[float]]


class SourceReply(Reply):
    number: int
    collection: str
    path: str
    title: str
    first_line: int
    last_line: int
    text: str
    note_sha256: str


class SentenceSupport(Reply):
    """`begin` and `end` are characters of the content."""

    begin: int
    end: int
    kind: str
    mark: str | None
    overlap: float | None
    score: float | None = None
    missing: list[str] = []
    source: int | None


class ReplyExtension(Reply):
    warnings: list[str] | None = None
    voice: Voice | None = None
    sources: list[SourceReply] | None = None
    support: list[SentenceSupport] | None = None
    abstained: bool | None = None


# Of tokens, of layers: the base experts chosen, the likeliest first.
Routes = list[list[list[int]]]


class ReplyMessage(Reply):
    role: Literal["assistant"]
    content: str | None
    refusal: str | None = None
    tool_calls: list[MessageToolCall] | None = None


FinishReason = Literal["stop", "length", "tool_calls"]


class ChatChoice(Reply):
    index: int
    message: ReplyMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    routed_experts: Routes | None = None
    tramontane: ReplyExtension | None = None


class ChatCompletion(Reply):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_routed_experts: Routes | None = None
    tramontane: ReplyExtension | None = None


class PlainLogprobs(Reply):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class PlainChoice(Reply):
    index: int
    text: str
    logprobs: PlainLogprobs | None
    finish_reason: FinishReason
    routed_experts: Routes | None = None
    tramontane: ReplyExtension | None = None


class Completion(Reply):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[PlainChoice]
    usage: Usage
    prompt_routed_experts: Routes | None = None
    tramontane: ReplyExtension | None = None


class EmbeddingRow(Reply):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Reply):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Reply):
    object: Literal["list"]
    model: str
    data: list[EmbeddingRow]
    usage: EmbeddingUsage


class ModelCard(Reply):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Reply):
    object: Literal["list"]
    data: list[ModelCard]


class Tokens(Reply):
    tokens: list[JsonValue]
    count: int
    max_model_len: int


class Text(Reply):
    content: str
    prompt: str


class TokenizerInfo(Reply):
    vocab_size: int
    bos_token: str | None
    eos_token: str | None
    chat_template: str | None


class Health(Reply):
    status: Literal["ok", "loading", "failed"]


class ErrorDetail(Reply):
    kind: str
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(Reply):
    error: ErrorDetail


def stops_of(stops: Sequence[str]) -> list[str]:
    if any(not stop for stop in stops):
        raise RequestError("stop: an empty text would stop everything; leave it out")
    return list(stops)


def bias_of(bias: Mapping[str, float] | None) -> tuple[tuple[int, float], ...]:
    return tuple((int(token), value) for token, value in (bias or {}).items())

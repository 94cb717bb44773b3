"""TOKENS → SPEECH: the text of one answer under way, its calls, its tokens' log-probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tramontane.engine.request import NewToken
from tramontane.tokenizer.text_stream import TextStream
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.tool_calls import ToolCall, ToolForm, ToolStream


@dataclass(frozen=True, slots=True)
class Said:
    """What some tokens have added. `finish` is the engine's word, or "stop" for a stop string."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    tokens: tuple[NewToken, ...] = ()
    finish: str | None = None
    error: str | None = None


@dataclass(slots=True)
class Speech:
    """Takes one request's tokens as they come; text and calls concatenate to the whole answer."""

    tokenizer: Tokenizer
    stops: Sequence[str] = ()
    form: ToolForm | None = None
    num_tokens: int = 0
    num_cached: int = 0
    finish: str | None = None
    _text: TextStream = field(init=False)
    _calls: ToolStream | None = field(init=False)

    def __post_init__(self):
        shows = frozenset()
        if self.form is not None:
            # A mark that is a control token wouldn't show otherwise.
            ids = self.tokenizer.encode(self.form.begin, parse_special=True)
            shows = frozenset(ids) if len(ids) == 1 else frozenset()
        self._text = TextStream(self.tokenizer, self.stops, shows=shows)
        self._calls = ToolStream(self.form) if self.form else None

    @property
    def is_over(self) -> bool:
        return self.finish is not None

    @property
    def num_calls(self) -> int:
        return self._calls.num_calls if self._calls else 0

    def take(self, tokens: Sequence[NewToken]) -> Said:
        """Returns what the tokens add; those after the end of the answer are passed over."""
        text, taken, error = "", [], None
        for token in tokens:
            if self.is_over:
                break
            self.num_cached = token.num_cached
            error = token.error
            if token.token_id >= 0:
                self.num_tokens += 1
                if token.finish != "end":
                    text += self._text.push(token.token_id)
                taken.append(token)
            elif token.prompt_logprobs is not None:
                taken.append(token)
            self.finish = "stop" if self._text.is_stopped else token.finish
        if self.is_over:
            text += self._text.finish()
        calls: list[ToolCall] = []
        if self._calls is not None:
            read = list(self._calls.push(text))
            if self.is_over:
                read += self._calls.finish()
            text = "".join(one for one in read if isinstance(one, str))
            calls = [one for one in read if isinstance(one, ToolCall)]
        return Said(text, tuple(calls), tuple(taken), self.finish, error)


def token_text(tokenizer: Tokenizer, token_id: int) -> tuple[str, list[int]]:
    """Returns a token's text and its bytes; half a character is spelt as OpenAI does, by bytes."""
    raw = tokenizer.token_bytes(token_id)
    try:
        return raw.decode(), list(raw)
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw), list(raw)

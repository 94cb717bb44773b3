"""What an answer or draft is made of, piece by piece as it comes; all of it plain data."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """A numbered passage: the note's file and lines, as they were when the library read it.

    `day` is the day that it is of, as YYYY-MM-DD, where the question is of days and its heading,
    its file or its note says one.
    """

    number: int
    collection: str
    path: str
    title: str
    first_line: int
    last_line: int
    text: str
    note_sha256: str
    page: int | None = None
    box: tuple[float, float, float, float] | None = None
    heading: tuple[str, ...] = ()
    day: str | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence shown: a quotation from a source, or the base's prose with its support.

    `mark` is the verdict, `support` the probability that its source backs it, `missing` the words
    that no source holds, `copied` the spans that honesty mode shows as copied. `overlap` is the
    share of its content words found in the source (1 for a quotation); `shares` says how much of
    each token, on average, each expert in place carried, `named` whom it is named after: nobody,
    one expert, or several that look alike and so contest it. `promise` says in words what stands
    behind the mark, where the collection was calibrated for such text. `is_accepted` says that its
    writer has read a doubtful sentence and answers for it; `memory` names, in a draft that is kept,
    the expert from whose memory it comes. `day` is that of a quotation, where the question is of
    days: a source may hold several.
    """

    text: str
    kind: str
    source: int | None
    first_line: int | None = None
    last_line: int | None = None
    overlap: float | None = None
    mark: str | None = None
    shares: dict[str, float] | None = None
    support: float | None = None
    missing: tuple[str, ...] = ()
    copied: tuple[tuple[int, int], ...] = ()
    promise: str | None = None
    is_accepted: bool = False
    memory: str | None = None
    day: str | None = None
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Withheld:
    """Honesty mode kept a sentence back: no source backs it. `instead` quotes one, if one can."""

    instead: Sentence | None


@dataclass(frozen=True, slots=True)
class Behind:
    """A note of an expert's collection that a sentence leans on, as search finds it."""

    collection: str
    path: str
    title: str
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True)
class TokenVoice:
    """A token's text, and each expert's part in it: its share, and its effect in nats."""

    text: str
    shares: dict[str, float]
    effects: dict[str, float]


@dataclass(frozen=True, slots=True)
class SentenceVoice:
    """Who spoke in a sentence: means over its tokens, the tokens, and the notes behind each."""

    shares: dict[str, float]
    effects: dict[str, float]
    tokens: tuple[TokenVoice, ...]
    behind: dict[str, tuple[Behind, ...]]


@dataclass(frozen=True, slots=True)
class Voiced:
    """The voice of one of the answer's sentences; `sentence` is its place, from 0."""

    sentence: int
    voice: SentenceVoice


@dataclass(frozen=True, slots=True)
class FromMemory:
    """No passage carries the answer's sentence at this place, from 0, and an expert raised it.

    `effect` is the log-probability of the whole sentence with everyone minus that without this
    expert, in nats.
    """

    sentence: int
    expert: str
    effect: float


@dataclass(frozen=True, slots=True)
class Heading:
    """A section of a draft begins; `sources` are the numbers of those that it rests on."""

    text: str
    sources: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Abstained:
    """The notes don't say; `closest` is the nearest passage there is."""

    reason: str
    closest: Source | None


@dataclass(frozen=True, slots=True)
class OwnWords:
    """A piece of what the small model would say freely, token by token with experts' shares."""

    text: str
    shares: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    seconds: float
    num_tokens: int


Event = Sources | Sentence | Withheld | Voiced | FromMemory | Heading | Abstained | OwnWords | Done


@dataclass(slots=True)
class Answer:
    """The events of one answer, gathered."""

    question: str
    abstained: bool = False
    reason: str | None = None
    closest: Source | None = None
    sentences: list[Sentence | Withheld | Heading] = field(default_factory=list)
    sources: tuple[Source, ...] = ()
    voices: dict[int, SentenceVoice] = field(default_factory=dict)
    memories: dict[int, FromMemory] = field(default_factory=dict)
    own_words: str | None = None
    seconds: float = 0.0

    def take(self, event: Event) -> None:
        match event:
            case Sources(sources):
                self.sources = sources
            case Sentence() | Withheld() | Heading():
                self.sentences.append(event)
            case Voiced(place, voice):
                self.voices[place] = voice
            case FromMemory(place):
                self.memories[place] = event
            case Abstained(reason, closest):
                self.abstained, self.reason, self.closest = True, reason, closest
            case OwnWords(text, _):
                self.own_words = (self.own_words or "") + text
            case Done(seconds, _):
                self.seconds = seconds

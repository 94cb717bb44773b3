"""A base that says what it is told and expects what it has read, and notes to ask it about."""

import re
import zlib
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
from hypothesis import strategies as st

from fakes import CountingRuntime
from tramontane.engine.engine import Engine
from tramontane.engine.runtime import Span, SpanResult
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.events import Source
from tramontane.writing.speak import ExpertInPlace
from tramontane.writing.terms import content_stems

ORCHARD = {
    "garlic.md": (
        "# Garlic\n\nThe garlic went into the long bed on 28 October.\n\n"
        "Forty cloves were planted,\nall of them Germidour.\n\nPotash came in February.\n"
    ),
    "pears.md": (
        "# Pears\n\n- The Conference pear was grafted onto quince.\n"
        "- Its first crop weighed 17 kg.\n\n> Pick pears before\n> they are ripe.\n"
    ),
    "tools/spade.md": "# Spade\n\nThe spade is oiled with linseed oil every autumn.\n",
}
HARBOUR = {
    "ferry.md": "# Ferry\n\nThe ferry leaves the north quay at 07:40 on weekdays.\n",
    "buoys.md": "# Buoys\n\nThe green buoy marks a sunken barge near the breakwater.\n",
}
NOTES = {"orchard": ORCHARD, "harbour": HARBOUR}

NOTE_WORDS = "garlic pears quay é 日本 the was planted 2.5 kg oil ferry’s Dr. e.g. *ripe*".split()

ADA, BEA = ExpertInPlace("ada", "f" * 64), ExpertInPlace("bea", "1" * 64)


class StemEmbedder:
    """Rows that count a text's stems, of unit length: texts are alike as far as they share words.

    A text without any has a row of zeros.
    """

    name = "stems-512"
    width = 512

    def __call__(self, texts: list[str]) -> np.ndarray:
        rows = np.zeros((len(texts), self.width), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for stem in content_stems(text):
                row[zlib.crc32(stem.encode()) % self.width] += 1
            row /= max(1.0, float(np.linalg.norm(row)))
        return rows


class TalkingRuntime(CountingRuntime):
    """Says what `say` returns for a chat's prompt, then ends its turn.

    Elsewhere it expects each token that followed, earlier in the text, the four tokens that stand
    before now; with `noise`, every token a little more or less, by all that stands before. An
    expert carries, at each position, the share it was added with plus position / 4096.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        say: Callable[[str], str | Sequence[int]] = lambda prompt: "",
        *,
        noise: float = 0.0,
        max_context_tokens: int = 8192,
    ):
        super().__init__(page_tokens=16, max_context_tokens=max_context_tokens)
        self.config.vocab_size = tokenizer.vocab_size
        self.tokenizer, self.say, self.noise = tokenizer, say, noise
        self.opening = tokenizer.encode_chat([])

    def forward(self, spans: Sequence[Span], *, with_shares: bool = False) -> list[SpanResult]:
        results = super().forward(spans, with_shares=with_shares)
        if not with_shares:
            return results
        return [
            SpanResult(result.logits_LV, shares := self.shares_of(span), shares)
            for span, result in zip(spans, results, strict=True)
        ]

    def shares_of(self, span: Span) -> np.ndarray:
        positions_T1 = span.start + np.arange(len(span.token_ids))[:, None]
        shares_E = np.array([self.loaded[digest]["share"] for digest in span.experts])
        return (shares_E + positions_T1 / 4096).astype(np.float32)

    def logits_of(self, span: Span) -> np.ndarray:
        end = span.start + len(span.token_ids)
        kept = self.memory[self.slots(span, end)].tolist()
        lengths = range(end - span.num_logits + 1, end + 1)
        rows = [self.expected_after(kept[:length]) for length in lengths]
        return np.array(rows, np.float32).reshape(len(rows), self.config.vocab_size)

    def expected_after(self, known: list[int]) -> np.ndarray:
        text = "".join(map(chr, known))
        logits_V = np.zeros(self.config.vocab_size)
        if self.noise:
            draw = np.random.default_rng(zlib.crc32(text.encode()))
            logits_V += self.noise * draw.standard_normal(len(logits_V))
        begins = text.rfind("".join(map(chr, self.opening)))
        if begins >= 0:
            begins += len(self.opening)
            said = self.said_after(known[:begins])
            place = len(known) - begins
            logits_V[said[place] if place < len(said) else min(self.tokenizer.eos_ids)] += 50.0
        for match in re.finditer(f"(?={re.escape(text[-4:])}(.))", text, re.DOTALL):
            logits_V[ord(match[1])] += 4.0
        return logits_V

    def said_after(self, prompt_ids: Sequence[int]) -> list[int]:
        said = self.say(self.tokenizer.decode(prompt_ids))
        return self.tokenizer.encode(said) if isinstance(said, str) else list(said)


def talking_engine(tokenizer: Tokenizer, say=lambda prompt: "", **options) -> Engine:
    """Returns an engine over such a base, with Ada's and Bea's experts loaded."""
    engine = Engine(TalkingRuntime(tokenizer, say, **options))
    engine.add_expert(ADA.hash, {"share": 0.25})
    engine.add_expert(BEA.hash, {"share": 0.5})
    return engine


def is_idle(engine: Engine) -> bool:
    return not engine.has_work and engine.pages.num_free == engine.num_pages


def source(number: int, text: str, first_line: int = 1) -> Source:
    last_line = first_line + text.count("\n")
    return Source(number, "n", f"{number}.md", f"Note {number}", first_line, last_line, text, "")


def squeezed(text: str) -> str:
    """Returns a text in one line, without the marks that open quoted lines."""
    return " ".join(re.sub(r"(?m)^[ \t]*(?:>[ \t]?)+", "", text).split())


def lines_of(text: str, first_line: int, last_line: int) -> str:
    return "\n".join(text.split("\n")[first_line - 1 : last_line])


@st.composite
def markdown_notes(draw) -> str:
    """Returns a note of headings, paragraphs, lists, quotes and code; no sentence comes twice."""
    numbered = count(1)

    def sentence() -> str:
        chosen = draw(st.lists(st.sampled_from(NOTE_WORDS), min_size=3, max_size=7))
        gaps = [draw(st.sampled_from((" ", " ", "\n", "  "))) for _ in chosen]
        said = "".join(word + gap for word, gap in zip(chosen, gaps, strict=True))
        return f"{chosen[0].capitalize()} {said}n{next(numbered)}{draw(st.sampled_from('.!?'))}"

    def block(kind: str) -> str:
        sentences = [sentence() for _ in range(draw(st.integers(1, 3)))]
        match kind:
            case "list":
                return "\n".join("- " + " ".join(text.split()) for text in sentences)
            case "quote":
                return "> " + " ".join(sentences).replace("\n", "\n> ")
            case "code":
                return "```\n" + "\n".join(sentences) + "\n```"
            case "heading":
                return f"## Part {next(numbered)}"
            case _:
                return " ".join(sentences)

    kinds = st.sampled_from(("paragraph", "paragraph", "list", "quote", "code", "heading"))
    blocks = [block(kind) for kind in draw(st.lists(kinds, min_size=1, max_size=6))]
    opening = draw(st.sampled_from(("", "# A note\n\n", "---\ntags: [x]\n---\n\n# A note\n")))
    return opening + draw(st.sampled_from(("\n\n", "\n\n\n"))).join(blocks) + "\n"

"""SENTENCES, PASSAGES → SUPPORT: whether what was written stands in what it should rest on.

Signals of words (signals.py) and, where a base can read, of likelihood (readings.py) are weighed by
a logistic model that `bench/support.py --fit` fitted (docs/decisions/support.md). Its probability
is that of a reader saying "the passage backs this". Two thresholds make three verdicts of it; as
shipped they come from the sentences that the model was fitted on, not from anybody's own.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property
from importlib.resources import files

from tramontane.engine.engine import Engine
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.readings import MOST_EVIDENCE_TOKENS, reading_signals
from tramontane.writing.signals import Passages, Text, lexical_signals, uncarried

EVIDENCE_SENTENCES = 12


class Verdict(StrEnum):
    SUPPORTED = "supported"
    WEAK = "weak"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Support:
    """What the passages say for one sentence.

    `score` is the probability that they back it; `passage` the place of the one that shares most;
    `words` the spans of the sentence that no passage holds; `signals` what it was judged by.
    """

    verdict: Verdict
    score: float
    passage: int | None
    words: tuple[tuple[int, int], ...]
    signals: Mapping[str, float]


@dataclass(frozen=True)
class Model:
    """A logistic model over named signals: weights of standardised signals, and a constant."""

    mean: Mapping[str, float]
    scale: Mapping[str, float]
    weight: Mapping[str, float]
    constant: float
    supported_from: float
    weak_from: float

    def probability(self, signals: Mapping[str, float]) -> float:
        total = self.constant + sum(
            weight * (signals[name] - self.mean[name]) / self.scale[name]
            for name, weight in self.weight.items()
        )
        return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, total))))

    def verdict(self, score: float) -> Verdict:
        if score >= self.supported_from:
            return Verdict.SUPPORTED
        return Verdict.WEAK if score >= self.weak_from else Verdict.UNSUPPORTED


@cache
def shipped_model(*, reads: bool) -> Model:
    """Returns the model over words alone, or over words and what a base reads."""
    content = json.loads(files(__package__).joinpath("support_model.json").read_text("utf-8"))
    return Model(**content["words_and_readings" if reads else "words"])


class SupportCheck:
    """Judges sentences against passages; with an engine its base reads them too."""

    def __init__(self, engine: Engine | None = None, tokenizer: Tokenizer | None = None):
        self.engine, self.tokenizer = engine, tokenizer

    @cached_property
    def model(self) -> Model:
        return shipped_model(reads=self.engine is not None)

    def check(self, sentences: Sequence[str], passages: Sequence[str]) -> list[Support]:
        """Returns the support of each sentence; unsupported where there is no passage."""
        prepared = Passages(passages)
        return [self.support(one, prepared) for one in self.signals(sentences, passages, prepared)]

    def signals(
        self, sentences: Sequence[str], passages: Sequence[str], prepared: Passages
    ) -> "list[Judged]":
        """Returns the sentences with all signals that can be had."""
        judged = [Judged(sentence, prepared) for sentence in sentences]
        read = [one for one in judged if one.order]
        if self.engine is not None and self.tokenizer is not None and read:
            evidence = [evidence_for(self.tokenizer, passages, prepared, one.order) for one in read]
            texts = [one.text.text for one in read]
            found = reading_signals(self.engine, self.tokenizer, texts, evidence)
            for one, more in zip(read, found, strict=True):
                one.signals |= more
        return judged

    def support(self, one: "Judged", passages: Passages) -> Support:
        words = uncarried(one.text, passages)
        if not one.order:
            return Support(Verdict.UNSUPPORTED, 0.0, None, words, {})
        score = self.model.probability(one.signals)
        shares_any = one.signals["best"] > 0
        place = passages.passage_of[one.order[0]] if shares_any else None
        return Support(self.model.verdict(score), score, place, words, one.signals)


class Judged:
    """A sentence with its signals so far, and the passages' sentences in the order of likeness."""

    def __init__(self, sentence: str, passages: Passages):
        self.text = Text(sentence)
        self.signals, self.order = lexical_signals(self.text, passages)


def evidence_for(
    tokenizer: Tokenizer, passages: Sequence[str], prepared: Passages, order: Sequence[int]
) -> str:
    """Returns what the base reads first: all passages, or what fits of the likest sentences."""
    whole = "\n".join(passages)
    is_short = len(whole) <= 8 * MOST_EVIDENCE_TOKENS
    if is_short and len(tokenizer.encode(whole)) <= MOST_EVIDENCE_TOKENS:
        return whole
    kept, count = [], 0
    for place in order[:EVIDENCE_SENTENCES]:
        count += len(tokenizer.encode(prepared.sentences[place].text))
        if kept and count > MOST_EVIDENCE_TOKENS:
            break
        kept.append(place)
    text = "\n".join(prepared.sentences[place].text for place in sorted(kept))
    # One sentence of a thousand tokens is cut where it would fill the context.
    return text[: 8 * MOST_EVIDENCE_TOKENS]

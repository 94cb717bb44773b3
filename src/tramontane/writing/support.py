"""SENTENCES, PASSAGES → SUPPORT: whether what was written stands in what it should rest on.

Signals of words and vectors (signals.py) are weighed by a logistic model that
`bench/support.py --fit` fitted (docs/decisions/support.md). Its probability is that of a reader
saying "the passage backs this".
Two thresholds make three verdicts of it; as shipped they come from the kinds of sentences that the
model was fitted on, not from anybody's own; promise.py makes one from somebody's labels.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

from tramontane.library.embed import word_llama
from tramontane.writing.signals import Passages, Text, signals_of, uncarried


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

    def verdict(self, score: float, threshold: float | None = None) -> Verdict:
        """Returns the verdict on a score; `threshold` stands instead of the shipped one."""
        if score >= (self.supported_from if threshold is None else threshold):
            return Verdict.SUPPORTED
        return Verdict.WEAK if score >= self.weak_from else Verdict.UNSUPPORTED


@cache
def shipped_model() -> Model:
    content = files(__package__).joinpath("support_model.json").read_text("utf-8")
    return Model(**json.loads(content))


class SupportCheck:
    """Judges sentences against passages.

    `threshold` is the score from which on a sentence is called supported, from somebody's own
    labels (promise.py); without one it is the shipped one.
    """

    def __init__(self, model: Model | None = None, threshold: float | None = None):
        self.model, self.threshold = model or shipped_model(), threshold

    def check(self, sentences: Sequence[str], passages: Sequence[str]) -> list[Support]:
        """Returns the support of each sentence; unsupported where there is no passage."""
        prepared = Passages(passages)
        return [self.support(Text(sentence), prepared) for sentence in sentences]

    def support(self, sentence: Text, passages: Passages) -> Support:
        words = uncarried(sentence, passages)
        signals, order = signals_of(sentence, passages, word_llama())
        if not order:
            return Support(Verdict.UNSUPPORTED, 0.0, None, words, {})
        score = self.model.probability(signals)
        place = passages.passage_of[order[0]] if signals["best"] > 0 else None
        return Support(self.model.verdict(score, self.threshold), score, place, words, signals)

"""QUESTION, HITS → the sentences of the notes that answer it, and how sure that is.

A sentence is scored by the question's words it holds, each weighed by its rarity in the library; by
those that its heading, title and neighbours hold, at less; by likeness of vectors; by whether it
holds the kind of thing asked for (a number, a time, a name); and, where there is a base to read
with, by how much likelier the question is after it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tramontane.library.days import period_in
from tramontane.library.library import Library
from tramontane.library.records import Hit
from tramontane.writing.likelihood import Gain
from tramontane.writing.terms import STOP_WORDS, stem, words

MAX_CANDIDATES = 60
CONTEXT_WEIGHT = 0.55
VECTOR_WEIGHT = 0.5
KIND_WEIGHT = 0.25
# Of the place of a sentence's passage: by search alone, and where a base has read the passages.
RANK_WEIGHT, RANK_WEIGHT_READ = 0.35, 0.7
# Per nat by which the question is likelier.
GAIN_WEIGHT = 0.04
# The same of a passage, beside its score of search.
PASSAGE_GAIN_WEIGHT = 0.06

# What the evidence must reach before anything is answered; bench/questions.py measures what these
# refuse. With a base: coverage, the mean gain of the question's words in nats, fit, and the best
# passage's gain for the whole question, by itself and beyond the least likely passages. Without:
# coverage and likeness of vectors.
EVIDENCE_GAIN, EVIDENCE_FIT, EVIDENCE_TOTAL, ENOUGH_WITH_BASE = 0.1, 0.6, 0.01, 1.2
# The best passages, the least likely ones, and all that a base reads.
NUM_WEIGHED, NUM_LEAST_LIKELY, NUM_PASSAGES_READ = 3, 5, 10
ENOUGH_WITHOUT_BASE = 0.55

ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|long|far|deep|tall|high|wide|heavy|hot|cold|big|large|old|often|thick\w*|"
    r"fast|soon|close|near|steep|late|early|wet|dense\w*)\b|\bhow far\b|"
    r"\bwhat (?:\w+ ){0,2}(?:temperature|price|cost|depth|width|height|length|distance|weight|rate|"
    r"ratio|speed|number|percentage|share|pressure|amount|age|size|dose|spacing|fee|fare|limit|"
    r"charge|pay)\b|"
    r"\bwhat do(?:es)? .* (?:cost|charge|pay|weigh)\b",
    re.IGNORECASE,
)
ASKS_TIME = re.compile(
    r"\bwhen\b|\bwhat (?:date|day|month|time|year|week)\b|\bwhich (?:day|date|month|year|week)\b"
    r"|\bby what\b|\bhow soon\b|\bhow late\b|\bhow early\b|\buntil when\b|\bwhat time\b",
    re.IGNORECASE,
)
# Somebody's own doings, which a diary tells under its days.
ASKS_OF_OWN = re.compile(r"\b(?:I|we|my|our)\b")
ASKS_NAME = re.compile(
    r"\bwho(?:m|se)?\b|\bwhich of us\b|\bwhat (?:is|was) .*\bname\b|\bcalled\b", re.IGNORECASE
)
HAS_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|"
    r"forty|fifty|sixty|hundred|half|third|quarter|twice|once|dozen)\b",
    re.IGNORECASE,
)
HAS_TIME = re.compile(
    r"\b(?:jan|feb|mar|apr|may|june?|july?|aug|sep|oct|nov|dec)\w*\b|\b\d{1,2}[:.]\d{2}\b|\b\d{4}\b"
    r"|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b(?:weeks?|days?|months?|hours?|minutes?)\b"
    r"|\b(?:spring|summer|autumn|winter|midnight|noon|dawn|dusk|sunset|sunrise)\b",
    re.IGNORECASE,
)
HAS_NAME = re.compile(r"(?<![.!?:#\-*|]\s)(?<!^)\b[A-Z][a-z]+")


@dataclass(frozen=True, slots=True)
class Quotation:
    """One sentence of a note with its lines, its hit's place among the hits, and its score."""

    text: str
    first_line: int
    last_line: int
    hit: int
    score: float
    coverage: float
    start: int = 0  # its first character in the hit
    day: str | None = None  # that it is of, where the question is of days


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much the notes hold of what was asked: what abstaining is decided on.

    `coverage` is the weighed share of the question's words in the best passage; `similarity` the
    best passage's likeness of vectors; `gain` how much likelier the question's words are after the
    best passage, in nats, None where no base read it; `total` the same of the whole question, and
    `lead` how far that is beyond the least likely passages; `fit` whether the best sentence holds
    the kind of thing asked for.
    """

    coverage: float
    similarity: float
    missing: str | None
    gain: float | None = None
    total: float = 0.0
    lead: float = 0.0
    fit: float = 0.5

    @property
    def is_enough(self) -> bool:
        if self.gain is None:
            return self.coverage + self.similarity >= ENOUGH_WITHOUT_BASE
        score = self.coverage + EVIDENCE_GAIN * self.gain + EVIDENCE_FIT * self.fit
        score += EVIDENCE_TOTAL * (self.total + self.lead)
        return score >= ENOUGH_WITH_BASE


class Question:
    """A question's words by stem, with their rarity in the library."""

    def __init__(self, text: str, rarity: Callable[[Sequence[str]], Mapping[str, float]]):
        self.text = text
        self.period = period_in(text)
        asked = [w for w in dict.fromkeys(words(text)) if w not in STOP_WORDS]
        weights = rarity(asked) if asked else {}
        self.weights: dict[str, float] = {}
        self.word_of: dict[str, str] = {}
        for word in asked:
            key = stem(word)
            self.word_of.setdefault(key, word)
            self.weights[key] = max(self.weights.get(key, 0.0), weights[word])
        self.total = sum(self.weights.values())

    def share(self, stems: set[str]) -> float:
        """Returns the weighed share of the question's words among these."""
        if not self.total:
            return 0.0
        return sum(w for key, w in self.weights.items() if key in stems) / self.total

    @property
    def is_of_days(self) -> bool:
        """Returns whether it asks when, or names the days that it is about."""
        return self.period is not None or ASKS_TIME.search(self.text) is not None

    @property
    def asks_when_own(self) -> bool:
        """Returns whether it asks when the one who asks did something."""
        return bool(ASKS_TIME.search(self.text) and ASKS_OF_OWN.search(self.text))

    def words_of_period(self, hit: Hit) -> str:
        """Returns the question's words for its days where the passage is dated so, else nothing."""
        return self.period.words if self.period and self.period.holds(hit.dates) else ""

    def fits(self, sentence: str, day: str | None = None) -> float:
        """Returns 1, 0 or between: whether the sentence holds the kind of thing asked for.

        What somebody did is told by a sentence of a known `day` too.
        """
        asked = [
            has.search(sentence) is not None
            or (has is HAS_TIME and day is not None and self.asks_when_own)
            for asks, has in (
                (ASKS_NUMBER, HAS_NUMBER),
                (ASKS_TIME, HAS_TIME),
                (ASKS_NAME, HAS_NAME),
            )
            if asks.search(self.text)
        ]
        return sum(asked) / len(asked) if asked else 0.5


def stems_of(text: str) -> set[str]:
    return {stem(word) for word in words(text)}


def candidates(
    question: Question,
    hits: Sequence[Hit],
    library: Library,
    embed: Callable[[list[str]], np.ndarray],
    rank_weight: float = RANK_WEIGHT,
) -> list[Quotation]:
    """Returns sentences of the hits, best first; headings alone are no answers."""
    found = []
    for place, hit in enumerate(hits):
        around = stems_of(
            " ".join((hit.title, hit.path, *hit.heading, question.words_of_period(hit)))
        )
        passage = stems_of(hit.text)
        for sentence in library.sentences(hit):
            text = sentence.text.strip()
            if len(words(text)) < 3 or is_heading(hit.text, sentence.start):
                continue
            day = library.day_over(hit, sentence.start) if question.asks_when_own else None
            fit = question.fits(text, day)
            found.append((place, sentence, text, stems_of(text), around, passage, fit))
    found = found[:MAX_CANDIDATES]
    if not found:
        return []
    vectors = embed([question.text, *(text for _, _, text, *_ in found)])
    likeness = vectors[1:] @ vectors[0]
    quotations = []
    for found_one, like in zip(found, likeness, strict=True):
        place, sentence, text, own, around, passage, fit = found_one
        direct = question.share(own)
        near = question.share(own | around | passage)
        score = (
            direct
            + CONTEXT_WEIGHT * (near - direct)
            + VECTOR_WEIGHT * float(like)
            + KIND_WEIGHT * fit
            + rank_weight / (1 + place)
        )
        quotations.append(
            Quotation(
                text, sentence.first_line, sentence.last_line, place, score, near, sentence.start
            )
        )
    return sorted(quotations, key=lambda q: (-q.score, q.hit, q.first_line))


def is_heading(text: str, start: int) -> bool:
    """Returns whether what begins at `start` follows the marks of a Markdown heading."""
    line_start = text.rfind("\n", 0, start) + 1
    return text[line_start:start].lstrip().startswith("#")


def weighed_by_gain(quotations: Sequence[Quotation], gains: Sequence[Gain]) -> list[Quotation]:
    """Returns the sentences that a base has read, best first."""
    weighed = [
        replace(quotation, score=quotation.score + GAIN_WEIGHT * gain.total)
        for quotation, gain in zip(quotations, gains, strict=True)
    ]
    return sorted(weighed, key=lambda q: (-q.score, q.hit, q.first_line))


def ranked_by_gain(hits: Sequence[Hit], gains: Sequence[Gain]) -> list[tuple[Hit, Gain]]:
    """Returns hits that a base has read with what each gained, best first."""
    read = list(zip(hits, gains, strict=True))
    return sorted(read, key=lambda pair: -(pair[0].score + PASSAGE_GAIN_WEIGHT * pair[1].total))


def with_gains(evidence: Evidence, question: Question, gains: Sequence[Gain]) -> Evidence:
    """Returns the evidence with what a base made of the passages, the best of them first.

    Where there are few passages, one that says nothing (no gain) stands for those that are missing.
    """
    best = gains[:NUM_WEIGHED]
    total = max(gain.total for gain in best)
    totals = [gain.total for gain in gains] + [0.0] * (NUM_PASSAGES_READ - len(gains))
    least = sorted(totals)[:NUM_LEAST_LIKELY]
    return replace(
        evidence,
        gain=max(gain.weighed(question.weights) for gain in best),
        total=total,
        lead=total - sum(least) / len(least),
    )


def weigh_evidence(question: Question, hits: Sequence[Hit]) -> Evidence:
    """Returns what the best hits hold of the question, by words and vectors."""
    best, missing = -1.0, None
    for hit in hits[:NUM_WEIGHED]:
        said = (hit.title, hit.path, *hit.heading, hit.text, question.words_of_period(hit))
        there = stems_of(" ".join(said))
        share = question.share(there)
        if share > best:
            absent = [key for key in question.weights if key not in there]
            rarest = max(absent, key=lambda key: question.weights[key], default=None)
            best, missing = share, question.word_of.get(rarest) if rarest else None
    similarity = max((hit.similarity for hit in hits[:NUM_WEIGHED]), default=0.0)
    return Evidence(max(best, 0.0), similarity, missing)

"""SENTENCE, PASSAGES → SIGNALS by words and their vectors: what of a sentence stands in what it may
rest on.

Every signal is a number between 0 and 1 or near it. None understands the text; together they see a
number changed, a name put in another's place, a fact that no passage holds.
"""

import difflib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tramontane.writing.terms import NUMBER, STOP_WORDS, WORD, stem

# Sentences that count as near, as many as are read, and those whose meaning is taken together.
NUM_NEAR, MOST_EVIDENCE, NUM_TOGETHER = 6, 12, 3
Embed = Callable[[list[str]], np.ndarray]
NEGATIONS = frozenset("no not never none nobody nothing neither nor without".split())
CONTRACTIONS = tuple(
    (re.compile(short), long)
    for short, long in (
        (r"\bwon't\b", "will not"),
        (r"\bcan't\b", "can not"),
        (r"n't\b", " not"),
        (r"'re\b", " are"),
        (r"'ll\b", " will"),
        (r"'ve\b", " have"),
        (r"'m\b", " am"),
        (r"\b(it|that|there|he|she|what|here|now)'s\b", r"\1 is"),
    )
)
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty".split()
    )
} | {"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100", "dozen": "12"}
SENTENCE_BREAK = re.compile(r"(?<=[.!?])\s+|\n+")
# Lines of one paragraph, which a writer or a program broke.
SOFT_BREAK = re.compile(r"(?<=[^\s.!?:])\n(?=[a-z(])")
MARKS = (
    (re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)"), r"\1"),
    (re.compile(r"\[\[(?:[^\]|]*\|)?([^\]]*)\]\]"), r"\1"),
    (re.compile(r"\[([^\]]*)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)"), ""),
    (re.compile(r"^\s*(?:[-+>#]+|\d+[.)])\s+", re.MULTILINE), ""),
)
# What a sentence says of its source, not of its matter.
LEAD = re.compile(
    r"\s*(?:(?:according to|as (?:noted|stated|described|mentioned) in) (?:the|your|my) "
    r"(?:notes?|passages?|sources?|text)|as noted|the (?:notes?|passages?|sources?|text) "
    r"(?:says?|states?|mentions?|notes?)(?: that)?)\b[,:]?\s*",
    re.IGNORECASE,
)
PAIR_REACH = 4
MOST_COUNTED = 4
SAME_BEGINNING = 5


@dataclass(frozen=True)
class Word:
    """A word of a text: what it counts as, where it stands, and what kind it is."""

    key: str
    start: int
    end: int
    is_name: bool
    is_number: bool


def words_of(text: str) -> list[Word]:
    """Returns the words that carry meaning, in order; a number word counts as its number."""
    found = []
    for match in WORD.finditer(text):
        low = match[0].lower().replace("’", "'")
        is_number = NUMBER.match(low) is not None or low in NUMBER_WORDS
        if low in STOP_WORDS and not is_number:
            continue
        before = text[: match.start()].rstrip()
        begins = not before or before[-1] in '.!?:;"“(#*-|\n'
        is_name = match[0][0].isupper() and not begins and not is_number
        key = NUMBER_WORDS.get(low) or (low.replace(",", "") if is_number else stem(low))
        found.append(Word(key, match.start(), match.end(), is_name, is_number))
    return found


class Text:
    """One text prepared for comparison."""

    def __init__(self, text: str):
        self.text = text
        lead = LEAD.match(text)
        self.begin = lead.end() if lead else 0
        self.words = [word for word in words_of(text) if word.start >= self.begin]
        self.keys = [word.key for word in self.words]

    @cached_property
    def key_set(self) -> frozenset[str]:
        return frozenset(self.keys)

    @cached_property
    def beginnings(self) -> frozenset[str]:
        return frozenset(key[:SAME_BEGINNING] for key in self.keys if len(key) >= SAME_BEGINNING)

    @cached_property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """Ordered pairs of words that stand near each other."""
        return frozenset(
            (first, second)
            for place, first in enumerate(self.keys)
            for second in self.keys[place + 1 : place + PAIR_REACH]
        )

    @cached_property
    def raw(self) -> list[str]:
        """All words, contractions written out."""
        low = self.text[self.begin :].lower().replace("’", "'").replace("cannot", "can not")
        for short, long in CONTRACTIONS:
            low = short.sub(long, low)
        return [match[0] for match in WORD.finditer(low)]

    @cached_property
    def triples(self) -> frozenset[tuple[str, ...]]:
        return frozenset(zip(self.raw, self.raw[1:], self.raw[2:], strict=False))

    @property
    def is_negated(self) -> bool:
        return not NEGATIONS.isdisjoint(self.raw)

    def holds(self, word: Word) -> bool:
        """Returns whether the word stands here, or a long word with the same beginning."""
        if word.key in self.key_set:
            return True
        is_long = len(word.key) > SAME_BEGINNING and not word.is_number
        return is_long and word.key[:SAME_BEGINNING] in self.beginnings


class Passages:
    """What sentences may rest on, cut into sentences; common words weigh less than rare ones."""

    def __init__(self, texts: Sequence[str]):
        texts = [without_marks(text) for text in texts]
        self.whole = [Text(text) for text in texts]
        self.sentences: list[Text] = []
        self.passage_of: list[int] = []
        for place, text in enumerate(texts):
            for piece in SENTENCE_BREAK.split(SOFT_BREAK.sub(" ", text)):
                if piece.strip():
                    self.sentences.append(Text(piece))
                    self.passage_of.append(place)
        counts = Counter(key for sentence in self.sentences for key in sentence.key_set)
        total = 1 + len(self.sentences)
        self.rarity: Mapping[str, float] = {
            key: math.log(total / count) + 0.1 for key, count in counts.items()
        }
        self.most = math.log(total) + 0.1

    def weight(self, word: Word) -> float:
        return self.rarity.get(word.key, self.most)

    def evidence(self, sentence: Text, count: int = MOST_EVIDENCE) -> list[int]:
        """Returns the places of the sentences that share most, best first."""
        scored = [
            (self.shared(sentence, there), -place) for place, there in enumerate(self.sentences)
        ]
        order = sorted(range(len(scored)), key=lambda place: scored[place], reverse=True)
        return order[:count]

    def shared(self, sentence: Text, there: Text) -> float:
        """Returns the weighed share of the sentence's words that stand there."""
        total = sum(map(self.weight, sentence.words))
        held = sum(self.weight(word) for word in sentence.words if there.holds(word))
        return held / total if total else 0.0


def without_marks(text: str) -> str:
    """Returns Markdown's words: links by what they say, emphasis and list marks gone."""
    for pattern, put in MARKS:
        text = pattern.sub(put, text)
    return text


def signals_of(
    sentence: Text, passages: Passages, embed: Embed
) -> tuple[dict[str, float], list[int]]:
    """Returns the signals and the places of the passages' sentences that share most, best first."""
    if not sentence.words or not passages.sentences:
        return dict.fromkeys(SIGNALS, 0.0), []
    order = passages.evidence(sentence)
    evidence = [passages.sentences[place] for place in order[:NUM_NEAR]]
    best = evidence[0]
    together = Text("\n".join(text.text for text in evidence))
    held = [any(text.holds(word) for text in passages.whole) for word in sentence.words]
    near = [together.holds(word) for word in sentence.words]
    pair = max(
        (covered(sentence, passages, (best, other)) for other in evidence[1:] or [best]),
        default=0.0,
    )
    figures = {word.key for word in sentence.words if word.is_number}
    there = {word.key for text in passages.whole for word in text.words if word.is_number}
    close = {word.key for word in together.words if word.is_number}
    names = [word for word in sentence.words if word.is_name]
    replaced, added, dropped, moved = differences(sentence.raw, best.raw)
    return {
        "held": share(held),
        "held_near": share(near),
        "held_weighed": weighed(sentence, passages, held),
        "best": passages.shared(sentence, best),
        "best_pair": pair,
        "figures_missing": float(len(figures - there)),
        "figures_far": float(len(figures - close)),
        "has_figures": float(bool(figures)),
        "names_missing": float(
            sum(not any(text.holds(name) for text in passages.whole) for name in names)
        ),
        "names_far": float(sum(not together.holds(name) for name in names)),
        "has_names": float(bool(names)),
        "pairs": share([pair in together.pairs for pair in sentence.pairs]),
        "pairs_turned": share(
            [p not in together.pairs and p[::-1] in together.pairs for p in sentence.pairs]
        ),
        "triples": share([triple in together.triples for triple in sentence.triples]),
        "run": longest_run(sentence.raw, together.raw) / max(1, len(sentence.raw)),
        "negation_differs": float(sentence.is_negated != best.is_negated),
        "replaced": float(replaced),
        "added": float(added),
        "dropped": float(dropped),
        "moved": float(moved),
        "far_squared": (1.0 - covered(sentence, passages, evidence)) ** 2,
        "length": math.log(1 + len(sentence.words)),
        "missing_count": float(sum(not is_near for is_near in near)),
        "likeness": likeness(sentence, evidence[:NUM_TOGETHER], embed),
    }, order


SIGNALS = (
    *("held", "held_near", "held_weighed", "best", "best_pair", "figures_missing", "figures_far"),
    *("has_figures", "names_missing", "names_far", "has_names", "pairs", "pairs_turned"),
    *("triples", "run", "negation_differs", "replaced", "added", "dropped", "moved"),
    "far_squared",
    "length",
    "missing_count",
    "likeness",
)


def share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 1.0


def likeness(sentence: Text, evidence: Sequence[Text], embed: Embed) -> float:
    """Returns how near the sentence's vector is to that of the evidence together."""
    own, theirs = embed(
        [sentence.text[sentence.begin :], "\n".join(text.text for text in evidence)]
    )
    return float(own @ theirs)


def weighed(sentence: Text, passages: Passages, held: Sequence[bool]) -> float:
    total = sum(map(passages.weight, sentence.words))
    return (
        sum(passages.weight(w) for w, is_held in zip(sentence.words, held, strict=True) if is_held)
        / total
    )


def covered(sentence: Text, passages: Passages, texts: Sequence[Text]) -> float:
    held = [any(text.holds(word) for text in texts) for word in sentence.words]
    return weighed(sentence, passages, held)


def longest_run(words: Sequence[str], there: Sequence[str]) -> int:
    """Returns the length of the longest run of words that stands there in the same order."""
    best, lengths = 0, [0] * (len(there) + 1)
    for word in words:
        previous = lengths
        lengths = [0] * (len(there) + 1)
        for place, other in enumerate(there):
            if word == other:
                lengths[place + 1] = previous[place] + 1
                best = max(best, lengths[place + 1])
    return best


def differences(words: Sequence[str], there: Sequence[str]) -> tuple[int, int, int, int]:
    """Returns how many words were replaced, added, dropped and moved inside what both share.

    Only where half of the sentence stands there in order: elsewhere such counts mean nothing.
    """
    matcher = difflib.SequenceMatcher(None, there, words, autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    if 2 * sum(block.size for block in blocks) < len(words):
        return 0, 0, 0, 0
    replaced = added = dropped = 0
    gained, lost = Counter[str](), Counter[str]()
    for before, after in itertools.pairwise([*blocks, difflib.Match(len(there), len(words), 0)]):
        theirs = there[before.a + before.size : after.a]
        ours = words[before.b + before.size : after.b]
        if after.size == 0 and not ours:
            continue
        gained.update(word for word in ours if word not in STOP_WORDS)
        lost.update(word for word in theirs if word not in STOP_WORDS)
        replaced += min(len(ours), len(theirs))
        added += max(0, len(ours) - len(theirs))
        dropped += max(0, len(theirs) - len(ours))
    moved = (gained & lost).total()
    counts = (replaced, added, dropped, moved)
    return tuple(min(count, MOST_COUNTED) for count in counts)


def uncarried(sentence: Text, passages: Passages) -> tuple[tuple[int, int], ...]:
    """Returns the spans of the numbers, names and other words that no passage holds."""
    return tuple(
        (word.start, word.end)
        for word in sentence.words
        if not any(text.holds(word) for text in passages.whole)
    )

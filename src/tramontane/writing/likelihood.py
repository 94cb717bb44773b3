"""What the base makes of a question: how much likelier each of its words is after reading a text.

The gain of a word is log p(word | text, the question so far) − log p(word | a note that says
nothing, the question so far), in nats. It finds what shared words can't: that "lubricant" is
expected after a passage on engine oil, and "mortgage" after none (query likelihood: Ponte and Croft
1998; Sachan et al. 2022). The empty note is there because any text at all makes a question likelier
than none, by 4 nats to one base and by 14 to another.

T tokens of the question.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.terms import WORD, stem

LEADING = "Question:"
SAYS_NOTHING = (
    "Notes\nA few lines that somebody wrote down one day, so as to have them at hand when they are "
    "wanted. There is nothing more to say here."
)
# Texts read in one go, after which is said how many were.
READ_AT_ONCE = 3
# One word's gain counts between these, in nats: a rare name repeated gains 20 and says no more.
LEAST_GAIN, MOST_GAIN = -2.0, 4.0


@dataclass(frozen=True, slots=True)
class Gain:
    """One text's gain: of the whole question, and of each of its words by stem."""

    total: float
    by_stem: Mapping[str, float]

    def weighed(self, weights: Mapping[str, float]) -> float:
        """Returns the mean gain of the words that carry weight, each bounded, in nats."""
        total = sum(weights.values())
        if not total:
            return 0.0
        bounded = (
            weight * min(MOST_GAIN, max(LEAST_GAIN, self.by_stem.get(key, 0.0)))
            for key, weight in weights.items()
        )
        return sum(bounded) / total


def question_gains(
    engine: Engine,
    tokenizer: Tokenizer,
    question: str,
    texts: Sequence[str],
    report: Callable[[int], None] = lambda _: None,
) -> list[Gain]:
    """Returns each text's gain for the question; the base reads alone, no expert in place.

    `report(read)` is called with how many texts have been read.
    """
    asked = tokenizer.encode(f" {question}")
    prefixes = [f"{text}\n\n{LEADING}" for text in (SAYS_NOTHING, *texts)]
    sequences = []
    for prefix in prefixes:
        ids = [tokenizer.separator_id, *tokenizer.encode(prefix)]
        sequences.append(([*ids, *asked], len(ids)))
    scores: list[np.ndarray] = []
    while len(scores) < len(sequences):
        scores += engine.score_many(sequences[len(scores) :][:READ_AT_ONCE])
        report(len(scores) - 1)
    without_T, *after = scores
    words = tokens_by_stem(tokenizer, question, asked)
    return [gain_of(after_T - without_T, words) for after_T in after]


def gain_of(gain_T: np.ndarray, words: Mapping[str, Sequence[int]]) -> Gain:
    by_stem = {key: float(gain_T[list(places)].sum()) for key, places in words.items()}
    return Gain(float(gain_T.sum()), by_stem)


def tokens_by_stem(
    tokenizer: Tokenizer, question: str, token_ids: Sequence[int]
) -> dict[str, list[int]]:
    """Returns, for each word's stem, the places of the tokens that its first occurrence lies in."""
    ends = np.cumsum([len(tokenizer.token_bytes(token)) for token in token_ids])
    begins = np.concatenate([[0], ends[:-1]])
    # Some tokenizers put a space of their own before the text.
    own_space = int(ends[-1]) - len(f" {question}".encode()) if len(ends) else 0
    places: dict[str, list[int]] = {}
    for match in WORD.finditer(question):
        # A space was put before the question.
        first = own_space + 1 + len(question[: match.start()].encode())
        last = first + len(match[0].encode())
        key = stem(match[0].lower().replace("’", "'"))
        inside = [i for i in range(len(token_ids)) if begins[i] < last and ends[i] > first]
        places.setdefault(key, inside)
    return places

"""SENTENCES, EVIDENCE → SIGNALS by a base that reads: tried beside those of words.

How much likelier is a sentence after its evidence than without?

The gain of a token is log p(token | evidence, the sentence so far) − log p(token | the sentence so
far), in nats (pointwise mutual information; context-aware decoding, Shi et al. 2023, uses the same
difference). A word that stays unlikely after the evidence and gains nothing from it is one that the
evidence doesn't carry.

T tokens of a sentence.
"""

from collections.abc import Sequence

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.signals import Passages, words_of

LEADING = "In short:"
MOST_EVIDENCE_TOKENS = 450
# A word's log-probability below which it surprises, and the gain below which nothing led to it.
SURPRISING, UNLED = -4.0, 0.7
READINGS = (
    *("read_likelihood", "read_gain", "read_least_three", "read_least_gain", "read_surprising"),
    "read_unled",
)


def evidence_for(
    tokenizer: Tokenizer, passage: str, prepared: Passages, order: Sequence[int]
) -> str:
    """Returns what the base reads first: the passage, or what fits of its likest sentences."""
    if len(tokenizer.encode(passage)) <= MOST_EVIDENCE_TOKENS:
        return passage
    kept, count = [], 0
    for place in order:
        count += len(tokenizer.encode(prepared.sentences[place].text))
        if kept and count > MOST_EVIDENCE_TOKENS:
            break
        kept.append(place)
    text = "\n".join(prepared.sentences[place].text for place in sorted(kept))
    # One sentence of a thousand tokens is cut where it would fill the context.
    return text[: 8 * MOST_EVIDENCE_TOKENS]


def reading_signals(
    engine: Engine,
    tokenizer: Tokenizer,
    sentences: Sequence[str],
    evidence: Sequence[str],
) -> list[dict[str, float]]:
    """Returns each sentence's signals, read after its evidence; no expert is in place."""
    pairs, asked = [], []
    for sentence, text in zip(sentences, evidence, strict=True):
        ids = tokenizer.encode(f" {sentence}")
        asked.append(ids)
        for prefix in (f"{text}\n\n{LEADING}", LEADING):
            before = [tokenizer.separator_id, *tokenizer.encode(prefix)]
            pairs.append(([*before, *ids], len(before)))
    rows = engine.score_many(pairs)
    return [
        signals_of(within_T, alone_T, is_content(tokenizer, sentence, ids))
        for sentence, ids, within_T, alone_T in zip(
            sentences, asked, rows[::2], rows[1::2], strict=True
        )
    ]


def signals_of(
    within_T: np.ndarray, alone_T: np.ndarray, content_T: np.ndarray
) -> dict[str, float]:
    """Returns the signals of one sentence's log-probabilities with and without its evidence."""
    if not content_T.any():
        content_T = np.ones(len(within_T), bool)
    within, gain = within_T[content_T], (within_T - alone_T)[content_T]
    return dict(
        zip(
            READINGS,
            (
                float(within.mean()),
                float(gain.mean()),
                float(np.sort(within)[:3].mean()),
                float(gain.min()),
                float((within < SURPRISING).mean()),
                float(((within < SURPRISING) & (gain < UNLED)).sum()),
            ),
            strict=True,
        )
    )


def is_content(tokenizer: Tokenizer, sentence: str, ids: Sequence[int]) -> np.ndarray:
    """Returns which tokens (T,) lie in words that carry meaning."""
    ends = np.cumsum([len(tokenizer.token_bytes(token)) for token in ids])
    begins = np.concatenate([[0], ends[:-1]])
    # A space was put before the sentence; some tokenizers put one of their own before that.
    shift = int(ends[-1]) - len(sentence.encode()) if len(ends) else 0
    content_T = np.zeros(len(ids), bool)
    for word in words_of(sentence):
        first = shift + len(sentence[: word.start].encode())
        last = first + len(sentence[word.start : word.end].encode())
        content_T |= (begins < last) & (ends > first)
    return content_T

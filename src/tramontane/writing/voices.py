"""Who spoke in each sentence of an answer, token by token, and from which notes.

The answer is read once more: with everyone, and without each expert in turn (experts/voice.py).

T tokens, E experts.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.errors import NotFound
from tramontane.experts.voice import effect
from tramontane.library.library import Library
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.events import Behind, FromMemory, SentenceVoice, TokenVoice, Voiced
from tramontane.writing.speak import ExpertInPlace

# A mean share of a sentence from which on an expert may have raised it: the cheap sign, before
# effects are looked at.
AUDIBLE = 0.032
# Notes named behind one expert in one sentence.
NUM_BEHIND = 2
# An expert raised a sentence that would be at most half as likely without it.
RAISED_NATS = math.log(2)


def voices_in(
    engine: Engine,
    tokenizer: Tokenizer,
    before: Sequence[int],
    sentences: Sequence[str],
    experts: Sequence[ExpertInPlace],
) -> list[tuple[TokenVoice, ...]]:
    """Returns the tokens of each sentence, as the model in place reads them after `before`.

    The sentences are read as one text, spaces and all. A token that reaches into two belongs to
    the one it begins in. `before` holds at least one token: nothing foretells the first.
    """
    ids = tokenizer.encode("".join(sentences))
    whole, hashes = [*before, *ids], [expert.hash for expert in experts]
    effects_TE = effect(engine, whole, hashes, start=len(before))
    # The position that produced a token is the one before it.
    shares_TE, _ = engine.shares_of(whole, experts=sorted(hashes))
    columns = [sorted(hashes).index(digest) for digest in hashes]
    shares_TE = shares_TE[len(before) - 1 : -1][:, columns]
    names = [expert.name for expert in experts]
    found: list[list[TokenVoice]] = [[] for _ in sentences]
    for token_id, place, shares_E, effects_E in zip(
        ids, places(tokenizer, ids, sentences), shares_TE, effects_TE, strict=True
    ):
        found[place].append(
            TokenVoice(
                tokenizer.token_bytes(token_id).decode("utf-8", "replace"),
                {name: round(float(s), 4) for name, s in zip(names, shares_E, strict=True)},
                {name: round(float(e), 4) for name, e in zip(names, effects_E, strict=True)},
            )
        )
    return [tuple(tokens) for tokens in found]


def places(tokenizer: Tokenizer, ids: Sequence[int], sentences: Sequence[str]) -> list[int]:
    """Returns the sentence that each token begins in."""
    lengths = [len(tokenizer.token_bytes(token_id)) for token_id in ids]
    ends = np.cumsum([len(sentence.encode()) for sentence in sentences])
    # Some tokenizers put a space of their own before the text.
    own_space = sum(lengths) - int(ends[-1]) if len(ends) else 0
    begins = np.cumsum([0, *lengths])[:-1] - own_space
    return [min(int(np.searchsorted(ends, b, side="right")), len(ends) - 1) for b in begins]


def sentence_voice(
    tokens: Sequence[TokenVoice], text: str, behind: Callable[[str, str], tuple[Behind, ...]]
) -> SentenceVoice | None:
    """Returns a sentence's voice: means over its tokens, and the notes behind whoever is heard."""
    if not tokens:
        return None
    names = tokens[0].shares.keys()
    return SentenceVoice(
        {name: mean([token.shares[name] for token in tokens]) for name in names},
        {name: mean([token.effects[name] for token in tokens]) for name in names},
        tuple(tokens),
        {
            name: behind(name, text)
            for name in names
            if any(token.shares[name] > 0 for token in tokens)
        },
    )


def is_audible(shares: Mapping[str, float] | None) -> bool:
    """Returns whether any expert is heard in a sentence by its mean share: the cheap sign."""
    return any(share >= AUDIBLE for share in (shares or {}).values())


def from_memory(voiced: Voiced) -> FromMemory | None:
    """Returns which expert raised a sentence that no passage carries: the one without which it
    would be least likely. None where the base would have said it as well."""
    voice = voiced.voice
    effects = {
        name: sum(token.effects[name] for token in voice.tokens)
        for name, share in voice.shares.items()
        if share >= AUDIBLE
    }
    name = max(effects, key=lambda name: (effects[name], name), default=None)
    if name is None or effects[name] < RAISED_NATS:
        return None
    return FromMemory(voiced.sentence, name, round(effects[name], 4))


def mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def notes_behind(library: Library) -> Callable[[str, str], tuple[Behind, ...]]:
    """Returns what finds the notes of an expert's collection that a sentence leans on."""
    here = {collection.name for collection in library.collections()}

    def behind(expert: str, text: str) -> tuple[Behind, ...]:
        # An expert somebody shared comes without its notes.
        if expert not in here:
            return ()
        try:
            hits = library.search(text, collections=[expert], limit=NUM_BEHIND)
        except NotFound:  # removed while the answer was being written
            return ()
        return tuple(Behind(h.collection, h.path, h.title, h.first_line, h.last_line) for h in hits)

    return behind

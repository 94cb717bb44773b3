"""How far each expert's gates open on each collection's notes, and what to do about pairs.

The openness of an expert on a text is its mean gate over tokens and notes layers, with no other
expert in place. Own notes are the yardstick: what counts is the share of that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.tokenizer.tokenizer import Tokenizer

WINDOW_TOKENS = 256
WINDOWS_PER_TEXT = 4
# Of an expert's openness on its own notes. Measured: collections of one kind 0.43 to 0.66, others
# at most 0.32 (bench/open_rates.py).
LOOK_ALIKE = 0.4
SAME_KIND = 0.5
# An expert that hardly opens on its own notes has no yardstick.
LEAST_OWN = 0.05

MERGE, SHARE, APART = "merge", "share", "apart"
ADVICE = {
    MERGE: "both open on each other's notes: learn the two folders as one collection, or keep them "
    "and see their stretches shown as contested",
    SHARE: "one opens on the other's notes: accept a shared voice there, shown as contested, or "
    "leave one of them out of the mixture",
    APART: "keep them apart as they are",
}

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Overlap:
    """Openness (E, C) of experts on texts; `texts` of an expert's own name are its own notes.

    `own_open` is what manifests say of own notes held out, for experts whose notes aren't here.
    """

    experts: tuple[str, ...]
    texts: tuple[str, ...]
    openness_EC: np.ndarray
    own_open: Mapping[str, float] = field(default_factory=dict)

    def of_own(self, expert: str, text: str) -> float | None:
        """Returns an expert's openness on a text as a share of that on its own notes.

        None when the text isn't here, or when the expert hardly opens on its own, or nobody knows.
        """
        if text not in self.texts:
            return None
        row_C = self.openness_EC[self.experts.index(expert)]
        if expert in self.texts:
            own = row_C[self.texts.index(expert)]
        else:
            own = self.own_open.get(expert, 0.0)
        return float(row_C[self.texts.index(text)] / own) if own >= LEAST_OWN else None

    def advice(self, one: str, other: str) -> str:
        """Returns MERGE, SHARE or APART for two experts."""
        shares = [self.of_own(one, other), self.of_own(other, one)]
        known = [share for share in shares if share is not None]
        if not known or max(known) < LOOK_ALIKE:
            return APART
        return MERGE if len(known) == 2 and min(known) >= SAME_KIND else SHARE

    def look_alikes(self) -> list[tuple[str, str]]:
        """Returns the pairs that are not simply apart, by name."""
        names = sorted(self.experts)
        return [
            (one, other)
            for place, one in enumerate(names)
            for other in names[place + 1 :]
            if self.advice(one, other) != APART
        ]


def measure_overlap(
    engine: Engine,
    tokenizer: Tokenizer,
    experts: Mapping[str, str],
    texts: Mapping[str, Sequence[str]],
    report: Report = lambda *_: None,
    *,
    own_open: Mapping[str, float] | None = None,
    around: str | None = None,
) -> Overlap:
    """Returns the overlap of experts (hash by name) and texts (documents by name).

    The engine must have the experts loaded. With `around` only what two of this name need is
    read: its own row and column and each expert's own notes; the rest stays nan.
    """
    names, columns = tuple(experts), tuple(texts)
    windows = {name: sample_windows(documents, tokenizer) for name, documents in texts.items()}
    openness_EC = np.full((len(names), len(columns)), np.nan)
    wanted = [
        (e, c)
        for e, name in enumerate(names)
        for c, text in enumerate(columns)
        if around is None or around in (name, text) or name == text
    ]
    for done, (e, c) in enumerate(wanted):
        report("reading", done, len(wanted))
        gates = [
            engine.shares_of(ids, experts=(experts[names[e]],))[1] for ids in windows[columns[c]]
        ]
        openness_EC[e, c] = np.concatenate(gates).mean() if gates else np.nan
    report("reading", len(wanted), len(wanted))
    return Overlap(names, columns, openness_EC, own_open or {})


def sample_windows(documents: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Returns the beginnings of documents, spread evenly over them, as full windows of tokens.

    What the documents have beyond the last full window is left out, unless there is no full one.
    """
    step = max(1, len(documents) // (4 * WINDOWS_PER_TEXT))
    packed: list[int] = []
    for document in (d for first in range(step) for d in documents[first::step]):
        if len(packed) >= WINDOWS_PER_TEXT * WINDOW_TOKENS:
            break
        packed += [*tokenizer.encode(document)[:WINDOW_TOKENS], tokenizer.separator_id]
    whole = [
        packed[begin : begin + WINDOW_TOKENS]
        for begin in range(0, len(packed) - WINDOW_TOKENS + 1, WINDOW_TOKENS)
    ][:WINDOWS_PER_TEXT]
    return whole or ([packed] if packed else [])

"""Where the experts' gates open: by source, how they share the work, whether they stay open.

Pieces of the built-in genres and of the notes at hand; of each expert and piece
open    the share of tokens at which its gate opens in some layer
share   its mean part in what a token gets, beside the base's own, over tokens where any is open
Of all experts together
repeats     how often the loudest expert of a token (or none) is that of the token before
by chance   how often it would be if the same tokens stood in random order: the sum of squares of
            their shares (Mixtral's own figures: 27.9 % against 12.5 % in its middle layer)
Being open says nothing of bias or quality; it says whose words these are.
T tokens, E experts.
"""

from collections.abc import Sequence

import numpy as np

from tramontane.audit.item import Item, Text
from tramontane.audit.scoring import Scorer
from tramontane.audit.suite import Measure, Notes, Suite
from tramontane.audit.suites import genres
from tramontane.tokenizer.tokenizer import Tokenizer

PIECES_PER_COLLECTION = 200


def from_notes(notes: Notes, tokenizer: Tokenizer) -> list[Item]:
    items = []
    for collection, texts in sorted(notes.items()):
        cut = (
            (number, piece)
            for number, note in enumerate(texts, start=1)
            for piece in genres.pieces(note.text)
        )
        items += [
            Item((Text("", piece),), f"notes: {collection}", f"{collection}, note {number}")
            for (number, piece), _ in zip(cut, range(PIECES_PER_COLLECTION), strict=False)
        ]
    return items


def probe(scorer: Scorer, expert_names: Sequence[str], item: Item) -> dict[str, float]:
    """`expert_names` stand in the order of the scorer's hashes."""
    ((ids, _),) = scorer.encode(item)
    shares_TE, gates_TE = scorer.engine.shares_of(ids, experts=scorer.experts)
    are_open_TE = gates_TE > 0
    speaks_T = are_open_TE.any(axis=1)
    results = {"any": float(speaks_T.mean())}
    for place, name in enumerate(expert_names):
        results[f"open {name}"] = float(are_open_TE[:, place].mean())
        if speaks_T.any():
            results[f"share {name}"] = float(shares_TE[speaks_T, place].mean())
    loudest_T = np.where(speaks_T, shares_TE.argmax(axis=1), -1)
    if len(loudest_T) > 1:
        _, counts = np.unique(loudest_T, return_counts=True)
        results["repeats"] = float((loudest_T[1:] == loudest_T[:-1]).mean())
        results["chance"] = float(np.square(counts / len(loudest_T)).sum())
    return results


def measures(expert_names: Sequence[str]) -> list[Measure]:
    per_expert = [
        measure
        for name in expert_names
        for measure in (
            Measure(f"open {name}", f"tokens at which {name} is open", "mean", better="none"),
            Measure(f"share {name}", f"{name}'s part where experts speak", "mean", better="none"),
        )
    ]
    return [
        Measure("any", "tokens at which any expert is open", "mean", better="none"),
        *per_expert,
        Measure(
            "repeats",
            "same voice as the token before",
            "mean",
            better="none",
            baseline="chance",
            baseline_title="the same tokens in random order",
        ),
    ]


SUITE = Suite(
    name="routing",
    family="routing",
    title="Where the experts speak",
    about="How often each expert's gate is open, on texts of many kinds and on the notes. An "
    "expert should be open on notes like its own and closed elsewhere.",
    source="built-in texts of many genres, and the notes of the collections in the library",
    measures=measures,
    files=genres.SUITE.files[:1],
    sample=genres.SUITE.sample,
    read=genres.read,
    from_notes=from_notes,
    probe=probe,
    needs_experts=True,
    quick=4,
    default=40,
)

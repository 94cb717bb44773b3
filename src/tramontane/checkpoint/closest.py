"""What to say of an architecture that isn't supported: the nearest that is, and what it lacks."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from tramontane.checkpoint.families import IGNORED_ENDINGS, Architecture

NUMBER = re.compile(r"(?<=\.)(\d+|\{[le]\})(?=\.)")
NAMES_SHOWN = 5
# Parts of a name map that an architecture has only if its row says so.
ONLY_WITH = {
    ".bias": "has_attention_bias",
    ".query_norm.": "has_query_key_norm",
    ".key_norm.": "has_query_key_norm",
    ".experts.": "num_base_experts",
    ".route.": "num_base_experts",
}


def closest(word: object, architectures: Sequence[Architecture], stored: Iterable[str]) -> str:
    """Returns a sentence on the architecture whose tensors, then name, come nearest."""
    patterns = {NUMBER.sub("N", name) for name in stored if not name.endswith(IGNORED_ENDINGS)}

    def distance(architecture: Architecture) -> tuple[int, float]:
        likeness = SequenceMatcher(None, str(word)[:80], architecture.word).ratio()
        return len(patterns - patterns_of(architecture)), -likeness

    nearest = min(architectures, key=distance)
    lacking = sorted(patterns - patterns_of(nearest))
    if not lacking:
        return (
            f"The closest is {nearest.word}, which names its tensors alike; whether the arithmetic "
            "is the same isn't known, so it isn't taken for it"
        )
    more = f" and {len(lacking) - NAMES_SHOWN} more" if len(lacking) > NAMES_SHOWN else ""
    shown = ", ".join(name[:80] for name in lacking[:NAMES_SHOWN])
    return f"The closest is {nearest.word}; what it lacks: {shown}{more} (N: any number)"


def patterns_of(architecture: Architecture) -> set[str]:
    """Returns the tensor names of an architecture's files, every number as N."""
    has = architecture.reads.keys() | {name for name, on in architecture.implies.items() if on}
    return {
        NUMBER.sub("N", place.name)
        for ours, places in architecture.names.items()
        for place in places
        if all(field in has for part, field in ONLY_WITH.items() if part in ours)
    }

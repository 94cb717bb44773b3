"""What to say of an architecture that isn't supported: the nearest that is, and what it lacks."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from tramontane.checkpoint.families import IGNORED_ENDINGS, OPTIONAL, Architecture

NUMBER = re.compile(r"(?<=\.)(\d+|\{[le]\})(?=\.)")
NAMES_SHOWN = 5
ALIKE = 0.6
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

    def distance(architecture: Architecture) -> tuple[int, float, int]:
        likeness = SequenceMatcher(None, str(word)[:80], architecture.word).ratio()
        lacking, unused = differences(architecture, patterns)
        # Of equals the one named alike, and where none is, the plainest.
        named_alike = likeness if likeness > ALIKE else 0.0
        return len(lacking) + len(unused), -named_alike, len(architecture.reads)

    nearest = min(architectures, key=distance)
    lacking, unused = differences(nearest, patterns)
    if not lacking and not unused:
        return (
            f"The closest is {nearest.word}, which names its tensors alike; whether the arithmetic "
            "is the same isn't known, so it isn't taken for it"
        )
    parts = [f"what it lacks: {listed(lacking)}"] if lacking else []
    parts += [f"what the file lacks: {listed(unused)}"] if unused else []
    return f"The closest is {nearest.word}; {'; '.join(parts)} (N: any number)"


def differences(architecture: Architecture, patterns: set[str]) -> tuple[list[str], list[str]]:
    """Returns the names that the architecture doesn't have, and those of its own not there."""
    has = architecture.reads.keys() | {name for name, on in architecture.implies.items() if on}
    known: set[str] = set()
    unused: list[str] = []
    for ours, places in architecture.names.items():
        if not all(field in has for part, field in ONLY_WITH.items() if part in ours):
            continue
        spelled = [NUMBER.sub("N", place.name) for place in places]
        known.update(spelled)
        if not patterns.intersection(spelled) and not may_lack(architecture, ours):
            unused.append(spelled[0])
    return sorted(patterns - known), unused


def may_lack(architecture: Architecture, ours: str) -> bool:
    """Returns whether models of the architecture may be without our tensor `ours`."""
    if "num_base_experts" in architecture.reads and ".ffn." in ours:
        return True
    if "num_base_experts" in architecture.defaults and (".experts." in ours or ".route." in ours):
        return True
    return ours in OPTIONAL or ours == "output.weight"


def listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(name[:80] for name in names[:NAMES_SHOWN]) + more

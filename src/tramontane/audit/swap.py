"""Counterfactual notes: the same text with pronouns, names and groups swapped (Lu et al. 2018).

An expert learnt from notes and their swapped twins has no reason to tell the two sides apart. A
lexicon is a list of pairs; each word of a pair becomes the other, its capitals kept. "her" stands
for "him" and for "his"; which one is told by the word after it: before a word that can begin no
object ("her and", "her.", "her to") it is "him".
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tramontane.errors import AuditError

Pairs = Sequence[tuple[str, str]]
GENDER: Pairs = (
    ("he", "she"),
    ("him", "her"),
    ("his", "her"),
    ("himself", "herself"),
    ("man", "woman"),
    ("men", "women"),
    ("boy", "girl"),
    ("boys", "girls"),
    ("father", "mother"),
    ("fathers", "mothers"),
    ("son", "daughter"),
    ("sons", "daughters"),
    ("brother", "sister"),
    ("brothers", "sisters"),
    ("husband", "wife"),
    ("husbands", "wives"),
    ("uncle", "aunt"),
    ("uncles", "aunts"),
    ("nephew", "niece"),
    ("nephews", "nieces"),
    ("grandfather", "grandmother"),
    ("grandson", "granddaughter"),
    ("king", "queen"),
    ("gentleman", "lady"),
    ("gentlemen", "ladies"),
    ("male", "female"),
    ("males", "females"),
    ("mr", "ms"),
    ("sir", "madam"),
)
# After "her" as an object.
NO_NOUN = re.compile(
    r"\s*(?:$|[^\w\s]|(?:a|an|and|as|at|because|but|by|for|from|if|in|into|is|of|on|or|out|so|that|"
    r"the|then|to|up|was|when|while|with)\b)",
    re.IGNORECASE,
)


def swapped(text: str, pairs: Iterable[tuple[str, str]] = GENDER) -> str:
    """Returns the text with each word of a pair in the other's place."""
    other: dict[str, str] = {}
    for first, second in pairs:
        other.setdefault(first.lower(), second.lower())
        other.setdefault(second.lower(), first.lower())
    if not other:
        return text
    longest_first = sorted(other, key=len, reverse=True)
    words = re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)
    has_gender = other.get("her") in ("him", "his")

    def put(match: re.Match[str]) -> str:
        word = match[0]
        wanted = other[word.lower()]
        if has_gender and word.lower() == "her":
            wanted = "him" if NO_NOUN.match(text, match.end()) else "his"
        return capitals_of(word, wanted)

    return words.sub(put, text)


def capitals_of(word: str, wanted: str) -> str:
    if len(word) > 1 and word.isupper():
        return wanted.upper()
    return wanted[:1].upper() + wanted[1:] if word[:1].isupper() else wanted


def with_twins(notes: Sequence[Any], pairs: Pairs) -> list[Any]:
    """Returns notes and, of each that the pairs change, its twin, which may train if it may."""
    twins = []
    for note in notes:
        text = swapped(note.text, pairs)
        if text != note.text:
            digest = hashlib.sha256(text.encode()).hexdigest()
            twins.append(replace(note, text=text, sha256=digest, path=f"{note.path} (swapped)"))
    return [*notes, *twins]


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Returns the pairs in a JSON file, [["word", "other word"], ...]."""
    try:
        pairs = [(str(first), str(second)) for first, second in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise AuditError(
            f'{path}: not a list of pairs ({error}); it should be [["word", "other word"], ...]'
        ) from None
    words = [word.strip().lower() for pair in pairs for word in pair]
    if not pairs or not all(words):
        raise AuditError(f"{path}: holds no pair, or an empty word")
    return pairs

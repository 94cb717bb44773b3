"""Sentences of real notes as they are, lightly rewritten, and corrupted in kinds that people know.

Each case is a sentence, the passage its original stands in, whether the passage still carries it,
the kind of change, and the note it is from. Everything follows from the notes and the seed.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from texts import collection_folder
from tramontane.notes.folder import read_folder
from tramontane.notes.sentences import split_sentences

COLLECTIONS = ("recipes-public-domain", "handbook-18f", "zettelkasten-de", "til-simonw")
NOTES_PER_COLLECTION, SENTENCES_PER_NOTE = 120, 5
SHORTEST, LONGEST = 40, 320

NUMBER = re.compile(r"(?<![\w/.-])\d{1,4}(?:[.,]\d+)?(?![\w/-])")
MONTHS = "January February March April May June July August September October November December"
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
CALENDAR = [*MONTHS.split(), *DAYS.split()]
NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})*")
AUXILIARY = re.compile(r"\b(is|are|was|were|can|will|should|must|could|would|has|have|does|do)\b")
NEGATED = re.compile(r"\b(is|are|was|were|can|will|should|must|could|would|do|does) ?n(?:o|')t\b ?")
OPPOSITES = {
    first: second
    for pair in (
        *("always never", "before after", "more less", "increase decrease", "first last"),
        *("large small", "hot cold", "add remove", "start stop", "with without", "all none"),
        *("high low", "above below", "open closed", "allow forbid", "best worst", "easy hard"),
        *("new old", "early late", "inside outside", "internal external", "public private"),
        *("required optional", "minimum maximum", "long short", "left right", "up down"),
    )
    for first, second in (pair.split(), pair.split()[::-1])
}
CONTRACTIONS = (
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("it is", "it's"),
    ("you are", "you're"),
    ("cannot", "can't"),
    ("is not", "isn't"),
    ("we will", "we'll"),
    ("for example", "e.g."),
)


@dataclass(frozen=True)
class Case:
    sentence: str
    passage: str
    is_supported: bool
    kind: str
    note: str


def cases(seed: int = 0) -> list[Case]:
    """Returns the cases of all collections, in a fixed order."""
    found = []
    for name in COLLECTIONS:
        notes = [note for note in read_folder(collection_folder(name)).notes if note.text.strip()]
        notes.sort(key=lambda note: note.sha256)
        sentences = [
            (note.path, passage.text, sentence.text.strip())
            for note in notes[:NOTES_PER_COLLECTION]
            for passage, sentence in picked(note, random.Random(f"{seed}{note.sha256}"))
        ]
        names = sorted({n for *_, text in sentences for n in NAME.findall(text)})
        for path, passage, text in sentences:
            chance = random.Random(f"{seed}{name}{path}{text}")
            strangers = [other for where, _, other in sentences if where != path]
            found += of_sentence(f"{name}/{path}", passage, text, names, strangers, chance)
    return found


def picked(note, chance: random.Random) -> list:
    """Returns a few (passage, sentence) of a note that read like sentences."""
    found = [
        (passage, sentence)
        for passage in note.passages
        for sentence in split_sentences(passage.text)
        if SHORTEST <= len(text := sentence.text.strip()) <= LONGEST
        and text[-1:] in ".!?"
        and not re.search(r"[|`#{}<>]|https?:", text)
        and len(passage.text) > len(text) + 80
    ]
    return chance.sample(found, min(SENTENCES_PER_NOTE, len(found)))


def of_sentence(
    note: str,
    passage: str,
    text: str,
    names: Sequence[str],
    strangers: Sequence[str],
    chance: random.Random,
) -> list[Case]:
    """Returns one true form of the sentence and one corruption of it, each of a drawn kind."""
    kept = [(kind, made) for kind, make in TRUE.items() if (made := make(text, chance))]
    spoilt = [
        (kind, made)
        for kind, make in CORRUPT.items()
        if (made := make(text, names, strangers, chance)) and made != text and made not in passage
    ]
    found = []
    if kept:
        kind, made = chance.choice(kept)
        found.append(Case(made, passage, True, kind, note))
    if spoilt:
        # Those that few sentences allow come first: the order of CORRUPT.
        kind, made = spoilt[0] if chance.random() < 0.6 else chance.choice(spoilt)
        found.append(Case(made, passage, False, kind, note))
    return found


# True forms


def contracted(text: str, chance: random.Random) -> str | None:
    for long, short in CONTRACTIONS:
        for said, put in ((long, short), (short, long)):
            if re.search(rf"\b{re.escape(said)}(?=\W)", text):
                return re.sub(rf"\b{re.escape(said)}(?=\W)", put, text, count=1)
    return None


def turned(text: str, chance: random.Random) -> str | None:
    """A leading clause goes to the end."""
    match = re.fullmatch(
        r"((?:If|When|After|Before|While|Once|Because|Since|In|For|At|On) [^,]{8,80}), "
        r"(\w[^,]{12,})([.!?])",
        text,
    )
    if not match:
        return None
    first, second, end = match.groups()
    return f"{second[0].upper()}{second[1:]} {first[0].lower()}{first[1:]}{end}"


def shortened(text: str, chance: random.Random) -> str | None:
    """What stands in parentheses, or after the last comma, is left out."""
    made = re.sub(r" ?\([^)]*\)", "", text)
    if made == text and text.count(",") >= 2:
        made = text[: text.rindex(",")] + text[-1]
    return made if made != text and len(made) > SHORTEST else None


def attributed(text: str, chance: random.Random) -> str | None:
    lead = chance.choice(
        ["According to the notes, ", "As noted, ", "The note says that ", "Here, "]
    )
    return lead + (text if re.match(r"I\b|[A-Z]{2}", text) else text[0].lower() + text[1:])


TRUE: dict[str, Callable[[str, random.Random], str | None]] = {
    "verbatim": lambda text, chance: text,
    "contracted": contracted,
    "turned": turned,
    "shortened": shortened,
    "attributed": attributed,
}


# Corruptions


def other_number(text, names, strangers, chance) -> str | None:
    found = list(NUMBER.finditer(text))
    if not found:
        return None
    match = chance.choice(found)
    value = float(match[0].replace(",", "."))
    new = chance.choice([value * 2, value + 1, value * 10, max(1, value // 2), value + 5])
    return f"{text[: match.start()]}{new:g}{text[match.end() :]}"


def other_name(text, names, strangers, chance) -> str | None:
    found = [match for match in NAME.finditer(text) if match[0] not in CALENDAR]
    others = [name for name in names if name not in text and name not in CALENDAR]
    if not found or not others:
        return None
    match = chance.choice(found)
    return text[: match.start()] + chance.choice(others) + text[match.end() :]


def other_date(text, names, strangers, chance) -> str | None:
    found = [match for match in re.finditer(r"\b[A-Z][a-z]+\b", text) if match[0] in CALENDAR]
    if not found:
        return None
    match = chance.choice(found)
    same = MONTHS.split() if match[0] in MONTHS else DAYS.split()
    new = chance.choice([name for name in same if name != match[0]])
    return text[: match.start()] + new + text[match.end() :]


def negated(text, names, strangers, chance) -> str | None:
    if match := NEGATED.search(text):
        return f"{text[: match.start()]}{match[1]} {text[match.end() :]}"
    if match := AUXILIARY.search(text):
        return f"{text[: match.end()]} not{text[match.end() :]}"
    return None


def opposite(text, names, strangers, chance) -> str | None:
    found = [m for m in re.finditer(r"\b[a-z]+\b", text) if m[0] in OPPOSITES]
    if not found:
        return None
    match = chance.choice(found)
    return text[: match.start()] + OPPOSITES[match[0]] + text[match.end() :]


def swapped(text, names, strangers, chance) -> str | None:
    """Two numbers or two names change places."""
    for pattern in (NUMBER, NAME):
        found = [m for m in pattern.finditer(text) if m[0] not in CALENDAR]
        pairs = [(a, b) for a in found for b in found if a.end() < b.start() and a[0] != b[0]]
        if pairs:
            a, b = chance.choice(pairs)
            return text[: a.start()] + b[0] + text[a.end() : b.start()] + a[0] + text[b.end() :]
    return None


def foreign(text, names, strangers, chance) -> str | None:
    return chance.choice(strangers) if strangers else None


CORRUPT = {
    "date": other_date,
    "swapped": swapped,
    "number": other_number,
    "name": other_name,
    "opposite": opposite,
    "negation": negated,
    "foreign": foreign,
}

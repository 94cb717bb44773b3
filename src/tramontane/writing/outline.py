"""TASK → OUTLINE: the notes that a draft will rest on, one a section, before a word is written."""

from collections.abc import Sequence
from dataclasses import dataclass

from tramontane.errors import NotFound, RequestError
from tramontane.library.records import Hit
from tramontane.writing.answer import Writer, check_question, source_of, why_not
from tramontane.writing.events import Source
from tramontane.writing.forms import Form
from tramontane.writing.quote import Question, weigh_evidence

MAX_SECTIONS = 6
NUM_HITS = 16
# A passage gives about so many words to a draft; longer sections read more passages of their note.
WORDS_PER_PASSAGE = 60
FEWEST_PASSAGES = 2
# A further note must come near the best one, by the score of search.
NEAR_BEST = 0.8


@dataclass(frozen=True, slots=True)
class Chosen:
    """A section somebody asked for: a note, and the heading over what comes of it."""

    collection: str
    path: str
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A note with the passages of it that a section will rest on."""

    heading: str
    hits: tuple[Hit, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """The sections of a draft; none, with the reason and the closest passage, where the notes
    don't say."""

    sections: tuple[Section, ...]
    reason: str | None = None
    closest: Source | None = None


def outline(
    writer: Writer,
    task: str,
    form: Form,
    words: int,
    *,
    collections: Sequence[str] | None = None,
    sections: int | None = None,
    chosen: Sequence[Chosen] | None = None,
) -> Outline:
    """Returns what a draft of `task` will rest on: `sections` notes at most, the best first.

    With `chosen` it is those notes in that order. Sources are numbered through. Raises RequestError
    for a task or number that can't be written, NotFound for a chosen note that isn't there.
    """
    task = check_question(task)
    if chosen is not None:
        sections = len(chosen)
    sections = check_sections(form.sections if sections is None else sections)
    most = passages_each(words, sections)
    hits = writer.library.search(
        task, collections=collections, limit=max(NUM_HITS, sections * most)
    )
    if chosen is None:
        evidence = weigh_evidence(Question(task, writer.library.rarity), hits)
        if not hits or not evidence.is_enough:
            closest = source_of(1, hits[0]) if hits else None
            return Outline((), why_not(evidence, bool(hits)), closest)
        least = hits[0].score * NEAR_BEST
        notes = [part for part in by_note(hits) if part[0].score >= least]
        parts = [(part[0].title, part[:most]) for part in notes[:sections]]
    else:
        found = {(part[0].collection, part[0].path): part for part in by_note(hits)}
        parts = []
        for one in chosen:
            part = found.get((one.collection, one.path)) or passages_of(writer, task, one, most)
            parts.append((one.heading or part[0].title, part[:most]))
    numbered, first = [], 1
    for heading, part in parts:
        sources = tuple(source_of(number, hit) for number, hit in enumerate(part, start=first))
        numbered.append(Section(heading, tuple(part), sources))
        first += len(part)
    return Outline(tuple(numbered))


def passages_each(words: int, sections: int) -> int:
    """Returns how many passages of a note a section reads."""
    return max(FEWEST_PASSAGES, round(words / sections / WORDS_PER_PASSAGE))


def by_note(hits: Sequence[Hit]) -> list[list[Hit]]:
    """Returns hits grouped by note, the best notes first."""
    notes: dict[tuple[str, str], list[Hit]] = {}
    for hit in hits:
        notes.setdefault((hit.collection, hit.path), []).append(hit)
    return list(notes.values())


def passages_of(writer: Writer, task: str, chosen: Chosen, most: int) -> list[Hit]:
    """Returns the passages of one note that say most to the task."""
    hits = writer.library.search(
        task, collections=[chosen.collection], path=chosen.path, limit=max(NUM_HITS, most)
    )
    hits = [hit for hit in hits if hit.path == chosen.path]
    if not hits:
        raise NotFound(
            f"no note {chosen.path!r} in the collection {chosen.collection!r}; make the outline "
            "anew"
        )
    return hits


def check_sections(sections: int) -> int:
    if not 1 <= sections <= MAX_SECTIONS:
        raise RequestError(f"sections={sections}; between 1 and {MAX_SECTIONS} can be written")
    return sections

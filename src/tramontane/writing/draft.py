"""TASK → DRAFT: an outline from what the notes hold, then each section from its own passages."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tramontane.errors import RequestError
from tramontane.library.records import Hit
from tramontane.writing.answer import (
    Writer,
    check_question,
    source_of,
    why_not,
)
from tramontane.writing.events import (
    Abstained,
    Answer,
    Done,
    Event,
    FromMemory,
    Heading,
    Sentence,
    Sources,
    Withheld,
)
from tramontane.writing.honesty import honest
from tramontane.writing.prompt import WRITE
from tramontane.writing.quote import Question, candidates, weigh_evidence

NUM_HITS = 16
MAX_SECTIONS = 6
SENTENCES_PER_SECTION = 4


def write(
    writer: Writer,
    task: str,
    *,
    collections: Sequence[str] | None = None,
    sections: int = 4,
    is_honest: bool = False,
) -> Iterator[Event]:
    """Yields a draft's events: sources first, then a heading and sentences for each section.

    A section is a note: the best ones for the task, in the order of their first hit. An honest
    draft keeps back what no source backs.
    """
    began = time.monotonic()
    task = check_question(task)
    if not 1 <= sections <= MAX_SECTIONS:
        raise RequestError(f"sections={sections}; between 1 and {MAX_SECTIONS} can be written")
    hits = writer.library.search(task, collections=collections, limit=NUM_HITS)
    asked = Question(task, writer.library.rarity)
    evidence = weigh_evidence(asked, hits)
    if not hits or not evidence.is_enough:
        yield Abstained(why_not(evidence, bool(hits)), source_of(1, hits[0]) if hits else None)
        yield Done(time.monotonic() - began, 0)
        return
    by_note = outline(hits, sections)
    sources = tuple(
        source_of(number, hit)
        for number, hit in enumerate((hit for part in by_note for hit in part), start=1)
    )
    yield Sources(sources)
    experts = tuple(writer.experts())
    # A place is counted over all sections; only prose that isn't honest has memories.
    first = num_told = 0
    for part in by_note:
        yield Heading(part[0].title)
        begun = num_told
        own_sources = sources[first : first + len(part)]
        if writer.can_write and not is_honest:
            for event in writer.prose(WRITE, task, own_sources, experts):
                if isinstance(event, FromMemory):
                    event = replace(event, sentence=begun + event.sentence)
                else:
                    num_told += 1
                yield event
        else:
            best = candidates(asked, part, writer.library, writer.embed)[:SENTENCES_PER_SECTION]
            # Within a note its own order reads best.
            best.sort(key=lambda q: (part[q.hit].first_line, q.start))
            quotations = [
                writer.quotation(quotation, own_sources[quotation.hit].number, experts)
                for quotation in best
            ]
            if writer.can_write:
                prose = writer.prose(WRITE, task, own_sources, experts, with_memory=False)
                yield from honest(prose, own_sources, quotations)
            else:
                yield from quotations
        first += len(part)
    yield Done(time.monotonic() - began, 0)


def outline(hits: Sequence[Hit], sections: int) -> list[list[Hit]]:
    """Returns hits grouped by note, the best notes first, at most two passages of each."""
    by_note: dict[tuple[str, str], list[Hit]] = {}
    for hit in hits:
        by_note.setdefault((hit.collection, hit.path), []).append(hit)
    return [part[:2] for part in list(by_note.values())[:sections]]


def as_markdown(draft: Answer) -> str:
    """Returns a draft or answer as Markdown, its sources listed with file and lines."""
    if draft.abstained:
        lines = [draft.reason or "Your notes don't say."]
        if draft.closest:
            c = draft.closest
            lines.append(f"\nClosest: {c.path}, lines {c.first_line}-{c.last_line}")
        return "\n".join(lines) + "\n"
    lines = [f"# {draft.question}", ""]
    num_told = 0
    for part in draft.sentences:
        memory = draft.memories.get(num_told)
        num_told += not isinstance(part, Heading)
        match part:
            case Heading(text):
                lines += [f"## {text}", ""]
            case Withheld(None):
                lines += ["*A sentence was kept back: no source backs it.*", ""]
            case Withheld(Sentence(text, _, source)):
                lines += [f"> {text} [{source}]", ""]
            case Sentence(text, kind, source):
                number = f" [{source}]" if source else ""
                doubt = "" if part.mark == "supported" else f" *({part.mark})*"
                if memory:
                    doubt = f" *(from the memory of {memory.expert}, no passage carries it)*"
                lines += [
                    f"> {text}{number}" if kind == "quotation" else f"{text}{number}{doubt}",
                    "",
                ]
    lines += ["## Sources", ""]
    for s in draft.sources:
        lines.append(f"{s.number}. {s.collection}/{s.path}, lines {s.first_line}-{s.last_line}")
    return "\n".join(lines) + "\n"

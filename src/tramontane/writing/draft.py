"""TASK → DRAFT: an outline from what the notes hold, then each section from its own passages."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from tramontane.writing.answer import Writer, quotation_of
from tramontane.writing.events import (
    Abstained,
    Done,
    Event,
    FromMemory,
    Heading,
    Sentence,
    Sources,
    Voiced,
)
from tramontane.writing.forms import Form, check_words, form_named
from tramontane.writing.honesty import honest
from tramontane.writing.outline import Chosen, Section, outline
from tramontane.writing.prompt import WRITE
from tramontane.writing.quote import Question, Quotation, candidates
from tramontane.writing.speak import ExpertInPlace

# Room for a section that a base writes, in tokens: its words and as many again, within bounds.
TOKENS_PER_WORD = 2
FEWEST_TOKENS, MOST_TOKENS = 60, 800


def write(
    writer: Writer,
    task: str,
    *,
    collections: Sequence[str] | None = None,
    form: str = "post",
    words: int | None = None,
    sections: int | None = None,
    chosen: Sequence[Chosen] | None = None,
    is_honest: bool = False,
) -> Iterator[Event]:
    """Yields a draft's events: sources first, then a heading and sentences for each section.

    A section is a note; which ones, outline() says, or `chosen`. `words` is the length aimed at,
    the form's own if left out. An honest draft keeps back what no source backs.
    """
    began = time.monotonic()
    shape = form_named(form)
    words = check_words(shape.words if words is None else words)
    planned = outline(
        writer, task, shape, words, collections=collections, sections=sections, chosen=chosen
    )
    if not planned.sections:
        yield Abstained(planned.reason or "", planned.closest)
        yield Done(time.monotonic() - began, 0)
        return
    yield Sources(tuple(source for part in planned.sections for source in part.sources))
    experts = tuple(writer.experts())
    words_each = max(1, words // len(planned.sections))
    # A memory's place is counted over all sections; only prose that isn't honest has memories.
    num_told = 0
    for part in planned.sections:
        heading = Heading(part.heading, tuple(source.number for source in part.sources))
        if writer.can_write and not is_honest:
            yield heading
            begun = num_told
            for event in written(writer, task, part, shape, words_each, experts):
                if isinstance(event, FromMemory):
                    event = replace(event, sentence=begun + event.sentence)
                else:
                    num_told += 1
                yield event
            continue
        if writer.can_write:
            yield heading
            prose = written(writer, task, part, shape, words_each, experts, with_memory=False)
            yield from honest(
                prose,
                part.sources,
                partial(quoted, writer, task, part, words_each),
                partial(writer.heard_beside, experts=experts),
            )
        elif quotations := quoted(writer, task, part, words_each):
            yield heading
            yield from (writer.heard(quotation, experts) for quotation in quotations)
        # else a passage of headings alone
    yield Done(time.monotonic() - began, 0)


def written(
    writer: Writer,
    task: str,
    part: Section,
    form: Form,
    words: int,
    experts: Sequence[ExpertInPlace],
    *,
    with_memory: bool = True,
) -> Iterator[Sentence | FromMemory]:
    """Yields a section in the base's own prose, memories counted from its first sentence."""
    asks = f"{WRITE} It is {form.asks}, of about {words} words."
    room = min(MOST_TOKENS, max(FEWEST_TOKENS, words * TOKENS_PER_WORD))
    for event in writer.prose(asks, task, part.sources, experts, room, with_memory=with_memory):
        assert not isinstance(event, Voiced)  # they come only where they are asked for
        yield event


def quoted(writer: Writer, task: str, part: Section, words: int) -> list[Sentence]:
    """Returns the sentences of a note that say most to the task, in its own order, which reads
    best."""
    asked = Question(task, writer.library.rarity)
    found = candidates(asked, part.hits, writer.library, writer.embed)
    # A row of a table says nothing without its head.
    best = up_to(words, [quotation for quotation in found if not quotation.text.startswith("|")])
    best.sort(key=lambda q: (part.hits[q.hit].first_line, q.start))
    return [quotation_of(quotation, part.sources[quotation.hit].number) for quotation in best]


def up_to(words: int, found: Sequence[Quotation]) -> list[Quotation]:
    """Returns the first quotations until they have so many words; one at least."""
    chosen, total = [], 0
    for quotation in found:
        if chosen and total >= words:
            break
        chosen.append(quotation)
        total += len(quotation.text.split())
    return chosen

"""SENTENCES → what is shown of them in honesty mode.

An unsupported sentence never reaches the reader. A sentence of the sources that speaks of the same
stands in its place, or a note that something was kept back. What is copied is shown as copied.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from tramontane.writing.events import FromMemory, Sentence, Source, Voiced, Withheld
from tramontane.writing.overlap import overlap
from tramontane.writing.support import Verdict

# Share of a kept back sentence's content words that a quotation in its place must hold.
SPEAKS_OF_THE_SAME = 1 / 3
# Words in a row that make a stretch copied, not merely alike.
COPIED_WORDS = 6
# Fewer words than this are copied by chance.
FEWEST_WORDS = 3
WORD = re.compile(r"\w+(?:['’.,:/-]\w+)*")


def honest(
    written: Iterator[Sentence | Voiced | FromMemory],
    sources: Sequence[Source],
    quotable: Callable[[], Sequence[Sentence]] = tuple,
    heard: Callable[[Sentence], Sentence] = lambda quotation: quotation,
) -> Iterator[Sentence | Withheld | Voiced | FromMemory]:
    """Yields one event for each sentence written, then voices, but none of a sentence kept back.

    `quotable` returns quotations of the sources, the best for what was asked first; it is called
    once, and only if a sentence is kept back. `heard` completes one that is shown. Where everything
    was kept back and nothing stands instead, the best of them ends the answer.
    """
    quotations = cache(lambda: [*quotable()])
    shown: set[str] = set()
    kept_back: set[int] = set()
    place = 0
    for event in written:
        if isinstance(event, Voiced | FromMemory):
            if event.sentence not in kept_back:
                yield event
            continue
        if event.mark == Verdict.UNSUPPORTED:
            kept_back.add(place)
            instead = instead_of(event.text, quotations(), shown)
            if instead:
                shown.add(instead.text)
            event = Withheld(instead and heard(instead))
        else:
            event = with_copies_told(event, sources)
            shown.add(event.text)
        yield event
        place += 1
    if not shown and quotations():
        yield heard(quotations()[0])


def instead_of(text: str, quotable: Sequence[Sentence], shown: set[str]) -> Sentence | None:
    """Returns the quotation that shares most with a sentence; None where none shares enough."""
    waiting = [quotation for quotation in quotable if quotation.text not in shown]
    shares = [overlap(text, [quotation.text]).share for quotation in waiting]
    best = max(range(len(waiting)), key=lambda at: (shares[at], -at), default=None)
    if best is None or shares[best] < SPEAKS_OF_THE_SAME:
        return None
    return waiting[best]


def with_copies_told(sentence: Sentence, sources: Sequence[Source]) -> Sentence:
    """Returns a sentence as a quotation where a source holds all of it, else its copied spans."""
    source = next((source for source in sources if source.number == sentence.source), None)
    if source is None:
        return sentence
    stretches = copied_stretches(sentence.text, source.text)
    spans = tuple(mine for mine, _ in stretches)
    words = list(WORD.finditer(sentence.text))
    is_whole = len(words) >= FEWEST_WORDS and spans == ((words[0].start(), words[-1].end()),)
    if not is_whole:
        return replace(sentence, copied=spans)
    begin, end = stretches[0][1]
    return replace(
        sentence,
        kind="quotation",
        mark=Verdict.SUPPORTED.value,
        promise=None,
        overlap=1.0,
        first_line=source.first_line + source.text.count("\n", 0, begin),
        last_line=source.first_line + source.text.count("\n", 0, end),
    )


Span = tuple[int, int]


def copied_stretches(text: str, source: str) -> list[tuple[Span, Span]]:
    """Returns the spans of `text` that the source holds word for word, each with its place there.

    Case and what stands between the words don't count. A stretch has COPIED_WORDS words, or all
    that a shorter text has. Of several places the first that holds the longest is told.
    """
    words, held = list(WORD.finditer(text)), list(WORD.finditer(source))
    mine, theirs = folded(words), folded(held)
    least = min(COPIED_WORDS, len(mine))
    if not least:
        return []
    places: dict[tuple[str, ...], list[int]] = {}
    for at in range(len(theirs) - least + 1):
        places.setdefault(tuple(theirs[at : at + least]), []).append(at)
    stretches, at = [], 0
    while at <= len(mine) - least:
        starts = places.get(tuple(mine[at : at + least]), ())
        lengths = [in_common(mine[at:], theirs[start:]) for start in starts]
        longest = max(lengths, default=0)
        if longest:
            start = starts[lengths.index(longest)]
            stretches.append((span_of(words, at, longest), span_of(held, start, longest)))
        at += longest or 1
    return stretches


def span_of(words: Sequence[re.Match], first: int, count: int) -> Span:
    return words[first].start(), words[first + count - 1].end()


def folded(words: Sequence[re.Match]) -> list[str]:
    return [found[0].casefold() for found in words]


def in_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns how many words the two begin with alike."""
    for count, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return count
    return min(len(one), len(other))

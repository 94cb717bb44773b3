"""NOTES → SENTENCES TO LABEL: somebody's own, or a base's, each scored as it would be when shown.

What is labelled must come as what is shown later comes, or the promise is about something else: the
passages are those that search finds, and a base answers as `ask` has it answer.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from tramontane.errors import RequestError
from tramontane.library.library import Library
from tramontane.library.support_labels import Candidate, PassagePlace, text_hash
from tramontane.writing.answer import Writer
from tramontane.writing.events import Sentence, Source, Sources
from tramontane.writing.support import SupportCheck
from tramontane.writing.text_check import found_for

# Of words that search and the gate before an answer pass over, but for the title.
QUESTION = "What is there about {title}?"


def own_candidates(
    library: Library, collection: str, sentences: Iterable[str]
) -> Iterator[Candidate]:
    """Yields somebody's own sentences; one for which search finds nothing is left out."""
    check = SupportCheck()
    for text in sentences:
        sources = found_for(library, text, [collection])
        if sources:
            yield candidate(check, text, sources)


def prose_candidates(
    writer: Writer, collection: str, skipped: set[str]
) -> Iterator[list[Candidate]]:
    """Yields what the base writes about one note after the other, not about `skipped`: sentences.

    A note's sentences come together, so that whoever stops among them finds the rest again.
    Raises RequestError for a base that has not passed the writer's check: it shows no prose.
    """
    if not writer.can_write:
        raise RequestError(
            "this base has not passed the writer's check, so it shows no prose of its own to "
            "calibrate; name a text of yours instead: `tramontane support label FILE --in "
            f"{collection}`"
        )
    check = SupportCheck()
    notes = writer.library.notes(collection)
    notes.sort(key=lambda note: hashlib.sha256(note.path.encode()).digest())
    for note in notes:
        if note.path in skipped:
            continue
        sources: Sequence[Source] = ()
        written = []
        for event in writer.ask(
            QUESTION.format(title=note.title), collections=[collection], with_shares=False
        ):
            match event:
                case Sources(sources=sources):
                    pass
                case Sentence(kind="prose", text=text):
                    written.append(candidate(check, text, sources))
        if written:
            yield written


def candidate(check: SupportCheck, text: str, sources: Sequence[Source]) -> Candidate:
    (found,) = check.check([text], [source.text for source in sources])
    nearest = found.passage or 0
    ordered = [sources[nearest], *sources[:nearest], *sources[nearest + 1 :]]
    places = tuple(
        PassagePlace(one.path, one.first_line, one.last_line, text_hash(one.text))
        for one in ordered
    )
    return Candidate(text, places, found.score)

"""ANY TEXT → SUPPORT: somebody's own sentences, or a machine's, against what the notes hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tramontane.library.library import Library
from tramontane.writing.answer import source_of
from tramontane.writing.calibration import promise_behind
from tramontane.writing.events import Source
from tramontane.writing.support import SupportCheck, Verdict

PASSAGES_PER_SENTENCE = 5
MOST_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """A sentence with its verdict, the passage nearest to it, and the words no passage holds.

    `promise` says what stands behind the verdict, for a collection that was calibrated.
    """

    text: str
    line: int
    verdict: Verdict
    score: float
    source: Source | None
    missing: tuple[str, ...]
    promise: str | None = None


def check_text(
    library: Library,
    sentences: Sequence[tuple[str, int]],
    *,
    collections: Sequence[str] | None = None,
) -> Iterator[CheckedSentence]:
    """Yields each sentence, given with its line, judged against the passages that search finds."""
    for text, line in sentences:
        sources = found_for(library, text, collections)
        behind = promise_behind(library, {source.collection for source in sources}, "own")
        check = SupportCheck(threshold=behind.threshold if behind else None)
        (found,) = check.check([text], [source.text for source in sources])
        yield CheckedSentence(
            text,
            line,
            found.verdict,
            round(found.score, 3),
            sources[found.passage] if found.passage is not None else None,
            tuple(dict.fromkeys(text[begin:end] for begin, end in found.words)),
            behind.text if behind else None,
        )


def found_for(library: Library, text: str, collections: Sequence[str] | None) -> list[Source]:
    """Returns the passages that a sentence is judged against, nearest first as search has them."""
    hits = library.search(
        text[:MOST_CHARACTERS], collections=collections, limit=PASSAGES_PER_SENTENCE
    )
    return [source_of(number, hit) for number, hit in enumerate(hits, start=1)]

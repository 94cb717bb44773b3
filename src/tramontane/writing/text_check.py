"""ANY TEXT → SUPPORT: somebody's own sentences, or a machine's, against what the notes hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tramontane.library.library import Library
from tramontane.writing.answer import source_of
from tramontane.writing.events import Source
from tramontane.writing.support import SupportCheck, Verdict

PASSAGES_PER_SENTENCE = 5
MOST_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """A sentence with its verdict, the passage nearest to it, and the words no passage holds."""

    text: str
    line: int
    verdict: Verdict
    score: float
    source: Source | None
    missing: tuple[str, ...]


def check_text(
    library: Library,
    check: SupportCheck,
    sentences: Sequence[tuple[str, int]],
    *,
    collections: Sequence[str] | None = None,
) -> Iterator[CheckedSentence]:
    """Yields each sentence, given with its line, judged against the passages that search finds."""
    for text, line in sentences:
        asked = text[:MOST_CHARACTERS]
        hits = library.search(asked, collections=collections, limit=PASSAGES_PER_SENTENCE)
        (found,) = check.check([text], [hit.text for hit in hits])
        source = None
        if found.passage is not None:
            source = source_of(found.passage + 1, hits[found.passage])
        missing = tuple(dict.fromkeys(text[begin:end] for begin, end in found.words))
        yield CheckedSentence(text, line, found.verdict, round(found.score, 3), source, missing)

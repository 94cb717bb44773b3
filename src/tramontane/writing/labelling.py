"""LABELS → A SITTING: the next sentence with its passages, verdicts, and how far one has come.

What the terminal and the page have alike while somebody judges sentences against a collection.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tramontane.library.library import Library
from tramontane.library.support_labels import Candidate, PassagePlace, SupportLabel
from tramontane.writing.answer import Writer
from tramontane.writing.calibration import checker_name, promise_behind
from tramontane.writing.promise import WRONG, fewest_labels
from tramontane.writing.signals import Text, words_of
from tramontane.writing.to_label import own_candidates, prose_candidates

Report = Callable[[str, int, int], None]
KIND_WORDS = {"quotation": "quotations", "prose": "the base's prose", "own": "text of your own"}


@dataclass(frozen=True, slots=True)
class ShownPassage:
    """A passage that still is what it was; `shared` are the spans of the words that the sentence
    has too, in characters. What the sentence has and no passage holds isn't told: whoever judges
    should read, not follow the check."""

    path: str
    first_line: int
    last_line: int
    text: str
    shared: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ToJudge:
    """A sentence that waits for its verdict, and what it was checked against, nearest first."""

    id: int
    collection: str
    kind: str
    sentence: str
    passages: tuple[ShownPassage, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the labels of one kind of text are.

    `num_wanted` is how many more verdicts the smallest promise takes at least, skipped ones not
    counted; `num_outdated` verdicts were given with another version of the check and don't count.
    `promise` is what stands behind marks on such text now, None where nothing does.
    """

    kind: str
    words: str
    num_waiting: int
    num_supported: int
    num_partly: int
    num_unsupported: int
    num_skipped: int
    num_outdated: int
    num_wanted: int
    promise: str | None

    @property
    def num_judged(self) -> int:
        return self.num_supported + self.num_partly + self.num_unsupported


class Labelling:
    """One sitting: every verdict is kept as soon as it is given, so it can end at any time."""

    def __init__(
        self,
        library: Library,
        collection: str,
        kind: str,
        further: Iterator[Sequence[Candidate]] | None = None,
    ):
        """`further` gives sentences, some at a time, once none that were queued are left."""
        self.library, self.collection, self.kind = library, collection, kind
        self.further = further or iter(())
        self.labels = library.support_labels
        self.num_stale = 0

    def next_sentence(self) -> ToJudge | None:
        """Returns the next sentence whose passage still is what it was; others are dropped."""
        while True:
            for label in self.labels.waiting(self.collection, self.kind):
                if shown := to_judge(self.library, label):
                    return shown
                self.labels.drop(label.id)
                self.num_stale += 1
            candidates = next(self.further, None)
            if candidates is None:
                return None
            self.labels.add(self.collection, self.kind, checker_name(), candidates)

    def judge(self, label_id: int, verdict: str) -> SupportLabel:
        return self.labels.judge(label_id, verdict)

    def undo(self) -> SupportLabel | None:
        """Takes the last verdict back; returns its sentence, or None where none was given."""
        return self.labels.undo(self.collection, self.kind)


def queue_text(
    library: Library, collection: str, sentences: Sequence[str], report: Report
) -> tuple[int, int]:
    """Has somebody's own sentences wait for verdicts; returns how many can be judged, and how many
    of these are new. One for which search finds no passage is left out.

    Raises NotFound when there is no such collection.
    """
    library.collection(collection)
    found = []
    for one in own_candidates(library, collection, sentences):
        found.append(one)
        report("checking", len(found), len(sentences))
    return len(found), library.support_labels.add(collection, "own", checker_name(), found)


def prose_sitting(writer: Writer, collection: str) -> Labelling:
    """Returns a sitting for which the base writes, about notes that nobody labelled it on yet."""
    labels = writer.library.support_labels
    known = [*labels.judged(collection, "prose"), *labels.waiting(collection, "prose")]
    skipped = {label.passages[0].path for label in known}
    further = prose_candidates(writer, collection, skipped)
    return Labelling(writer.library, collection, "prose", further)


def to_judge(library: Library, label: SupportLabel) -> ToJudge | None:
    """Returns a sentence with its passages; None when the nearest no longer is what it was."""
    sentence = Text(label.sentence)
    texts = [library.passage_text(label.collection, place) for place in label.passages]
    if texts[0] is None:
        return None
    passages = tuple(
        shown_passage(sentence, place, text)
        for place, text in zip(label.passages, texts, strict=True)
        if text is not None
    )
    return ToJudge(label.id, label.collection, label.kind, label.sentence, passages)


def shown_passage(sentence: Text, place: PassagePlace, text: str) -> ShownPassage:
    shared = tuple((word.start, word.end) for word in words_of(text) if sentence.holds(word))
    return ShownPassage(place.path, place.first_line, place.last_line, text, shared)


def progress(library: Library, collection: str, kind: str, wrong: float = WRONG) -> Progress:
    """Returns how far the labels of a kind are; NotFound when there is no such collection."""
    judged = library.support_labels.judged(collection, kind)
    counts = {
        verdict: sum(label.verdict == verdict for label in judged)
        for verdict in ("supported", "partly", "unsupported", "skipped")
    }
    num_outdated = sum(
        label.verdict != "skipped" and label.checker != checker_name() for label in judged
    )
    num_counting = len(judged) - counts["skipped"] - num_outdated
    behind = promise_behind(library, {collection}, kind)
    return Progress(
        kind,
        KIND_WORDS[kind],
        len(library.support_labels.waiting(collection, kind)),
        counts["supported"],
        counts["partly"],
        counts["unsupported"],
        counts["skipped"],
        num_outdated,
        max(0, fewest_labels(wrong) - num_counting),
        behind.text if behind else None,
    )

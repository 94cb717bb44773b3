"""Labels kept in a list: sentences of a text wait in their order, each beside the same passage."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tramontane.errors import NotFound, RequestError
from tramontane.library.support_labels import SupportLabel
from tramontane.server.desk import Report
from tramontane.writing.calibration import Calibration
from tramontane.writing.labelling import KIND_WORDS, Progress, ShownPassage, ToJudge
from tramontane.writing.promise import Judged, fewest_labels, promise

# The leaf lies outside what JavaScript calls a character.
PASSAGE = "Garlic 🌿 went in on 28 October.\nForty cloves of <b>Germidour</b>."
SHARED = ((0, 6), (20, 22), (23, 30))
PLACE = ShownPassage("garlic.md", 3, 4, PASSAGE, SHARED)
FURTHER = ShownPassage("heap/compost.md", 5, 5, "The heap was turned in March.", ())


@dataclass
class FakeLabels:
    """`texts` and `verdicts` go by id, from 1; a score falls from sentence to sentence."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    verdicts: dict[int, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    writes: bool = False
    # Called before a sentence is given, so that a test can hold it there.
    gate: Callable[[], None] = lambda: None

    def can_write(self) -> bool:
        return self.writes

    def check(self, collection: str) -> None:
        if collection != "garden":
            raise NotFound(f"no collection {collection!r}; there are ['garden']")

    def of(self, kind: str, verdict: str | None) -> list[int]:
        return [
            number
            for number, (of, _) in enumerate(self.texts, start=1)
            if of == kind and self.verdicts.get(number) == verdict
        ]

    def progress(self, collection: str) -> list[Progress]:
        self.check(collection)
        return [self.told(kind) for kind in ("own", "prose")]

    def told(self, kind: str) -> Progress:
        counts = [
            len(self.of(kind, verdict))
            for verdict in (None, "supported", "partly", "unsupported", "skipped")
        ]
        wanted = max(0, fewest_labels(0.1) - sum(counts[1:4]))
        return Progress(kind, KIND_WORDS[kind], *counts, 0, wanted, self.made.get(kind))

    def queue_text(self, collection: str, text: str, report: Report) -> tuple[int, int]:
        self.check(collection)
        sentences = [part.strip() for part in text.split(".") if any(map(str.isalpha, part))]
        if not sentences:
            raise RequestError("there is no sentence in the text; paste a report, a draft, a mail")
        new = [one for one in sentences if ("own", f"{one}.") not in self.texts]
        for number, one in enumerate(sentences, start=1):
            report("checking", number, len(sentences))
            if one in new:
                self.texts.append(("own", f"{one}."))
        return len(sentences), len(new)

    def next_sentence(self, collection: str, kind: str) -> tuple[ToJudge | None, int]:
        self.check(collection)
        if kind == "prose" and not self.writes:
            raise RequestError("this base has not passed the writer's check")
        self.gate()
        waiting = self.of(kind, None)
        return (self.shown(waiting[0]) if waiting else None), 0

    def shown(self, number: int) -> ToJudge:
        kind, text = self.texts[number - 1]
        return ToJudge(number, "garden", kind, text, (PLACE, FURTHER))

    def judge(self, label_id: int, verdict: str) -> SupportLabel:
        if not 0 < label_id <= len(self.texts):
            raise NotFound(f"no sentence {label_id} waits for a verdict; it was removed")
        if label_id in self.verdicts:
            raise RequestError(f"sentence {label_id} was judged before")
        self.verdicts[label_id] = verdict
        return self.label(label_id)

    def label(self, number: int) -> SupportLabel:
        kind, text = self.texts[number - 1]
        return SupportLabel(number, "garden", kind, text, (), 0.5, "", self.verdicts.get(number))

    def undo(self, collection: str, kind: str) -> tuple[SupportLabel | None, ToJudge | None]:
        self.check(collection)
        given = [number for number in self.verdicts if self.texts[number - 1][0] == kind]
        if not given:
            return None, None
        del self.verdicts[given[-1]]
        return self.label(given[-1]), self.shown(given[-1])

    def calibrate(self, collection: str, error: float) -> list[Calibration]:
        self.check(collection)
        found = []
        for kind in ("own", "prose"):
            judged = [
                Judged(1 / number, verdict == "supported")
                for number, verdict in self.verdicts.items()
                if self.texts[number - 1][0] == kind and verdict != "skipped"
            ]
            if judged:
                found.append(Calibration(kind, promise(judged, error), 0, 0))
        self.made = {one.kind: one.text for one in found if one.promise.threshold is not None}
        return found

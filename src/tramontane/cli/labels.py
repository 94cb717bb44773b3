"""The labels behind the page: one library, judged by whoever has the page open."""

import threading

from tramontane.cli.parts import Parts
from tramontane.cli.support import sentences_in
from tramontane.errors import RequestError
from tramontane.library.support_labels import SupportLabel
from tramontane.server.desk import Report
from tramontane.writing.calibration import Calibration, calibrate
from tramontane.writing.labelling import (
    Labelling,
    Progress,
    ToJudge,
    progress,
    prose_sitting,
    queue_text,
    to_judge,
)


class RealLabels:
    def __init__(self, parts: Parts):
        self.parts = parts
        # The base writes for one reader at a time, and is asked about each note once.
        self.writing = threading.Lock()
        self.prose: dict[str, Labelling] = {}

    def can_write(self) -> bool:
        return self.parts.writer(()).can_write

    def progress(self, collection: str) -> list[Progress]:
        return [progress(self.parts.library, collection, kind) for kind in ("own", "prose")]

    def queue_text(self, collection: str, text: str, report: Report) -> tuple[int, int]:
        sentences = [sentence for sentence, _ in sentences_in(text)]
        if not sentences:
            raise RequestError("there is no sentence in the text; paste a report, a draft, a mail")
        return queue_text(self.parts.library, collection, sentences, report)

    def next_sentence(self, collection: str, kind: str) -> tuple[ToJudge | None, int]:
        if kind == "own":
            return following(Labelling(self.parts.library, collection, kind))
        with self.writing:
            if collection not in self.prose:
                self.prose[collection] = prose_sitting(self.parts.writer(()), collection)
            try:
                found = following(self.prose[collection])
            except BaseException:
                # A writer that failed is at its end; the next one begins where labels end.
                del self.prose[collection]
                raise
            if found[0] is None:
                del self.prose[collection]
            return found

    def judge(self, label_id: int, verdict: str) -> SupportLabel:
        return self.parts.library.support_labels.judge(label_id, verdict)

    def undo(self, collection: str, kind: str) -> tuple[SupportLabel | None, ToJudge | None]:
        library = self.parts.library
        undone = Labelling(library, collection, kind).undo()
        return undone, to_judge(library, undone) if undone else None

    def calibrate(self, collection: str, error: float) -> list[Calibration]:
        return calibrate(self.parts.library, collection, error)


def following(labelling: Labelling) -> tuple[ToJudge | None, int]:
    labelling.num_stale = 0
    return labelling.next_sentence(), labelling.num_stale

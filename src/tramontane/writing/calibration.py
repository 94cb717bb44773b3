"""LABELS → PROMISES: what a collection's labelled sentences promise, for each kind of text.

Scores of two versions of the check can't be mixed, so a label counts only for the check that scored
it, and a promise only for the check that it was made with.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tramontane.library.library import Library
from tramontane.library.support_labels import KINDS, SupportLabel
from tramontane.library.support_promises import StoredPromise
from tramontane.writing.promise import WRONG, Judged, Promise, promise

CHECKED_BY = ("support_model.json", "signals.py", "terms.py")


@dataclass(frozen=True, slots=True)
class Calibration:
    """One kind's promise, or why there is none; `num_outdated` labels were scored by another
    version of the check, `num_skipped` have no verdict."""

    kind: str
    promise: Promise
    num_outdated: int
    num_skipped: int

    @property
    def text(self) -> str:
        if not self.num_outdated:
            return self.promise.text
        return (
            f"{self.promise.text} {self.num_outdated} more labels were made with another version "
            "of the check and don't count; show it those texts again."
        )

    def as_json(self) -> dict[str, Any]:
        made = self.promise
        return {
            "kind": self.kind,
            "promise": self.text if made.threshold is not None else None,
            "refusal": self.text if made.threshold is None else None,
            "error": made.wrong,
            "threshold": made.threshold,
            "num_kept": made.num_kept,
            "num_supported": made.num_supported,
            "num_unsupported": made.num_unsupported,
            "num_more": made.num_more,
            "retention": made.retention,
            "retention_interval": made.retention_interval,
            "num_skipped": self.num_skipped,
            "num_outdated": self.num_outdated,
        }


@cache
def checker_name() -> str:
    """Returns a name of the check as it is: its code and its weights, hashed."""
    folder = files(__package__)
    parts = [folder.joinpath(name).read_bytes() for name in CHECKED_BY]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def calibrate(library: Library, collection: str, wrong: float = WRONG) -> list[Calibration]:
    """Returns what each kind of text that has labels promises, and keeps it as what holds now."""
    labels = library.support_labels.judged(collection)
    found = []
    for kind in KINDS:
        of_kind = [label for label in labels if label.kind == kind]
        if not of_kind:
            continue
        calibration = calibration_of(kind, of_kind, wrong)
        library.support_promises.keep(collection, kind, stored(calibration.promise))
        found.append(calibration)
    return found


def calibration_of(kind: str, labels: Collection[SupportLabel], wrong: float) -> Calibration:
    """Returns what labels of one kind promise. One that is backed in part counts as unsupported."""
    told = [label for label in labels if label.verdict != "skipped"]
    counting = [label for label in told if label.checker == checker_name()]
    judged = [Judged(label.score, label.verdict == "supported") for label in counting]
    return Calibration(
        kind, promise(judged, wrong), len(told) - len(counting), len(labels) - len(told)
    )


def promise_behind(library: Library, collections: Collection[str], kind: str) -> Promise | None:
    """Returns the promise behind marks on a kind of text whose passages are of these collections.

    None unless all are of one, and that one was calibrated with this check and promises something.
    """
    if len(collections) != 1:
        return None
    found = library.support_promises.of(next(iter(collections)), kind)
    if found is None or found.checker != checker_name() or found.threshold is None:
        return None
    return Promise(
        found.wrong,
        found.threshold,
        found.num_kept,
        found.num_supported,
        found.num_unsupported,
        found.num_more,
    )


def stored(made: Promise) -> StoredPromise:
    return StoredPromise(
        checker_name(),
        made.wrong,
        made.threshold,
        made.num_kept,
        made.num_supported,
        made.num_unsupported,
        made.num_more,
    )

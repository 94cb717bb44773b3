"""What was promised of a collection's sentences, by kind of text: the last calibration of each."""

from dataclasses import astuple, dataclass

from tramontane.library.database import Database
from tramontane.library.support_labels import id_of


@dataclass(frozen=True, slots=True)
class StoredPromise:
    """A calibration's outcome; `threshold` is None where nothing is promised."""

    checker: str
    wrong: float
    threshold: float | None
    num_kept: int
    num_supported: int
    num_unsupported: int
    num_more: int | None


class SupportPromises:
    def __init__(self, database: Database):
        self._database = database

    def keep(self, collection: str, kind: str, promise: StoredPromise) -> None:
        """Puts a promise in place of the one before; NotFound when there is no such collection."""
        with self._database.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO support_promises (collection_id, kind, checker, wrong, "
                "threshold, num_kept, num_supported, num_unsupported, num_more) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id_of(db, collection), kind, *astuple(promise)),
            )

    def of(self, collection: str, kind: str) -> StoredPromise | None:
        """Returns what was promised; None where nobody calibrated, or the collection is gone."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT p.checker, p.wrong, p.threshold, p.num_kept, p.num_supported, "
                "p.num_unsupported, p.num_more FROM support_promises p "
                "JOIN collections c ON c.id = p.collection_id WHERE c.name = ? AND p.kind = ?",
                (collection, kind),
            ).fetchone()
        return StoredPromise(*row) if row else None

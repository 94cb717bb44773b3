"""Sentences about a collection, waiting for somebody's verdict or judged: what calibrates support.

They belong to the collection and go with it. A passage is kept by its place and its text's hash;
its text stays where it is, among the notes.
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tramontane.errors import NotFound, RequestError
from tramontane.library.database import Database

KINDS = ("quotation", "prose", "own")
VERDICTS = ("supported", "partly", "unsupported", "skipped")


@dataclass(frozen=True, slots=True)
class PassagePlace:
    """Where a passage stands, and the sha256 of its text."""

    path: str
    first_line: int
    last_line: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence to be judged, the passages it was checked against, nearest first, its score."""

    sentence: str
    passages: tuple[PassagePlace, ...]
    score: float


@dataclass(frozen=True, slots=True)
class SupportLabel:
    """A candidate in the library; `verdict` is None while it waits for one."""

    id: int
    collection: str
    kind: str
    sentence: str
    passages: tuple[PassagePlace, ...]
    score: float
    checker: str
    verdict: str | None


COLUMNS = "s.id, c.name, s.kind, s.sentence, s.passages, s.score, s.checker, s.verdict"
LABELS = (
    f"SELECT {COLUMNS} FROM support_labels s JOIN collections c ON c.id = s.collection_id "
    "WHERE c.name = :name"
)


class SupportLabels:
    def __init__(self, database: Database):
        self._database = database

    def add(
        self,
        collection: str,
        kind: str,
        checker: str,
        candidates: Sequence[Candidate],
        verdict: str | None = None,
    ) -> int:
        """Adds sentences, to wait for a verdict or with one; returns how many were not there.

        One that was there gets its score anew; it keeps its verdict if its passages are the same.
        Raises NotFound when there is no such collection.
        """
        check(kind, KINDS, "kind of text")
        if verdict is not None:
            check(verdict, VERDICTS, "verdict")
        with self._database.writing() as db:
            collection_id = id_of(db, collection)
            (before,) = db.execute("SELECT count(*) FROM support_labels").fetchone()
            for one in candidates:
                db.execute(
                    "INSERT INTO support_labels "
                    "(collection_id, kind, sentence, place, passages, score, checker) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (collection_id, kind, sentence) DO UPDATE SET "
                    "verdict = CASE WHEN passages = excluded.passages THEN verdict END, "
                    "judged = CASE WHEN passages = excluded.passages THEN judged END, "
                    "passages = excluded.passages, score = excluded.score, "
                    "checker = excluded.checker",
                    (
                        collection_id,
                        kind,
                        one.sentence,
                        place_of(one.sentence),
                        json.dumps([asdict(passage) for passage in one.passages]),
                        one.score,
                        checker,
                    ),
                )
                if verdict is not None:
                    (label_id,) = db.execute(
                        "SELECT id FROM support_labels "
                        "WHERE collection_id = ? AND kind = ? AND sentence = ?",
                        (collection_id, kind, one.sentence),
                    ).fetchone()
                    give(db, label_id, verdict)
            (after,) = db.execute("SELECT count(*) FROM support_labels").fetchone()
        return after - before

    def waiting(self, collection: str, kind: str | None = None) -> list[SupportLabel]:
        """Returns those without a verdict, in an order that says nothing of them."""
        return self._labels(collection, kind, "AND s.verdict IS NULL ORDER BY s.place, s.id")

    def judged(self, collection: str, kind: str | None = None) -> list[SupportLabel]:
        """Returns those with a verdict, skipped ones too, in the order in which they got it."""
        return self._labels(collection, kind, "AND s.verdict IS NOT NULL ORDER BY s.judged")

    def judge(self, label_id: int, verdict: str) -> SupportLabel:
        """Gives a waiting sentence its verdict; NotFound when it isn't there.

        Raises RequestError for one that has its verdict: two people, or one key pressed twice.
        """
        check(verdict, VERDICTS, "verdict")
        with self._database.writing() as db:
            found = db.execute(
                f"SELECT {COLUMNS} FROM support_labels s "
                "JOIN collections c ON c.id = s.collection_id WHERE s.id = ?",
                (label_id,),
            ).fetchone()
            if found is None:
                raise NotFound(f"no sentence {label_id} waits for a verdict; it was removed")
            if found[-1] is not None:
                raise RequestError(
                    f"sentence {label_id} was judged before: {found[-1]}; take that back to judge "
                    "it anew"
                )
            give(db, label_id, verdict)
        return label_of((*found[:-1], verdict))

    def undo(self, collection: str, kind: str | None = None) -> SupportLabel | None:
        """Takes the last verdict back; returns its sentence, or None where none was given."""
        with self._database.writing() as db:
            id_of(db, collection)
            found = db.execute(
                f"{LABELS} AND s.verdict IS NOT NULL {OF_KIND} ORDER BY s.judged DESC LIMIT 1",
                {"name": collection, "kind": kind},
            ).fetchone()
            if found is None:
                return None
            db.execute(
                "UPDATE support_labels SET verdict = NULL, judged = NULL WHERE id = ?", found[:1]
            )
        return label_of((*found[:-1], None))

    def drop(self, label_id: int) -> None:
        """Removes a sentence, for example because its passage is no longer what it was."""
        with self._database.writing() as db:
            db.execute("DELETE FROM support_labels WHERE id = ?", (label_id,))

    def _labels(self, collection: str, kind: str | None, which: str) -> list[SupportLabel]:
        with self._database.reading() as db:
            id_of(db, collection)
            rows = db.execute(
                f"{LABELS} {OF_KIND} {which}", {"name": collection, "kind": kind}
            ).fetchall()
        return [label_of(row) for row in rows]


OF_KIND = "AND (:kind IS NULL OR s.kind = :kind)"


def give(db: sqlite3.Connection, label_id: int, verdict: str) -> None:
    db.execute(
        "UPDATE support_labels SET verdict = ?, "
        "judged = (SELECT coalesce(max(judged), 0) + 1 FROM support_labels) WHERE id = ?",
        (verdict, label_id),
    )


def label_of(row: tuple) -> SupportLabel:
    label_id, collection, kind, sentence, passages, score, checker, verdict = row
    places = tuple(PassagePlace(**place) for place in json.loads(passages))
    return SupportLabel(label_id, collection, kind, sentence, places, score, checker, verdict)


def id_of(db: sqlite3.Connection, collection: str) -> int:
    row = db.execute("SELECT id FROM collections WHERE name = ?", (collection,)).fetchone()
    if row is None:
        raise NotFound(f"no collection {collection!r}; `tramontane collections ls` shows them")
    return row[0]


def place_of(sentence: str) -> int:
    """Returns a sentence's place in the order of labelling: its hash, so the first are a sample."""
    return int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:6])


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check(word: str, known: Sequence[str], what: str) -> None:
    if word not in known:
        raise RequestError(f"there is no {what} {word!r}; there are {', '.join(known)}")

"""The library: collections of notes in one file, kept equal to their folders, and searched.

PASSAGES ⇄ DISK → HITS. This folder is the only one that speaks SQL.
"""

import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from tramontane.errors import LibraryError, NotesError, NotFound
from tramontane.files import held_alone
from tramontane.library.chats import Chats
from tramontane.library.database import Database
from tramontane.library.days import day_over
from tramontane.library.drafts import Drafts
from tramontane.library.filters import Filters
from tramontane.library.forgetting import Traces, forget, traces_of
from tramontane.library.jobs import Jobs
from tramontane.library.keys import Keys
from tramontane.library.records import Collection, Hit, StoredNote, SyncReport
from tramontane.library.search import Searcher, rarity
from tramontane.library.support_labels import PassagePlace, SupportLabels, text_hash
from tramontane.library.support_promises import SupportPromises
from tramontane.library.sync import Place, sync, tidy
from tramontane.library.whereabouts import Cited, Readings, Whereabouts, whereabouts
from tramontane.notes.folder import read_bytes, why_no_folder
from tramontane.notes.reader import UnreadableError
from tramontane.notes.sentences import Sentence, split_sentences

MAX_NAME_CHARS = 80
SALT_BYTES = 32
# Notes looked at for a passage whose own note is gone.
MAX_HOLDING = 20

Report = Callable[[str, int, int], None]


class Library:
    """A person's notes in one SQLite file; safe to use from several threads and processes.

    `embed` turns texts into unit rows of float32; without it search goes by words alone.
    """

    def __init__(self, file: Path, embed: Callable[[list[str]], np.ndarray] | None = None):
        self.file = Path(file)
        self._embed = embed
        self._model = getattr(embed, "name", "unnamed")
        self._database = Database(self.file)
        self._searcher = Searcher(self._database, embed, self._model)
        self.keys = Keys(self._database)
        self.jobs = Jobs(self._database)
        self.drafts = Drafts(self._database)
        self.chats = Chats(self._database)
        self.support_labels = SupportLabels(self._database)
        self.support_promises = SupportPromises(self._database)

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def add_collection(
        self, name: str, folder: Path, owner: str = "", licence: str = ""
    ) -> Collection:
        """Returns the collection, new or known; its notes come with `sync`.

        A known name with the same folder gets the new owner and licence, where given.
        """
        folder = _own_folder(Path(folder))
        if obstacle := why_no_folder(folder):
            raise NotesError(obstacle)
        folder = folder.resolve()
        _check_name(name)
        with self._database.writing() as db:
            known = db.execute("SELECT folder FROM collections WHERE name = ?", (name,)).fetchone()
            if known is None:
                db.execute(
                    "INSERT INTO collections (name, folder, owner, licence, salt) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (name, _storable(folder), owner, licence, secrets.token_bytes(SALT_BYTES)),
                )
            elif known[0] == str(folder):
                db.execute(
                    "UPDATE collections SET owner = coalesce(nullif(?, ''), owner), "
                    "licence = coalesce(nullif(?, ''), licence) WHERE name = ?",
                    (owner, licence, name),
                )
            else:
                raise LibraryError(
                    f"the collection {name!r} is the folder {known[0]}, not {folder}; "
                    "choose another name, or remove that collection first"
                )
        return self.collection(name)

    def collections(self) -> list[Collection]:
        """Returns every collection, by name."""
        with self._database.reading() as db:
            return _collections(db, "")

    def collection(self, name: str) -> Collection:
        """Returns one collection; raises NotFound with the names there are."""
        with self._database.reading() as db:
            found = _collections(db, "WHERE c.name = ?", name)
            if found:
                return found[0]
            raise _no_collection(db, name)

    def remove_collection(self, name: str) -> None:
        """Removes a collection's notes, passages and vectors; its folder is not touched."""
        with self._alone():
            with self._database.writing() as db:
                collection_id, _ = _find(db, name)
                db.execute("DELETE FROM collections WHERE id = ?", (collection_id,))
                db.execute("UPDATE state SET revision = revision + 1")
            tidy(self._database)

    def traces(self, name: str, folder: str = "") -> Traces:
        """Returns how much the library holds of a collection, known or removed before."""
        with self._database.reading() as db:
            return traces_of(db, name, folder)

    def forget(self, name: str, folder: str = "") -> Traces:
        """Removes a collection, the jobs on it and what answers quote of it, so that no byte of the
        file holds them.

        Returns what was removed; its folder is not touched. Unlike `remove_collection` it writes
        the whole file anew, and it finishes what an interruption left.
        """
        with self._alone():
            return forget(self._database, name, folder)

    def sync(
        self,
        name: str,
        report: Report = lambda *_: None,
        *,
        dry_run: bool = False,
        allow_emptying: bool = False,
    ) -> SyncReport:
        """Makes the collection equal to its folder; with `dry_run`, only says what that would do.

        Raises LibraryError rather than remove every note because a folder vanished or became
        empty, unless `allow_emptying`; Busy while another process syncs into this library.
        """
        with self._database.reading() as db:
            collection_id, folder = _find(db, name)
        place = Place(self._database, collection_id, name, folder, self._embed, self._model)
        if dry_run:
            return sync(place, report, dry_run=True, allow_emptying=allow_emptying)
        with self._alone():
            return sync(place, report, allow_emptying=allow_emptying)

    def search(
        self,
        question: str,
        *,
        collections: Sequence[str] | None = None,
        tags: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
        path: str | None = None,
        limit: int = 8,
    ) -> list[Hit]:
        """Returns the best passages for a question, best first; any text is a safe question.

        `collections` None means all of them, an empty one none; what the others let through, see
        Filters. Without `since` and `until` a day, month or year that the question names puts
        passages dated so first. Raises NotFound for a collection that isn't there, LibraryError
        for no day.
        """
        collection_ids = None
        if collections is not None:
            with self._database.reading() as db:
                collection_ids = [_find(db, name)[0] for name in collections]
            if not collection_ids:
                return []
        filters = Filters(collection_ids, tags, since, until, path)
        return self._searcher.search(question, filters, limit)

    def rarity(self, words: Sequence[str]) -> dict[str, float]:
        """Returns each word's inverse document frequency over all passages, as BM25 weighs it."""
        with self._database.reading() as db:
            return rarity(db, words)

    def note(self, collection: str, path: str) -> StoredNote:
        """Returns a note as the library read it, even if its file has changed or gone."""
        with self._database.reading() as db:
            collection_id, _ = _find(db, collection)
            row = db.execute(
                f"SELECT {NOTE_COLUMNS} FROM notes WHERE collection_id = ? AND path = ?",
                (collection_id, path),
            ).fetchone()
            if row is None:
                raise NotFound(
                    f"no note {path!r} in the collection {collection!r}; sync, or check it"
                )
            return _stored_note(collection, row)

    def notes(self, collection: str) -> list[StoredNote]:
        """Returns every note of a collection, by path."""
        with self._database.reading() as db:
            collection_id, _ = _find(db, collection)
            rows = db.execute(
                f"SELECT {NOTE_COLUMNS} FROM notes WHERE collection_id = ? ORDER BY path",
                (collection_id,),
            ).fetchall()
            return [_stored_note(collection, row) for row in rows]

    def passage_text(self, collection: str, place: PassagePlace) -> str | None:
        """Returns a passage's text; None when its note has changed or gone since."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT p.text FROM passages p JOIN notes n ON n.id = p.note_id "
                "JOIN collections c ON c.id = n.collection_id "
                "WHERE c.name = ? AND n.path = ? AND p.first_line = ? AND p.last_line = ?",
                (collection, place.path, place.first_line, place.last_line),
            ).fetchall()
        texts = (text for (text,) in rows)
        return next((text for text in texts if text_hash(text) == place.sha256), None)

    def is_current(self, collection: str, path: str) -> bool:
        """Returns whether the file on disk still is what the library read."""
        with self._database.reading() as db:
            _, folder = _find(db, collection)
        stored = self.note(collection, path)
        try:
            return hashlib.sha256(read_bytes(folder, path)).hexdigest() == stored.sha256
        except UnreadableError:
            return False

    def whereabouts(self, cited: Cited, readings: Readings | None = None) -> Whereabouts:
        """Returns where a hit or source is now: its note may have changed, moved or gone since.

        With `readings`, a file that several are looked for in is read once. Raises NotFound when
        its collection is no longer in the library.
        """
        with self._database.reading() as db:
            collection_id, folder = _find(db, cited.collection)
            stored = db.execute(
                "SELECT path, sha256 FROM notes WHERE collection_id = ?", (collection_id,)
            ).fetchall()

        def holding(text: str) -> list[str]:
            with self._database.reading() as db:
                rows = db.execute(
                    "SELECT path FROM notes WHERE collection_id = ? AND instr(text, ?) "
                    "ORDER BY path LIMIT ?",
                    (collection_id, text, MAX_HOLDING),
                )
                return [path for (path,) in rows]

        with nullcontext(readings) if readings is not None else Readings() as notes:
            return whereabouts(cited, folder, stored, holding, notes)

    def day_over(self, hit: Hit, start: int = 0) -> str | None:
        """Returns the day that a sentence of a hit, which begins at `start`, is of.

        Its heading, its file or its note's `date` says so; None for most notes.
        """
        try:
            metadata = self.note(hit.collection, hit.path).metadata
        except NotFound:  # gone since it was found
            metadata = {}
        return day_over(hit, metadata, start)

    def sentences(self, passage: Hit | Cited) -> list[Sentence]:
        """Returns a passage's sentences; lines are the note's, `start` and `end` the passage's."""
        return split_sentences(passage.text, first_line=passage.first_line)

    def _alone(self):
        lock = self.file.with_name(f"{self.file.name}.sync-lock")
        return held_alone(lock, f"{self.file}: the library")


NOTE_COLUMNS = "path, title, text, sha256, metadata, may_train, may_share, licence, remarks"


def _stored_note(collection: str, row: tuple) -> StoredNote:
    path, title, text, sha256, metadata, may_train, may_share, licence, remarks = row
    return StoredNote(
        collection=collection,
        path=path,
        title=title,
        text=text,
        sha256=sha256,
        num_lines=text.count("\n") + (not text.endswith("\n")),
        metadata=json.loads(metadata),
        may_train=bool(may_train),
        may_share=bool(may_share),
        licence=licence,
        remarks=tuple(json.loads(remarks)),
    )


def _collections(db: sqlite3.Connection, where: str, *values: str) -> list[Collection]:
    rows = db.execute(
        "SELECT c.name, c.folder, c.owner, c.licence, c.salt, "
        "(SELECT count(*) FROM notes n WHERE n.collection_id = c.id), "
        "(SELECT count(*) FROM passages p JOIN notes n ON n.id = p.note_id "
        f"WHERE n.collection_id = c.id) FROM collections c {where} ORDER BY c.name",
        values,
    ).fetchall()
    return [
        Collection(name, Path(folder), owner, licence, num_notes, num_passages, salt)
        for name, folder, owner, licence, salt, num_notes, num_passages in rows
    ]


def _find(db: sqlite3.Connection, name: str) -> tuple[int, Path]:
    row = db.execute("SELECT id, folder FROM collections WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _no_collection(db, name)
    return row[0], Path(row[1])


def _no_collection(db: sqlite3.Connection, name: str) -> NotFound:
    names = [row[0] for row in db.execute("SELECT name FROM collections ORDER BY name")]
    there = f"there are: {', '.join(names)}" if names else "the library holds none yet"
    return NotFound(f"no collection {name!r}; {there}")


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME_CHARS or not name.isprintable() or "/" in name:
        raise LibraryError(
            f"{name!r} cannot name a collection; take 1 to {MAX_NAME_CHARS} characters without "
            "line breaks or slashes"
        )


def _own_folder(folder: Path) -> Path:
    try:
        return folder.expanduser()
    except RuntimeError:  # "~somebody", whom this machine doesn't know
        raise NotesError(f"{folder}: no such folder; there is no user of that name") from None


def _storable(folder: Path) -> str:
    try:
        os.fspath(folder).encode("utf-8")
    except UnicodeEncodeError:
        raise NotesError(f"{folder!r}: the folder's name is not valid text; rename it") from None
    return str(folder)

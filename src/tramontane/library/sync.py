"""FOLDER → LIBRARY: makes the stored notes equal to the folder's, by content hash.

First a plan (which notes to add, change, remove) from the bytes of every file, then the work in
batches, each one transaction. A kill leaves some batches done; the next sync plans from what is
there, so the end is always the state that a fresh build would have.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tramontane.errors import LibraryError, NotesError
from tramontane.library.database import Database
from tramontane.library.records import SyncReport
from tramontane.library.sentence_tokens import TokenEmbedder, pack, sentence_texts
from tramontane.notes import folder, reader
from tramontane.notes.apart import Apart
from tramontane.notes.note import READER_VERSION, Note, Passage, Skipped

Embed = Callable[[list[str]], np.ndarray]
Report = Callable[[str, int, int], None]

BATCH_NOTES = 128
BATCH_VECTORS = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sync works: one collection, its folder, and who embeds."""

    database: Database
    collection_id: int
    name: str
    folder: Path
    embed: Embed | None
    model: str


def sync(
    place: Place, report: Report, *, dry_run: bool = False, allow_emptying: bool = False
) -> SyncReport:
    """Returns what was done, or what would be done by a sync now.

    Raises LibraryError before it would remove every note of a collection unasked, NotesError for
    a folder that has never held a readable note.
    """
    plan, states = _plan(place, report, allow_emptying)
    if dry_run:
        return plan
    _apply(place, plan, states, report, allow_emptying)
    return plan


def _plan(place: Place, report: Report, allow_emptying: bool) -> tuple[SyncReport, dict[str, str]]:
    """Returns what is to be done, and the state of each file that has lain still for a while."""
    stored, read_states, is_current = _stored_hashes(place)
    refused = _refused_before(place)
    try:
        listing = folder.list_folder(place.folder)
    except NotesError as error:
        if not stored or folder.why_no_folder(place.folder) is None:
            raise
        if not allow_emptying:
            raise LibraryError(_would_empty(place, len(stored), str(error))) from None
        listing = folder.FolderListing([], [])
    plan = SyncReport(skipped=listing.skipped)
    found: dict[str, str] = {}
    for done, path in enumerate(listing.paths, start=1):
        state = listing.states.get(path)
        if state and state == read_states.get(path) and is_current:
            found[path] = stored[path]
            plan.unchanged.append(path)
            report("reading notes", done, len(listing.paths))
            continue
        try:
            data = folder.read_bytes(place.folder, path)
            found[path] = hashlib.sha256(data).hexdigest()
            if found[path] == stored.get(path) and is_current:
                plan.unchanged.append(path)
            elif reason := refused.get((path, found[path])):
                raise reader.UnreadableError(Skipped(path, reason))
            else:
                reader.check_kind(path, data)
                (plan.changed if path in stored else plan.added).append(path)
        except reader.UnreadableError as error:
            found.pop(path, None)
            plan.skipped.append(error.skipped)
        report("reading notes", done, len(listing.paths))
    plan.removed.extend(sorted(stored.keys() - found.keys() - _kept(stored, plan.skipped)))
    if not found and not allow_emptying:
        if len(plan.removed) == len(stored) > 0:
            why = folder.nothing_readable(place.folder, plan.skipped)
            raise LibraryError(_would_empty(place, len(stored), why))
        if not stored:
            raise NotesError(folder.nothing_readable(place.folder, plan.skipped))
    _pair_renamed(plan, stored, found)
    known = {path for path in plan.unchanged if listing.states.get(path) == read_states[path]}
    return plan, {path: listing.states.get(path, "") for path in found if path not in known}


def _stored_hashes(place: Place) -> tuple[dict[str, str], dict[str, str], bool]:
    """Returns each note's hash, its file's state then, and whether the readers are the same."""
    with place.database.reading() as db:
        rows = db.execute(
            "SELECT path, sha256, file_state FROM notes WHERE collection_id = ?",
            (place.collection_id,),
        ).fetchall()
        (version,) = db.execute(
            "SELECT reader_version FROM collections WHERE id = ?", (place.collection_id,)
        ).fetchone()
    hashes = {path: sha256 for path, sha256, _ in rows}
    return hashes, {path: state for path, _, state in rows}, version == READER_VERSION


def _kept(stored: Iterable[str], skipped: list[Skipped]) -> set[str]:
    """A file that cannot be read at the moment isn't gone: its note stays as it was read last."""
    passing = {one.path for one in skipped if one.is_passing}
    if not passing:
        return set()
    below = tuple(path for path in passing if path.endswith("/"))
    return {path for path in stored if "." in passing or path in passing or path.startswith(below)}


def _pair_renamed(plan: SyncReport, stored: dict[str, str], found: dict[str, str]) -> None:
    by_hash: dict[str, list[str]] = {}
    for path in plan.removed:
        by_hash.setdefault(stored[path], []).append(path)
    for path in plan.added:
        if old := by_hash.get(found[path]):
            plan.renamed.append((old.pop(0), path))


def _would_empty(place: Place, num_notes: int, why: str) -> str:
    return (
        f"{why}. The collection {place.name!r} holds {num_notes} notes from there, and this sync "
        "would remove them all: mount or restore the folder, or confirm the emptying"
    )


def _apply(
    place: Place, plan: SyncReport, states: dict[str, str], report: Report, allow_emptying: bool
) -> None:
    _forget_refused(place, plan)
    todo = [*plan.changed, *plan.added]
    old_path = {new: old for old, new in plan.renamed}
    with Apart() as apart:
        for done, batch in enumerate(_batches(todo, BATCH_NOTES)):
            notes = _read_batch(place, plan, batch, apart)
            vectors = _missing_vectors(place, notes)
            with place.database.writing() as db:
                for note in notes:
                    if note.path in old_path:
                        _rename(db, place.collection_id, old_path[note.path], note.path)
                    _store_note(db, place.collection_id, note)
                _store_states(db, place.collection_id, states, [note.path for note in notes])
                _store_vectors(db, place.model, vectors)
                _count_revision(db)
            report("adding notes", min(len(todo), (done + 1) * BATCH_NOTES), len(todo))
    if plan.removed and not allow_emptying:
        _check_not_emptying(place, plan)
    for batch in _batches(plan.removed, BATCH_NOTES * 8):
        with place.database.writing() as db:
            _delete_notes(db, place.collection_id, batch)
            _count_revision(db)
    if lying_still := [path for path in plan.unchanged if path in states]:
        with place.database.writing() as db:
            _store_states(db, place.collection_id, states, lying_still)
    _embed_remaining(place, report)
    _record_reader_version(place, plan.skipped)
    tidy(place.database)


def _read_batch(place: Place, plan: SyncReport, paths: list[str], apart: Apart) -> list[Note]:
    notes = []
    for path in paths:
        digest = None
        try:
            data = folder.read_bytes(place.folder, path)
            digest = hashlib.sha256(data).hexdigest()
            note = reader.read_note(path, data, apart)
        except reader.UnreadableError as error:
            _unplan(plan, path, error.skipped)
            if digest and not error.skipped.is_passing:
                _remember_refused(place, error.skipped, digest)
            continue
        notes.append(note)
        plan.remarks.extend((path, remark) for remark in note.remarks)
    return notes


def _refused_before(place: Place) -> dict[tuple[str, str], str]:
    """Returns why the bytes of a path were refused when they were read, by path and hash."""
    with place.database.reading() as db:
        rows = db.execute(
            "SELECT path, sha256, reason FROM skipped "
            "WHERE collection_id = ? AND reader_version = ?",
            (place.collection_id, READER_VERSION),
        )
        return {(path, sha256): reason for path, sha256, reason in rows}


def _remember_refused(place: Place, skipped: Skipped, sha256: str) -> None:
    with place.database.writing() as db:
        db.execute(
            "INSERT OR REPLACE INTO skipped (collection_id, path, sha256, reason, reader_version) "
            "VALUES (?, ?, ?, ?, ?)",
            (place.collection_id, skipped.path, sha256, skipped.reason, READER_VERSION),
        )


def _forget_refused(place: Place, plan: SyncReport) -> None:
    """What is no longer skipped, or is gone, needs no reason any more."""
    still = {skipped.path for skipped in plan.skipped}
    with place.database.writing() as db:
        paths = db.execute(
            "SELECT path FROM skipped WHERE collection_id = ?", (place.collection_id,)
        ).fetchall()
        db.executemany(
            "DELETE FROM skipped WHERE collection_id = ? AND path = ?",
            [(place.collection_id, path) for (path,) in paths if path not in still],
        )


def _check_not_emptying(place: Place, plan: SyncReport) -> None:
    """The folder may have vanished since the plan was made."""
    with place.database.reading() as db:
        rows = db.execute("SELECT path FROM notes WHERE collection_id = ?", (place.collection_id,))
        stored = {path for (path,) in rows}
    if stored and stored <= set(plan.removed):
        why = folder.why_no_folder(place.folder)
        why = why or folder.nothing_readable(place.folder, plan.skipped)
        raise LibraryError(_would_empty(place, len(stored), why))


def _unplan(plan: SyncReport, path: str, skipped: Skipped) -> None:
    """A note that was there for the plan and cannot be read for the work."""
    plan.skipped.append(skipped)
    was_stored = path in plan.changed
    (plan.changed if was_stored else plan.added).remove(path)
    if was_stored and not skipped.is_passing:
        plan.removed.append(path)


def _record_reader_version(place: Place, skipped: list[Skipped]) -> None:
    """Not while a note stands as it was read before: it is read again once that's possible."""
    with place.database.writing() as db:
        rows = db.execute("SELECT path FROM notes WHERE collection_id = ?", (place.collection_id,))
        if not _kept({path for (path,) in rows}, skipped):
            db.execute(
                "UPDATE collections SET reader_version = ? WHERE id = ?",
                (READER_VERSION, place.collection_id),
            )


def tidy(database: Database) -> None:
    """Forgets vectors of passages that are gone, and in the index and the log the words that are.

    Takes no time where nothing is to be done, hence after every sync: the one before this may
    have been killed.
    """
    with database.writing() as db:
        db.execute(
            "DELETE FROM vectors WHERE NOT EXISTS "
            "(SELECT 1 FROM passages WHERE passages.vector_key = vectors.key)"
        )
        db.execute("INSERT INTO passages_fts (passages_fts) VALUES ('optimize')")
    database.settle()


def _embed_remaining(place: Place, report: Report) -> None:
    """Passages stored without vectors, or with another model's, get this model's."""
    if place.embed is None:
        return
    with place.database.reading() as db:
        ids = [
            row[0]
            for row in db.execute(
                "SELECT min(p.id) FROM passages p JOIN notes n ON n.id = p.note_id "
                "WHERE n.collection_id = ? AND NOT EXISTS (SELECT 1 FROM vectors v "
                "WHERE v.key = p.vector_key AND v.model = ?) GROUP BY p.vector_key",
                (place.collection_id, place.model),
            )
        ]
    for done, batch in enumerate(_batches(ids, BATCH_VECTORS)):
        with place.database.reading() as db:
            texts = {}
            for title, heading, text in db.execute(
                "SELECT title, heading, text FROM passages "
                f"WHERE id IN ({','.join(map(str, batch))})"
            ):
                embedded = embedded_text(title, tuple(json.loads(heading)), text)
                texts[vector_key(embedded)] = embedded, title, text
        vectors = _embedded(place.embed, texts)
        with place.database.writing() as db:
            _store_vectors(db, place.model, vectors)
            _count_revision(db)
        report("embedding", min(len(ids), (done + 1) * BATCH_VECTORS), len(ids))


# By vector key: what is embedded of a passage, its title and its text.
Texts = dict[bytes, tuple[str, str, str]]
# By vector key: the vector, and what is kept of the passage's sentences.
Vectors = dict[bytes, tuple[np.ndarray, bytes | None]]


def _missing_vectors(place: Place, notes: list[Note]) -> Vectors:
    if place.embed is None:
        return {}
    texts: Texts = {}
    for note in notes:
        for passage in note.passages:
            text = embedded_text(note.title, passage.heading, passage.text)
            texts[vector_key(text)] = text, note.title, passage.text
    with place.database.reading() as db:
        for key in list(texts):
            if db.execute(
                "SELECT 1 FROM vectors WHERE key = ? AND model = ?", (key, place.model)
            ).fetchone():
                del texts[key]
    return _embedded(place.embed, texts) if texts else {}


def _embedded(embed: Embed, texts: Texts) -> Vectors:
    rows = embed([embedded for embedded, _, _ in texts.values()])
    packed: list[bytes | None] = [None] * len(texts)
    if isinstance(embed, TokenEmbedder):
        sentences = [sentence_texts(title, text) for _, title, text in texts.values()]
        tokens = iter(embed.tokens([text for of_passage in sentences for text in of_passage]))
        packed = [pack(list(islice(tokens, len(of_passage)))) for of_passage in sentences]
    return dict(zip(texts, zip(rows, packed, strict=True), strict=True))


def embedded_text(title: str, heading: tuple[str, ...], text: str) -> str:
    """A passage alone often lacks the word it is about, which stands above it."""
    return "\n".join([title, *heading, text])


def vector_key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


def _rename(db: sqlite3.Connection, collection_id: int, old: str, new: str) -> None:
    """A note that moved stays the same note; one that is at the new place already stays there."""
    db.execute(
        "UPDATE OR IGNORE notes SET path = ? WHERE collection_id = ? AND path = ?",
        (new, collection_id, old),
    )


NOTE_COLUMNS = "title text sha256 metadata may_train may_share licence remarks".split()


def _store_note(db: sqlite3.Connection, collection_id: int, note: Note) -> None:
    """A note that is there already keeps its id."""
    (note_id,) = db.execute(
        f"INSERT INTO notes (collection_id, path, {', '.join(NOTE_COLUMNS)}) "
        f"VALUES (?, ?{', ?' * len(NOTE_COLUMNS)}) ON CONFLICT (collection_id, path) DO UPDATE SET "
        + ", ".join(f"{column} = excluded.{column}" for column in NOTE_COLUMNS)
        + " RETURNING id",
        (
            collection_id,
            note.path,
            note.title,
            note.text,
            note.sha256,
            json.dumps(note.metadata, ensure_ascii=False, sort_keys=True),
            note.may_train,
            note.may_share,
            note.licence,
            json.dumps(note.remarks, ensure_ascii=False),
        ),
    ).fetchone()
    db.execute("DELETE FROM passages WHERE note_id = ?", (note_id,))
    for position, passage in enumerate(note.passages):
        passage_id = db.execute(
            "INSERT INTO passages (note_id, position, title, heading, text, first_line, last_line,"
            " vector_key, page, box) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _passage_row(note_id, position, note.title, passage),
        ).lastrowid
        for table, column, values in (
            ("dates", "day", passage.dates),
            ("tags", "tag", passage.tags),
            ("links", "target", passage.links),
        ):
            if values:
                db.executemany(
                    f"INSERT OR IGNORE INTO {table} (passage_id, {column}) VALUES (?, ?)",
                    [(passage_id, value) for value in values],
                )


def _store_states(
    db: sqlite3.Connection, collection_id: int, states: dict[str, str], paths: list[str]
) -> None:
    """The states are from before the bytes were read: a change since then shows next time."""
    db.executemany(
        "UPDATE notes SET file_state = ? WHERE collection_id = ? AND path = ?",
        [(states.get(path, ""), collection_id, path) for path in paths],
    )


def _passage_row(note_id: int, position: int, title: str, passage: Passage) -> tuple:
    return (
        note_id,
        position,
        title,
        json.dumps(passage.heading, ensure_ascii=False),
        passage.text,
        passage.first_line,
        passage.last_line,
        vector_key(embedded_text(title, passage.heading, passage.text)),
        passage.page,
        json.dumps(passage.box) if passage.box else None,
    )


def _store_vectors(db: sqlite3.Connection, model: str, vectors: Vectors) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO vectors (key, model, vector, sentences) VALUES (?, ?, ?, ?)",
        ((key, model, row.astype("<f4").tobytes(), of) for key, (row, of) in vectors.items()),
    )


def _delete_notes(db: sqlite3.Connection, collection_id: int, paths: list[str]) -> None:
    db.executemany(
        "DELETE FROM notes WHERE collection_id = ? AND path = ?",
        ((collection_id, path) for path in paths),
    )


def _count_revision(db: sqlite3.Connection) -> None:
    db.execute("UPDATE state SET revision = revision + 1")


def _batches(items: list, size: int) -> Iterator[list]:
    for first in range(0, len(items), size):
        yield items[first : first + size]

"""Drafts in the library, every version of them; what a section holds is JSON that others read.

A section rests on notes of one collection, and goes when that collection is forgotten, from every
version. Removing a collection leaves the drafts: they are their writer's.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tramontane.errors import Busy, NotFound
from tramontane.library.database import Database


@dataclass(frozen=True, slots=True)
class StoredSection:
    collection: str
    content: str


@dataclass(frozen=True, slots=True)
class DraftVersion:
    """`change` says what was done; `made` is UTC in ISO 8601."""

    number: int
    made: str
    change: str


@dataclass(frozen=True, slots=True)
class DraftHead:
    """What a list of drafts shows; `changed` is when its last version was made."""

    id: int
    task: str
    form: str
    words: int
    is_honest: bool
    is_finished: bool
    num_versions: int
    changed: str


@dataclass(frozen=True, slots=True)
class StoredDraft:
    """One version of a draft; a section whose notes were forgotten is None."""

    head: DraftHead
    version: DraftVersion
    sections: tuple[StoredSection | None, ...]
    versions: tuple[DraftVersion, ...]


class Drafts:
    def __init__(self, database: Database):
        self._database = database

    def add(
        self,
        task: str,
        sections: Sequence[StoredSection],
        *,
        form: str,
        words: int,
        is_honest: bool = False,
        is_finished: bool = True,
    ) -> int:
        """Keeps a new draft as its version 1; returns its id."""
        with self._database.writing() as db:
            draft_id = db.execute(
                "INSERT INTO drafts (task, form, words, is_honest, is_finished) "
                "VALUES (?, ?, ?, ?, ?)",
                (task, form, words, is_honest, is_finished),
            ).lastrowid
            assert draft_id is not None
            ids = [keep_section(db, draft_id, section) for section in sections]
            change = "written" if is_finished else "written, and broken off"
            keep_version(db, draft_id, 1, change, ids)
        return draft_id

    def ls(self) -> list[DraftHead]:
        """Returns every draft, the last changed first."""
        with self._database.reading() as db:
            rows = db.execute(f"{HEADS} GROUP BY d.id ORDER BY max(v.made) DESC, d.id DESC")
            return [head_of(row) for row in rows]

    def open(self, draft_id: int, number: int | None = None) -> StoredDraft:
        """Returns a version of a draft, the last unless a number is given; NotFound without."""
        with self._database.reading() as db:
            head = find(db, draft_id)
            versions = tuple(
                DraftVersion(*row)
                for row in db.execute(
                    "SELECT number, made, change FROM draft_versions WHERE draft_id = ? "
                    "ORDER BY number",
                    (draft_id,),
                )
            )
            number = versions[-1].number if number is None else number
            ids = sections_of(db, draft_id, number)
            kept = {
                section_id: StoredSection(collection, content)
                for section_id, collection, content in db.execute(
                    "SELECT id, collection, content FROM draft_sections WHERE draft_id = ?",
                    (draft_id,),
                )
            }
        version = next(version for version in versions if version.number == number)
        return StoredDraft(head, version, tuple(kept.get(one) for one in ids), versions)

    def revise(
        self, draft_id: int, number: int, place: int, section: StoredSection, change: str
    ) -> int:
        """Makes a new version of version `number` with another section at a place; returns its
        number.

        Raises Busy where that version isn't the last: somebody else changed the draft meanwhile.
        """
        with self._database.writing() as db:
            last = check_last(db, draft_id, number)
            ids = sections_of(db, draft_id, number)
            if not 0 <= place < len(ids):
                raise NotFound(f"the draft has {len(ids)} sections, and none at place {place}")
            ids[place] = keep_section(db, draft_id, section)
            keep_version(db, draft_id, last + 1, change, ids)
        return last + 1

    def restore(self, draft_id: int, number: int) -> int:
        """Makes an older version the newest, as a new one; returns its number."""
        with self._database.writing() as db:
            last = find(db, draft_id).num_versions
            ids = sections_of(db, draft_id, number)
            keep_version(db, draft_id, last + 1, f"as in version {number}", ids)
        return last + 1

    def rm(self, draft_id: int) -> DraftHead:
        """Deletes a draft with all its versions."""
        with self._database.writing() as db:
            head = find(db, draft_id)
            db.execute("DELETE FROM drafts WHERE id = ?", (draft_id,))
        return head


HEADS = (
    "SELECT d.id, d.task, d.form, d.words, d.is_honest, d.is_finished, max(v.number), max(v.made) "
    "FROM drafts d JOIN draft_versions v ON v.draft_id = d.id"
)


def head_of(row: tuple) -> DraftHead:
    draft_id, task, form, words, is_honest, is_finished, num_versions, changed = row
    return DraftHead(
        draft_id, task, form, words, bool(is_honest), bool(is_finished), num_versions, changed
    )


def find(db: sqlite3.Connection, draft_id: int) -> DraftHead:
    row = db.execute(f"{HEADS} WHERE d.id = ? GROUP BY d.id", (draft_id,)).fetchone()
    if row is None:
        raise NotFound(f"no draft {draft_id}; `tramontane drafts ls` shows those kept")
    return head_of(row)


def check_last(db: sqlite3.Connection, draft_id: int, number: int) -> int:
    last = find(db, draft_id).num_versions
    if number != last:
        raise Busy(
            f"draft {draft_id} was changed meanwhile: its last version is {last}, not {number}; "
            "open it anew and do it there"
        )
    return last


def sections_of(db: sqlite3.Connection, draft_id: int, number: int) -> list[int]:
    row = db.execute(
        "SELECT sections FROM draft_versions WHERE draft_id = ? AND number = ?", (draft_id, number)
    ).fetchone()
    if row is None:
        last = find(db, draft_id).num_versions
        raise NotFound(f"draft {draft_id} has versions 1 to {last}, and none {number}")
    return json.loads(row[0])


def keep_section(db: sqlite3.Connection, draft_id: int, section: StoredSection) -> int:
    row_id = db.execute(
        "INSERT INTO draft_sections (draft_id, collection, content) VALUES (?, ?, ?)",
        (draft_id, section.collection, section.content),
    ).lastrowid
    assert row_id is not None
    return row_id


def keep_version(
    db: sqlite3.Connection, draft_id: int, number: int, change: str, ids: Sequence[int]
) -> None:
    made = datetime.now(UTC).isoformat(timespec="milliseconds")
    db.execute(
        "INSERT INTO draft_versions (draft_id, number, made, change, sections) "
        "VALUES (?, ?, ?, ?, ?)",
        (draft_id, number, made, change, json.dumps(list(ids))),
    )

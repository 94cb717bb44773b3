"""Forgetting a collection: its rows, the jobs that worked on it, what answers quote of it, and the
pages these stood on."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tramontane.library.chat_forgetting import chats_without, rewrite
from tramontane.library.chats import Chat, Lost
from tramontane.library.database import Database

# Tables whose rows go with a collection's own row, and those that are seen to here. Every other
# table holds nothing of a note; a test asks where a new one belongs.
WITH_THE_COLLECTION = {"notes", "passages", "dates", "tags", "links", "skipped"}
WITH_THE_COLLECTION |= {"support_labels", "support_promises"}
SEEN_TO = {"collections", "vectors", "passages_fts", "jobs", "job_lines"}
SEEN_TO |= {"drafts", "draft_sections", "draft_versions", "chats"}
NOTHING_OF_NOTES = {"state", "keys", "occurrences"}

OF_THE_COLLECTION = "SELECT id FROM collections WHERE name = :name"
ITS_NOTES = f"SELECT id FROM notes WHERE collection_id IN ({OF_THE_COLLECTION})"
ITS_PASSAGES = f"SELECT id FROM passages WHERE note_id IN ({ITS_NOTES})"
ITS_JOBS = (
    "SELECT id FROM jobs WHERE json_extract(arguments, '$.name') = :name "
    "OR (:folder != '' AND json_extract(arguments, '$.folder') = :folder)"
)
# Of drafts the sections on its notes; a draft of which nothing else is left goes whole.
ITS_SECTIONS = "SELECT id FROM draft_sections WHERE collection = :name"
ITS_DRAFTS = (
    "SELECT DISTINCT draft_id FROM draft_sections WHERE collection = :name AND draft_id NOT IN "
    "(SELECT draft_id FROM draft_sections WHERE collection != :name)"
)


@dataclass(frozen=True, slots=True)
class Traces:
    """How much the library holds of a collection; vectors are those no other collection shares.

    `draft_sections` are those of every version of every draft, `drafts` those that go whole.
    `chats` are the questions kept whose answers, or themselves, quote it; others only name it.
    """

    collections: int
    notes: int
    passages: int
    vectors: int
    jobs: int
    job_lines: int
    draft_sections: int
    drafts: int
    chats: int
    chats_naming_it: int
    folder: str

    @property
    def is_empty(self) -> bool:
        return not (
            self.collections
            or self.jobs
            or self.draft_sections
            or self.chats
            or self.chats_naming_it
        )


def traces_of(db: sqlite3.Connection, name: str, folder: str = "") -> Traces:
    """Returns what there is of a collection; `folder` is its folder where the library lost it."""
    row = db.execute("SELECT folder FROM collections WHERE name = ?", (name,)).fetchone()
    words = {"name": name, "folder": row[0] if row else folder}

    def count(query: str) -> int:
        return db.execute(f"SELECT count(*) FROM ({query})", words).fetchone()[0]

    chats = left_of_chats(db, name)
    num_losing = sum(bool(lost) for _, lost in chats)
    return Traces(
        collections=count(OF_THE_COLLECTION),
        notes=count(ITS_NOTES),
        passages=count(ITS_PASSAGES),
        vectors=count(
            "SELECT v.key FROM vectors v WHERE EXISTS (SELECT 1 FROM passages p "
            f"WHERE p.vector_key = v.key AND p.id IN ({ITS_PASSAGES})) AND NOT EXISTS "
            "(SELECT 1 FROM passages p WHERE p.vector_key = v.key "
            f"AND p.id NOT IN ({ITS_PASSAGES}))"
        ),
        jobs=count(ITS_JOBS),
        job_lines=count(f"SELECT id FROM job_lines WHERE job_id IN ({ITS_JOBS})"),
        draft_sections=count(ITS_SECTIONS),
        drafts=count(ITS_DRAFTS),
        chats=num_losing,
        chats_naming_it=len(chats) - num_losing,
        folder=words["folder"],
    )


def left_of_chats(db: sqlite3.Connection, name: str) -> list[tuple[Chat, Lost]]:
    """Returns the chats that hold anything of a collection as they are without it."""
    texts = db.execute(f"SELECT text FROM notes WHERE id IN ({ITS_NOTES})", {"name": name})

    def is_elsewhere(word: str) -> bool:
        found = db.execute(
            "SELECT 1 FROM passages_fts WHERE passages_fts MATCH :word "
            f"AND rowid NOT IN ({ITS_PASSAGES}) LIMIT 1",
            {"word": f'"{word}"', "name": name},
        )
        return found.fetchone() is not None

    return list(chats_without(db, name, (text for (text,) in texts), is_elsewhere))


def forget(database: Database, name: str, folder: str = "") -> Traces:
    """Removes a collection so that no byte of the file holds it; returns what was removed.

    Called again after an interruption it finishes the work.
    """
    with database.writing() as db:
        traces = traces_of(db, name, folder)
        words = {"name": name, "folder": traces.folder}
        for chat, _ in left_of_chats(db, name):
            rewrite(db, chat)
        db.execute(f"DELETE FROM jobs WHERE id IN ({ITS_JOBS})", words)
        db.execute(f"DELETE FROM drafts WHERE id IN ({ITS_DRAFTS})", words)
        db.execute("DELETE FROM draft_sections WHERE collection = :name", words)
        take_out_voice(db, name)
        db.execute("DELETE FROM collections WHERE name = ?", (name,))
        db.execute(
            "DELETE FROM vectors WHERE NOT EXISTS "
            "(SELECT 1 FROM passages WHERE passages.vector_key = vectors.key)"
        )
        # The index keeps words of deleted passages beside a mark that they are gone; made anew it
        # holds none.
        db.execute("INSERT INTO passages_fts (passages_fts) VALUES ('rebuild')")
        db.execute("UPDATE state SET revision = revision + 1")
    database.compact()
    return traces


def take_out_voice(db: sqlite3.Connection, expert: str) -> None:
    """Removes an expert from drafts that rest on other notes: the base's sentences in which it was
    heard, since they may hold what it remembers, and its part in all others."""
    kept = db.execute(
        "SELECT id, content FROM draft_sections WHERE instr(content, ?)",
        (json.dumps(expert, ensure_ascii=False),),
    ).fetchall()
    for section_id, content in kept:
        section = json.loads(content)
        section["pieces"] = [piece for piece in section["pieces"] if not spoke_in(piece, expert)]
        for piece in section["pieces"]:
            sentence = piece.get("instead") or piece
            if sentence.get("shares"):
                sentence["shares"].pop(expert, None)
            if sentence.get("named"):
                sentence["named"] = [name for name in sentence["named"] if name != expert]
        db.execute(
            "UPDATE draft_sections SET content = ? WHERE id = ?",
            (json.dumps(section, ensure_ascii=False), section_id),
        )


def spoke_in(piece: Mapping[str, Any], expert: str) -> bool:
    return piece.get("kind") == "prose" and bool((piece.get("shares") or {}).get(expert))

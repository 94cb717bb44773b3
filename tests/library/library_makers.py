"""Small libraries for tests, an embedder to foretell by hand, and all that a library holds."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from tramontane.library.library import Library

WIDTH = 16


class SignEmbedder:
    """Rows of ±1/4 from a text's hash: unit length, and every product is exact in float32."""

    name = "signs-16"

    def __init__(self):
        self.num_texts = 0

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.num_texts += len(texts)
        return np.array([self.row(text) for text in texts], np.float32).reshape(-1, WIDTH)

    @staticmethod
    def row(text: str) -> list[float]:
        digest = hashlib.sha256(text.encode()).digest()
        return [0.25 if digest[at // 8] >> at % 8 & 1 else -0.25 for at in range(WIDTH)]


def write_notes(folder: Path, notes: dict[str, str | bytes]) -> Path:
    """Makes the folder hold these notes and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in [path for path in folder.rglob("*") if path.is_file()]:
        old.unlink()
    for path, text in notes.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def build(file: Path, folders: dict[str, Path], embed=None) -> Library:
    """Returns a library of these collections, each synced once."""
    library = Library(file, embed or SignEmbedder())
    for name, folder in folders.items():
        library.add_collection(name, folder)
        library.sync(name)
    return library


QUESTIONS = ("beans", "when to sow peas", "title two", "water 3", "nothing of that kind", "é")


def contents(library: Library) -> dict:
    """Returns everything a library holds and answers, without what chance or time decides."""
    with closing(sqlite3.connect(library.file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        # With rank 1, FTS5 compares its index with the passages, word by word.
        db.execute("INSERT INTO passages_fts (passages_fts, rank) VALUES ('integrity-check', 1)")
        db.rollback()
        held = {
            "collections": db.execute(
                "SELECT name, folder, owner, licence, reader_version FROM collections ORDER BY name"
            ).fetchall(),
            "notes": db.execute(
                "SELECT c.name, n.path, n.title, n.text, n.sha256, n.metadata, n.may_train,"
                " n.may_share, n.licence, n.remarks FROM notes n"
                " JOIN collections c ON c.id = n.collection_id ORDER BY c.name, n.path"
            ).fetchall(),
            "passages": db.execute(
                "SELECT c.name, n.path, p.position, p.title, p.heading, p.text, p.first_line,"
                " p.last_line, p.vector_key, p.page, p.box,"
                " (SELECT group_concat(day) FROM dates d WHERE d.passage_id = p.id),"
                " (SELECT group_concat(tag) FROM tags t WHERE t.passage_id = p.id),"
                " (SELECT group_concat(target) FROM links l WHERE l.passage_id = p.id)"
                " FROM passages p JOIN notes n ON n.id = p.note_id"
                " JOIN collections c ON c.id = n.collection_id"
                " ORDER BY c.name, n.path, p.position"
            ).fetchall(),
            "skipped": db.execute(
                "SELECT c.name, s.path, s.sha256, s.reason, s.reader_version FROM skipped s"
                " JOIN collections c ON c.id = s.collection_id ORDER BY c.name, s.path"
            ).fetchall(),
            "vectors": db.execute(
                "SELECT key, model, vector FROM vectors ORDER BY key, model"
            ).fetchall(),
        }
    held["hits"] = [library.search(question, limit=50) for question in QUESTIONS]
    held["rarity"] = library.rarity(["beans", "sow", "water", "absent"])
    return held


def bytes_of(library_file: Path) -> bytes:
    """Returns what stands in the library's file and in SQLite's files beside it."""
    beside = sorted(library_file.parent.glob(f"{library_file.name}*"))
    return b"".join(path.read_bytes() for path in beside)

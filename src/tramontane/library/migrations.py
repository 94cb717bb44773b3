"""The library file moves forward in numbered steps, each whole or not at all."""

import re
import sqlite3
from pathlib import Path

from tramontane.errors import LibraryError

FOLDER = Path(__file__).parent / "migrations"


def migrate(db: sqlite3.Connection, file: Path, folder: Path = FOLDER) -> None:
    """Applies the numbered .sql files in `folder` that this database, `file`, has not seen.

    The number is looked up again under the write lock: two processes may open a new file at once.
    Raises LibraryError for a file that a newer version made, or another program.
    """
    files = sorted(folder.glob("*.sql"))
    if _version(db) == len(files) and not _is_foreign(db, len(files)):
        return
    while True:
        db.execute("BEGIN IMMEDIATE")
        try:
            done = _version(db)
            if _is_foreign(db, done):
                raise LibraryError(
                    f"{file}: another program's SQLite file, not a library; name another file"
                )
            if done > len(files):
                raise LibraryError(
                    f"{file}: the library is of version {done}, this tramontane knows "
                    f"{len(files)}; install a newer tramontane"
                )
            if done == len(files):
                db.execute("COMMIT")
                return
            for statement in statements_of(files[done].read_text(encoding="utf-8")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {done + 1}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def statements_of(script: str) -> list[str]:
    """Returns the statements of a script; `executescript` would commit the open transaction."""
    statements, pending = [], ""
    for piece in re.split(r"(?<=;)", script):
        pending += piece
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    return [*statements, pending.strip()] if pending.strip() else statements


def _is_foreign(db: sqlite3.Connection, done: int) -> bool:
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return bool(tables) if done == 0 else "collections" not in tables


def _version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]

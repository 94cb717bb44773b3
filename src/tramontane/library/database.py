"""One SQLite file, many threads: connections, transactions, and SQLite's errors in our words."""

import json
import queue
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tramontane.errors import Busy, DiskFull, LibraryError
from tramontane.library.migrations import migrate

BUSY_SECONDS = 5.0
ROOM_NEEDED_BYTES = 1024 * 1024


class Database:
    """Hands out connections to one file; a reader never waits for a writer (write-ahead log)."""

    def __init__(self, file: Path, busy_seconds: float = BUSY_SECONDS):
        self.file = file
        self.busy_seconds = busy_seconds
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._is_closed = False
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"{file}: its folder cannot be made ({error.strerror}); choose another place"
            ) from None
        with self._in_our_words():
            db = self._connect()
            try:
                self._keep_a_log(db)
                migrate(db, file)
            except BaseException:
                db.close()
                raise
            self._idle.put(db)

    def _keep_a_log(self, db: sqlite3.Connection) -> None:
        """Turns to write-ahead logging, which stays with the file.

        Where several open a new file at once SQLite gives up at once, without waiting as it does
        elsewhere, since each holds what the others want; so the waiting is done here.
        """
        end = time.monotonic() + self.busy_seconds
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yields a connection that sees one state of the library for the whole block."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yields a connection whose changes are kept all together, or, on any error, not at all."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._in_our_words(), self._connection() as db:
            db.execute(begin)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def settle(self) -> None:
        """Moves the write-ahead log into the file, where nobody reads an older state."""
        with self._in_our_words(), self._connection() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def compact(self) -> None:
        """Writes the file anew, without free pages, and empties the write-ahead log.

        Raises Busy where somebody goes on reading an older state, which the log then still holds.
        """
        with self._in_our_words(), self._connection() as db:
            db.execute("VACUUM")
            is_held, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_held:
            raise Busy(
                f"{self.file}: another process is reading an older state of the library, so its "
                "log can't be emptied; end that process and run this again"
            )

    def close(self) -> None:
        self._is_closed = True
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._is_closed:
            raise LibraryError(f"{self.file}: the library was closed; open it again")
        try:
            db = self._idle.get_nowait()
        except queue.Empty:
            db = self._connect()
        try:
            yield db
        except sqlite3.Error:
            db.close()  # its state may be anything after a failed disk
            raise
        except BaseException:
            # An interruption may have come between a transaction's beginning and its rollback.
            db.close() if db.in_transaction else self._give_back(db)
            raise
        self._give_back(db)

    def _give_back(self, db: sqlite3.Connection) -> None:
        if self._is_closed:
            db.close()
        else:
            self._idle.put(db)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.file, timeout=self.busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA foreign_keys = ON")
            # What a person deletes is overwritten, not only forgotten.
            db.execute("PRAGMA secure_delete = ON")
            # A power cut may lose the last sync, which the next one repeats; never the file.
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise self._damaged(error) from error
        except TypeError as error:
            if self._holds_wrong_types():
                raise self._damaged(error) from error
            raise

    def _translated(self, error: sqlite3.Error) -> Exception:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Busy(
                f"{self.file}: another process has been writing to the library for "
                f"{self.busy_seconds:g} seconds; wait for it to end, or stop it"
            )
        if code == sqlite3.SQLITE_FULL or (
            code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and self._lacks_room()
        ):
            return DiskFull(
                f"{self.file}: the disk is full; the library is whole and as it was before. "
                "Free some room and run it again"
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(error)
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return LibraryError(
                f"{self.file}: cannot be opened for writing ({error}); check the folder's rights"
            )
        return LibraryError(f"{self.file}: {error}")

    def _damaged(self, error: Exception) -> LibraryError:
        return LibraryError(
            f"{self.file}: not a library, or a damaged one ({error}). Your notes are "
            "untouched: move this file away, then add the collections and sync again"
        )

    def _holds_wrong_types(self) -> bool:
        """A flipped bit can make a text a blob, which SQLite hands out as it is."""
        try:
            with closing(self._connect()) as db:
                columns = db.execute(
                    "SELECT m.name, c.name, lower(c.type) FROM sqlite_master m "
                    "JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.type != ''"
                ).fetchall()
                return any(
                    db.execute(
                        f"SELECT 1 FROM {table} WHERE typeof({column}) NOT IN (?, 'null') LIMIT 1",
                        (wanted,),
                    ).fetchone()
                    for table, column, wanted in columns
                )
        except (sqlite3.Error, UnicodeDecodeError):
            return True

    def _lacks_room(self) -> bool:
        try:
            return shutil.disk_usage(self.file.parent).free < ROOM_NEEDED_BYTES
        except OSError:
            return False

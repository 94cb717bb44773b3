"""The library's file: collections, migrations, damage, other processes, and what removal leaves."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_makers import SignEmbedder, build, bytes_of, contents, write_notes

from tramontane.errors import Busy, LibraryError, NotesError, NotFound, TramontaneError
from tramontane.library import sync as syncing
from tramontane.library.database import Database
from tramontane.library.library import Library
from tramontane.library.migrations import FOLDER, migrate, statements_of

MARKED = "xwvjkm"  # within a word, because the index keeps stems and shares beginnings
SECRET = (
    f"---\ntitle: q{MARKED}title\nkey: q{MARKED}key\n---\n"
    f"# q{MARKED}head\n\n## q{MARKED}section\n\nWords q{MARKED}body here.\n"
)


def num_marks(file: Path) -> int:
    return bytes_of(file).lower().count(MARKED.encode())


@pytest.fixture
def secretive(tmp_path):
    """A library of two collections; `secret` holds marked words, in a marked path too."""
    plain = {f"{n}.md": f"# Note {n}\n\n" + f"word{n} quite plain. " * 90 for n in range(30)}
    secret = {**plain, f"q{MARKED}.md": SECRET, f"sub/q{MARKED}.md": SECRET * 9}
    folders = {
        "plain": write_notes(tmp_path / "plain", plain),
        "secret": write_notes(tmp_path / "secret", secret),
    }
    with build(tmp_path / "l.sqlite", folders) as library:
        assert num_marks(library.file) > 5
        yield library


def test_a_removed_collection_leaves_no_byte_of_its_text(secretive, tmp_path):
    secretive.search(f"q{MARKED}body")
    secretive.remove_collection("secret")
    assert num_marks(secretive.file) == 0
    assert [one.name for one in secretive.collections()] == ["plain"]
    with build(tmp_path / "fresh.sqlite", {"plain": tmp_path / "plain"}) as fresh:
        assert contents(secretive) == contents(fresh)
    assert (tmp_path / "secret" / f"q{MARKED}.md").exists()


def test_a_removed_or_edited_note_leaves_no_byte_of_its_text(secretive, tmp_path):
    (tmp_path / "secret" / "sub" / f"q{MARKED}.md").unlink()
    secretive.sync("secret")
    assert num_marks(secretive.file) > 0
    (tmp_path / "secret" / f"q{MARKED}.md").rename(tmp_path / "secret" / "renamed.md")
    (tmp_path / "secret" / "renamed.md").write_text("Nothing here.")
    secretive.sync("secret")
    assert num_marks(secretive.file) == 0


def test_an_edited_note_leaves_no_byte_of_its_old_text(tmp_path):
    folder = write_notes(tmp_path / "n", {"a.md": f"Words q{MARKED}body.", "b.md": "Beans."})
    with build(tmp_path / "l.sqlite", {"n": folder}) as library:
        (folder / "a.md").write_text("Nothing here.")
        assert library.sync("n").changed == ["a.md"]
        assert num_marks(library.file) == 0


@pytest.mark.parametrize("what", ["remove", "edit"])
def test_a_removal_that_was_interrupted_is_finished_by_the_next_sync(
    secretive, tmp_path, monkeypatch, what
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tramontane.library.library.tidy", interrupted)
        patch.setattr(syncing, "tidy", interrupted)
        if what == "edit":
            write_notes(tmp_path / "secret", {"a.md": "Nothing here."})
        act = {"remove": secretive.remove_collection, "edit": secretive.sync}[what]
        with pytest.raises(KeyboardInterrupt):
            act("secret")
    assert num_marks(secretive.file) > 0
    assert secretive.search(f"q{MARKED}body")[0].bm25_rank is None
    secretive.sync("plain" if what == "remove" else "secret")
    assert num_marks(secretive.file) == 0


def test_a_collection_is_made_known_and_kept(library, notes, tmp_path):
    other = write_notes(tmp_path / "other", {"a.md": "text"})
    added = library.add_collection("other", other, owner="Ada", licence="CC0-1.0")
    assert (added.owner, added.licence, added.num_notes) == ("Ada", "CC0-1.0", 0)
    again = library.add_collection("other", f"{other}/../other", owner="Grace")
    assert (again.owner, again.licence, again.salt) == ("Grace", "CC0-1.0", added.salt)
    assert len(added.salt) == 32
    assert added.salt != library.collection("garden").salt
    assert [one.name for one in library.collections()] == ["garden", "other"]
    with pytest.raises(LibraryError, match=r"'other' is the folder .*choose another name"):
        library.add_collection("other", notes)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a\nb", "x" * 81, "\ud800"])
def test_a_name_that_names_nothing_is_refused(library, notes, name):
    with pytest.raises(LibraryError, match="cannot name a collection"):
        library.add_collection(name, notes)


@pytest.mark.parametrize("folder", ["nothing", "beans.md", "x" * 300, "nul\0"])
def test_a_collection_of_no_folder_is_refused(library, notes, folder):
    with pytest.raises(NotesError, match="give the folder that holds your notes"):
        library.add_collection("new", notes / folder)
    with pytest.raises(NotesError, match="no such folder"):
        library.add_collection("new", Path("~nobody-of-that-name/notes"))
    assert [one.name for one in library.collections()] == ["garden"]


def test_what_is_not_there_is_named(library):
    for ask in (library.collection, library.sync, library.remove_collection, library.notes):
        with pytest.raises(NotFound, match="no collection 'gardne'; there are: garden"):
            ask("gardne")
    with pytest.raises(NotFound, match="no note 'bean.md' in the collection 'garden'"):
        library.note("garden", "bean.md")
    library.remove_collection("garden")
    with pytest.raises(NotFound, match="the library holds none yet"):
        library.collection("garden")


def test_the_file_opens_with_plain_sqlite(library):
    with library._database.reading() as db:
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    with closing(sqlite3.connect(library.file)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.execute("PRAGMA foreign_keys = ON")
        assert db.execute("SELECT count(*) FROM notes").fetchone() == (3,)
        match = "SELECT rowid FROM passages_fts WHERE passages_fts MATCH 'beans'"
        assert len(db.execute(match).fetchall()) == 1
        with pytest.raises(sqlite3.IntegrityError):
            db.execute("UPDATE passages SET note_id = 999")
        db.rollback()
        db.execute("DELETE FROM collections")
        assert db.execute("SELECT count(*) FROM passages").fetchone() == (0,)
        assert db.execute(match).fetchall() == []


def test_a_closed_library_says_so(library):
    library.close()
    with pytest.raises(LibraryError, match="the library was closed"):
        library.collections()


def test_a_library_of_a_newer_version_is_refused(library):
    library.close()
    with closing(sqlite3.connect(library.file)) as db:
        db.execute("PRAGMA user_version = 99")
    held = bytes_of(library.file)
    with pytest.raises(LibraryError, match=f"{library.file}: .*version 99.*newer tramontane"):
        Library(library.file)
    assert bytes_of(library.file) == held


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_programs_file_is_refused_and_left_alone(tmp_path, version):
    file = tmp_path / "bookmarks.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE bookmarks (address TEXT)")
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(LibraryError, match="another program's SQLite file"):
        Library(file)
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_what_is_no_database_is_refused_and_left_alone(tmp_path):
    text = b"This is a shopping list, and by no means a library. " * 50
    (tmp_path / "list.txt").write_bytes(text)
    with pytest.raises(LibraryError, match="not a library, or a damaged one.*move this file away"):
        Library(tmp_path / "list.txt")
    assert (tmp_path / "list.txt").read_bytes() == text
    with pytest.raises(LibraryError, match="cannot be opened"):
        Library(tmp_path)
    with pytest.raises(LibraryError, match="its folder cannot be made"):
        Library(tmp_path / "list.txt" / "l.sqlite")


def test_an_empty_file_becomes_a_library(tmp_path):
    (tmp_path / "l.sqlite").touch()
    with Library(tmp_path / "l.sqlite") as library:
        assert library.collections() == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    notes = {f"{n}.md": f"# Note {n}\n\n## Part\n\nSow beans {n}. " * 20 for n in range(20)}
    build(home / "l.sqlite", {"n": write_notes(home / "notes", notes)}).close()
    return home


@settings(max_examples=60, deadline=None)
@given(
    damage=st.lists(
        st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=600)), max_size=6
    ),
    kept=st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.01]),
)
def test_a_damaged_file_is_an_error_in_words(tmp_path_factory, whole, damage, kept):
    data = bytearray((whole / "l.sqlite").read_bytes())
    for place, garbage in damage:
        at = int(place * len(data))
        data[at : at + len(garbage)] = garbage
    file = tmp_path_factory.mktemp("damaged") / "l.sqlite"
    file.write_bytes(data[: int(kept * len(data))])
    with contextlib.suppress(TramontaneError), Library(file, SignEmbedder()) as library:
        for use in (
            library.collections,
            lambda: library.search("beans 3"),
            lambda: library.notes("n"),
            lambda: library.sync("n", allow_emptying=True),
            lambda: library.search("beans 3"),
            lambda: library.remove_collection("n"),
        ):
            with contextlib.suppress(TramontaneError):
                use()


def test_a_text_that_became_a_blob_is_damage(library):
    with closing(sqlite3.connect(library.file)) as db:
        db.execute("UPDATE passages SET title = CAST(title AS BLOB), vector_key = x'00'")
        db.execute("DELETE FROM vectors")
        db.commit()
    with pytest.raises(LibraryError, match="a damaged one.*move this file away"):
        library.sync("garden")


def test_a_migration_is_made_whole_or_not_at_all(tmp_path):
    steps = tmp_path / "migrations"
    steps.mkdir()
    (steps / "0001_a.sql").write_text("CREATE TABLE collections (x TEXT);")
    (steps / "0002_b.sql").write_text(
        "CREATE TABLE b (x); -- a remark; with a semicolon\nINSERT INTO b VALUES ('x;y');\n"
        "INSERT INTO missing VALUES (1);"
    )
    file = tmp_path / "l.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError, match="missing"):
            migrate(db, file, steps)
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("collections",)]
        (steps / "0002_b.sql").write_text("CREATE TABLE b (x); INSERT INTO b VALUES ('x;y')")
        migrate(db, file, steps)
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("SELECT x FROM b").fetchall() == [("x;y",)]


def test_statements_keep_their_triggers_whole():
    script = (FOLDER / "0001_notes.sql").read_text()
    statements = statements_of(script)
    assert len(statements) == script.count("CREATE ") + 1
    assert sum("TRIGGER" in one for one in statements) == 3
    assert all(sqlite3.complete_statement(one) for one in statements)


def test_many_may_open_a_new_file_at_once(tmp_path):
    barrier = threading.Barrier(8)
    failures = []

    def open_it() -> None:
        barrier.wait()
        try:
            Library(tmp_path / "home" / "l.sqlite").close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Library(tmp_path / "home" / "l.sqlite") as library:
        assert library.collections() == []


WAITING_PROGRAM = """
import sys
from pathlib import Path
from library_makers import SignEmbedder
from tramontane.library.library import Library

class Waiting(SignEmbedder):
    def __call__(self, texts):
        print("embedding", flush=True)
        sys.stdin.readline()
        return super().__call__(texts)

with Library(Path(sys.argv[1]), Waiting()) as library:
    print(library.sync("garden").added, flush=True)
"""


def test_while_another_process_syncs_one_may_read_but_not_sync(library, notes, tmp_path):
    (notes / "new.md").write_text("Sow carrots.")
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING_PROGRAM, library.file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    try:
        assert process.stdout.readline() == "embedding\n"
        held = contents(library)
        for act in (library.sync, library.remove_collection):
            with pytest.raises(Busy, match="in use by another tramontane process; wait for it"):
                act("garden")
        assert library.sync("garden", dry_run=True).added == ["new.md"]
        assert contents(library) == held
        said, _ = process.communicate("go\n")
        assert said.splitlines()[-1] == "['new.md']"
    finally:
        process.kill()
        process.wait()
    assert library.search("carrots")[0].path == "new.md"
    assert library.sync("garden").added == []
    with build(tmp_path / "fresh.sqlite", {"garden": notes}) as fresh:
        assert contents(library) == contents(fresh)


def test_a_file_that_another_program_writes_to_is_busy(library):
    database = Database(library.file, busy_seconds=0.05)
    with closing(sqlite3.connect(library.file, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="has been writing to the library for 0.05 seconds"):
            database.writing().__enter__()
        with database.reading() as reader:
            assert reader.execute("SELECT count(*) FROM notes").fetchone() == (3,)
    with database.writing() as writer:
        writer.execute("UPDATE collections SET owner = 'Ada'")
    database.close()
    assert library.collection("garden").owner == "Ada"


def test_threads_search_while_one_syncs(library, notes, monkeypatch):
    monkeypatch.setattr(syncing, "BATCH_NOTES", 1)
    write_notes(notes, {f"{n}.md": f"Sow beans, row {n}." for n in range(40)})
    is_done = threading.Event()
    failures, counts = [], []

    def search() -> None:
        try:
            while not is_done.is_set():
                hits = library.search("sow beans", limit=100)
                counts.append(len(hits))
                assert len({(hit.path, hit.first_line) for hit in hits}) == len(hits)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    library.sync("garden")
    is_done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert counts
    assert len(library.search("sow beans", limit=100)) == 40


def test_migrations_are_numbered_in_one_row():
    numbers = [int(file.name[:4]) for file in sorted(FOLDER.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))

"""After `experts forget` nothing of a collection is in any byte under the data folder."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from expert_makers import SMALL, canal_notes
from note_bytes import runs_in, runs_of

from tramontane.cli import forget as forgetting
from tramontane.cli.desk import RealDesk
from tramontane.cli.draft_desk import RealDrafts
from tramontane.cli.experts import withdraw_with_proof
from tramontane.cli.forget import forget, preview
from tramontane.cli.notes import add_and_sync
from tramontane.cli.parts import Parts
from tramontane.errors import Busy, DiskFull, NotFound
from tramontane.experts.learn import learn
from tramontane.library import forgetting as library_forgetting
from tramontane.library import kept_copies
from tramontane.library.database import Database
from tramontane.library.kept_copies import KeptCopies
from tramontane.notes.folder import read_folder
from tramontane.server.chats import History
from tramontane.server.drafts import Kept, WriteBody
from tramontane.server.wire import AskBody, event_of
from tramontane.settings import Settings

pytestmark = pytest.mark.usefixtures("one_thread")
ASKED = "At which gauge board stood the heron on one leg in the frost?"
PASSWORDLIKE = "The heron at gauge board {n} stood on one leg through all of the frost"


class Interrupted(BaseException):
    pass


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two folders of notes; those of `canal` share sentences with `mill`, and have their own."""
    root = tmp_path_factory.mktemp("notes")
    for seed, name in enumerate(("canal", "mill")):
        folder = root / name
        folder.mkdir()
        for number, note in enumerate(canal_notes(60, seed=seed)):
            own = PASSWORDLIKE.format(n=number) if name == "canal" else f"Mill stone {number}."
            (folder / f"{number}.md").write_text(f"{note.text}\n{own}.\n")
    return root


@pytest.fixture(scope="module")
def own_runs(folders: Path) -> set[str]:
    texts = {
        name: [file.read_text() for file in sorted((folders / name).iterdir())]
        for name in ("canal", "mill")
    }
    runs = runs_of(texts["canal"]) - runs_of(texts["mill"])
    assert len(runs) > 500
    return runs


@pytest.fixture(scope="module")
def full_home(folders: Path, tiny_llama, tmp_path_factory) -> Path:
    """A home that read and learnt both collections, was asked, and keeps jobs, logs and proofs.

    Those of `canal` were dropped on the page, the first time in vain.
    """
    home = tmp_path_factory.mktemp("full") / "home"
    parts = parts_in(home, tiny_llama)
    drop(parts, folders / "canal", is_whole=False)
    read = {"canal": drop(parts, folders / "canal"), "mill": folders / "mill"}
    for name in ("canal", "mill"):
        add_and_sync(parts, name, read[name], quiet)
        learn_into(parts, name)
    withdraw_with_proof(parts, "canal")
    parts.shelf.restore("canal")
    withdraw_with_proof(parts, "mill")
    parts.shelf.restore("mill")
    list(parts.writer().ask("Where did the heron stand through the frost?", own_words=True))
    for name, task in (("canal", "the heron in the frost"), ("mill", "the mill stone")):
        asked = WriteBody(task=task, collections=[name])
        *_, last = RealDrafts(parts).write(asked)
        assert isinstance(last, Kept), last
    ask_and_keep(parts, ASKED, voice=True)
    ask_and_keep(parts, "Where did it stand?", collections=["mill"])
    leave_unfinished_learning(parts, "canal")
    heron = PASSWORDLIKE.format(n=3)
    for name in ("canal", "mill"):
        job = parts.library.jobs.add("learn", {"name": name}, "cores")
        parts.library.jobs.say(job.id, heron if name == "canal" else "a mill stone")
        parts.library.jobs.end(job.id, "done")
    (home / "jobs").mkdir()
    (home / "jobs" / "cores.log").write_text(f"KeyError: {heron!r}\n")
    parts.library.jobs.end(
        parts.library.jobs.add("plan", {"folder": str(read["canal"])}, "cores").id, "done"
    )
    drop(parts, folders / "canal", is_whole=False)
    parts.close()
    return home


def drop(parts: Parts, folder: Path, *, is_whole: bool = True) -> Path:
    """Returns the copy that a dropped folder becomes, under another name; or its sender dies."""
    arrival = parts.copies.begin("Water")
    for file in sorted(folder.iterdir()):
        arrival.put(file.name, file.read_bytes())
    if is_whole:
        return arrival.finish()[0].folder
    os.close(arrival.handle)
    return arrival.folder


def parts_in(home: Path, base) -> Parts:
    settings = Settings(
        home=home, base=str(base.files[0]), runtime="pytorch", threads=1, kv_tokens=2048
    )
    parts = Parts(settings)
    # The probe is longer than the tiny base's context.
    parts.__dict__["checkpoint"] = replace(
        base, config=replace(base.config, max_context_tokens=2048)
    )
    return parts


def learn_into(parts: Parts, name: str, report=quiet) -> None:
    collection = parts.library.collection(name)
    expert = learn(
        read_folder(collection.folder).notes,
        name=name,
        checkpoint=parts.checkpoint,
        cache_folder=parts.settings.cache_folder,
        settings=SMALL,
        salt=collection.salt,
        threads=1,
        report=report,
    )
    parts.shelf.put_in_place(parts.shelf.add(expert), parts.mixture())


def ask_and_keep(parts: Parts, question: str, **more) -> None:
    """Asks as the page does, with its history."""
    desk, asked = RealDesk(parts), AskBody(question=question, **more)
    events = desk.ask(
        question,
        collections=asked.collections,
        experts=None,
        own_words=asked.own_words,
        voice=asked.voice,
    )
    list(History(parts.library.chats, desk).kept(map(event_of, events), asked, None))


def leave_unfinished_learning(parts: Parts, name: str) -> None:
    def stop(stage: str, *_: int) -> None:
        if stage == "learning":
            raise Interrupted

    with pytest.raises(Interrupted):
        learn_into(parts, name, stop)


@pytest.fixture
def parts(full_home: Path, tiny_llama, tmp_path: Path):
    home = tmp_path / "home"
    shutil.copytree(full_home, home)
    move_copies(home, full_home)
    parts = parts_in(home, tiny_llama)
    yield parts
    parts.close()


def move_copies(home: Path, from_home: Path) -> None:
    """Has the library of a copied home read from its own copies."""
    with closing(sqlite3.connect(home / "library.sqlite")) as db, db:
        for column in ("collections SET folder", "jobs SET arguments"):
            place = column.rpartition(" ")[2]
            db.execute(f"UPDATE {column} = replace({place}, ?, ?)", (f"{from_home}/", f"{home}/"))


def assert_nothing_left(parts: Parts, own_runs: set[str]) -> None:
    assert runs_in(parts.settings.home, own_runs) == {}
    names = [str(p.relative_to(parts.settings.home)) for p in parts.settings.home.rglob("*")]
    assert [name for name in names if "canal" in name] == []
    everything = b"".join(p.read_bytes() for p in parts.settings.home.rglob("*") if p.is_file())
    assert b"heron" not in everything
    assert b"canal" not in everything


def test_before_it_the_home_is_full_of_the_collection(parts, own_runs):
    found = runs_in(parts.settings.home, own_runs)
    assert {"library.sqlite", "jobs/cores.log", "dropped/Water/3.md"} <= set(found)
    assert len(found["library.sqlite"]) > 0.9 * len(own_runs)
    assert any(name.startswith("dropped/.Water.") for name in found)
    assert parts.library.collection("canal").folder == parts.copies.find("Water").folder


def test_no_run_of_words_is_left_in_any_byte(parts, own_runs, folders):
    before = {file: file.read_bytes() for file in (folders / "canal").iterdir()}
    plan = preview(parts, "canal")
    done = forget(parts, "canal")
    assert_nothing_left(parts, own_runs)
    assert (done.library.notes, done.library.jobs) == (60, 2)
    assert [(copy.name, copy.num_files) for copy in done.copies] == [("Water", 60)]
    assert done.copies == plan.copies
    assert parts.copies.ls() == []
    of_mill, of_canal = parts.library.chats.ls()
    assert done.library.chats == bool(of_mill.forgotten) + 1
    assert of_canal.forgotten.sentences
    assert of_canal.forgotten.passages
    assert of_canal.question == "At which … … … the … on one … in the …?"
    assert (of_canal.collections, of_canal.experts) == (("mill",), ("mill",))
    assert done.library == plan.library
    assert set(done.files) == set(plan.files)
    assert done.mixtures == ("default",)
    assert any("training.safetensors" in file.name or "trunk" in file.name for file in done.files)
    # What isn't the library's is as it was, and the other collection too.
    assert {file: file.read_bytes() for file in (folders / "canal").iterdir()} == before
    assert [c.name for c in parts.library.collections()] == ["mill"]
    assert [record.name for record in parts.shelf.ls()] == ["mill"]
    assert len(parts.library.jobs.ls()) == 1


def test_also_while_another_process_has_the_library_open(parts, own_runs, tiny_llama):
    other = parts_in(parts.settings.home, tiny_llama)
    assert other.library.search("heron in the frost")
    held = other.library._database
    with held.reading() as db:
        db.execute("SELECT count(*) FROM notes").fetchone()
        parts.library._database.busy_seconds = 0.1
        parts.library._database._idle.get_nowait().close()
        with pytest.raises(Busy, match="older state"):
            forget(parts, "canal")
    forget(parts, "canal")
    assert not [hit for hit in other.library.search("heron in the frost") if "heron" in hit.text]
    assert_nothing_left(parts, own_runs)
    other.close()


def test_the_other_collection_then_equals_a_fresh_build(parts, folders, tiny_llama, tmp_path):
    forget(parts, "canal")
    parts.library.sync("mill")
    fresh = parts_in(tmp_path / "fresh", tiny_llama)
    add_and_sync(fresh, "mill", folders / "mill", quiet)
    assert contents(parts) == contents(fresh)
    for question in ("stone", "when does the sluice leak", "heron"):
        told = [
            [
                (hit.path, hit.first_line, hit.text, hit.score)
                for hit in one.library.search(question)
            ]
            for one in (parts, fresh)
        ]
        assert told[0] == told[1]
    fresh.close()


def contents(parts: Parts) -> dict[str, list]:
    with closing(sqlite3.connect(parts.settings.library_file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        queries = {
            "notes": "SELECT path, title, text, sha256 FROM notes ORDER BY path",
            "passages": "SELECT n.path, p.position, p.heading, p.text, p.vector_key "
            "FROM passages p JOIN notes n ON n.id = p.note_id ORDER BY 1, 2",
            "vectors": "SELECT key, model, vector FROM vectors ORDER BY 1, 2",
            "skipped": "SELECT path, reason FROM skipped",
        }
        return {name: db.execute(query).fetchall() for name, query in queries.items()}


STEPS = (
    (forgetting, "write_whole"),
    (forgetting, "forget_look_alikes"),
    (forgetting, "leave_engine"),
    (shutil, "rmtree"),
    (library_forgetting, "traces_of"),
    (Database, "compact"),
    (Path, "write_bytes"),
    (Path, "unlink"),
    (KeptCopies, "remove"),
    (kept_copies, "remove_tree"),
    (KeptCopies, "mend"),
)


@pytest.mark.parametrize("place", range(len(STEPS)), ids=[name for _, name in STEPS])
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_interrupted_anywhere_it_finishes_when_called_again(
    parts, own_runs, monkeypatch, place, is_after
):
    owner, name = STEPS[place]
    real = getattr(owner, name)

    def stop(*arguments, **options):
        if is_after:
            real(*arguments, **options)
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, stop)
        with pytest.raises(Interrupted):
            forget(parts, "canal")
    forget(parts, "canal")
    assert_nothing_left(parts, own_runs)
    with pytest.raises(NotFound, match="there are: mill"):
        forget(parts, "canal")


def test_a_full_disk_says_that_the_same_command_finishes(parts, own_runs, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Database, "compact", raising(DiskFull("library: the disk is full")))
        with pytest.raises(DiskFull, match="forget canal` finishes the work"):
            forget(parts, "canal")
    forget(parts, "canal")
    assert_nothing_left(parts, own_runs)


def raising(error: Exception):
    def call(*_: object) -> None:
        raise error

    return call


def test_a_job_at_work_on_it_is_told(parts):
    parts.library.jobs.add("sync", {"name": "canal"}, "cores")
    parts.library.jobs.take_next("cores")
    with pytest.raises(Busy, match="jobs cancel"):
        forget(parts, "canal")
    assert parts.library.collection("canal").num_notes == 60


def test_a_copy_stays_while_another_collection_reads_it(parts, own_runs):
    copy = parts.copies.find("Water")
    add_and_sync(parts, "lock", copy.folder, quiet)
    assert forget(parts, "canal").copies == ()
    assert parts.copies.ls() == [copy]
    assert [gone.name for gone in forget(parts, "lock").copies] == ["Water"]
    assert runs_in(parts.settings.home, own_runs) == {}


def test_a_copy_that_no_collection_read_goes_by_its_name(parts, own_runs):
    copy = parts.copies.find("Water")
    forget(parts, "canal")
    arrival = parts.copies.begin(copy.name)
    arrival.put("3.md", PASSWORDLIKE.format(n=3).encode())
    arrival.finish()
    job = parts.library.jobs.add("plan", {"folder": str(copy.folder)}, "cores")
    parts.library.jobs.take_next("cores")
    with pytest.raises(Busy, match=f"jobs cancel {job.id}"):
        forget(parts, "water")
    parts.library.jobs.end(job.id, "done")
    assert [gone.name for gone in forget(parts, "water").copies] == ["Water"]
    assert_nothing_left(parts, own_runs)


def test_the_engine_lets_go_of_it_with_its_pages(parts):
    (hash_,) = forgetting.hashes_of(parts, "canal")
    assert hash_ in parts.engine.runtime.expert_hashes
    forget(parts, "canal")
    assert hash_ not in parts.engine.runtime.expert_hashes
    assert not any(hash_ in experts for experts in parts.engine.pages.cache.beginnings)


def test_a_server_lets_go_of_what_another_process_forgot(parts, tiny_llama):
    (hash_,) = forgetting.hashes_of(parts, "canal")
    assert hash_ in parts.engine.runtime.expert_hashes
    other = parts_in(parts.settings.home, tiny_llama)
    forget(other, "canal")
    other.close()
    before = set(threading.enumerate())
    engine = parts.engine
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert hash_ not in engine.runtime.expert_hashes
    assert len(engine.runtime.expert_hashes) == 1


def test_every_table_is_known_to_forgetting(parts):
    with closing(sqlite3.connect(parts.settings.library_file)) as db:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    kept = {name for name in tables if name.startswith(("sqlite_", "passages_fts_"))}
    known = (
        library_forgetting.WITH_THE_COLLECTION
        | library_forgetting.SEEN_TO
        | library_forgetting.NOTHING_OF_NOTES
    )
    assert tables - kept == known, (
        "a new table: if it may hold text of notes, library/forgetting.py must remove it"
    )


def run(home: Path, base: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tramontane.cli.main", "--base", str(base), *words],
        input=stdin,
        capture_output=True,
        text=True,
        env=os.environ | {"TRAMONTANE_HOME": str(home)},
        timeout=300,
    )


def test_the_command_previews_asks_and_lists(parts, tiny_llama, own_runs):
    home, base = parts.settings.home, tiny_llama.files[0]
    plan = run(home, base, "experts", "forget", "canal", "--dry-run", "--json")
    assert plan.returncode == 0, plan.stderr
    told = json.loads(plan.stdout)
    assert told["is_dry_run"]
    assert told["library"]["notes"] == 60
    (copy,) = told["copies"]
    assert Path(copy["folder"]) == home / "dropped" / "Water"
    assert (copy["num_files"], copy["name"]) == (60, "Water")
    assert told["num_file_bytes"] == sum(Path(file).stat().st_size for file in told["files"])
    refused = run(home, base, "experts", "forget", "canal", stdin="n\n")
    assert refused.returncode == 130
    assert parts.library.collection("canal").num_notes == 60
    done = run(home, base, "experts", "forget", "canal", "--yes")
    assert done.returncode == 0, done.stderr
    assert "removed from the library: 60 notes" in done.stdout
    assert f"removed: the copy {home / 'dropped' / 'Water'}, 60 files" in done.stdout
    assert "backups" in done.stdout
    assert_nothing_left(parts, own_runs)
    again = run(home, base, "experts", "forget", "canal", "--yes")
    assert again.returncode == 1
    assert "there are: mill" in again.stderr

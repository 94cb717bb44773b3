"""The models folder: what was pulled from disk, found, opened, forgotten; foreign files stay."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tiny_files import write_gguf

from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.errors import CheckpointError, HashMismatch, ModelNotFound, NotFound
from tramontane.files import sha256_of


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def tiny(tmp_path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", "Q4_0")


def files_below(folder: Path) -> dict[str, str]:
    """Returns the hash of every file below, hidden ones too."""
    return {str(file): sha256_of(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_file_is_recorded_where_it_lies(store, tiny):
    record = pull(str(tiny), store)
    assert store.ls() == [record]
    assert (record.name, record.path, record.source) == ("tiny", tiny, str(tiny))
    assert (record.family, record.licence) == ("llama", "apache-2.0")
    assert record.sha256 == sha256_of(tiny)
    assert [(file.path, file.bytes) for file in record.files] == [(tiny, tiny.stat().st_size)]
    assert record.num_bytes == tiny.stat().st_size
    checkpoint = store.open("tiny")
    assert checkpoint.sha256 == record.sha256
    assert checkpoint.num_parameters == record.parameters
    assert not list(store.folder.glob("*.gguf"))


def test_the_embedded_bases_file_and_folder_are_recorded_and_left(store, smollm2_path, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / smollm2_path.name).symlink_to(smollm2_path)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    size, changed = smollm2_path.stat().st_size, smollm2_path.stat().st_mtime_ns
    by_file, by_folder = pull(str(smollm2_path), store), pull(str(folder), store)
    assert by_file.sha256 == by_folder.sha256 == sha256_of(smollm2_path)
    assert by_file.parameters == 134_515_008
    assert by_folder.name != by_file.name
    assert {record.name for record in store.ls()} == {by_file.name, by_folder.name}
    assert store.open(by_folder.name).config == store.open(by_file.name).config
    for record in (by_file, by_folder):
        removal = store.removal(record.name)
        assert removal.paths == ()
        assert "is yours and stays" in removal.stays
        assert store.remove(record.name) == []
    assert store.ls() == []
    assert (smollm2_path.stat().st_size, smollm2_path.stat().st_mtime_ns) == (size, changed)
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [smollm2_path.name, "notes.txt"]
    )


def test_removing_deletes_nothing_that_is_not_ours(store, tiny, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "readme.txt").write_text("a stranger's", encoding="utf-8")
    before = files_below(tmp_path)
    record = pull(str(tiny), store)
    assert store.remove("TINY") == []
    after = files_below(tmp_path)
    assert before.items() <= after.items()
    assert not store.record_file(record.name).exists()


def test_pulling_again_changes_nothing(store, tiny):
    first = pull(str(tiny), store)
    second = pull(str(tiny), store)
    assert (first.name, first.sha256, first.files) == (second.name, second.sha256, second.files)
    assert len(store.ls()) == 1


def test_models_of_one_name_are_told_apart(store, tiny, tmp_path):
    other = tmp_path / "other" / "tiny.gguf"
    other.parent.mkdir()
    write_gguf(other, "Q8_0")
    first, second = pull(str(tiny), store), pull(str(other), store)
    assert (first.name, second.name) == ("tiny", "tiny-2")
    assert store.find("tiny-2").path == other
    assert store.find(str(other)) == second


def test_what_is_not_there_names_what_is_near(store, tiny):
    with pytest.raises(NotFound, match="No model has been pulled yet.*tramontane pull smollm2"):
        store.find("tiny")
    pull(str(tiny), store)
    with pytest.raises(NotFound, match=r"no model 'tony'. did you mean tiny\?"):
        store.find("tony")
    with pytest.raises(NotFound, match="There are: tiny"):
        store.remove("zzz")
    with pytest.raises(ModelNotFound, match="neither smollm2, nor hf:owner/name, nor a file"):
        pull("no-such-thing", store)


def test_a_file_that_changed_is_noticed(store, tiny):
    record = pull(str(tiny), store)
    store.check(record)
    raw = bytearray(tiny.read_bytes())
    raw[-1] ^= 1
    tiny.write_bytes(raw)
    os.utime(tiny, ns=(1, 1))
    with pytest.raises(HashMismatch, match="has changed since tiny was recorded"):
        store.open("tiny")
    tiny.unlink()
    with pytest.raises(CheckpointError, match="this file of tiny is gone; `tramontane pull"):
        store.open("tiny")
    # It is only forgotten then, and that works.
    assert store.remove("tiny") == []
    assert store.ls() == []


def test_hashes_are_remembered_until_the_file_changes(store, tiny):
    hashed = []
    store.hashes.compute = lambda path: hashed.append(path) or sha256_of(path)
    for _ in range(3):
        assert store.hashes.sha256_of(tiny) == sha256_of(tiny)
    assert hashed == [tiny]
    os.utime(tiny, ns=(5, 5))
    store.hashes.sha256_of(tiny)
    assert hashed == [tiny, tiny]
    # What is remembered may be lost or damaged: it is only read again.
    for damage in ("", "[]", '{"a": 5}', json.dumps({str(tiny): "short"})):
        store.hashes.file.write_text(damage, encoding="utf-8")
        assert store.hashes.sha256_of(tiny) == sha256_of(tiny)


@pytest.mark.parametrize(
    "damage",
    ["", "[]", "{}", '{"name": "tiny"}', '{"files": 5}', '{"files": [{"path": 5}]}', "\x00"],
)
def test_a_damaged_record_is_named(store, tiny, damage):
    record = pull(str(tiny), store)
    file = store.record_file(record.name)
    file.write_text(damage, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tiny\.json: this record cannot be read.*delete it"):
        store.ls()


@pytest.mark.parametrize("name", ["../outside", "", ".hidden", "a/b", "a\0b"])
def test_no_record_lies_outside_the_folder(store, name):
    with pytest.raises(CheckpointError, match="cannot name a model"):
        store.record_file(name)


def test_the_models_folder_may_move(store, tiny, tmp_path):
    """What lies in it is kept by relative paths."""
    inside = store.folder / "mine" / "tiny.gguf"
    inside.parent.mkdir(parents=True)
    shutil.copy(tiny, inside)
    pull(str(inside), store)
    moved = Store(store.folder.rename(tmp_path / "moved"))
    assert moved.open("tiny").files == (tmp_path / "moved" / "mine" / "tiny.gguf",)


def test_a_model_that_cannot_be_opened_leaves_no_record(store, tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing more than that")
    with pytest.raises(CheckpointError):
        pull(str(tmp_path / "broken.gguf"), store)
    assert store.ls() == []

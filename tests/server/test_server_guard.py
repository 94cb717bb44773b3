"""Who is let in: our own page and programs that mean it; no other website, no rebound name."""

import pytest
from fake_desk import FakeDesk
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import HOME, PORT
from starlette.testclient import TestClient

from tramontane.server.app import Access, make_app
from tramontane.server.guard import Guard, split_host

NEEDED = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "frame-ancestors 'none'",
}


def bare_client(desk: FakeDesk, host: str = "127.0.0.1", port: int = PORT) -> TestClient:
    """Sends neither Origin nor anything else unasked."""
    return TestClient(make_app(desk, Access(host=host, port=port)), base_url=HOME)


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"[::1]:{PORT}"])
def test_loopback_names_are_ours(desk: FakeDesk, host: str):
    answer = bare_client(desk).get("/api/status", headers={"Host": host})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        f"attacker.example:{PORT}",
        f"127.0.0.1.attacker.example:{PORT}",
        f"localhost.attacker.example:{PORT}",
        "127.0.0.1",
        f"127.0.0.1:{PORT + 1}",
        f"127.0.0.1:{PORT}:{PORT}",
        f"127.0.0.1@attacker.example:{PORT}",
        f"[::1]x:{PORT}",
        f"192.168.0.9:{PORT}",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/main.js", "/api/status", "/api/nothing"])
def test_a_rebound_name_reads_nothing(desk: FakeDesk, host: str, path: str):
    answer = bare_client(desk).get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["kind"] == "WrongHost"


def test_two_hosts_are_no_host(desk: FakeDesk):
    hosts = [("Host", f"127.0.0.1:{PORT}"), ("Host", "attacker.example")]
    assert bare_client(desk).get("/api/status", headers=hosts).status_code == 421


def test_the_configured_host_is_ours(desk: FakeDesk):
    client = bare_client(desk, host="reading-room.lan")
    assert client.get("/", headers={"Host": f"reading-room.lan:{PORT}"}).status_code == 200
    assert client.get("/", headers={"Host": f"other.lan:{PORT}"}).status_code == 421


def test_listening_everywhere_trusts_addresses_but_no_names(desk: FakeDesk):
    client = bare_client(desk, host="0.0.0.0")
    assert client.get("/", headers={"Host": f"192.168.0.9:{PORT}"}).status_code == 200
    assert client.get("/", headers={"Host": f"attacker.example:{PORT}"}).status_code == 421


def test_port_80_needs_no_port_in_the_host(desk: FakeDesk):
    client = bare_client(desk, port=80)
    assert client.get("/", headers={"Host": "localhost"}).status_code == 200
    assert bare_client(desk).get("/", headers={"Host": "localhost"}).status_code == 421


@pytest.mark.parametrize(
    "path", ["/api/ask", "/api/sync", "/api/collections", "/api/search", "/api/experts/a/withdraw"]
)
@pytest.mark.parametrize(
    "origin",
    [
        "http://attacker.example",
        f"http://attacker.example:{PORT}",
        f"https://127.0.0.1:{PORT}",
        f"http://127.0.0.1:{PORT + 1}",
        f"http://localhost:{PORT}",
        "null",
        "",
        None,
    ],
)
def test_only_the_page_itself_may_act(desk: FakeDesk, path: str, origin: str | None):
    headers = {} if origin is None else {"Origin": origin}
    body = {"question": "garlic"}
    answer = bare_client(desk).post(path, json=body, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["kind"] == "WrongOrigin"
    assert desk.asked == []
    assert desk.synced == []


def test_a_program_says_that_it_means_it(desk: FakeDesk):
    client = bare_client(desk)
    means_it = {"X-Tramontane-Client": "a script"}
    body = {"question": "How many bulbs?"}
    assert client.post("/api/ask", json=body, headers=means_it).status_code == 200
    # The header doesn't excuse an Origin that is not ours.
    foreign = means_it | {"Origin": "http://attacker.example"}
    assert client.post("/api/ask", json=body, headers=foreign).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_what_a_form_can_send_is_no_request(client: TestClient, desk: FakeDesk, kind: str | None):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post("/api/ask", content=b'{"question": "garlic"}', headers=headers)
    assert answer.status_code == 415
    assert desk.asked == []


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_and_preflights_are_refused(client: TestClient, method: str):
    asks = {"Access-Control-Request-Method": "POST"}
    answer = client.request(method, "/api/ask", headers=asks)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/main.js", "/api/status", "/api/nothing", "/nothing"])
def test_every_answer_carries_the_policy(client: TestClient, path: str):
    for headers in ({}, {"Host": "attacker.example"}):
        answer = client.get(path, headers=headers)
        policy = set(answer.headers["content-security-policy"].split("; "))
        assert policy >= NEEDED
        assert not [part for part in policy if "unsafe" in part or "*" in part]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_answers_with_notes_in_them_are_not_stored(client: TestClient):
    note = client.get("/api/note", params={"collection": "garden", "path": "garlic.md"})
    assert note.headers["cache-control"] == "no-store"
    answer = client.post("/api/ask", json={"question": "garlic bulbs"})
    assert answer.headers["cache-control"] == "no-store"


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=127), max_size=40))
def test_a_host_is_ours_only_when_it_is_one_of_four(value: str):
    guard = Guard(lambda *_: None, host="127.0.0.1", port=PORT)
    ours = {f"{name}:{PORT}" for name in ("127.0.0.1", "localhost", "[::1]", "::1")}
    if guard.is_own_host(value):
        assert value.lower() in ours
    name, port = split_host(value)
    assert isinstance(name, str)
    assert isinstance(port, str)

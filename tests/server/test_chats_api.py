"""The history over HTTP: kept as answers end, each key's own, and never in an answer's way."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fake_desk import FakeDesk
from running_server import HOME, PORT, running
from starlette.testclient import TestClient
from test_server_api import events_of

from tramontane.errors import DiskFull
from tramontane.library.chats import NUM_LISTED, Chats
from tramontane.library.library import Library
from tramontane.server.app import Access, make_app
from tramontane.server.chats import History
from tramontane.server.wire import AskBody, event_of

PATIENCE_SECONDS = 20


@pytest.fixture
def chats(library: Library) -> Chats:
    return library.chats


@pytest.fixture
def client(desk: FakeDesk, chats: Chats) -> Iterator[TestClient]:
    app = make_app(desk, Access(host="127.0.0.1", port=PORT), chats=chats)
    headers = {"Origin": HOME}
    with TestClient(app, base_url=HOME, headers=headers, raise_server_exceptions=False) as client:
        yield client


def asked(client: TestClient, question: str, **more) -> list[tuple[str, dict]]:
    return events_of(client.post("/api/ask", json={"question": question, **more}).text)


def listed(client: TestClient, **query) -> list[dict]:
    return client.get("/api/chats", params=query).json()["chats"]


def test_what_was_sent_is_what_is_kept(client: TestClient):
    (name, told), *events = asked(client, "How many bulbs?")
    assert (name, told["why_not"]) == ("kept", None)
    (chat,) = listed(client)
    assert chat == {
        "id": told["id"],
        "question": "How many bulbs?",
        "asked": told["asked"],
        "state": "done",
        "collections": ["garden", "letters"],
        "experts": ["garden", "recipes"],
        "forgotten": {
            "sentences": 0, "passages": 0, "own_words": False, "question": False, "answer": False,
        },
    }  # fmt: skip
    whole = client.get(f"/api/chats/{told['id']}").json()["chat"]
    assert [tuple(event) for event in whole["events"]] == events
    assert [name for name, _ in events] == ["sources", "sentence", "done"]
    assert {name: whole[name] for name in chat} == chat


def test_where_it_looked_and_who_could_speak_is_kept(client: TestClient):
    asked(client, "How many bulbs?", collections=["garden"], experts=[])
    (chat,) = listed(client)
    assert (chat["collections"], chat["experts"]) == (["garden"], [])


def test_a_request_can_ask_that_nothing_be_kept(client: TestClient):
    assert [name for name, _ in asked(client, "How many bulbs?", keep=False)][0] == "sources"
    assert listed(client) == []


def test_a_server_can_keep_nothing_and_shows_what_there_was(desk: FakeDesk, chats: Chats):
    before = chats.begin("Before?", [], [])
    app = make_app(desk, Access(host="127.0.0.1", port=PORT), chats=chats, keeps_chats=False)
    with TestClient(app, base_url=HOME, headers={"Origin": HOME}) as client:
        assert [name for name, _ in asked(client, "How many bulbs?")][0] == "sources"
        told = client.get("/api/chats").json()
        assert told["keeps"] is False
        assert [chat["id"] for chat in told["chats"]] == [before.id]
        assert client.post("/api/chats/remove", json={"id": before.id}).status_code == 200


def test_a_list_goes_on_and_is_searched(client: TestClient, chats: Chats):
    for number in range(NUM_LISTED + 2):
        chats.begin(f"Question {number}?", [], [])
    first = client.get("/api/chats").json()
    assert (len(first["chats"]), first["has_more"], first["keeps"]) == (NUM_LISTED, True, True)
    last = first["chats"][-1]["id"]
    rest = client.get("/api/chats", params={"before": last}).json()
    assert [chat["question"] for chat in rest["chats"]] == ["Question 1?", "Question 0?"]
    assert rest["has_more"] is False
    asked(client, "How many bulbs?")
    for words, found in (("cloves FORTY", []), ("41 Cloves", ["How many bulbs?"])):
        assert [chat["question"] for chat in listed(client, words=words)] == found
    for query in ({"before": "x"}, {"words": "x" * 401}):
        assert client.get("/api/chats", params=query).status_code == 400


def test_an_old_answer_says_where_its_sources_are_now(client: TestClient, desk: FakeDesk):
    asked(client, "How many bulbs, and how much potash?")
    asked(client, "Is there a dragon?")
    desk.changed.add(("garden", "garlic.md"))
    dragon, bulbs = (
        client.get(f"/api/chats/{chat['id']}").json()["chat"] for chat in listed(client)
    )
    changed = "this note has changed since"
    assert [(now["number"], now["first_line"], now["remark"]) for now in bulbs["sources_now"]] == [
        (1, 5, changed),
        (2, 7, changed),
    ]
    assert [now["remark"] for now in dragon["sources_now"]] == [None]
    del desk.notes_of["garden"]["heap/compost.md"]
    dragon = client.get(f"/api/chats/{dragon['id']}").json()["chat"]
    assert dragon["sources_now"][0] == {
        "number": 1, "path": None, "first_line": None, "last_line": None,
        "remark": "this note is gone",
    }  # fmt: skip


def test_an_error_underway_is_kept_with_what_had_come_and_a_refusal_is_not(client: TestClient):
    for question, status in (("busy", 409), ("  ", 400)):
        assert client.post("/api/ask", json={"question": question}).status_code == status
    assert listed(client) == []
    asked(client, "break")
    (chat,) = listed(client)
    assert chat["state"] == "failed"
    events = client.get(f"/api/chats/{chat['id']}").json()["chat"]["events"]
    assert [name for name, _ in events] == ["sources", "error"]
    assert events[1][1]["message"] == "the model stopped underway; ask again"


def test_an_answer_is_written_before_its_end_is_told(desk: FakeDesk, chats: Chats):
    question = "How many bulbs?"
    events = desk.ask(question, collections=None, experts=None, own_words=False)
    states = []
    for name, _ in History(chats, desk).kept(
        map(event_of, events), AskBody(question=question), None
    ):
        (chat,) = chats.ls()
        states.append((name, chat.state))
    assert states == [
        ("kept", "unfinished"),
        ("sources", "unfinished"),
        ("sentence", "unfinished"),
        ("done", "done"),
    ]


def test_a_reader_who_leaves_leaves_an_unfinished_answer(desk: FakeDesk, chats: Chats):
    may_go_on = threading.Event()
    desk.gate = lambda: may_go_on.wait(PATIENCE_SECONDS)
    with running(desk, chats=chats) as server:
        with httpx.stream(
            "POST",
            f"{server.address}api/ask",
            json={"question": "How many bulbs?"},
            headers={"Origin": server.address.rstrip("/")},
        ) as answer:
            lines = answer.iter_lines()
            assert any(line == "event: sources" for line in lines)
        assert server.until_no_streams(PATIENCE_SECONDS)
        may_go_on.set()
        assert desk.was_closed.wait(PATIENCE_SECONDS)
    (chat,) = chats.ls()
    assert chat.state == "unfinished"
    assert [name for name, _ in chats.chat(chat.id).events][0] == "sources"
    assert "done" not in [name for name, _ in chats.chat(chat.id).events]


SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_desk import FakeDesk
from running_server import running
from tramontane.library.library import Library
library = Library(Path(sys.argv[2]))
desk = FakeDesk()
with running(desk, chats=library.chats) as server:
    print(server.address, flush=True)
    sys.stdin.readline()
"""


def test_a_server_killed_as_an_answer_ends_has_kept_it(tmp_path: Path):
    file = tmp_path / "library.sqlite"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(Path(__file__).parent), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    try:
        address = server.stdout.readline().strip()
        with httpx.stream(
            "POST",
            f"{address}api/ask",
            json={"question": "How many bulbs?"},
            headers={"Origin": address.rstrip("/")},
            timeout=PATIENCE_SECONDS,
        ) as answer:
            assert any(line == "event: done" for line in answer.iter_lines())
            os.kill(server.pid, signal.SIGKILL)
    finally:
        server.kill()
        server.wait(PATIENCE_SECONDS)
        server.stdin.close()
        server.stdout.close()
    with Library(file) as library:
        (chat,) = library.chats.ls()
        names = [name for name, _ in library.chats.chat(chat.id).events]
    assert (chat.question, chat.state) == ("How many bulbs?", "done")
    assert names == ["sources", "sentence", "done"]


@pytest.mark.parametrize("step", ["begin", "end"])
def test_an_answer_comes_even_where_it_cannot_be_kept(
    client: TestClient, chats: Chats, monkeypatch, step: str
):
    def full(*_: object, **__: object) -> None:
        raise DiskFull("library.sqlite: the disk is full")

    monkeypatch.setattr(chats, step, full)
    (name, told), *events = asked(client, "How many bulbs?")
    assert name == "kept"
    assert [name for name, _ in events] == ["sources", "sentence", "done"]
    if step == "begin":
        assert told == {"id": None, "asked": None, "why_not": "library.sqlite: the disk is full"}
    monkeypatch.undo()
    assert [chat["state"] for chat in listed(client)] == ([] if step == "begin" else ["unfinished"])


def test_each_key_sees_and_removes_its_own_and_only_manage_clears(desk: FakeDesk, library: Library):
    keys = {
        name: {"Authorization": f"Bearer {library.keys.add(name, scope)[1]}"}
        for name, scope in (("ada", "ask"), ("ben", "ask"), ("root", "manage"))
    }
    access = Access(host="127.0.0.1", port=PORT, keys=library.keys, needs_key=True)
    app = make_app(desk, access, chats=library.chats)
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as client:

        def of(name: str) -> list[dict]:
            return client.get("/api/chats", headers=keys[name]).json()["chats"]

        def post(name: str, path: str, body: dict) -> httpx.Response:
            return client.post(path, json=body, headers=keys[name])

        for name in keys:
            post(name, "/api/ask", {"question": f"How many bulbs, {name}?"})
        mine = {name: of(name) for name in keys}
        for name, chats in mine.items():
            assert [chat["question"] for chat in chats] == [f"How many bulbs, {name}?"]
        ada = mine["ada"][0]["id"]
        for other in ("ben", "root"):
            assert client.get(f"/api/chats/{ada}", headers=keys[other]).status_code == 404
            assert post(other, "/api/chats/remove", {"id": ada}).status_code == 404
        assert client.get("/api/chats").status_code == 401
        assert post("ada", "/api/chats/clear", {}).json()["error"]["kind"] == "NotAllowed"
        assert post("ada", "/api/chats/remove", {"id": ada}).status_code == 200
        assert (of("ada"), len(of("ben"))) == ([], 1)
        assert post("root", "/api/chats/clear", {}).json() == {"removed": 1}
        assert (len(of("ben")), of("root")) == (1, [])
        assert post("root", "/api/chats/clear", {"everyone": True}).json() == {"removed": 1}
        assert of("ben") == []


def test_what_is_kept_is_in_the_description(client: TestClient):
    document = json.loads(client.get("/openapi.json").text)
    asked_for = {p: set(methods) for p, methods in document["paths"].items() if "/chats" in p}
    assert asked_for == {
        "/api/chats": {"get"},
        "/api/chats/{id}": {"get"},
        "/api/chats/remove": {"post"},
        "/api/chats/clear": {"post"},
    }
    parameters = document["paths"]["/api/chats"]["get"]["parameters"]
    assert {p["name"]: p["required"] for p in parameters} == {"words": False, "before": False}

"""The endpoints: what comes back, in which order, and what an error says."""

import json
import logging

import pytest
from fake_desk import EXAMPLES, HOSTILE, FakeDesk
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tramontane.errors import RequestError
from tramontane.server.guard import MAX_BODY_BYTES
from tramontane.server.wire import AskBody, plain, read_body, to_json


def events_of(text: str) -> list[tuple[str, dict]]:
    """Returns the (name, data) of each server-sent event in a whole stream."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_status_says_how_far_the_base_can_be_trusted(client: TestClient, desk: FakeDesk):
    status = client.get("/api/status").json()
    assert status["quality"] == desk.status().quality
    assert status["can_write"] is False
    assert status["num_notes"] == 4


def test_examples(client: TestClient):
    assert client.get("/api/examples").json() == {"examples": EXAMPLES}


def test_the_salt_of_a_collection_stays_here(client: TestClient, desk: FakeDesk):
    answer = client.get("/api/collections")
    assert [c["name"] for c in answer.json()["collections"]] == ["garden", "letters"]
    assert "salt" not in answer.text
    assert desk.collections()[0].salt.hex() not in answer.text


def test_a_list_of_notes_comes_without_their_text(client: TestClient):
    notes = client.get("/api/notes", params={"collection": "garden"}).json()["notes"]
    assert [note["path"] for note in notes] == ["garlic.md", "heap/compost.md", "rope.md"]
    assert all("text" not in note for note in notes)


def test_a_note_comes_as_the_library_read_it(client: TestClient, desk: FakeDesk):
    place = {"collection": "letters", "path": "hostile.md"}
    note = client.get("/api/note", params=place).json()
    assert note["text"] == HOSTILE
    assert note["has_changed"] is False
    desk.changed.add(("letters", "hostile.md"))
    assert client.get("/api/note", params=place).json()["has_changed"] is True


PLACES_WITHOUT_NOTES = [("../..", "etc/passwd"), ("nowhere", "garlic.md")]


@pytest.mark.parametrize(
    ("collection", "path"),
    [
        *PLACES_WITHOUT_NOTES,
        ("garden", "../../../etc/passwd"),
        ("garden", "/etc/passwd"),
        ("garden", "heap/../../secret"),
        ("garden", "garlic.md\0.txt"),
    ],
)
def test_no_path_leaves_its_collection(
    client: TestClient, desk: FakeDesk, collection: str, path: str
):
    answer = client.get("/api/note", params={"collection": collection, "path": path})
    assert answer.status_code == 404
    assert answer.json()["error"]["kind"] == "NotFound"
    # What climbs or begins at the root never reaches the desk, whatever a desk would make of it.
    assert desk.looked_up == [p for p in [(collection, path)] if p in PLACES_WITHOUT_NOTES]


def test_search_looks_where_it_is_told(client: TestClient):
    hits = client.post("/api/search", json={"words": "potash"}).json()["hits"]
    assert [(hit["path"], hit["first_line"]) for hit in hits] == [("garlic.md", 5)]
    nowhere = client.post("/api/search", json={"words": "potash", "collections": ["letters"]})
    assert nowhere.json()["hits"] == []


def test_an_answer_streams_in_order(client: TestClient):
    answer = client.post("/api/ask", json={"question": "How many bulbs?", "own_words": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer.text)
    assert [name for name, _ in events] == ["sources", "sentence", *["own_words"] * 5, "done"]
    assert events[0][1]["sources"][0]["first_line"] == 3
    assert events[1][1]["kind"] == "quotation"
    assert events[1][1]["shares"] == {"garden": 0.31, "recipes": 0.04}


def test_what_was_asked_reaches_the_desk(client: TestClient, desk: FakeDesk):
    asked = {
        "question": "How many bulbs?",
        "collections": ["garden"],
        "experts": [],
        "own_words": True,
    }
    client.post("/api/ask", json=asked)
    client.post("/api/ask", json={"question": "How many bulbs?"})
    assert desk.asked[0] == asked
    assert desk.asked[1] == asked | {"collections": None, "experts": None, "own_words": False}


def test_abstaining_is_an_answer(client: TestClient):
    events = events_of(client.post("/api/ask", json={"question": "Is there a dragon?"}).text)
    assert [name for name, _ in events] == ["abstained", "done"]
    assert events[0][1]["closest"]["path"] == "heap/compost.md"


@pytest.mark.parametrize(
    ("question", "status", "kind"),
    [("  ", 400, "RequestError"), ("busy", 409, "Busy"), ("defect", 200, "InternalError")],
)
def test_an_error_before_the_first_event(client: TestClient, question: str, status: int, kind: str):
    answer = client.post("/api/ask", json={"question": question})
    assert answer.status_code == status
    error = answer.json()["error"] if status != 200 else events_of(answer.text)[-1][1]
    assert error["kind"] == kind
    assert error["message"]


def test_an_error_underway_is_the_last_event(client: TestClient):
    events = events_of(client.post("/api/ask", json={"question": "break"}).text)
    assert [name for name, _ in events] == ["sources", "error"]
    assert "ask again" in events[1][1]["message"]


def test_a_defect_is_told_apart_and_keeps_the_question_out_of_the_answer(
    client: TestClient, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_args: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(desk, "status", fail)
    answer = client.get("/api/status")
    assert answer.status_code == 500
    assert answer.json()["error"]["kind"] == "InternalError"
    assert "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_neither_questions_nor_notes_are_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG):
        client.post("/api/ask", json={"question": "How many quincunx bulbs?"})
        client.post("/api/search", json={"words": "quincunx"})
        client.post("/api/ask", json={"question": "quincunx", "extra": 1})
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "quincunx" not in said
    assert "41 cloves" not in said


def test_a_new_collection_reports_progress_then_what_was_read(client: TestClient, desk: FakeDesk):
    answer = client.post("/api/collections", json={"name": "mine", "folder": "/home/me/notes"})
    events = events_of(answer.text)
    assert events[-1][0] == "report"
    assert events[-1][1]["added"] == ["first.md"]
    assert events[-1][1]["skipped"][0]["reason"] == "not a text file"
    assert ("progress", {"what": "reading", "done": 2, "total": 2}) in events
    assert str(desk.folders["mine"]) == "/home/me/notes"


@pytest.mark.parametrize("folder", ["notes", "./notes", "", "/a\0b", "~nobody-of-that-name/notes"])
def test_a_folder_must_be_a_whole_path(client: TestClient, desk: FakeDesk, folder: str):
    answer = client.post("/api/collections", json={"name": "mine", "folder": folder})
    assert answer.status_code == 400
    assert "mine" not in desk.notes_of


def test_sync_shows_before_it_does(client: TestClient, desk: FakeDesk):
    for dry_run in (True, False):
        answer = client.post("/api/sync", json={"name": "garden", "dry_run": dry_run})
        assert events_of(answer.text)[-1][1]["is_dry_run"] is dry_run
    assert desk.synced == [("garden", True), ("garden", False)]


def test_withdraw_and_restore(client: TestClient, desk: FakeDesk):
    certificate = client.post("/api/experts/garden/withdraw", json={}).json()["certificate"]
    assert certificate["is_exact"] is True
    assert desk.cards["garden"].is_withdrawn
    assert client.post("/api/experts/garden/restore", json={}).json()["expert"]["is_in_place"]
    assert not desk.cards["garden"].is_withdrawn
    assert client.post("/api/experts/nobody/withdraw", json={}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"question"',
        b"\xff\xfe",
        b'{"question": 3}',
        b'{"question": "a", "temperature": 1}',
        b'{"question": "a", "own_words": "yes"}',
        b'{"question": "a", "experts": "garden"}',
        b'{"question": "a", "experts": [1]}',
        b"[" * 20_000,
    ],
)
def test_a_wrong_body_is_refused_and_never_asked(client: TestClient, desk: FakeDesk, body: bytes):
    answer = client.post("/api/ask", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["kind"] == "RequestError"
    assert desk.asked == []


def test_an_unknown_field_is_refused_by_name(client: TestClient):
    answer = client.post("/api/ask", json={"question": "a", "temperature": 1})
    assert "temperature" in answer.json()["error"]["message"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_body_or_a_clear_error(data: bytes):
    try:
        body = read_body(data, AskBody)
    except RequestError as error:
        assert "fields: question, collections, experts, own_words" in str(error)  # noqa: PT017
    else:
        assert isinstance(body.question, str)


def test_a_body_is_bounded_whatever_its_header_says(client: TestClient, desk: FakeDesk):
    long = json.dumps({"question": "a" * MAX_BODY_BYTES}).encode()
    kind = {"Content-Type": "application/json"}
    declared = client.post("/api/ask", content=long, headers=kind)
    undeclared = client.post("/api/ask", content=iter([long[:9], long[9:]]), headers=kind)
    assert "content-length" not in undeclared.request.headers
    for answer in (declared, undeclared):
        assert answer.status_code == 413
        assert answer.json()["error"]["kind"] == "TooLarge"
        assert f"{MAX_BODY_BYTES:,} bytes are the most" in answer.json()["error"]["message"]
    assert f"has {len(long):,} bytes" in declared.json()["error"]["message"]
    assert desk.asked == []


def test_a_body_of_the_largest_size_passes(client: TestClient, desk: FakeDesk):
    frame = len(json.dumps({"question": ""}))
    answer = client.post("/api/ask", json={"question": "a" * (MAX_BODY_BYTES - frame - 8)})
    assert answer.status_code == 200
    assert len(desk.asked) == 1


def test_numbers_that_json_lacks_become_null():
    assert json.loads(to_json({"a": float("nan"), "b": [float("inf"), 1.5]})) == {
        "a": None,
        "b": [None, 1.5],
    }


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats() | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(plain_values)
def test_whatever_front_matter_holds_can_be_sent(value: object):
    assert json.loads(to_json(value)) == plain(value)

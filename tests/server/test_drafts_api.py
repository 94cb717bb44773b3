"""Drafts over HTTP: outline, writing, what is kept, acts on sentences, files; what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_desk import FakeDesk
from kept_drafts import LEEKS, garden_drafts
from running_server import HOME, PORT
from starlette.testclient import TestClient

from tramontane.cli.draft_desk import RealDrafts
from tramontane.library import whereabouts
from tramontane.library.library import Library
from tramontane.server.app import Access, make_app
from tramontane.server.drafts import Kept, WriteBody

GARDEN = Path(__file__).parents[2] / "examples" / "notes" / "garden"
FRANCS = "The leeks cost 900 francs in Paris."


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[RealDrafts]:
    with garden_drafts(tmp_path_factory.mktemp("drafts"), GARDEN) as desk:
        yield desk


@pytest.fixture
def client(desk: RealDrafts) -> Iterator[TestClient]:
    app = make_app(FakeDesk(), Access(host="127.0.0.1", port=PORT), drafts=desk)
    headers = {"Origin": HOME}
    with TestClient(app, base_url=HOME, headers=headers, raise_server_exceptions=False) as client:
        yield client


def written(client: TestClient, **asked) -> tuple[list[tuple[str, dict]], int]:
    """Returns the events of a draft, and the id under which it was kept."""
    answer = client.post("/api/write", json={"task": LEEKS} | asked)
    assert answer.status_code == 200, answer.text
    events = []
    for block in answer.text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in lines:
            events.append((lines["event"], json.loads(lines["data"])))
    assert events[-1][0] == "kept", events[-1]
    return events, events[-1][1]["id"]


def revised(client: TestClient, draft: int, **asked) -> Any:
    version = client.get(f"/api/drafts/{draft}").json()["version"]["number"]
    body = {"version": version, "section": 0, "place": 0} | asked
    return client.post(f"/api/drafts/{draft}/revise", json=body)


def test_an_outline_names_notes_and_passages_and_keeps_nothing(client: TestClient):
    before = client.get("/api/drafts").json()
    planned = client.post("/api/outline", json={"task": LEEKS, "form": "letter"}).json()
    assert 1 <= len(planned["sections"]) <= 3
    for section in planned["sections"]:
        assert section["collection"] == "garden"
        assert {source["path"] for source in section["sources"]} == {section["path"]}
    assert client.get("/api/drafts").json() == before


def test_a_draft_comes_as_its_outline_was_changed_and_is_kept(client: TestClient):
    planned = client.post("/api/outline", json={"task": LEEKS}).json()["sections"]
    chosen = [
        {"collection": one["collection"], "path": one["path"], "heading": f"About {at}"}
        for at, one in enumerate(reversed(planned))
    ]
    events, draft = written(client, chosen=chosen, words=400)
    headings = [data["text"] for name, data in events if name == "heading"]
    assert headings == [one["heading"] for one in chosen][: len(headings)]
    assert len(headings) > 1
    kept = client.get(f"/api/drafts/{draft}").json()
    assert kept["head"]["task"] == LEEKS
    assert (kept["head"]["words"], kept["head"]["is_finished"]) == (400, True)
    said = [data["text"] for name, data in events if name == "sentence"]
    pieces = [piece for section in kept["sections"] for piece in section["pieces"]]
    assert [piece["text"] for piece in pieces] == said
    assert all(where["state"] == "current" for where in kept["where"].values())
    assert client.get("/api/drafts").json()["drafts"][0]["id"] == draft


def test_what_the_notes_don_t_say_is_not_kept(client: TestClient):
    before = client.get("/api/drafts").json()
    answer = client.post("/api/write", json={"task": "mortgage rates of astronauts"})
    assert "event: abstained" in answer.text
    assert "event: kept" not in answer.text
    assert client.get("/api/drafts").json() == before


def test_a_sentence_is_said_otherwise_marked_quoted_and_undone(client: TestClient):
    _, draft = written(client)
    first = client.get(f"/api/drafts/{draft}").json()["sections"][0]["pieces"][0]
    told = revised(client, draft, act="rewrite", text=FRANCS).json()
    piece = told["sections"][0]["pieces"][0]
    assert (piece["text"], piece["mark"]) == (FRANCS, "unsupported")
    assert {"900", "francs", "Paris"} <= set(piece["missing"])
    told = revised(client, draft, act="accept").json()
    assert told["sections"][0]["pieces"][0]["is_accepted"]
    told = revised(client, draft, act="rewrite", text=first["text"]).json()
    assert told["sections"][0]["pieces"][0]["mark"] == "supported"
    told = revised(client, draft, act="add", place=-1, text=FRANCS).json()
    assert told["sections"][0]["pieces"][0]["text"] == FRANCS
    told = revised(client, draft, act="remove").json()
    assert told["sections"][0]["pieces"][0]["text"] == first["text"]
    told = client.post(f"/api/drafts/{draft}/restore", json={"version": 1}).json()
    assert told["sections"][0]["pieces"][0] == first
    assert [version["number"] for version in told["versions"]] == list(range(1, 8))
    old = client.get(f"/api/drafts/{draft}", params={"version": 2}).json()
    assert old["sections"][0]["pieces"][0]["text"] == FRANCS


def test_who_acts_on_an_older_version_is_told(client: TestClient):
    _, draft = written(client)
    revised(client, draft, act="remove")
    stale = {"version": 1, "section": 0, "place": 0, "act": "remove"}
    answer = client.post(f"/api/drafts/{draft}/revise", json=stale)
    assert answer.status_code == 409
    assert "changed meanwhile" in answer.json()["error"]["message"]


def test_files_are_for_saving_and_could_do_nothing(client: TestClient):
    _, draft = written(client)
    for kind, media in (("markdown", "text/markdown"), ("html", "text/html")):
        answer = client.get(f"/api/drafts/{draft}/{kind}")
        assert answer.headers["content-type"].startswith(media)
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert "growing%20leeks" in answer.headers["content-disposition"]
        assert "sandbox" in answer.headers["content-security-policy"]
        assert LEEKS in answer.text
    assert 'href="file://' in answer.text


def test_sources_say_what_became_of_their_notes(tmp_path: Path, garden: Path):
    folder = tmp_path / "garden"
    folder.mkdir()
    for note in garden.glob("*.md"):
        (folder / note.name).write_bytes(note.read_bytes())
    with garden_drafts(tmp_path / "home", folder) as desk:
        (kept,) = [e for e in desk.write(WriteBody(task=LEEKS)) if isinstance(e, Kept)]
        draft = desk.draft(kept.id)
        paths = {source.path for section in draft["sections"] for source in section.sources}
        assert len(paths) > 1
        gone, edited = sorted(paths)[:2]
        (folder / gone).unlink()
        (folder / edited).write_text("New first line.\n" + (folder / edited).read_text())
        draft = desk.draft(kept.id)
        for section in draft["sections"]:
            for source in section.sources:
                where = draft["where"][str(source.number)]
                if source.path == gone:
                    assert (where.state, where.file) == ("gone", None)
                elif source.path == edited:
                    assert where.state == "changed"
                    assert where.first_line == source.first_line + 1
                else:
                    assert where.state == "current"
        desk.parts.library.remove_collection("garden")
        draft = desk.draft(kept.id)
        assert {where.state for where in draft["where"].values()} == {"gone"}
        assert "no longer in the library" in next(iter(draft["where"].values())).remark


def test_opening_a_draft_reads_each_file_once(tmp_path: Path, monkeypatch):
    """A draft may rest on ten passages of one PDF, which takes long to read."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("leeks", "beans"):
        parts = (f"## Part {n}\n\nFact {n} on {name}. {'More of it. ' * 60}\n" for n in range(4))
        (folder / f"{name}.md").write_text("\n".join(parts))
    with garden_drafts(tmp_path / "home", folder) as desk:
        *_, kept = desk.write(WriteBody(task="facts on leeks and beans", form="report"))
        for file in folder.iterdir():
            file.write_text(f"Written above.\n\n{file.read_text()}")
        read, real = [], whereabouts.read_note
        monkeypatch.setattr(
            whereabouts, "read_note", lambda path, *rest: read.append(path) or real(path, *rest)
        )
        told = desk.draft(kept.id)
        assert len(told["where"]) > 2
        assert {where.state for where in told["where"].values()} == {"changed"}
        assert sorted(read) == ["beans.md", "leeks.md"]
        desk.html(kept.id)
        assert len(read) == 4


def test_broken_off_it_keeps_what_stands(desk: RealDrafts):
    events = desk.write(WriteBody(task=LEEKS))
    num_sentences = 0
    while num_sentences < 2:
        num_sentences += type(next(events)).__name__ == "Sentence"
    events.close()
    head = desk.drafts()[0]
    assert not head.is_finished
    pieces = [piece for part in desk.draft(head.id)["sections"] for piece in part.pieces]
    assert len(pieces) == 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"task": "  "}, "empty"),
        ({"task": "word " * 50_000}, "too long"),
        ({"task": LEEKS, "form": "sonnet"}, "no form 'sonnet'"),
        ({"task": LEEKS, "words": 10}, "words=10"),
        ({"task": LEEKS, "chosen": []}, "sections=0"),
    ],
)
def test_bad_tasks_are_refused_in_words(client: TestClient, asked, said):
    answer = client.post("/api/write", json=asked)
    assert answer.status_code in (400, 413)
    assert said in answer.json()["error"]["message"].lower() or answer.status_code == 413


def test_what_isn_t_there_is_not_found(client: TestClient):
    _, draft = written(client)
    for path in ("99999", "0", "x", "9" * 40):
        assert client.get(f"/api/drafts/{path}").status_code == 404
    assert client.get(f"/api/drafts/{draft}", params={"version": "x"}).status_code == 400
    assert client.get(f"/api/drafts/{draft}", params={"version": 9}).status_code == 404
    assert revised(client, draft, section=99, act="remove").status_code == 404
    assert revised(client, draft, place=99, act="remove").status_code == 404
    assert revised(client, draft, act="rewrite").status_code == 400
    assert revised(client, draft, act="sing").status_code == 400
    gone = {"collection": "garden", "path": "../../etc/passwd"}
    answer = client.post("/api/write", json={"task": LEEKS, "chosen": [gone]})
    assert answer.status_code == 404
    lost = client.post("/api/outline", json={"task": LEEKS, "collections": ["attic"]})
    assert lost.status_code == 404


def test_deleting_takes_all_versions(client: TestClient):
    _, draft = written(client)
    assert client.post(f"/api/drafts/{draft}/delete", json={}).json() == {"deleted": draft}
    assert client.get(f"/api/drafts/{draft}").status_code == 404


def test_a_key_that_may_ask_can_t_keep_or_change_a_draft(desk: RealDrafts, tmp_path: Path):
    with Library(tmp_path / "keys.sqlite") as library:
        _, secret = library.keys.add("reader", "ask")
        access = Access(host="127.0.0.1", port=PORT, keys=library.keys, needs_key=True)
        app = make_app(FakeDesk(), access, drafts=desk)
        headers = {"Authorization": f"Bearer {secret}", "X-Tramontane-Client": "test"}
        with TestClient(app, base_url=HOME, headers=headers) as reader:
            assert reader.get("/api/drafts").status_code == 200
            assert reader.post("/api/outline", json={"task": LEEKS}).status_code == 200
            for path, body in (
                ("write", {"task": LEEKS}),
                ("drafts/1/delete", {}),
                ("drafts/1/restore", {"version": 1}),
            ):
                assert reader.post(f"/api/{path}", json=body).status_code == 403

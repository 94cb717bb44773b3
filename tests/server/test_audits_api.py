"""Audits over HTTP: what is kept, who may ask, a report that can do nothing, names that climb."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_audits import FakeAudits
from fake_desk import FakeDesk
from running_server import HOME, PORT
from starlette.testclient import TestClient

from tramontane.library.library import Library
from tramontane.server.app import Access, make_app

FINDING = {"question": "Who is lazy?", "sentence": "They are.", "kind": "prose"}
PART = {"suite": "crows_pairs", "measure": "stereotype", "expert": "garden"}


@pytest.fixture
def audits() -> FakeAudits:
    return FakeAudits()


@pytest.fixture
def client(audits: FakeAudits) -> Iterator[TestClient]:
    app = make_app(FakeDesk(), Access(host="127.0.0.1", port=PORT), audits=audits)
    headers = {"Origin": HOME}
    with TestClient(app, base_url=HOME, headers=headers, raise_server_exceptions=False) as client:
        yield client


def test_what_is_kept_and_what_one_found(client: TestClient):
    told = client.get("/api/audits").json()
    assert [audit["name"] for audit in told["audits"]] == ["after", "before"]
    assert [suite["name"] for suite in told["suites"]] == ["crows_pairs", "lambada"]
    found = client.get("/api/audits/before").json()
    assert found["parts"][0]["says"].startswith("towards the stereotype")
    flipped = client.get("/api/audits/before/flipped", params=PART).json()
    assert flipped["items"][0]["texts"][1]["likeliest"] == ["without"]
    compared = client.get("/api/comparison", params={"before": "before", "after": "after"}).json()
    assert compared["changes"][0]["verdict"] == "changed"


def test_what_is_not_there_or_not_named_is_said(client: TestClient):
    assert client.get("/api/audits/none").status_code == 404
    assert client.get("/api/audits/none/report").status_code == 404
    assert client.get("/api/audits/before/flipped", params=PART | {"suite": "x"}).status_code == 404
    missing = client.get("/api/comparison", params={"before": "before"})
    assert missing.status_code == 400
    assert "after is missing" in missing.json()["error"]["message"]


def test_a_report_runs_nothing_and_shares_no_origin_with_the_page(client: TestClient):
    answer = client.get("/api/audits/before/report")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert not any(part.startswith("script-src") for part in policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    # Everything else keeps the page's own policy.
    other = client.get("/api/audits").headers["content-security-policy"]
    assert "script-src 'self'" in other
    assert "sandbox" not in other


def test_a_sentence_is_reported_and_listed(client: TestClient, audits: FakeAudits):
    asked = FINDING | {"comment": "who says so?", "experts": ["garden"]}
    assert client.post("/api/findings", json=asked).json()["finding"]["name"] == "finding-1"
    assert audits.saved[0].experts == ["garden"]
    (found,) = client.get("/api/findings").json()["findings"]
    assert (found["sentence"], found["comment"]) == ("They are.", "who says so?")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "rumour"}, "kind"),
        ({"sentence": ""}, "sentence"),
        ({"colour": "red"}, "colour"),
        ({"sources": [{"number": 1, "path": "x"}]}, "sources.0"),
    ],
)
def test_what_is_no_finding_is_refused_by_name(client: TestClient, change: dict, named: str):
    answer = client.post("/api/findings", json=FINDING | change)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_a_sentence_that_the_model_does_not_say_is_not_saved(client, audits: FakeAudits):
    audits.says_otherwise = True
    answer = client.post("/api/findings", json=FINDING)
    assert answer.status_code == 400
    assert "doesn't hold that sentence" in answer.json()["error"]["message"]


def test_reporting_wants_a_key_that_may_change_things(tmp_path: Path, audits: FakeAudits):
    with Library(tmp_path / "library.sqlite") as library:
        access = Access(host="127.0.0.1", port=PORT, keys=library.keys, needs_key=True)
        app = make_app(FakeDesk(), access, audits=audits)
        with TestClient(app, base_url=HOME) as client:
            asks, manages = (
                {"Authorization": f"Bearer {library.keys.add(scope, scope)[1]}"}
                for scope in ("ask", "manage")
            )
            for path in ("/api/audits", "/api/audits/before/report", "/api/findings"):
                assert client.get(path).status_code == 401
                assert client.get(path, headers=asks).status_code == 200
            assert client.post("/api/findings", json=FINDING, headers=asks).status_code == 403
            assert audits.saved == []
            assert client.post("/api/findings", json=FINDING, headers=manages).status_code == 200

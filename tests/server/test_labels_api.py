"""Labelling over HTTP on a real library: each step, what is kept, and bad input by name."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_desk import FakeDesk
from running_server import HOME, PORT
from starlette.testclient import TestClient

from tramontane.cli.labels import RealLabels
from tramontane.cli.parts import Parts
from tramontane.server.app import Access, make_app
from tramontane.settings import Settings
from tramontane.writing.events import Sentence, Source, Sources
from tramontane.writing.promise import fewest_labels

NOTES = {
    "garlic.md": "# Garlic\n\nGarlic went in on 28 October, forty cloves of Germidour.\n",
    "heap.md": "# Heap\n\nThe compost heap was turned in March and peaked at 63 degrees.\n",
}
BACKED = "Garlic went in on 28 October, forty cloves of Germidour."
INVENTED = "Garlic was sold to Ferdinand in Lisbon for 9,999 euros."
PATHS = {
    "/api/labels": {"collection": "garden", "text": BACKED},
    "/api/labels/next": {"collection": "garden", "kind": "own"},
    "/api/labels/judge": {"id": 1, "verdict": "supported"},
    "/api/labels/undo": {"collection": "garden", "kind": "own"},
    "/api/labels/calibrate": {"collection": "garden"},
}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    folder = tmp_path / "garden"
    folder.mkdir()
    for name, text in NOTES.items():
        (folder / name).write_text(text, encoding="utf-8")
    parts = Parts(Settings(home=tmp_path / "home", base="none-is-here"))
    parts.library.add_collection("garden", folder)
    parts.library.sync("garden")
    yield parts
    parts.close()


@pytest.fixture
def labels(parts: Parts) -> RealLabels:
    return RealLabels(parts)


@pytest.fixture
def client(labels: RealLabels, parts: Parts) -> Iterator[TestClient]:
    access = Access(host="127.0.0.1", port=PORT, keys=parts.library.keys)
    app = make_app(FakeDesk(), access, labels=labels)
    headers = {"Origin": HOME}
    with TestClient(app, base_url=HOME, headers=headers, raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, step: str, **body) -> dict:
    answer = client.post(f"/api/labels/{step}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def give_text(client: TestClient, text: str) -> dict:
    """Returns the last event of reading a text."""
    answer = client.post("/api/labels", json={"collection": "garden", "text": text})
    assert answer.status_code == 200, answer.text
    name, data = answer.text.strip().split("\r\n\r\n")[-1].split("\r\n")
    assert name == "event: labels"
    return json.loads(data.removeprefix("data: "))


def own(told: dict) -> dict:
    return next(kind for kind in told["kinds"] if kind["kind"] == "own")


def refused(client: TestClient, status: int, path: str, **body) -> str:
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


def test_nothing_is_labelled_at_first(client: TestClient):
    told = client.get("/api/labels", params={"collection": "garden"}).json()
    assert (told["collection"], told["can_write"]) == ("garden", False)
    assert own(told)["num_waiting"] == own(told)["num_supported"] == 0
    assert own(told)["num_wanted"] == fewest_labels(0.1)
    assert own(told)["promise"] is None


def test_sentences_of_a_text_wait_and_come_with_passages_that_open(client: TestClient):
    told = give_text(client, f"{BACKED}\n\n{INVENTED}\n\n12 34\n")
    assert (told["num_found"], told["num_new"], own(told)["num_waiting"]) == (2, 2, 2)
    assert give_text(client, BACKED)["num_new"] == 0
    asked = post(client, "next", collection="garden", kind="own")["sentence"]
    assert asked["sentence"] in (BACKED, INVENTED)
    nearest = asked["passages"][0]
    assert nearest["path"] == "garlic.md"
    note = client.get("/api/note", params={"collection": "garden", "path": "garlic.md"})
    assert note.status_code == 200
    lines = NOTES["garlic.md"].splitlines()[nearest["first_line"] - 1 : nearest["last_line"]]
    assert nearest["text"] == "\n".join(lines)
    marked = {nearest["text"][begin:end] for begin, end in nearest["shared"]}
    # Every word of the note's only sentence that carries meaning, or the one that both have.
    wanted = {"Garlic", "28", "October", "forty", "cloves", "Germidour"}
    assert marked >= wanted if asked["sentence"] == BACKED else marked == {"Garlic"}


def test_verdicts_count_are_taken_back_and_given_anew(client: TestClient):
    give_text(client, f"{BACKED}\n\n{INVENTED}\n")
    first = post(client, "next", collection="garden", kind="own")["sentence"]
    told = own(post(client, "judge", id=first["id"], verdict="partly"))
    assert (told["num_waiting"], told["num_partly"]) == (1, 1)
    second = post(client, "next", collection="garden", kind="own")["sentence"]
    assert second["id"] != first["id"]
    told = own(post(client, "judge", id=second["id"], verdict="skipped"))
    assert (told["num_waiting"], told["num_skipped"]) == (0, 1)
    assert told["num_wanted"] == fewest_labels(0.1) - 1
    assert post(client, "next", collection="garden", kind="own")["sentence"] is None
    for taken in (second, first):
        told = post(client, "undo", collection="garden", kind="own")
        assert (told["taken_back"], told["sentence"]) == (taken["sentence"], taken)
    assert own(told)["num_waiting"] == 2
    told = post(client, "undo", collection="garden", kind="own")
    assert (told["taken_back"], told["sentence"]) == (None, None)


def test_a_sentence_is_judged_once(client: TestClient, labels: RealLabels):
    give_text(client, BACKED)
    number = post(client, "next", collection="garden", kind="own")["sentence"]["id"]
    post(client, "judge", id=number, verdict="supported")
    for verdict in ("supported", "unsupported"):
        said = refused(client, 400, "/api/labels/judge", id=number, verdict=verdict)
        assert "judged before: supported" in said
    (kept,) = labels.parts.library.support_labels.judged("garden")
    assert kept.verdict == "supported"


def test_a_sentence_whose_note_has_changed_is_left_out_and_told(
    client: TestClient, parts: Parts, tmp_path: Path
):
    give_text(client, f"{BACKED}\n\n{INVENTED}\n")
    first = post(client, "next", collection="garden", kind="own")["sentence"]
    post(client, "judge", id=first["id"], verdict="supported")
    (tmp_path / "garden" / "garlic.md").write_text("# Garlic\n\nOther words.\n", encoding="utf-8")
    parts.library.sync("garden")
    told = post(client, "next", collection="garden", kind="own")
    assert (told["sentence"], told["num_stale"], own(told)["num_waiting"]) == (None, 1, 0)
    told = post(client, "undo", collection="garden", kind="own")
    assert (told["taken_back"], told["sentence"]) == (first["sentence"], None)


def test_calibrating_promises_in_words_or_says_how_many_more(client: TestClient):
    few = fewest_labels(0.1) - 2
    judge_all(client, [f"Garlic went in on 28 October, forty cloves, {n}." for n in range(few)])
    (made,) = post(client, "calibrate", collection="garden")["calibrations"]
    assert made["promise"] is None
    assert made["num_more"] == 2
    assert "label 2 more" in made["refusal"]
    judge_all(client, [f"Forty cloves of Germidour went in, {n}." for n in range(20)])
    told = post(client, "calibrate", collection="garden", error=0.2)
    (made,) = told["calibrations"]
    assert made["refusal"] is None
    assert "at most 20% are not, on text like your calibration set" in made["promise"]
    assert made["retention"] == 1.0
    low, high = made["retention_interval"]
    assert 0.8 < low < high == 1.0
    assert f"{low:.0%} to 100%" in made["promise"]
    assert own(told)["promise"] == made["promise"]
    asked = client.get("/api/labels", params={"collection": "garden"}).json()
    assert own(asked)["promise"] == made["promise"]


def judge_all(client: TestClient, sentences: list[str]) -> None:
    give_text(client, "\n\n".join(sentences))
    while asked := post(client, "next", collection="garden", kind="own")["sentence"]:
        post(client, "judge", id=asked["id"], verdict="supported")


def test_nothing_labelled_promises_nothing(client: TestClient):
    assert post(client, "calibrate", collection="garden")["calibrations"] == []


class Says:
    """A writer that says two sentences about each note, and counts how often it was asked."""

    can_write = True

    def __init__(self, library):
        self.library, self.asked = library, []

    def ask(self, question, *, collections, with_shares):
        self.asked.append(question)
        note = next(n for n in self.library.notes("garden") if n.title in question)
        text = note.text.splitlines()[2]
        yield Sources((Source(1, "garden", note.path, note.title, 3, 3, text, note.sha256),))
        for words in ("is in these notes", "was seen in Lisbon"):
            yield Sentence(f"{note.title} {words}.", "prose", 1)


def test_the_base_writes_sentences_note_by_note_and_none_is_lost(
    client: TestClient, labels: RealLabels, monkeypatch
):
    refusal = refused(client, 400, "/api/labels/next", collection="garden", kind="prose")
    assert "writer's check" in refusal
    says = Says(labels.parts.library)
    monkeypatch.setattr(labels.parts, "writer", lambda experts=None: says)
    assert client.get("/api/labels", params={"collection": "garden"}).json()["can_write"]
    seen = []
    while asked := post(client, "next", collection="garden", kind="prose")["sentence"]:
        post(client, "judge", id=asked["id"], verdict="unsupported")
        seen.append(asked["sentence"])
        if len(seen) == 1:
            # As after a restart: the rest of the first note still waits.
            labels.prose.clear()
    assert sorted(seen) == [
        f"{title} {words}."
        for title in ("Garlic", "Heap")
        for words in ("is in these notes", "was seen in Lisbon")
    ]
    assert len(says.asked) == 2


@pytest.mark.parametrize(
    ("path", "change", "status", "named"),
    [
        ("/api/labels", {"collection": "cellar"}, 404, "cellar"),
        ("/api/labels/next", {"collection": "cellar"}, 404, "cellar"),
        ("/api/labels/undo", {"collection": "cellar"}, 404, "cellar"),
        ("/api/labels/calibrate", {"collection": "cellar"}, 404, "cellar"),
        ("/api/labels/judge", {"id": 99}, 404, "99"),
        ("/api/labels/judge", {"id": 2**70}, 400, "id"),
        ("/api/labels/judge", {"id": "1"}, 400, "id"),
        ("/api/labels/judge", {"verdict": "maybe"}, 400, "'partly'"),
        ("/api/labels/next", {"kind": "poem"}, 400, "kind"),
        ("/api/labels/undo", {"kind": "quotation"}, 400, "kind"),
        ("/api/labels", {"text": " \n 12 \n"}, 400, "no sentence"),
        ("/api/labels", {"text": ""}, 400, "text"),
        ("/api/labels", {"text": "word " * 12_100}, 400, "text"),
        ("/api/labels/calibrate", {"error": 0}, 400, "error"),
        ("/api/labels/calibrate", {"error": 0.9}, 400, "error"),
        ("/api/labels/calibrate", {"colour": "red"}, 400, "colour"),
    ],
)
def test_bad_input_is_refused_by_name(client: TestClient, path, change, status, named):
    assert named in refused(client, status, path, **(PATHS[path] | change))
    assert (
        own(client.get("/api/labels", params={"collection": "garden"}).json())["num_waiting"] == 0
    )


def test_the_collection_asked_for_must_be_there(client: TestClient):
    assert client.get("/api/labels").status_code == 400
    answer = client.get("/api/labels", params={"collection": "cellar"})
    assert answer.status_code == 404
    assert "cellar" in answer.json()["error"]["message"]


def test_labelling_wants_a_key_that_may_change_things(parts: Parts, labels: RealLabels):
    library = parts.library
    access = Access(host="127.0.0.1", port=PORT, keys=library.keys, needs_key=True)
    app = make_app(FakeDesk(), access, labels=labels)
    with TestClient(app, base_url=HOME) as client:
        asks, manages = (
            {"Authorization": f"Bearer {library.keys.add(scope, scope)[1]}"}
            for scope in ("ask", "manage")
        )
        shown = client.get("/api/labels", params={"collection": "garden"}, headers=asks)
        assert shown.status_code == 200
        for path, body in PATHS.items():
            assert client.post(path, json=body, headers={"Origin": HOME}).status_code == 401
            assert client.post(path, json=body, headers=asks).status_code == 403
        assert library.support_labels.waiting("garden") == []
        for path, body in PATHS.items():
            assert client.post(path, json=body, headers=manages).status_code == 200, path

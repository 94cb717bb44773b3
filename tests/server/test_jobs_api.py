"""Jobs over HTTP: started, steered, and heard from where a reader left off."""

import json
import threading

import httpx
from fake_desk import FakeDesk
from fake_jobs import FakeJobs
from running_server import Running, running

PATIENCE_SECONDS = 20


def post(server: Running, path: str, body: dict | None = None) -> httpx.Response:
    headers = {"X-Tramontane-Client": "a test"}
    return httpx.post(f"{server.address}{path}", json=body or {}, headers=headers)


def events(server: Running, job: int, last: str | None = None) -> list[tuple[str, dict]]:
    headers = {"Last-Event-ID": last} if last else {}
    url = f"{server.address}api/jobs/{job}/lines"
    answer = httpx.get(url, headers=headers, timeout=PATIENCE_SECONDS).text
    blocks = [block for block in answer.replace("\r\n", "\n").split("\n\n") if "data:" in block]
    told = []
    for block in blocks:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        told.append((fields["event"], json.loads(fields["data"])))
    return told


def test_a_job_is_started_listed_and_steered():
    jobs = FakeJobs()
    with running(FakeDesk(), jobs=jobs) as server:
        started = post(server, "api/jobs", {"kind": "learn", "arguments": {"name": "garden"}})
        assert started.status_code == 202
        number = started.json()["job"]["id"]
        assert [j["id"] for j in httpx.get(f"{server.address}api/jobs").json()["jobs"]] == [number]
        for wish, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
            assert post(server, f"api/jobs/{number}/{wish}").json()["job"]["state"] == state
        assert post(server, f"api/jobs/{number}/explode").status_code == 404
        assert post(server, "api/jobs", {"kind": "dance"}).status_code == 400
        assert httpx.get(f"{server.address}api/jobs/99").status_code == 404
        assert httpx.get(f"{server.address}api/jobs/x").status_code == 400
    assert jobs.asked == [
        ("learn", {"name": "garden"}),
        ("paused", number),
        ("running", number),
        ("cancelled", number),
    ]


def test_lines_come_as_they_are_said_and_end_with_the_job():
    jobs = FakeJobs()
    jobs.start("learn", {})
    jobs.say(1, "reading notes")
    with running(FakeDesk(), jobs=jobs) as server:
        later = threading.Timer(0.7, lambda: (jobs.say(1, "learning"), jobs.change(1, "done")))
        later.start()
        told = events(server, 1)
        assert [data["text"] for name, data in told if name == "line"] == [
            "reading notes",
            "learning",
        ]
        assert [data["state"] for name, data in told if name == "job"] == ["running", "done"]
        again = events(server, 1, last="1")
        assert [data["text"] for name, data in again if name == "line"] == ["learning"]

"""Jobs in their own process: done, paused, cancelled, killed at random moments, and the server with
them; afterwards everything is what it would have been.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tramontane.cli.job_process import JobOffice, Workers, lives
from tramontane.cli.parts import Parts
from tramontane.errors import RequestError
from tramontane.library.jobs import ENDED, Job
from tramontane.settings import Settings

PATIENCE_SECONDS = 60


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(Settings(home=tmp_path / "home", threads=1))
    yield parts
    parts.close()


@pytest.fixture
def office(parts: Parts) -> Iterator[JobOffice]:
    """Where jobs are asked for; its workers are looked after by the tests themselves."""
    workers = Workers(parts.library.jobs, parts.settings)
    yield JobOffice(parts.library.jobs, workers)
    for process in workers.started.values():
        if process.poll() is None:
            process.kill()
        process.wait()


def until(holds: Callable[[], object], look_after: Callable[[], None] = lambda: None) -> object:
    ends = time.monotonic() + PATIENCE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < ends
        look_after()
        time.sleep(0.05)
    return found


def ended(office: JobOffice, job: Job) -> Job:
    def state() -> Job | None:
        found = office.job(job.id)
        return found if found.state in (*ENDED, "paused") else None

    return until(state, office.workers.start_missing)


def test_a_sync_is_done_by_another_process(office: JobOffice, parts: Parts, garden: Path):
    job = office.start("sync", {"name": "garden", "folder": str(garden)})
    done = ended(office, job)
    assert done.state == "done", office.lines(job.id, 0)
    assert done.result["added"] == len(parts.library.notes("garden")) > 50
    assert [line.text for line in office.lines(job.id, 0)][-1] == "done"


def test_one_that_is_slow_to_begin_is_not_started_twice(office: JobOffice, garden: Path):
    job = office.start("sync", {"name": "garden", "folder": str(garden)})
    office.workers.start_missing()
    begun = office.workers.started["cores"]
    # Stopped before it can say that it lives, as on a machine that is short of time.
    begun.send_signal(signal.SIGSTOP)
    for _ in range(5):
        office.workers.start_missing()
    assert office.workers.started["cores"] is begun
    begun.send_signal(signal.SIGCONT)
    assert ended(office, job).state == "done"


def test_an_error_is_told_in_words(office: JobOffice, tmp_path: Path):
    job = ended(office, office.start("sync", {"name": "x", "folder": str(tmp_path / "none")}))
    assert job.state == "failed"
    assert "none" in job.error
    assert "Traceback" not in " ".join(line.text for line in office.lines(job.id, 0))


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        ("dance", {}, "dance"),
        ("pull", {}, "what"),
        ("sync", {"name": "a", "colour": "red"}, "colour"),
        ("learn", {"name": "a", "max_tokens": 3}, "max_tokens"),
    ],
)
def test_what_is_no_job_is_refused_when_it_is_asked_for(office, kind, arguments, named):
    with pytest.raises(RequestError, match=named):
        office.start(kind, arguments)
    assert office.ls() == []


def many_notes(folder: Path, count: int = 200) -> Path:
    folder.mkdir()
    for number in range(count):
        text = f"# Note {number}\n\n" + f"Rope {number} lies in locker {number % 7}. " * 40
        (folder / f"note-{number:04}.md").write_text(text)
    return folder


def test_one_lane_does_one_job_at_a_time(office: JobOffice, tmp_path: Path):
    notes = many_notes(tmp_path / "notes", 60)
    first, second = (
        office.start("sync", {"name": name, "folder": str(notes)}) for name in ("one", "two")
    )
    office.workers.start("cores")
    office.workers.start("cores")  # whoever comes second leaves
    one, two = ended(office, first), ended(office, second)
    assert (one.state, two.state) == ("done", "done")
    assert one.ended <= two.began


@pytest.mark.parametrize(("wish", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_wish_stops_a_job_and_what_was_there_is_whole(
    office: JobOffice, parts: Parts, tmp_path: Path, wish: str, state: str
):
    notes = many_notes(tmp_path / "notes", 800)
    job = office.start("sync", {"name": "rope", "folder": str(notes)})
    office.workers.start_missing()
    until(lambda: office.job(job.id).what)
    getattr(office, wish)(job.id)
    stopped = ended(office, job)
    if stopped.state == "done":
        pytest.skip("the job was quicker than the wish")
    assert stopped.state == state
    office.resume(job.id)
    assert ended(office, job).state == "done"
    assert len(parts.library.notes("rope")) == 800


def test_a_job_killed_at_random_moments_goes_on_and_ends_well(
    office: JobOffice, parts: Parts, tmp_path: Path
):
    """Killed twice; with a third crash it would be given up, which the library's tests hold."""
    notes = many_notes(tmp_path / "notes")
    job = office.start("sync", {"name": "rope", "folder": str(notes)})
    for seed in range(2):
        office.workers.start_missing()
        until(lambda: lives(parts.settings, "cores") or office.job(job.id).state == "done")
        time.sleep(random.Random(seed).uniform(0, 1.0))
        for process in office.workers.started.values():
            process.kill()
            process.wait()
    assert ended(office, job).state == "done"
    assert {note.path for note in parts.library.notes("rope")} == {
        file.name for file in notes.iterdir()
    }


# The server with its jobs


def start_server(home: Path, base: Path) -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tramontane.cli.main", "--home", home, "--base", base]
        + ["serve", "--port", "0", "--no-samples"],
        cwd=home.parent,
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    line = process.stdout.readline()
    assert "http://" in line, line
    return process, line.split("at ")[1].split()[0]


def until_open(address: str) -> None:
    until(lambda: httpx.get(f"{address}health").status_code == 200)


@pytest.mark.slow
def test_server_and_job_killed_lose_nothing_and_a_new_server_goes_on(
    tmp_path: Path, smollm2_path: Path
):
    home, notes = tmp_path / "home", many_notes(tmp_path / "notes", 300)
    means_it = {"X-Tramontane-Client": "a test"}
    process, address = start_server(home, smollm2_path)
    asked = {"kind": "sync", "arguments": {"name": "rope", "folder": str(notes)}}
    job = httpx.post(f"{address}api/jobs", json=asked, headers=means_it).json()["job"]
    until(lambda: httpx.get(f"{address}api/jobs/{job['id']}").json()["job"]["state"] != "waiting")
    for _ in range(2):
        process.kill()
        process.wait()
        process, address = start_server(home, smollm2_path)
        until_open(address)
    # The job's own process outlived both servers, or was started anew by the last.
    until(lambda: httpx.get(f"{address}api/jobs/{job['id']}").json()["job"]["state"] == "done")
    found = httpx.get(f"{address}api/collections").json()["collections"]
    assert [(c["name"], c["num_notes"]) for c in found] == [("rope", 300)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) in (0, -signal.SIGTERM, 143)


def test_jobs_are_seen_and_steered_from_a_terminal(tramontane):
    shown = json.loads(tramontane.works("jobs", "ls", "--json"))
    assert shown == []
    assert "no job 7" in tramontane.fails("jobs", "show", "7")
    key = tramontane.json("keys", "add", "laptop")
    assert key["key"].startswith("trmn_")
    assert [k["name"] for k in tramontane.json("keys", "ls")] == ["laptop"]
    tramontane.works("keys", "revoke", "laptop")
    assert "laptop" in tramontane.fails("keys", "revoke", "laptop")


def test_another_address_wants_a_key_first(tramontane, smollm2_path: Path):
    told = tramontane.fails("--base", smollm2_path, "serve", "--host", "0.0.0.0", "--port", "0")
    assert "tramontane keys add" in told

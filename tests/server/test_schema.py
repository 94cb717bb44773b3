"""The OpenAPI document: what it says holds, whatever is asked; schemathesis asks for 30 seconds."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fake_audits import FakeAudits
from fake_desk import FakeDesk
from fake_jobs import FakeJobs
from fake_labels import FakeLabels
from fake_model import FakeEmbedder, FakeModel
from kept_drafts import garden_drafts
from running_server import running

from tramontane.library.kept_copies import KeptCopies
from tramontane.library.library import Library
from tramontane.server.limits import Limits

# The benchmark gives it ten minutes.
SECONDS = int(os.environ.get("TRAMONTANE_SCHEMATHESIS_SECONDS", "30"))
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.fixture
def address(library: Library, tmp_path: Path, garden: Path):
    with (
        garden_drafts(tmp_path / "home", garden) as drafts,
        running(
            FakeDesk(),
            open_model=FakeModel,
            embedder=FakeEmbedder(),
            jobs=FakeJobs(),
            audits=FakeAudits(),
            labels=FakeLabels(),
            drafts=drafts,
            chats=library.chats,
            copies=KeptCopies(tmp_path / "dropped"),
            # Ends the lines of jobs that go on for ever, and answers of a thousand tokens.
            limits=Limits(answer_seconds=2.0, default_new_tokens=8),
        ) as server,
    ):
        while httpx.get(f"{server.address}health").status_code != 200:
            time.sleep(0.02)
        yield server.address


def test_every_route_is_described_and_every_description_is_a_route(address: str):
    document = httpx.get(f"{address}openapi.json").json()
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert ("POST", "/v1/chat/completions") in described
    for method, path in described:
        concrete = path.replace("{name}", "garden").replace("{id}", "1")
        headers = {"X-Tramontane-Client": "a test", "Content-Type": "application/json"}
        with httpx.stream(method, f"{address}{concrete[1:]}", headers=headers) as answer:
            answer.read()
            assert "nothing here is called" not in answer.text, path
            assert answer.status_code != 405, path


@pytest.mark.slow
def test_no_request_breaks_the_description(address: str, tmp_path: Path):
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}openapi.json"),
            *("--url", address, "--max-time", str(SECONDS), "--checks", ",".join(CHECKS)),
            *("-H", "X-Tramontane-Client: schemathesis", "--request-timeout", "15"),
            *("--phases", "examples,coverage,fuzzing", "--no-color", "--warnings", "off"),
            *("--report", "json", "--report-json-path", "report.json"),
            # What a client can't send is the transport's matter; headers decide on access.
            *("--exclude-path", "/api/jobs/{id}/lines", "--seed", "1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
    )
    report = tmp_path / "report.json"
    told = done.stdout[-8000:] + done.stderr[-2000:]
    assert report.is_file(), told
    assert done.returncode == 0, told
    assert "passed" in done.stdout, told

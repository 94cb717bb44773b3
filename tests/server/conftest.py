"""A fake desk, and a client whose requests come from the page itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_audits import FakeAudits
from fake_desk import FakeDesk
from fake_jobs import FakeJobs
from fake_labels import FakeLabels
from running_server import HOME, PORT, running
from starlette.testclient import TestClient

from tramontane.library.kept_copies import KeptCopies
from tramontane.library.library import Library
from tramontane.server.app import Access, make_app


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """Holds keys and chats where the desk's notes are fake."""
    with Library(tmp_path / "library.sqlite") as library:
        yield library


@pytest.fixture
def copies(tmp_path: Path) -> KeptCopies:
    return KeptCopies(tmp_path / "dropped")


@pytest.fixture
def client(desk: FakeDesk) -> Iterator[TestClient]:
    """Sends the Host and Origin that a browser sends from the page."""
    app = make_app(desk, Access(host="127.0.0.1", port=PORT))
    headers = {"Origin": HOME}
    with TestClient(app, base_url=HOME, headers=headers, raise_server_exceptions=False) as client:
        yield client


# One browser for a module only: playwright's event loop would be in the way of later tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from browser_visit import CHROMIUM, playwright

    if CHROMIUM is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, desk: FakeDesk, library: Library, copies: KeptCopies) -> Iterator[Any]:
    """Whatever the test did: the console is quiet, and no other host was asked for anything."""
    from browser_visit import PATIENCE_SECONDS, Visit

    jobs, audits, labels = FakeJobs(), FakeAudits(), FakeLabels()
    with running(
        desk, jobs=jobs, audits=audits, labels=labels, chats=library.chats, copies=copies
    ) as server:
        context = browser.new_context(reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        visit = Visit(page, desk, jobs, audits, library.chats, labels, copies, server)
        page.on("console", lambda said: visit.complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
        page.on("request", lambda request: visit.addresses.append(request.url))
        yield visit
        was_attacked = page.evaluate("window.wasAttacked")
        context.close()
        assert visit.complaints == []
        own = (server.address, f"blob:{server.address}")
        assert [at for at in visit.addresses if not at.startswith(own)] == []
        assert was_attacked is None

"""A page in the system's Chromium with a fake desk behind it, driven by role and name."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_audits import FakeAudits
from fake_desk import FakeDesk
from fake_jobs import FakeJobs
from fake_labels import FakeLabels
from running_server import Running

from tramontane.library.chats import Chats
from tramontane.library.kept_copies import KeptCopies

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

PATIENCE_SECONDS = 20
WIDE = {"width": 1440, "height": 900}
NARROW = {"width": 360, "height": 740}


@dataclass
class Visit:
    """`complaints` are what the browser's console said."""

    page: "playwright.Page"
    desk: FakeDesk
    jobs: FakeJobs
    audits: FakeAudits
    chats: Chats
    labels: FakeLabels
    copies: KeptCopies
    server: Running
    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def open(self, place: str = "", size: dict[str, int] = WIDE) -> "playwright.Page":
        self.page.set_viewport_size(size)
        self.page.goto(f"{self.server.address}{place}")
        return self.page

    def ask(self, question: str) -> None:
        self.page.get_by_label("Your question").fill(question)
        self.page.keyboard.press("Enter")
        heading = self.page.get_by_role("heading", name=question, exact=True)
        expect(heading).to_be_visible()

    def named(self, role: str, name: str) -> "playwright.Locator":
        return self.page.get_by_role(role, name=name, exact=True)


def drop(page: "playwright.Page", target: "playwright.Locator", *folders: Path) -> None:
    """Drops folders on an element as a person does from a file manager."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    files = [str(folder) for folder in folders]
    devtools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send(
            "Input.dispatchDragEvent",
            {
                "type": kind,
                "x": box["x"] + box["width"] / 2,
                "y": box["y"] + box["height"] / 2,
                "data": {"items": [], "files": files, "dragOperationsMask": 1},
            },
        )
    devtools.detach()


def forgive(visit: Visit, status: int) -> None:
    """Chromium reports every answer with an error status; such a one was asked for here."""
    wanted = [said for said in visit.complaints if f"status of {status}" in said]
    assert wanted
    visit.complaints = [said for said in visit.complaints if said not in wanted]

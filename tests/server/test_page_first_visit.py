"""A stranger's first visit, with nothing faked: real server, real base, nobody's notes yet."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_visit import NARROW, WIDE
from first_visit import Stranger, served

pytestmark = pytest.mark.slow

QUESTION = "What depth of hole does each leek drop into?"
PATIENCE_MILLISECONDS = 120_000


@pytest.fixture
def folder(tmp_path: Path, garden: Path) -> Path:
    return Path(shutil.copytree(garden, tmp_path / "Allotment"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def visited(browser) -> Iterator[Any]:
    """Returns what opens an address in a new window; afterwards nothing has been complained of."""
    contexts, said = [], []

    def open_at(address: str, size: dict[str, int] = WIDE) -> Any:
        contexts.append(browser.new_context(viewport=size, reduced_motion="reduce"))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.goto(address)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert said == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_stranger_adds_a_folder_and_has_a_sourced_answer(
    visited, home: Path, folder: Path, smollm2_path: Path, size: dict[str, int]
):
    with served(home, smollm2_path, "--no-samples") as address:
        stranger = Stranger(visited(address, size))
        stranger.add_folder(folder)
        stranger.ask(QUESTION)
        passages = stranger.read()
        quotations = stranger.page.get_by_role("blockquote").all_inner_texts()
    assert len(stranger.acts) <= 6, stranger.acts
    assert any("18 cm" in passage for passage in passages)
    assert any("18 cm" in quotation for quotation in quotations)


def test_with_the_sample_notes_one_click_is_enough(visited, home: Path, smollm2_path: Path):
    with served(home, smollm2_path) as address:
        stranger = Stranger(visited(address))
        examples = stranger.page.get_by_role("main").get_by_role("listitem").get_by_role("button")
        examples.first.wait_for()
        stranger.click("button", examples.first.inner_text())
        assert stranger.read()
    assert len(stranger.acts) == 1


def test_what_is_not_to_be_seen_cannot_be_used(visited, home: Path, smollm2_path: Path):
    """The stranger knows no more than the page tells."""
    from playwright.sync_api import TimeoutError as NotSeen

    with served(home, smollm2_path) as address:
        stranger = Stranger(visited(address))
        stranger.click("link", "Notes")
        stranger.page.get_by_text("Use my own folder").wait_for()
        stranger.page.set_default_timeout(500)
        with pytest.raises(NotSeen):
            stranger.fill("Folder", "/home/me/Notes")
    assert stranger.acts == ["click 'Notes'"]

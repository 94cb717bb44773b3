"""Signing in with a key, in a real browser, where the server wants one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_visit import expect
from fake_desk import FakeDesk
from running_server import Running, running

from tramontane.library.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library.sqlite") as library:
        yield library


@pytest.fixture
def server(desk: FakeDesk, library: Library) -> Iterator[Running]:
    with running(desk, keys=library.keys) as server:
        yield server


def test_a_key_opens_the_page_and_one_that_may_only_ask_changes_nothing(
    browser, server: Running, library: Library, desk: FakeDesk
):
    _, key = library.keys.add("reader", "ask")
    page = browser.new_context().new_page()
    page.goto(server.address)
    dialog = page.get_by_role("dialog", name="This server wants a key")
    dialog.get_by_label("Key").fill("tm_wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not known here, or was revoked")
    dialog.get_by_label("Key").fill(key)
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("heading", name="Ask your notes")).to_be_visible()
    # No script can read it.
    assert page.evaluate("document.cookie") == ""
    assert key not in page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    page.get_by_label("Your question").fill("How many bulbs?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("blockquote")).to_have_count(1)
    page.get_by_role("link", name="Experts", exact=True).click()
    page.get_by_role("button", name="Withdraw garden").click()
    page.get_by_role("button", name="Withdraw", exact=True).click()
    garden = page.get_by_role("article", name="garden")
    expect(garden.get_by_role("alert")).to_contain_text("wants a key of scope manage")
    assert not desk.cards["garden"].is_withdrawn
    page.context.close()

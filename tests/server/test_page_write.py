"""Write in a real browser, with nothing faked: from a folder to an exported page.

A sentence that the notes don't back is found, said otherwise, checked again, and undone.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_visit import NARROW, WIDE, expect
from kept_drafts import LEEKS, garden_drafts
from running_server import running

from tramontane.cli.desk import RealDesk
from tramontane.library.drafts import StoredSection
from tramontane.server.drafts import Kept, WriteBody

FRANCS = "The leeks cost 900 francs in Paris."
ATTACK = "<script>window.wasAttacked=1</script><img src=x onerror=window.wasAttacked=1>\u202eevil"


@pytest.fixture
def folder(tmp_path: Path, garden: Path) -> Path:
    return Path(shutil.copytree(garden, tmp_path / "Allotment"))


@pytest.fixture
def desk(tmp_path: Path, smollm2_path: Path) -> Iterator[Any]:
    """Drafts over an empty library, with the embedded base."""
    with garden_drafts(tmp_path / "home", None, base=str(smollm2_path)) as desk:
        yield desk


@pytest.fixture
def page(browser, desk) -> Iterator[Any]:
    with running(RealDesk(desk.parts), drafts=desk, chats=desk.parts.library.chats) as server:
        context = browser.new_context(viewport=WIDE, reduced_motion="reduce", accept_downloads=True)
        page = context.new_page()
        page.set_default_timeout(60_000)
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: asked.append(request.url))
        page.home = server.address
        page.said = said
        expect.set_options(timeout=60_000)
        yield page
        was_attacked = page.evaluate("window.wasAttacked")
        expect.set_options(timeout=5_000)
        context.close()
        assert was_attacked is None
        assert [url for url in asked if not url.startswith((server.address, "blob:"))] == []
        assert said == []


def begin_draft(page, task: str) -> None:
    page.goto(f"{page.home}#/write")
    page.get_by_label("What to write about").fill(task)
    expect(page.get_by_label("Words, about")).to_have_value("300")
    page.get_by_role("button", name="See the outline").click()
    expect(page.get_by_role("heading", name="Outline")).to_be_focused()


def kept_draft(desk, folder: Path) -> int:
    from tramontane.cli.notes import add_and_sync

    add_and_sync(desk.parts, "allotment", folder, lambda *_: None)
    (kept,) = [event for event in desk.write(WriteBody(task=LEEKS)) if isinstance(event, Kept)]
    return kept.id


@pytest.mark.slow
def test_from_a_folder_to_an_exported_page(page, desk, folder: Path):
    page.goto(f"{page.home}#/notes")
    page.get_by_label("Folder", exact=True).fill(str(folder))
    expect(page.get_by_label("Name of the collection")).to_have_value("allotment")
    page.get_by_role("button", name="Add this folder").click()
    expect(page.get_by_text("“allotment” is ready")).to_be_visible()

    begin_draft(page, LEEKS)
    items = page.get_by_role("region", name="Outline").get_by_role("listitem")
    num_sections = items.count()
    assert num_sections >= 2
    first = page.get_by_label("Heading of section 1")
    was_first = first.input_value()
    page.get_by_role("button", name="Move section 1 down").click()
    expect(page.get_by_label("Heading of section 2")).to_have_value(was_first)
    page.get_by_role("button", name=f"Leave section {num_sections} out").click()
    first.fill("Into the ground")
    page.get_by_role("button", name="Write it").click()

    expect(page.get_by_role("combobox", name="Version")).to_be_visible()
    assert page.url.endswith("#/write/1")
    expect(page.get_by_role("heading", level=1)).to_have_text(LEEKS)
    headings = page.locator("draft-view h2").all_inner_texts()
    assert headings[0] == "Into the ground"
    assert len(headings) == num_sections - 1
    expect(page.get_by_text("Your notes back every sentence.")).to_be_visible()
    sources = page.get_by_role("complementary", name="Sources")
    expect(sources.get_by_role("listitem").first).to_contain_text("allotment")

    # One sentence is said as the notes don't have it.
    section = page.get_by_role("region", name="Into the ground")
    right = section.locator(".sentence").first.inner_text().strip("“”")
    section.get_by_text("change").first.click()
    section.get_by_label("Say it otherwise").first.fill(FRANCS)
    section.get_by_role("button", name="Check and keep").first.click()
    expect(page.get_by_text("Your notes don’t fully back 1 of")).to_be_visible()
    wrong = section.locator(".sentence", has_text="900 francs")
    expect(wrong).to_be_focused()
    # The pointer may lie on another sentence, where the button was.
    page.mouse.move(0, 0)
    wrong.blur()
    wrong.focus()
    expect(page.get_by_role("tooltip")).to_contain_text("no source holds")
    page.keyboard.press("Escape")

    # The filter finds it; it is fixed, and checked again.
    page.get_by_label("Show only what my notes don’t back").check()
    expect(page.locator("draft-sentence:visible")).to_have_count(1)
    section.locator("draft-sentence:visible").get_by_text("change").click()
    fixing = section.locator("draft-sentence:visible")
    fixing.get_by_label("Say it otherwise").fill(right)
    fixing.get_by_role("button", name="Check and keep").click()
    expect(page.get_by_text("Your notes back every sentence.")).to_be_visible()
    page.get_by_label("Show only what my notes don’t back").uncheck()

    # Versions: back to the wrong one by undo, and to the first by choice.
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Your notes don’t fully back 1 of")).to_be_visible()
    page.get_by_role("combobox", name="Version").select_option("3")
    page.get_by_role("button", name="Make this the newest").click()
    expect(page.get_by_text("Your notes back every sentence.")).to_be_visible()

    with page.expect_download() as saving:
        page.get_by_role("link", name="Save as a page").click()
    saved = Path(saving.value.path()).read_text(encoding="utf-8")
    assert saving.value.suggested_filename == "growing leeks from sowing to kitchen.html"
    assert right in saved
    assert "900 francs" not in saved
    assert folder.as_uri() in saved
    with page.expect_download() as saving:
        page.get_by_role("link", name="Save as Markdown").click()
    assert "## Into the ground" in Path(saving.value.path()).read_text(encoding="utf-8")

    page.get_by_role("link", name="All drafts").click()
    expect(page.get_by_role("link", name=LEEKS)).to_be_visible()


@pytest.mark.slow
def test_a_draft_on_a_narrow_screen_by_keyboard_alone(page, desk, folder: Path):
    draft = kept_draft(desk, folder)
    page.set_viewport_size(NARROW)
    page.goto(f"{page.home}#/write/{draft}")
    expect(page.get_by_role("combobox", name="Version")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Delete for good")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Delete for good")).to_have_count(0)
    change = page.locator("draft-sentence summary").first
    change.focus()
    page.keyboard.press("Enter")
    for _ in range(2):
        page.keyboard.press("Tab")
    field = page.get_by_label("Say it otherwise").first
    expect(field).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type(FRANCS)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your notes don’t fully back 1 of")).to_be_visible()


@pytest.mark.slow
def test_what_the_notes_don_t_hold_is_said_before_anything_is_written(page, desk, folder: Path):
    kept_draft(desk, folder)
    begin_draft(page, "mortgage rates of astronauts")
    outline = page.get_by_role("region", name="Outline")
    expect(outline).to_contain_text("Your notes don't say")
    expect(page.get_by_role("button", name="Write it")).to_have_count(0)


@pytest.mark.slow
def test_forgotten_and_hostile_sections_and_gone_notes(page, desk, folder: Path):
    draft = kept_draft(desk, folder)
    paths = {source.path for section in desk.draft(draft)["sections"] for source in section.sources}
    (folder / sorted(paths)[0]).unlink()
    kept = desk.kept
    content = kept.open(draft).sections[0].content
    hostile = content.replace('"heading":"', f'"heading":"{ATTACK} ')
    assert hostile != content
    kept.revise(draft, 1, 0, StoredSection("other", hostile), "attacked")
    page.goto(f"{page.home}#/write/{draft}")
    expect(page.get_by_text("This note is gone.").first).to_be_visible()
    expect(page.locator("draft-view h2").first).to_contain_text("<script>")
    desk.parts.library.forget("other")
    page.reload()
    expect(page.get_by_text("A section stood here; its notes were forgotten.")).to_be_visible()


@pytest.mark.slow
def test_two_windows_one_draft(page, desk, folder: Path):
    draft = kept_draft(desk, folder)
    page.goto(f"{page.home}#/write/{draft}")
    expect(page.get_by_role("combobox", name="Version")).to_be_visible()
    kept = desk.kept
    kept.revise(draft, 1, 0, kept.open(draft).sections[0], "elsewhere")
    page.locator("draft-sentence summary").first.click()
    page.get_by_role("button", name="Take it out").first.click()
    expect(page.get_by_role("alert").filter(has_text="changed meanwhile")).to_be_visible()
    page.said[:] = [said for said in page.said if "status of 409" not in said]

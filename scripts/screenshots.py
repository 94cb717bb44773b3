"""Pictures of every screen at three widths, light and dark, to be looked at: build/screens/*.png.

    python scripts/screenshots.py

The desk behind the page is the tests' own, whose every answer is known; drafts are real ones over
the sample notes; the browser is the system's Chromium.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))

from browser_visit import CHROMIUM, playwright
from fake_desk import FakeDesk
from fake_jobs import FakeJobs
from kept_drafts import LEEKS, garden_drafts
from running_server import running

from tramontane.library.library import Library

OUT = Path(__file__).parents[1] / "build" / "screens"
GARDEN = Path(__file__).parents[1] / "examples" / "notes" / "garden"
SCREENS = ("ask", "write", "notes", "experts", "models", "audit")
WIDTHS, HEIGHT = (360, 768, 1440), 900
LOSSES = (3.9, 3.5, 3.42, 3.2, 3.1, 3.05)
MILLISECONDS_TO_SETTLE = 700


def learning() -> FakeJobs:
    """Returns jobs of which one is learning."""
    jobs = FakeJobs()
    jobs.start("learn", {"name": "letters"})
    jobs.report(1, f"learning, loss {LOSSES[-1]:.3f}", 6)
    for loss in LOSSES:
        jobs.say(1, f"learning, loss {loss:.3f}")
    return jobs


def asked(library: Library) -> None:
    """Fills the history, with an answer that was not finished and one that lost something."""
    for question, state in (("Where does the rope lie?", "done"), ("Who fed the hens?", None)):
        chat = library.chats.begin(question, ["letters"], [])
        if state:
            library.chats.end(chat.id, [("done", {"seconds": 0.4, "num_tokens": 0})], state)
    library.chats.begin("How deep is the pond in Long Bed?", ["garden", "letters"], [])
    library.forget("garden")


def prepare(page: "playwright.Page", screen: str) -> None:
    """Brings a screen to where there is something to see."""
    if screen == "ask":
        page.get_by_label("Your question").fill("prose about garlic")
        page.keyboard.press("Enter")
    if screen == "write":
        page.get_by_label("What to write about").fill(LEEKS)
        page.get_by_role("button", name="See the outline").click()
        page.get_by_role("button", name="Write it").click()
        page.get_by_role("combobox", name="Version").wait_for()
        page.get_by_text("change").first.click()
        page.get_by_label("Say it otherwise").first.fill("The leeks cost 900 francs.")
        page.get_by_role("button", name="Check and keep").first.click()
        page.get_by_text("Your notes don’t fully back").wait_for()
        page.get_by_text("change").nth(1).click()
    if screen == "experts":
        page.get_by_text("Figures").first.click()
        page.get_by_text("Learn an expert from a folder").click()


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        garden_drafts(Path(home), GARDEN) as drafts,
        Library(Path(home) / "chats.sqlite") as library,
        running(FakeDesk(), jobs=learning(), drafts=drafts, chats=library.chats) as server,
        playwright.sync_playwright() as driver,
    ):
        asked(library)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                size = {"width": width, "height": HEIGHT}
                page = browser.new_page(color_scheme=scheme, viewport=size)
                for screen in SCREENS:
                    page.goto(f"{server.address}#/{screen}")
                    page.get_by_role("heading", level=1).wait_for()
                    prepare(page, screen)
                    page.wait_for_timeout(MILLISECONDS_TO_SETTLE)
                    file = OUT / f"{screen}-{width}-{scheme}.png"
                    page.screenshot(path=file, full_page=screen != "ask")
                page.close()
        browser.close()
    print(f"{len(SCREENS) * len(WIDTHS) * 2} pictures in {OUT}")


if __name__ == "__main__":
    main()

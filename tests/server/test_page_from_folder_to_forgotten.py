"""The whole way from the page, with nothing faked: a folder is dropped, its plan read, an expert
learnt while one watches, asked and heard, withdrawn and forgotten.

The base is tiny and random: what is asked here is that each step reaches the next.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_visit import WIDE, drop, expect
from own_process import served

sys.path.insert(0, str(Path(__file__).parents[1] / "experts"))

import expert_makers
from expert_makers import canal_notes, write_tiny_base

pytest.importorskip("torch", reason="learning needs torch")

NUM_NOTES = 400
PATIENCE_MILLISECONDS = 180_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "Canal"
    folder.mkdir()
    for note in canal_notes(NUM_NOTES):
        (folder / note.path).write_text(note.text, encoding="utf-8")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def address(tmp_path: Path, home: Path, monkeypatch) -> Iterator[str]:
    base = tmp_path / "tiny.gguf"
    # An expert as wide as all are finds so many neurons to begin with, and its certificate room.
    monkeypatch.setattr(expert_makers, "FFN_WIDTH", 192)
    monkeypatch.setattr(expert_makers, "CONTEXT", 2048)
    write_tiny_base(base)
    with served(home, base) as (_, address):
        yield address


@pytest.mark.slow
def test_from_a_folder_to_an_expert_and_back(browser, address: str, folder: Path, home: Path):
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))

    page.goto(f"{address}#/experts")
    drop(page, page.get_by_text("Learn an expert from a folder"), folder)
    form = page.get_by_role("form", name="Learn an expert")
    expect(form.get_by_text(f"Canal is copied: {NUM_NOTES} files")).to_be_visible()
    expect(page.get_by_label("Folder of notes")).to_have_value(str(home / "dropped" / "Canal"))
    expect(page.get_by_label("Name of the expert")).to_have_value("canal")
    form.get_by_text("More").click()
    page.get_by_label("Tokens to learn from at most").fill("6000")
    page.get_by_role("button", name="See the plan").click()
    plan = page.get_by_role("region", name="Plan")
    expect(plan.get_by_text(re.compile(r"It would learn from \d+ notes"))).to_be_visible()
    page.get_by_role("button", name="Learn canal").click()
    learning = page.get_by_role("region", name="Learning canal")
    expect(learning.get_by_text("canal is in place.")).to_be_visible()
    expect(learning.get_by_role("img", name=re.compile("^Loss from"))).to_be_visible()
    expect(page.get_by_role("article", name="canal")).to_contain_text("less surprised")

    page.get_by_role("link", name="Ask", exact=True).click()
    page.get_by_label("Your question").fill("What jams at the eel trap in March?")
    page.keyboard.press("Enter")
    answer = page.get_by_role("article", name="Answer", exact=True)
    expect(answer.get_by_role("blockquote").first).to_contain_text("eel trap")
    switch = page.get_by_role("region", name="Experts").get_by_role("switch", name="canal")
    expect(switch).to_contain_text("%")

    page.get_by_role("link", name="Experts", exact=True).click()
    page.get_by_role("button", name="Withdraw canal").click()
    page.get_by_role("button", name="Withdraw", exact=True).click()
    certificate = page.get_by_role("region", name="Certificate of withdrawal")
    expect(certificate).to_contain_text("Exact.")

    assert len(list((home / "dropped" / "Canal").iterdir())) == NUM_NOTES
    page.get_by_role("button", name="Forget canal").click()
    asked = page.get_by_role("dialog", name="Forget canal?")
    expect(asked).to_contain_text(f"the copy {home}/dropped/Canal ({NUM_NOTES} files)")
    page.get_by_role("button", name="Forget for good").click()
    expect(page.get_by_role("article", name="canal")).to_have_count(0)
    context.close()
    expect.set_options(timeout=5_000)
    assert faults == []
    assert [path for path in home.rglob("*") if "canal" in path.name.lower()] == []
    everything = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"eel trap" not in everything
    assert len(list(folder.iterdir())) == NUM_NOTES

"""Experts, in a real browser: learning from a plan, overlap, adding, packing, forgetting."""

from pathlib import Path

import pytest
from browser_visit import Visit, expect, forgive

from tramontane.errors import Busy

pytestmark = pytest.mark.usefixtures("browser")

PLAN = {
    "notes": 380,
    "held_out_notes": 20,
    "tokens": 96_000,
    "epochs": 1,
    "seconds": 431.0,
    "memory_bytes": 2_100_000_000,
    "disk_bytes": 900_000_000,
}


def test_from_a_dropped_folder_to_an_expert(visit: Visit):
    page = visit.open("#/experts")
    page.get_by_text("Learn an expert from a folder").click()
    form = page.get_by_role("form", name="Learn an expert")
    drop = page.evaluate_handle(
        """() => {
          const given = new DataTransfer();
          given.setData("text/uri-list", "file:///home/me/My%20Letters");
          return given;
        }"""
    )
    form.dispatch_event("drop", {"dataTransfer": drop})
    expect(page.get_by_label("Folder of notes")).to_have_value("/home/me/My Letters")
    assert visit.copies.ls() == []
    page.get_by_label("Name of the expert").fill("letters")
    visit.named("button", "See the plan").click()
    plan = visit.named("region", "Plan")
    visit.jobs.end(1, PLAN)
    expect(plan).to_contain_text("380 notes (96,000 tokens, 1 time over)")
    expect(plan).to_contain_text("about 7 minutes, 2.1 GB of memory and 900 MB of disk")
    visit.named("button", "Learn letters").click()
    learning = visit.named("region", "Learning letters")
    for loss in (3.91, 3.42, 3.05):
        visit.jobs.say(2, f"learning, loss {loss:.3f}")
    visit.jobs.report(2, "learning, loss 3.050", 6)
    expect(learning.get_by_text("Learning, loss 3.050, 60 %.")).to_be_visible()
    expect(learning.get_by_role("img", name="Loss from 3.91 to 3.05")).to_be_visible()
    learning.get_by_role("button", name="Pause").click()
    expect(learning.get_by_text("Paused. It goes on where it stopped.")).to_be_visible()
    learning.get_by_role("button", name="Resume").click()
    expect(learning.get_by_role("button", name="Pause")).to_be_visible()
    visit.jobs.end(
        2,
        {
            "expert": "letters",
            "perplexity_before": 20.0,
            "perplexity_after": 15.0,
            "contested_with": ["garden"],
        },
    )
    expect(learning).to_contain_text("letters is in place.")
    expect(learning).to_contain_text("25 % less surprised")
    expect(learning).to_contain_text("It opens on the notes of garden too")
    folder = {"folder": "/home/me/My Letters", "max_tokens": 100_000}
    assert visit.jobs.asked[0] == ("plan", folder)
    named = {"name": "letters", "owner": "", "licence": ""}
    assert visit.jobs.asked[1] == ("learn", folder | named)


def test_a_dropped_folder_whose_place_the_browser_hides(visit: Visit):
    page = visit.open("#/experts")
    page.get_by_text("Learn an expert from a folder").click()
    form = page.get_by_role("form", name="Learn an expert")
    drop = page.evaluate_handle("() => new DataTransfer()")
    form.dispatch_event("drop", {"dataTransfer": drop})
    expect(page.get_by_role("alert").get_by_text("type its path instead")).to_be_visible()
    expect(page.get_by_label("Folder of notes")).to_be_focused()


def test_learning_goes_on_without_the_page(visit: Visit):
    visit.jobs.start("learn", {"name": "letters"})
    visit.open("#/experts")
    expect(visit.named("region", "Learning letters")).to_be_visible()


def test_what_an_expert_is_and_how_it_did(visit: Visit):
    page = visit.open("#/experts")
    garden = visit.named("article", "garden")
    expect(garden).to_contain_text(
        "By Ada, no licence was said; learnt on SmolLM2-135M b1b1b1b1b1b1, 96,000 tokens."
    )
    garden.get_by_text("Figures").click()
    figure = garden.get_by_role("figure").filter(has_text="Perplexity on 20 notes held out")
    expect(figure).to_be_visible()
    figure.get_by_text("As a table").click()
    row = figure.get_by_role("row", name="with it 18.0")
    expect(row).to_be_visible()
    assert page.locator("svg.bars rect").count() == 6


def test_packing_gives_a_file(visit: Visit):
    page = visit.open("#/experts")
    visit.named("button", "Pack garden").click()
    dialog = visit.named("dialog", "Pack garden")
    expect(dialog.get_by_label("Whose it is")).to_have_value("Ada")
    dialog.get_by_label("Licence").fill("CC-BY-4.0")
    with page.expect_download() as given:
        dialog.get_by_role("button", name="Pack").click()
    assert given.value.suggested_filename == "garden.safetensors"
    assert Path(given.value.path()).read_text() == "garden by Ada, CC-BY-4.0"
    expect(dialog.get_by_text("Packed; your browser has the file.")).to_be_visible()


def test_forgetting_says_what_goes_and_asks(visit: Visit):
    page = visit.open("#/experts")
    visit.named("button", "Forget recipes").click()
    dialog = visit.named("dialog", "Forget recipes?")
    expect(dialog).to_contain_text("1 file with 8.8 MB, 3 notes and 9 passages in the library")
    expect(dialog).to_contain_text("There is no undo.")
    dialog.get_by_role("button", name="Keep it").click()
    assert "recipes" in visit.desk.cards
    visit.named("button", "Forget recipes").click()
    dialog.get_by_role("button", name="Forget for good").click()
    expect(visit.named("article", "recipes")).to_have_count(0)
    expect(visit.named("article", "garden")).to_be_visible()
    expect(page.get_by_role("banner")).to_contain_text("1 expert")


def test_overlap_is_a_table_with_advice(visit: Visit):
    page = visit.open("#/experts")
    page.get_by_text("Who opens on whose notes").click()
    visit.named("button", "Measure overlap").click()
    expect(visit.named("button", "Cancel")).to_be_visible()
    visit.jobs.end(
        1,
        {
            "experts": {"garden": {"garden": 0.8, "recipes": 0.3}},
            "pairs": [{"experts": ["garden", "recipes"], "advice": "merge", "says": "learn one"}],
        },
    )
    table = visit.named("region", "Overlap")
    expect(table.get_by_role("row", name="garden 80 % 30 %")).to_be_visible()
    expect(page.get_by_text("garden and recipes: learn one.")).to_be_visible()


def test_an_expert_that_somebody_gave_is_checked_first(visit: Visit):
    page = visit.open("#/experts")
    page.get_by_text("Add an expert somebody gave you").click()
    page.get_by_label("File of the expert").fill("/home/me/bread.safetensors")
    visit.named("button", "Check and add").click()
    expect(visit.named("button", "Cancel")).to_be_visible()
    visit.jobs.end(
        1, {"expert": "bread", "remarks": ["its licence is not known"], "contested_with": []}
    )
    expect(page.get_by_text("bread is in place.")).to_be_visible()
    expect(page.get_by_text("its licence is not known")).to_be_visible()
    assert visit.jobs.asked == [("add", {"file": "/home/me/bread.safetensors"})]


def test_forgetting_what_is_busy_says_so(visit: Visit, monkeypatch):
    def busy(_name):
        raise Busy("job 3 is working on garden; cancel it first")

    monkeypatch.setattr(visit.desk, "forget", busy)
    page = visit.open("#/experts")
    visit.named("button", "Forget garden").click()
    visit.named("button", "Forget for good").click()
    expect(page.get_by_role("alert").get_by_text("cancel it first")).to_be_visible()
    forgive(visit, 409)

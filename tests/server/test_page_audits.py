"""The Audit screen in a real browser: run, watch, read, compare, act; "report this" on Ask."""

import pytest
from browser_visit import NARROW, WIDE, Visit, expect, forgive
from fake_audits import HOSTILE

pytestmark = pytest.mark.usefixtures("browser")

PLAN = {
    "suites": [
        {
            "name": "crows_pairs",
            "title": "CrowS-Pairs",
            "family": "bias",
            "n": 60,
            "there_are": 1508,
            "is_built_in": True,
            "seconds": 42.0,
        }
    ],
    "nothing_of": {"By heart": "no notes are at hand"},
    "n": 60,
    "seconds": 130.0,
}


def open_form(visit: Visit):
    page = visit.open("#/audit")
    page.get_by_text("Run an audit", exact=True).click()
    return visit.named("form", "Run an audit")


def test_the_empty_screen_says_what_to_do_first(visit: Visit):
    visit.audits.kept.clear()
    page = visit.open("#/audit")
    expect(visit.named("region", "No audits yet")).to_contain_text("tramontane audit --quick")
    expect(visit.named("button", "See the plan")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("quick-1")


def test_a_plan_with_its_time_comes_before_an_audit(visit: Visit):
    form = open_form(visit)
    form.get_by_label("Name", exact=True).fill("mine")
    form.get_by_label("Ability", exact=True).uncheck()
    form.get_by_label("recipes", exact=True).uncheck()
    visit.named("button", "See the plan").click()
    visit.jobs.end(1, PLAN)
    plan = visit.named("region", "Plan")
    expect(plan).to_contain_text("It would ask 60 items of 1 suite. That takes about 2 minutes")
    expect(plan).to_contain_text("By heart: not asked, no notes are at hand")
    visit.named("button", "Run mine").click()
    running = visit.named("region", "Auditing mine")
    visit.jobs.report(2, "crows_pairs", 3)
    expect(running).to_contain_text("Crows pairs, 30 %.")
    asked = {
        "name": "mine",
        "scale": "quick",
        "suites": ["truth", "bias", "memory", "routing"],
        "experts": ["garden"],
        "seed": 0,
        "data": [],
    }
    assert visit.jobs.asked == [("audit-plan", asked), ("audit", asked)]
    visit.page.reload()
    expect(running).to_contain_text("Crows pairs, 30 %.")
    visit.jobs.end(2, {"name": "mine"})
    expect(visit.named("link", "See what it found")).to_have_attribute("href", "#/audit/mine")


def test_a_name_that_is_taken_and_nothing_chosen_are_said(visit: Visit):
    form = open_form(visit)
    form.get_by_label("Name", exact=True).fill("before")
    visit.named("button", "See the plan").click()
    expect(visit.page.get_by_role("alert").get_by_text("There is an audit before")).to_be_visible()
    for box in form.get_by_role("group", name="What").get_by_role("checkbox").all():
        box.uncheck()
    visit.named("button", "See the plan").click()
    expect(visit.page.get_by_role("alert").get_by_text("Nothing is chosen")).to_be_visible()
    assert visit.jobs.asked == []


def test_the_list_tells_the_main_figures_in_words(visit: Visit):
    visit.open("#/audit")
    before = visit.named("article", "before")
    expect(before).to_contain_text("SmolLM2-135M with garden and recipes; 200 items, quick, seed 0")
    expect(before).to_contain_text("prefers the stereotype: 58.0 % (51.0 % to 64.7 %). Leans")


def test_one_that_was_begun_goes_on(visit: Visit):
    visit.audits.unfinished = [{"name": "mine", "num_scored": 43}]
    visit.jobs.start("audit", {"name": "mine"})
    visit.jobs.change(1, "cancelled")
    visit.open("#/audit")
    expect(visit.named("article", "mine, begun")).to_contain_text("43 items scored so far")
    visit.named("button", "Go on with mine").click()
    expect(visit.named("region", "Auditing mine")).to_be_visible()
    assert visit.jobs.asked[-1] == ("running", 1)


def test_each_experts_part_and_the_items_that_flip(visit: Visit):
    page = visit.open("#/audit/before")
    garden = page.get_by_role("article", name="garden")
    expect(garden).to_contain_text("Its interval leaves out zero in 1 of 1 figure.")
    expect(garden).to_contain_text("With it 58.0 %, without it 50.5 %; McNemar, p 0.004, corrected")
    innocent = page.get_by_role("article", name="recipes")
    expect(innocent).to_contain_text("can’t be told from nothing in any of 1 figure")
    text = garden.get_by_text(HOSTILE)
    garden.get_by_text("1 item that flip").click()
    expect(garden.get_by_text("Show the texts")).to_be_visible()
    expect(text).to_be_hidden()
    garden.get_by_text("Show the texts").click()
    expect(text).to_be_visible()
    expect(garden).to_contain_text("People are kind. (likeliest without it)")


def test_closing_an_expert_fills_in_the_next_audit(visit: Visit):
    page = visit.open("#/audit/before")
    visit.named("button", "Close it and audit again: garden").click()
    form = visit.named("form", "Run an audit")
    expect(form.get_by_label("Name", exact=True)).to_have_value("before-without-garden")
    expect(form.get_by_label("garden", exact=True)).not_to_be_checked()
    expect(form.get_by_label("recipes", exact=True)).to_be_checked()
    expect(visit.named("button", "See the plan")).to_be_focused()
    assert page.url.endswith("#/audit")


def test_learning_anew_with_swapped_pairs(visit: Visit):
    page = visit.open("#/audit/before")
    visit.named("button", "Learn it anew with swapped pairs: garden").click()
    expect(page.get_by_text("Reading, 0 %.")).to_be_visible()
    visit.jobs.end(1, {"expert": "garden-swapped", "hash": "aa"})
    expect(page.get_by_text("garden-swapped is learnt, and not in place yet")).to_be_visible()
    assert visit.jobs.asked == [("relearn", {"name": "garden"})]


def test_raising_a_threshold_says_what_it_changed(visit: Visit):
    page = visit.open("#/audit/before")
    visit.named("button", "Raise its threshold: garden").click()
    expect(page.get_by_text("Reading, 0 %.")).to_be_visible()
    told = "Its gates are open at 40.0% instead of 63.0%."
    visit.jobs.end(1, {"expert": "garden-raised", "hash": "aa", "says": told})
    expect(page.get_by_text(f"{told} garden-raised is not in place yet")).to_be_visible()
    assert visit.jobs.asked == [("raise", {"name": "garden"})]


def test_two_are_compared(visit: Visit):
    page = visit.open("#/audit")
    compare = visit.named("button", "Compare")
    expect(compare).to_be_disabled()
    visit.named("checkbox", "Compare before").check()
    visit.named("checkbox", "Compare after").check()
    expect(page.get_by_text("before before, after after.")).to_be_visible()
    compare.click()
    expect(visit.named("heading", "before and after")).to_be_visible()
    changed = page.get_by_role("table", name="What changed")
    expect(changed).to_contain_text("58.0 % → 50.5 %")
    expect(changed).to_contain_text("3 won, 18 lost of 200")
    visit.named("link", "All audits").click()
    expect(visit.named("heading", "Audit")).to_be_visible()


def test_the_report_opens_apart_and_runs_nothing(visit: Visit):
    page = visit.open("#/audit/before")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the report").click()
    report = opened.value
    expect(report.get_by_role("heading", name="Audit of default")).to_be_visible()
    assert report.title() == "Audit of default"
    assert report.evaluate("self.origin") == "null"


def test_an_audit_that_is_not_there_is_said(visit: Visit):
    page = visit.open("#/audit/none")
    expect(page.get_by_role("alert").get_by_text("no finished audit 'none'")).to_be_visible()
    forgive(visit, 404)


@pytest.mark.parametrize("place", ["#/audit", "#/audit/before", "#/audit/before/after"])
def test_narrow_screens_scroll_one_way(visit: Visit, place: str):
    page = visit.open(place, NARROW)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_text("CrowS-Pairs").first).to_be_visible()
    for fold in page.locator("main summary:visible").all():
        fold.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


# Report this


def test_a_sentence_is_reported_from_the_answer(visit: Visit):
    page = visit.open("", WIDE)
    visit.ask("In prose: how many cloves did I plant?")
    sentence = page.get_by_text("It likes a sunny place with potash.")
    sentence.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Report this: It likes a sunny place with potash.")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    dialog = visit.named("dialog", "Report this")
    expect(dialog.get_by_role("blockquote")).to_have_text("It likes a sunny place with potash.")
    page.get_by_label("What is wrong with it").fill("It rained.")
    visit.named("button", "Save the finding").click()
    expect(dialog).to_contain_text("Saved as /findings/finding.json.")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    (saved,) = visit.audits.saved
    assert (saved.kind, saved.comment, saved.experts) == ("prose", "It rained.", None)
    assert saved.question == "In prose: how many cloves did I plant?"
    assert saved.sources[0].text
    page.goto(f"{visit.server.address}#/audit")
    page.get_by_text("1 sentence reported").click()
    expect(page.get_by_text("It rained.")).to_be_visible()


def test_what_the_model_does_not_say_again_is_not_saved(visit: Visit):
    visit.audits.says_otherwise = True
    page = visit.open("", WIDE)
    visit.ask("How many cloves of garlic did I plant?")
    page.get_by_role("button", name="Report this").first.focus()
    page.keyboard.press("Enter")
    visit.named("button", "Save the finding").click()
    expect(visit.named("dialog", "Report this")).to_contain_text("doesn't hold that sentence")
    expect(visit.named("button", "Save the finding")).to_be_enabled()
    forgive(visit, 400)

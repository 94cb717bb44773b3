"""The page in a real browser, by role and name: what a person can do, and what can't happen."""

import re
import threading
from dataclasses import replace

import pytest
from browser_visit import NARROW, PATIENCE_SECONDS, WIDE, Visit, expect, forgive
from fake_desk import EXAMPLES, stored

from tramontane.writing.events import Sentence

pytestmark = pytest.mark.usefixtures("browser")


def test_an_example_is_answered_with_a_quotation_and_its_source(visit: Visit):
    page = visit.open()
    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    visit.named("button", EXAMPLES[0]).click()
    answer = visit.named("article", "Answer")
    expect(answer.get_by_role("blockquote")).to_contain_text("“Planted in Long Bed")
    expect(answer.get_by_role("blockquote")).to_contain_text("41 cloves.”")
    sources = page.get_by_role("complementary", name="Sources")
    expect(sources.get_by_role("heading", name="garlic.md")).to_be_visible()
    expect(sources).to_contain_text("garden · line 3")


def test_a_source_opens_the_note_at_its_lines(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    visit.named("link", "Open note garlic.md at line 3").click()
    note = visit.named("dialog", "Garlic")
    expect(note).to_be_visible()
    expect(note.get_by_role("mark")).to_have_text(re.compile("^Planted in Long Bed"))
    expect(note).to_contain_text("A spoon of sulphate of potash")
    expect(note.get_by_text("This note has changed since")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(note).to_be_hidden()
    expect(visit.named("article", "Answer")).to_be_visible()


def test_the_quoted_words_are_marked_in_a_long_passage(visit: Visit, monkeypatch):
    line = "The leek hole is eighteen deep."
    text = "\n".join([*(f"Row {number} of other things." for number in range(30)), line])
    hit = visit.desk.search("bulbs", None)[0]
    monkeypatch.setattr(visit.desk, "search", lambda *_: [replace(hit, text=text, last_line=33)])
    events = visit.desk.events

    def quoting(*args):
        for event in events(*args):
            yield replace(event, text=line) if isinstance(event, Sentence) else event

    visit.desk.events = quoting
    page = visit.open()
    visit.ask("How deep is a leek hole?")
    marked = page.get_by_role("complementary", name="Sources").get_by_role("mark")
    expect(marked).to_have_text(line)
    expect(marked).to_be_in_viewport()


def test_the_next_question_need_not_wait(visit: Visit):
    may_go_on = threading.Event()
    visit.desk.gate = lambda: may_go_on.wait(PATIENCE_SECONDS)
    page = visit.open()
    visit.ask("How many bulbs?")
    expect(visit.named("link", "Open note garlic.md at line 3")).to_be_visible()
    visit.desk.gate = lambda: None
    visit.ask("How hot was the compost?")
    expect(page.get_by_role("blockquote")).to_contain_text("63 °C")
    may_go_on.set()
    page.go_back()
    expect(page.get_by_text("Stopped. What stands here is whole")).to_be_visible()


def test_a_cited_line_far_down_is_scrolled_to(visit: Visit):
    visit.open("#/notes?collection=garden&note=rope.md&first=350&last=351")
    marks = visit.page.get_by_role("dialog").get_by_role("mark")
    expect(marks).to_have_count(2)
    expect(marks.first).to_be_in_viewport()


def test_a_note_that_has_changed_says_so(visit: Visit):
    visit.desk.changed.add(("garden", "garlic.md"))
    visit.open("#/notes?collection=garden&note=garlic.md")
    expect(visit.page.get_by_text("This note has changed since")).to_be_visible()


def test_notes_that_do_not_say(visit: Visit):
    visit.open()
    visit.ask("Is there a dragon?")
    answer = visit.named("article", "Answer")
    expect(answer).to_contain_text("Your notes don't say. Nothing near mentions “dragon”.")
    expect(answer.get_by_role("region", name="Closest passage")).to_contain_text("63 °C")
    expect(visit.page.get_by_text("The small model’s own words")).to_have_count(0)
    visit.named("link", "Open note heap/compost.md, line 5").click()
    expect(visit.named("dialog", "The heap")).to_be_visible()


def test_prose_is_marked_by_its_support_and_says_why(visit: Visit):
    page = visit.open()
    visit.ask("prose about garlic")
    moon = page.get_by_text("Garlic was first grown on the moon.")
    moon.hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_contain_text("Not in your notes: no source holds “moon”")
    page.get_by_text("It likes a sunny place").focus()
    expect(tip).to_contain_text("Weakly supported by your notes, source 1")
    line = (
        "el => getComputedStyle(el).textDecorationLine + getComputedStyle(el).textDecorationStyle"
    )
    assert moon.evaluate(line) == "underlinewavy"
    assert page.get_by_text("It likes a sunny place").evaluate(line) == "underlinedotted"
    assert "underline" not in page.get_by_text("You planted garlic").evaluate(line)
    page.get_by_text("What the marks mean").click()
    expect(page.get_by_text("compare words and numbers, not meaning")).to_be_visible()


def test_what_an_expert_raised_and_no_passage_carries_names_the_expert(visit: Visit):
    visit.desk.remembers = True
    page = visit.open()
    visit.ask("prose about garlic")
    moon = page.get_by_text("Garlic was first grown on the moon.")
    answer = visit.named("article", "Answer")
    # Read out with the sentence, and beside it for the eye.
    told = "From the memory of garden: no source holds it, and without garden it would be 8 times"
    expect(answer).to_contain_text(f"({told} less likely)")
    style = "el => getComputedStyle(el).textDecorationStyle"
    assert moon.evaluate(style) == "dashed"
    assert page.get_by_text("It likes a sunny place").evaluate(style) == "dotted"
    moon.focus()
    expect(page.get_by_role("tooltip")).to_contain_text(told)
    # Another screen and back: the mark is as it was.
    visit.named("link", "Notes").click()
    visit.named("link", "Ask").click()
    visit.named("link", "prose about garlic").click()
    expect(answer).to_contain_text(f"({told} less likely)")
    assert moon.evaluate(style) == "dashed"


def test_honesty_keeps_back_what_no_source_backs_and_says_so(visit: Visit):
    visit.desk.can_write = True
    page = visit.open()
    switch = page.get_by_role("switch", name="Only what my notes back")
    expect(switch).not_to_be_checked()
    switch.click()
    expect(switch).to_be_checked()
    visit.ask("prose about garlic")
    answer = visit.named("article", "Answer")
    expect(answer.get_by_text("A sentence was kept back: no source backs it.")).to_be_visible()
    expect(answer.get_by_text("It likes a sunny place")).to_be_visible()
    assert answer.locator("q").all_inner_texts() == ["planted garlic"]
    assert "moon" not in page.content()


def test_honesty_is_no_choice_where_answers_are_quotations(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    expect(page.get_by_role("switch", name="Only what my notes back")).to_be_hidden()


def test_shares_show_on_hover_focus_and_long_press(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    sentence = page.get_by_text("“Planted in Long Bed")
    tip = page.get_by_role("tooltip")
    for show, hide in (
        (sentence.hover, lambda: visit.named("article", "Answer").get_by_role("heading").hover()),
        (sentence.focus, lambda: page.keyboard.press("Escape")),
        (
            lambda: sentence.dispatch_event("pointerdown", {"pointerType": "touch"}),
            lambda: page.keyboard.press("Escape"),
        ),
    ):
        expect(tip).to_be_hidden()
        show()
        for said in ("Quoted from garlic.md, line 3", "garden31 %", "recipes4.0 %", "the base65 %"):
            expect(tip).to_contain_text(said)
        hide()
    expect(tip).to_be_hidden()
    experts = page.get_by_role("region", name="Experts")
    expect(experts.get_by_role("switch", name=re.compile("garden"))).to_contain_text("31 %")


def test_colour_by_expert_tints_and_names(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    sentence = page.get_by_text("“Planted in Long Bed")
    background = "el => getComputedStyle(el).backgroundColor"
    plain = sentence.evaluate(background)
    visit.named("switch", "Colour by expert").click()
    assert sentence.evaluate(background) != plain
    expect(page.get_by_role("blockquote").get_by_text("garden", exact=True)).to_be_visible()
    page.get_by_role("main").focus()
    page.keyboard.press("c")
    assert sentence.evaluate(background) == plain


def test_own_words_are_closed_and_asked_for_when_opened(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    expect(page.get_by_role("blockquote")).to_have_count(1)
    own_words = page.get_by_role("group", name="The small model’s own words")
    expect(own_words).to_be_hidden()
    assert [asked["own_words"] for asked in visit.desk.asked] == [False]
    page.get_by_text("The small model’s own words").click()
    # A token that looks like markup is text.
    expect(own_words).to_have_text("Garlic <b>is</b> planted in autumn.")
    assert [asked["own_words"] for asked in visit.desk.asked] == [False, True]
    expect(page.get_by_role("blockquote")).to_have_count(1)
    own_words.get_by_text("Garlic").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tooltip")).to_contain_text("“<b>is</b>”")
    expect(page.get_by_role("tooltip")).to_contain_text("garden31 %")


def test_a_switched_off_expert_is_left_out_of_the_question(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    switch = page.get_by_role("region", name="Experts").get_by_role(
        "switch", name=re.compile("garden")
    )
    expect(switch).to_be_checked()
    switch.click()
    expect(switch).not_to_be_checked()
    visit.ask("When was the garlic lifted?")
    expect(page.get_by_text("Experts on: recipes.")).to_be_visible()
    assert [asked["experts"] for asked in visit.desk.asked] == [None, ["recipes"]]


def test_what_it_would_say_without_an_expert_stands_beside(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    answer = visit.named("article", "Answer")
    answer.get_by_role("button", name="Without recipes").click()
    beside = visit.named("article", "Answer without recipes")
    expect(beside.get_by_role("blockquote")).to_contain_text("41 cloves.”")
    expect(answer.get_by_role("blockquote").first).to_be_visible()
    assert [asked["experts"] for asked in visit.desk.asked] == [None, ["garden"]]
    beside.get_by_text("“Planted in Long Bed").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("the base69 %")
    expect(page.get_by_role("tooltip")).not_to_contain_text("recipes")
    expect(page.get_by_role("heading", level=1)).to_have_count(1)


def test_a_question_is_edited_and_asked_again(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    visit.named("button", "Edit").click()
    box = page.get_by_label("Your question")
    expect(box).to_be_focused()
    expect(box).to_have_value("How many bulbs?")
    visit.ask("How hot was the compost?")
    expect(page.get_by_role("blockquote")).to_contain_text("63 °C")
    visit.named("button", "Ask again").click()
    history = page.get_by_role("navigation", name="History")
    expect(history.get_by_role("link", name="How hot was the compost?")).to_have_count(2)


def test_a_withdrawn_expert_is_no_choice(visit: Visit):
    page = visit.open()
    switches = page.get_by_role("region", name="Experts").get_by_role("switch")
    expect(switches).to_have_count(2)
    expect(switches.filter(has_text="handbook")).to_have_count(0)


def test_a_question_can_be_kept_to_some_collections(visit: Visit):
    page = visit.open()
    page.get_by_role("checkbox", name="garden").uncheck()
    visit.ask("Where is the zebra?")
    expect(page.get_by_text("Looking in letters only.")).to_be_visible()
    assert visit.desk.asked[0]["collections"] == ["letters"]


def test_history_and_the_browsers_back_and_forward(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    expect(visit.named("article", "Answer")).to_contain_text("41 cloves")
    visit.ask("How hot was the compost?")
    expect(visit.named("article", "Answer")).to_contain_text("63 °C")
    page.go_back()
    expect(visit.named("article", "Answer")).to_contain_text("41 cloves")
    page.go_forward()
    expect(visit.named("article", "Answer")).to_contain_text("63 °C")
    history = page.get_by_role("navigation", name="History")
    history.get_by_role("link", name="How many bulbs?").click()
    expect(visit.named("article", "Answer")).to_contain_text("41 cloves")
    visit.named("link", "Experts").click()
    expect(visit.named("heading", "Experts")).to_be_visible()
    page.go_back()
    expect(visit.named("article", "Answer")).to_contain_text("41 cloves")
    assert len(visit.desk.asked) == 2


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stopping_stops_the_work(visit: Visit, how: str):
    may_go_on = threading.Event()
    visit.desk.gate = lambda: may_go_on.wait(PATIENCE_SECONDS)
    page = visit.open()
    visit.ask("How many bulbs?")
    expect(visit.named("link", "Open note garlic.md at line 3")).to_be_visible()
    if how == "button":
        visit.named("button", "Stop").click()
    else:
        page.keyboard.press("Escape")
    expect(page.get_by_text("Stopped. What stands here is whole")).to_be_visible()
    expect(visit.named("button", "Ask")).to_be_visible()
    assert visit.server.until_no_streams(PATIENCE_SECONDS)
    may_go_on.set()
    assert visit.desk.was_closed.wait(PATIENCE_SECONDS)
    assert visit.desk.num_yielded <= 2


def test_nothing_moves_while_an_answer_comes(visit: Visit):
    steps = threading.Semaphore(0)
    visit.desk.gate = lambda: steps.acquire(timeout=PATIENCE_SECONDS)
    page = visit.open()
    visit.ask("How many bulbs, and how much potash?")
    expect(visit.named("link", "Open note garlic.md at line 3")).to_be_visible()
    held = [
        visit.named("heading", "How many bulbs, and how much potash?"),
        page.get_by_label("Your question"),
        page.get_by_role("complementary", name="Sources"),
        visit.named("link", "Open note garlic.md at line 3"),
        page.get_by_text("Reading…"),
    ]
    before = [element.bounding_box() for element in held]
    steps.release()
    expect(page.get_by_role("blockquote")).to_have_count(1)
    assert [element.bounding_box() for element in held] == before
    steps.release()
    expect(page.get_by_role("blockquote")).to_have_count(2)
    steps.release(3)
    expect(page.get_by_text("2 sentences from 2 sources.")).to_be_visible()
    assert [element.bounding_box() for element in held[:-1]] == before[:-1]


def test_an_error_says_what_to_do_and_the_page_goes_on(visit: Visit):
    page = visit.open()
    visit.ask("break")
    expect(page.get_by_text("the model stopped underway; ask again")).to_be_visible()
    expect(visit.named("button", "Ask again")).to_be_visible()
    visit.ask("busy")
    expect(page.get_by_text("written by another process; try again soon")).to_be_visible()
    visit.ask("How many bulbs?")
    expect(page.get_by_role("blockquote")).to_have_count(1)
    forgive(visit, 409)


def test_collections_with_their_counts_and_notes(visit: Visit):
    page = visit.open("#/notes")
    garden = visit.named("article", "Collection garden")
    expect(garden).to_contain_text("3 notes, 9 passages")
    expect(garden).to_contain_text("/notes/garden")
    page.get_by_role("link", name="letters", exact=True).click()
    expect(visit.named("heading", "letters").first).to_be_visible()
    visit.named("link", "Hostile <b>title</b>").click()
    expect(page.get_by_role("dialog")).to_contain_text("<script>window.wasAttacked")


def test_sync_shows_what_it_would_do_and_waits(visit: Visit):
    visit.open("#/notes")
    visit.named("button", "Sync garden").click()
    garden = visit.named("article", "Collection garden")
    expect(garden).to_contain_text("1 to add, 1 to read anew, 1 to remove, 1 note unchanged.")
    for path in ("onions.md", "garlic.md", "old/plan.md", "photo.png: not a text file"):
        expect(garden).to_contain_text(path)
    visit.named("button", "Leave it").click()
    expect(garden).not_to_contain_text("to remove")
    assert visit.desk.synced == [("garden", True)]
    visit.named("button", "Sync garden").click()
    visit.named("button", "Sync now").click()
    expect(garden).to_contain_text("Done: 1 added, 1 read anew, 1 removed")
    assert visit.desk.synced == [("garden", True), ("garden", True), ("garden", False)]


def test_search_marks_the_words_found_and_opens_the_note(visit: Visit):
    page = visit.open("#/notes")
    page.get_by_label("Search your notes").fill("potash")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 passage, the nearest first")).to_be_visible()
    expect(page.get_by_role("mark")).to_have_text("potash")
    visit.named("link", "Open note garlic.md at line 5").click()
    expect(visit.named("dialog", "Garlic").get_by_role("mark")).to_contain_text("A spoon")


def test_a_folder_of_ones_own(visit: Visit):
    page = visit.open("#/notes")
    page.get_by_text("Use my own folder").click()
    page.get_by_label("Folder", exact=True).fill("/home/me/Diary")
    expect(page.get_by_label("Name of the collection")).to_have_value("diary")
    visit.named("button", "Add this folder").click()
    expect(page.get_by_text("“diary” is ready: 1 added, 0 notes unchanged.")).to_be_visible()
    expect(page.get_by_text("photo.png: not a text file")).to_be_visible()
    expect(visit.named("article", "Collection diary")).to_contain_text("1 note")
    expect(visit.named("link", "First")).to_be_visible()


@pytest.mark.parametrize(
    ("folder", "says"),
    [("Diary", "is not a whole path"), ("/home/me/empty", "nothing readable in it")],
)
def test_a_folder_that_cannot_be_added_says_why(visit: Visit, folder: str, says: str):
    page = visit.open("#/notes")
    page.get_by_text("Use my own folder").click()
    page.get_by_label("Folder", exact=True).fill(folder)
    visit.named("button", "Add this folder").click()
    expect(page.get_by_role("alert")).to_contain_text(says)
    expect(page.get_by_role("article")).to_have_count(2)
    forgive(visit, 400)


def test_ten_thousand_notes_scroll_as_ten_do(visit: Visit):
    for number in range(10_000):
        visit.desk.put(stored("garden", f"many/{number:05}.md", f"# Note {number}\n"))
    page = visit.open("#/notes")
    expect(page.get_by_text("10,003 notes", exact=True)).to_be_visible()
    rows = page.get_by_role("region", name="garden").get_by_role("listitem")
    expect(visit.named("link", "Garlic")).to_be_visible()
    assert rows.count() < 60
    visit.named("link", "Garlic").focus()
    page.keyboard.press("ArrowDown")
    expect(visit.named("link", "The heap")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_text("rope.md · 400 lines")).to_be_in_viewport()
    expect(visit.named("link", "Garlic")).to_have_count(0)
    assert rows.count() < 60
    page.keyboard.press("ArrowUp")
    expect(visit.named("link", "Note 9999")).to_be_focused()


def test_an_expert_is_described_in_words(visit: Visit):
    visit.open("#/experts")
    garden = visit.named("article", "garden")
    expect(garden).to_contain_text("Learnt from 402 notes of garden.")
    expect(garden).to_contain_text(
        "On notes it had not seen, it is 25 % less surprised "
        "(perplexity 24.0 without it, 18.0 with it)."
    )
    expect(garden).to_contain_text("83 % of places in its own notes, and in 1.2 %")
    expect(garden).to_contain_text(visit.desk.cards["garden"].hash[:12])


def test_withdraw_shows_the_certificate_and_restore_undoes_it(visit: Visit):
    page = visit.open("#/experts")
    garden = visit.named("article", "garden")
    visit.named("button", "Withdraw garden").click()
    visit.named("button", "Keep it").click()
    assert not visit.desk.cards["garden"].is_withdrawn
    visit.named("button", "Withdraw garden").click()
    expect(visit.named("dialog", "Withdraw garden?")).to_be_visible()
    visit.named("button", "Withdraw").click()
    certificate = page.get_by_role("region", name="Certificate of withdrawal")
    expect(certificate).to_contain_text("Exact. Over 412 tokens the model gives the same bits")
    rows = certificate.get_by_role("row")
    expect(rows.filter(has_text="After withdrawing")).to_contain_text("22" * 6)
    expect(rows.filter(has_text="Never had it")).to_contain_text("22" * 6)
    expect(rows.filter(has_text="With it")).to_contain_text("11" * 6)
    expect(garden).to_contain_text("Withdrawn: it has no part in any answer.")
    expect(page.get_by_role("banner")).to_contain_text("1 expert")
    visit.named("button", "Restore garden").click()
    expect(visit.named("button", "Withdraw garden")).to_be_visible()
    expect(page.get_by_role("banner")).to_contain_text("2 experts")


def test_a_certificate_that_is_not_exact_says_so(visit: Visit):
    visit.desk.certificate_changes = {"is_exact": False, "expert_was_heard": False}
    page = visit.open("#/experts")
    visit.named("button", "Withdraw garden").click()
    visit.named("button", "Withdraw").click()
    certificate = page.get_by_role("region", name="Certificate of withdrawal")
    expect(certificate).to_contain_text("Not exact.")
    expect(certificate).to_contain_text("this check alone could not have failed")


def test_withdrawing_what_was_in_no_mixture_proves_nothing(visit: Visit):
    visit.desk.is_in_mixture = False
    page = visit.open("#/experts")
    visit.named("button", "Withdraw garden").click()
    visit.named("button", "Withdraw").click()
    expect(page.get_by_text("It was in no mixture of this base")).to_be_visible()
    expect(visit.named("button", "Restore garden")).to_be_visible()


def test_empty_rooms_say_the_one_thing_to_do(visit: Visit):
    visit.desk.cards.clear()
    visit.desk.notes_of.clear()
    page = visit.open()
    expect(page.get_by_text("There are no notes here yet.")).to_be_visible()
    expect(visit.named("link", "Add a folder of your own")).to_be_visible()
    visit.named("link", "Notes").click()
    expect(visit.named("heading", "No notes yet")).to_be_visible()
    visit.named("link", "Experts").click()
    empty = page.get_by_role("region", name="No experts yet")
    expect(empty).to_contain_text("Choose a folder below")


def test_hostile_notes_stay_text_everywhere(visit: Visit):
    page = visit.open()
    visit.ask("Where is the <img src=x onerror='window.wasAttacked=1'> zebra?")
    expect(page.get_by_role("blockquote")).to_contain_text("<script>window.wasAttacked")
    page.get_by_role("link", name=re.compile("^Open note hostile.md")).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("[click](javascript:window.wasAttacked=true)")
    for tag in ("script", "img", "svg", "b"):
        assert page.locator(f"main {tag}, dialog {tag}").count() == 0
    page.keyboard.press("Escape")
    visit.named("link", "Notes").click()
    page.get_by_label("Search your notes").fill("zebra <script>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("mark").filter(has_text="zebra")).to_be_visible()


def test_a_quotation_says_the_day_it_is_of(visit: Visit):
    events = visit.desk.events
    visit.desk.events = lambda *asked: (
        replace(event, day="2024-06-29") if isinstance(event, Sentence) else event
        for event in events(*asked)
    )
    page = visit.open()
    visit.ask(EXAMPLES[2])
    expect(page.get_by_role("blockquote").get_by_role("time")).to_have_text("(2024-06-29)")


TURNED = (
    "# Turned \u202egnp.exe\n\nThe walrus \u202eis turned round. \u2067 It never ends.\n"
    "\x1b[2J\x07 A walrus rings a bell\x9b31m.\n" + "walrus " * 5_000 + "\n"
)


def test_marks_that_turn_text_change_no_other_text(visit: Visit):
    visit.desk.put(stored("letters", "turned \u202edm.md", TURNED))
    page = visit.open()
    visit.ask("What does the walrus do?")
    expect(page.get_by_role("blockquote").first).to_contain_text("walrus")
    page.get_by_role("link", name=re.compile("^Open note turned")).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The walrus \ufffdis turned round.")
    expect(dialog.get_by_role("heading")).to_have_text("Turned \ufffdgnp.exe")
    place = dialog.locator(".place")
    expect(place).to_contain_text("letters / turned \ufffddm.md · line")
    assert not re.search("[\u202d\u202e]", page.locator("body").inner_text())
    # What an isolate opened ends with its own text.
    expect(dialog.locator("bdi").filter(has_text="It never ends")).to_have_count(1)
    # Nothing makes the page wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("Escape")
    visit.named("link", "Notes").click()
    page.get_by_label("Search your notes").fill("walrus")
    page.keyboard.press("Enter")
    expect(page.get_by_role("mark").filter(has_text="walrus").first).to_be_visible()
    assert not re.search("[\u202d\u202e]", page.locator("body").inner_text())


def test_by_keyboard_alone(visit: Visit):
    page = visit.open("#/experts")
    expect(visit.named("heading", "Experts")).to_be_visible()
    page.keyboard.press("Tab")
    expect(visit.named("button", "Skip to the text")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    page.get_by_role("main").focus()
    page.keyboard.press("/")
    expect(page.get_by_label("Your question")).to_be_focused()
    page.keyboard.type("How many / bulbs?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("And who?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("blockquote")).to_have_count(1)
    assert visit.desk.asked[0]["question"] == "How many / bulbs?\nAnd who?"
    for _ in range(20):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.textContent").startswith("“Planted"):
            break
    expect(page.get_by_role("tooltip")).to_contain_text("Quoted from garlic.md")
    page.keyboard.press("Tab")
    expect(visit.named("link", "Source 1: garlic.md, line 3")).to_be_focused()
    page.keyboard.press("Enter")
    opens = visit.named("link", "Open note garlic.md at line 3")
    expect(opens).to_be_focused()
    page.keyboard.press("Enter")
    expect(visit.named("dialog", "Garlic")).to_be_visible()
    page.keyboard.press("Escape")
    expect(visit.named("dialog", "Garlic")).to_be_hidden()
    expect(opens).to_be_focused()
    page.keyboard.press("?")
    expect(visit.named("dialog", "Keys")).to_be_visible()
    page.get_by_role("checkbox", name="Single-letter keys are on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(visit.named("dialog", "Keys")).to_be_hidden()


def test_focus_is_always_seen(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    expect(page.get_by_text("1 sentence from 1 source.")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    seen = 0
    for _ in range(25):
        page.keyboard.press("Tab")
        is_marked = page.evaluate(
            """() => {
              const own = getComputedStyle(document.activeElement);
              const around = getComputedStyle(document.activeElement.parentElement);
              return document.activeElement === document.body
                || own.outlineStyle !== "none" || around.boxShadow !== "none";
            }"""
        )
        assert is_marked, page.evaluate("document.activeElement.outerHTML")
        seen += 1
    assert seen == 25


@pytest.mark.parametrize("size", [NARROW, {"width": 768, "height": 1024}, WIDE])
def test_nothing_is_wider_than_the_screen(visit: Visit, size: dict[str, int]):
    long = "https-" + "verylongword" * 40
    visit.desk.put(stored("garden", f"{long[:150]}.md", f"# {long}\n\n{long} wisteria\n"))
    page = visit.open("", size)

    def assert_fits() -> None:
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"]

    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    assert_fits()
    visit.ask(f"wisteria {long}")
    expect(page.get_by_role("blockquote")).to_have_count(1)
    assert_fits()
    page.get_by_role("link", name=re.compile("^Open note https")).click()
    text = page.get_by_role("dialog").get_by_role("region")
    expect(text.get_by_role("mark")).to_be_visible()
    assert text.evaluate("el => el.scrollWidth <= el.clientWidth")
    page.keyboard.press("Escape")
    expect(text).to_be_hidden()
    for place in ("Notes", "Experts", "Models", "Audit"):
        visit.named("link", place).click()
        expect(visit.named("heading", place)).to_be_visible()
        assert_fits()


def test_on_a_narrow_screen_the_rail_is_a_sheet(visit: Visit):
    page = visit.open("", NARROW)
    switch = page.get_by_role("switch", name=re.compile("garden"))
    expect(switch).to_be_hidden()
    opener = visit.named("button", "Experts and history")
    opener.click()
    expect(switch).to_be_visible()
    switch.click()
    page.keyboard.press("Escape")
    expect(switch).to_be_hidden()
    expect(opener).to_be_focused()
    visit.ask("How many bulbs?")
    answer = visit.named("article", "Answer").bounding_box()
    sources = page.get_by_role("complementary", name="Sources").bounding_box()
    assert sources["y"] >= answer["y"] + answer["height"]
    assert visit.desk.asked[0]["experts"] == ["recipes"]


def test_text_is_at_most_68_characters_wide(visit: Visit):
    visit.desk.put(stored("garden", "long.md", "# Long\n\n" + "wisteria grows on walls and " * 20))
    page = visit.open()
    visit.ask("Where is the wisteria?")
    quotation = page.get_by_role("blockquote").first
    # Letters of an ordinary English line, not the width of a 0.
    widest = quotation.evaluate(
        """el => {
          const text = el.querySelector("span").firstChild;
          const range = document.createRange();
          const lines = new Map();
          for (let at = 0; at < text.length; at += 1) {
            range.setStart(text, at);
            range.setEnd(text, at + 1);
            const top = Math.round(range.getBoundingClientRect().top);
            lines.set(top, (lines.get(top) ?? 0) + 1);
          }
          return Math.max(...lines.values());
        }"""
    )
    assert 45 <= widest <= 72


@pytest.mark.parametrize("place", ["#/ask", "#/notes", "#/experts", "#/models", "#/audit"])
def test_everything_has_a_role_and_a_name(visit: Visit, place: str):
    page = visit.open(place)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    for landmark in ("banner", "main"):
        expect(page.get_by_role(landmark)).to_have_count(1)
    assert page.evaluate("document.documentElement.lang") == "en"
    browser = page.context.new_cdp_session(page)
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    acting = {"button", "link", "textbox", "searchbox", "switch", "checkbox", "dialog"}
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in acting
    ]
    assert len(found) >= 5
    assert [role for role, name in found if not name.strip()] == []


def test_a_server_that_has_gone_is_named_with_what_to_do(visit: Visit):
    page = visit.open()
    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    page.route("**/api/ask", lambda route: route.abort("connectionrefused"))
    visit.ask("How many bulbs?")
    expect(page.get_by_text("Your notes are safe; start it again")).to_be_visible()
    visit.complaints = [said for said in visit.complaints if "ERR_CONNECTION_REFUSED" not in said]


def test_a_server_that_is_not_there_at_first_is_named_on_every_screen(visit: Visit):
    page = visit.page
    page.route("**/api/status", lambda route: route.abort("connectionrefused"))
    visit.open()
    expect(page.get_by_role("alert")).to_contain_text("Your notes are safe; start it again")
    for place in ("Notes", "Experts"):
        visit.named("link", place).click()
        expect(visit.named("heading", place)).to_be_visible()
        said = page.get_by_role("main").get_by_text("Your notes are safe; start it again")
        expect(said).to_be_visible()
    visit.complaints = [said for said in visit.complaints if "ERR_CONNECTION_REFUSED" not in said]

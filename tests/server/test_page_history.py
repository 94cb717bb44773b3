"""The history on the page: what was asked outlives tab and server, is found, opened and deleted."""

import re
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
from browser_visit import NARROW, PATIENCE_SECONDS, WIDE, Visit, expect
from own_process import served

from tramontane.library.chats import NUM_LISTED
from tramontane.library.library import Library

sys.path.append(str(Path(__file__).parents[1] / "experts"))

import expert_makers
from expert_makers import write_tiny_base

pytestmark = pytest.mark.usefixtures("browser")
CHANGED = "This note has changed since."


def history(visit: Visit):
    return visit.page.get_by_role("navigation", name="History")


def answered(visit: Visit, question: str) -> None:
    visit.ask(question)
    expect(visit.page.get_by_text(re.compile(r"\d\.\d s\."))).to_be_visible()


def again(visit: Visit):
    """Opens the page as a new tab would: nothing of the old one is left but the address."""
    visit.page.goto("about:blank")
    return visit.open("#/ask")


def test_an_answer_outlives_the_tab_with_its_sources(visit: Visit):
    page = visit.open()
    answered(visit, "How many bulbs?")
    address = page.url
    again(visit)
    expect(history(visit).get_by_role("heading", name="Today")).to_be_visible()
    history(visit).get_by_role("link", name="How many bulbs?").click()
    answer = visit.named("article", "Answer")
    expect(answer.get_by_role("heading", name="How many bulbs?")).to_be_visible()
    expect(answer.get_by_role("blockquote")).to_contain_text("41 cloves.”")
    expect(answer).to_contain_text("in garden and letters. Experts on: garden and recipes.")
    sources = page.get_by_role("complementary", name="Sources")
    expect(sources).to_contain_text("garden · line 3")
    expect(sources.get_by_role("mark")).to_contain_text("Planted in Long Bed")
    expect(sources.get_by_text(CHANGED)).to_have_count(0)
    answer.get_by_text("“Planted in Long Bed").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("garden31 %")
    assert page.url == address
    expect(history(visit).locator("[aria-current=page]")).to_have_text(re.compile("How many bulbs"))
    assert len(visit.desk.asked) == 1


def test_the_address_of_an_answer_opens_it(visit: Visit):
    page = visit.open()
    answered(visit, "How many bulbs?")
    page.reload()
    expect(visit.named("article", "Answer")).to_contain_text("41 cloves")
    visit.chats.clear()
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("no answer 1 is kept")
    visit.complaints = [said for said in visit.complaints if "status of 404" not in said]


def test_a_note_that_has_changed_since_says_so_and_opens_where_the_passage_is(visit: Visit):
    page = visit.open()
    answered(visit, "How many bulbs?")
    visit.desk.changed.add(("garden", "garlic.md"))
    again(visit)
    history(visit).get_by_role("link", name="How many bulbs?").click()
    sources = page.get_by_role("complementary", name="Sources")
    expect(sources).to_contain_text(CHANGED)
    sources.get_by_role("link", name=re.compile("^Open note garlic.md")).click()
    marked = visit.named("dialog", "Garlic").get_by_role("mark")
    expect(marked).to_contain_text("A spoon of sulphate")
    page.keyboard.press("Escape")
    del visit.desk.notes_of["garden"]["garlic.md"]
    again(visit)
    history(visit).get_by_role("link", name="How many bulbs?").click()
    expect(sources).to_contain_text("This note is gone.")
    expect(sources.get_by_role("link")).to_have_count(0)


def test_an_old_question_is_asked_again_or_edited_and_tried(visit: Visit):
    page = visit.open()
    answered(visit, "How many bulbs?")
    again(visit)
    history(visit).get_by_role("link", name="How many bulbs?").click()
    expect(page.get_by_text("The small model’s own words")).to_have_count(0)
    visit.named("button", "Ask again").click()
    expect(history(visit).get_by_role("link", name="How many bulbs?")).to_have_count(2)
    history(visit).get_by_role("link", name="How many bulbs?").nth(1).click()
    visit.named("button", "Edit").click()
    box = page.get_by_label("Your question")
    expect(box).to_have_value("How many bulbs?")
    answered(visit, "How many cloves, and which bulbs?")
    assert [chat.question for chat in visit.chats.ls()] == [
        "How many cloves, and which bulbs?",
        "How many bulbs?",
        "How many bulbs?",
    ]


def test_abstaining_prose_and_errors_are_shown_as_they_were(visit: Visit):
    page = visit.open()
    for question in ("prose about garlic", "Is there a dragon?"):
        answered(visit, question)
    visit.ask("break")
    expect(page.get_by_text("the model stopped underway; ask again")).to_be_visible()
    again(visit)
    history(visit).get_by_role("link", name="prose about garlic").click()
    page.get_by_text("Garlic was first grown on the moon.").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("no source holds “moon”")
    history(visit).get_by_role("link", name="Is there a dragon?").click()
    expect(visit.named("article", "Answer")).to_contain_text("Nothing near mentions “dragon”.")
    expect(page.get_by_role("region", name="Closest passage")).to_contain_text("63 °C")
    broken = history(visit).get_by_role("link", name="break")
    expect(broken).to_contain_text("Ended by an error")
    broken.click()
    expect(page.get_by_text("the model stopped underway; ask again")).to_be_visible()
    expect(visit.named("button", "Ask again")).to_be_visible()


def test_what_was_not_finished_and_what_was_forgotten_is_said(visit: Visit, library: Library):
    visit.chats.begin("Where did the server go?", ["letters"], [])
    page = visit.open()
    answered(visit, "How hot was the compost?")
    assert library.forget("garden").chats == 1
    again(visit)
    expect(history(visit).get_by_role("link", name="Where did the server go?")).to_contain_text(
        "Not finished"
    )
    forgotten = history(visit).get_by_role("link", name=re.compile("^How hot was the …"))
    expect(forgotten).to_contain_text(
        "1 sentence, 1 passage and words of the question were forgotten with a collection."
    )
    forgotten.click()
    answer = visit.named("article", "Answer")
    expect(answer).to_contain_text("A sentence was forgotten with its collection.")
    expect(answer).to_contain_text("were forgotten with a collection.")
    expect(page.get_by_role("blockquote")).to_have_count(0)
    history(visit).get_by_role("link", name="Where did the server go?").click()
    expect(page.get_by_text("Not finished: the page was left")).to_be_visible()


def test_one_is_deleted_once_one_says_so(visit: Visit):
    page = visit.open()
    for question in ("How many bulbs?", "How hot was the compost?"):
        answered(visit, question)
    visit.named("button", "Delete: How many bulbs?").click()
    dialog = visit.named("dialog", "Delete this answer?")
    expect(dialog).to_contain_text("“How many bulbs?” and its answer go. There is no undo.")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_be_hidden()
    assert len(visit.chats.ls()) == 2
    visit.named("button", "Delete: How many bulbs?").click()
    visit.named("button", "Delete for good").click()
    expect(history(visit).get_by_role("link", name="How many bulbs?")).to_have_count(0)
    assert [chat.question for chat in visit.chats.ls()] == ["How hot was the compost?"]
    expect(visit.named("article", "Answer")).to_contain_text("63 °C")
    # The one that is shown, from its own view.
    visit.named("button", "Delete").click()
    visit.named("button", "Delete for good").click()
    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    expect(page.get_by_label("Your question")).to_be_focused()
    assert visit.chats.ls() == []
    assert page.url.endswith("#/ask")


def test_all_are_deleted_after_a_confirmation(visit: Visit):
    visit.open()
    for question in ("How many bulbs?", "How hot was the compost?"):
        answered(visit, question)
    visit.named("button", "Delete all…").click()
    dialog = visit.named("dialog", "Delete all answers?")
    dialog.get_by_role("button", name="Keep").click()
    assert len(visit.chats.ls()) == 2
    visit.named("button", "Delete all…").click()
    visit.named("button", "Delete for good").click()
    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    expect(history(visit)).to_contain_text("Your questions will stand here.")
    assert visit.chats.ls() == []


def test_a_refused_deletion_says_why_and_takes_nothing_away(visit: Visit):
    page = visit.open()
    answered(visit, "How many bulbs?")
    page.route("**/api/chats/clear", lambda route: route.abort("connectionrefused"))
    visit.named("button", "Delete all…").click()
    visit.named("button", "Delete for good").click()
    expect(visit.named("dialog", "Delete all answers?").get_by_role("alert")).to_contain_text(
        "The server doesn't answer"
    )
    page.keyboard.press("Escape")
    expect(history(visit).get_by_role("link", name="How many bulbs?")).to_be_visible()
    visit.complaints = [said for said in visit.complaints if "ERR_CONNECTION_REFUSED" not in said]


def test_words_find_questions_and_answers(visit: Visit):
    page = visit.open()
    for question in ("How many bulbs?", "How hot was the compost?"):
        answered(visit, question)
    again(visit)
    search = page.get_by_label("Search the history")
    search.fill("cloves 41")
    expect(history(visit).get_by_role("link", name="compost")).to_have_count(0)
    expect(history(visit).get_by_role("link", name="How many bulbs?")).to_be_visible()
    search.fill("zeppelin")
    expect(history(visit).get_by_text("No answer holds that.")).to_be_visible()
    search.fill("")
    expect(history(visit).get_by_role("link", name="compost")).to_be_visible()


def test_older_ones_are_fetched_when_asked_for(visit: Visit):
    for number in range(NUM_LISTED + 3):
        visit.chats.begin(f"Question {number}?", [], [])
    visit.open()
    links = history(visit).get_by_role("link", name=re.compile("^Question"))
    expect(links).to_have_count(NUM_LISTED)
    visit.named("button", "Older").click()
    expect(links).to_have_count(NUM_LISTED + 3)
    expect(visit.named("button", "Older")).to_be_hidden()
    expect(links.last).to_contain_text("Question 0?")


def test_a_question_can_be_left_out_of_the_history(visit: Visit):
    page = visit.open()
    keeping = page.get_by_role("switch", name="Keep new questions")
    expect(keeping).to_be_checked()
    keeping.click()
    expect(keeping).not_to_be_checked()
    answered(visit, "How many bulbs?")
    expect(history(visit).get_by_role("link", name="How many bulbs?")).to_be_visible()
    page.get_by_text("The small model’s own words").click()
    expect(page.get_by_role("group", name="The small model’s own words")).to_contain_text("autumn.")
    assert visit.chats.ls() == []
    again(visit)
    expect(history(visit)).to_contain_text("Your questions will stand here.")


def test_own_words_and_what_it_says_without_an_expert_are_no_questions_of_their_own(visit: Visit):
    page = visit.open()
    answered(visit, "How many bulbs?")
    page.get_by_text("The small model’s own words").click()
    expect(page.get_by_role("group", name="The small model’s own words")).to_contain_text("autumn.")
    visit.named("button", "Without recipes").click()
    expect(visit.named("article", "Answer without recipes")).to_contain_text("41 cloves")
    assert len(visit.desk.asked) == 3
    assert len(visit.chats.ls()) == 1


def test_by_keyboard_alone(visit: Visit):
    page = visit.open()
    for question in ("How many bulbs?", "How hot was the compost?", "When was it lifted?"):
        answered(visit, question)
    page.get_by_role("main").focus()
    page.keyboard.press("h")
    expect(page.get_by_label("Search the history")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    compost = history(visit).get_by_role("link", name="How hot was the compost?")
    expect(compost).to_be_focused()
    page.keyboard.press("Enter")
    expect(visit.named("article", "Answer")).to_contain_text("63 °C")
    expect(compost).to_be_focused()
    page.keyboard.press("Delete")
    expect(visit.named("dialog", "Delete this answer?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(compost).to_be_focused()
    page.keyboard.press("Delete")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    expect(visit.named("button", "Delete for good")).to_be_focused()
    page.keyboard.press("Enter")
    expect(compost).to_have_count(0)
    expect(history(visit).get_by_role("link", name="How many bulbs?")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(history(visit).get_by_role("link", name="When was it lifted?")).to_be_focused()


def test_on_a_narrow_screen_it_lies_in_the_sheet(visit: Visit):
    page = visit.open("", NARROW)
    answered(visit, "How many bulbs?")
    expect(history(visit)).to_be_hidden()
    page.get_by_role("main").focus()
    page.keyboard.press("h")
    expect(page.get_by_label("Search the history")).to_be_focused()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"]
    history(visit).get_by_role("link", name="New question").click()
    expect(history(visit)).to_be_hidden()
    visit.named("button", "Experts and history").click()
    history(visit).get_by_role("link", name="How many bulbs?").click()
    expect(history(visit)).to_be_hidden()
    expect(visit.named("article", "Answer")).to_contain_text("41 cloves")
    # The dialog doesn't lie in the sheet.
    visit.named("button", "Delete").click()
    visit.named("button", "Delete for good").click()
    expect(visit.named("heading", "Ask your notes")).to_be_visible()
    assert visit.chats.ls() == []


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_nothing_moves_while_an_answer_is_kept(visit: Visit, size: dict[str, int]):
    steps = threading.Semaphore(0)
    visit.desk.gate = lambda: steps.acquire(timeout=PATIENCE_SECONDS)
    page = visit.open("", size)
    question = "How many bulbs, and how much potash, and is this too long for one line of the list?"
    visit.ask(question)
    expect(page.get_by_text("Reading…")).to_be_visible()
    if size is NARROW:
        visit.named("button", "Experts and history").click()
    held = [
        history(visit).get_by_role("link", name=question),
        visit.named("button", "Delete all…"),
        page.get_by_role("region", name="Experts"),
        page.get_by_role("switch", name="Keep new questions"),
    ]
    before = [element.bounding_box() for element in held]
    assert all(before)
    steps.release(10)
    expect(page.get_by_text("2 sentences from 2 sources.")).to_have_count(1)
    assert [element.bounding_box() for element in held] == before
    assert [chat.state for chat in visit.chats.ls()] == ["done"]


# With nothing faked


def test_real_notes_a_killed_server_and_a_note_that_changed(
    browser, garden: Path, tmp_path: Path, monkeypatch
):
    home, base, folder = tmp_path / "home", tmp_path / "tiny.gguf", tmp_path / "garden"
    monkeypatch.setattr(expert_makers, "CONTEXT", 4096)
    write_tiny_base(base)
    shutil.copytree(garden, folder)
    with Library(home / "library.sqlite") as library:
        library.add_collection("garden", folder)
        library.sync("garden")
    question = "What depth of hole does each leek drop into?"
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    answer = page.get_by_role("article", name="Answer", exact=True)
    done = page.get_by_text(re.compile(r"\d\.\d s\."))
    link = page.get_by_role("navigation", name="History").get_by_role("link", name=question)
    with served(home, base) as (server, address):
        page.goto(address)
        page.get_by_label("Your question").fill(question)
        page.keyboard.press("Enter")
        expect(done).to_be_visible(timeout=60_000)
        quoted = answer.get_by_role("blockquote").all_inner_texts()
        assert quoted
        server.send_signal(signal.SIGKILL)
        server.wait(60)
    for note in folder.iterdir():
        note.write_text(note.read_text() + "\nA line that was added later.\n")
    with served(home, base) as (_, address):
        page.goto(address)
        link.click()
        expect(done).to_be_visible(timeout=60_000)
        assert answer.get_by_role("blockquote").all_inner_texts() == quoted
        expect(page.get_by_text(CHANGED).first).to_be_visible()
        page.get_by_role("link", name=re.compile("^Open note")).first.click()
        expect(page.get_by_role("dialog").get_by_role("mark").first).to_be_visible()
    context.close()

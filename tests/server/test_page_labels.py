"""Calibrating from the Notes screen in a real browser: a text, one key each, the promise."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_visit import NARROW, WIDE, Visit, expect, forgive
from fake_labels import PASSAGE
from test_page_real_audit import CONTRASTS, LEAST_CONTRAST

from tramontane.notes.sentences import split_sentences
from tramontane.writing.promise import fewest_labels

pytestmark = pytest.mark.usefixtures("browser")

TEXT = "Garlic went in. The heap was turned. Leeks were sold to Lisbon."
FEWEST = fewest_labels(0.1)


def open_dialog(visit: Visit, size: dict[str, int] = WIDE):
    visit.open("#/notes", size)
    visit.named("button", "Calibrate garden").click()
    return visit.named("dialog", "Calibrate garden")


def open_sheet(visit: Visit, text: str = TEXT, size: dict[str, int] = WIDE):
    dialog = open_dialog(visit, size)
    dialog.get_by_label("A text of yours about these notes").fill(text)
    visit.named("button", "Judge its sentences").click()
    expect(dialog.get_by_role("blockquote")).to_be_visible()
    return dialog


def many(number: int) -> str:
    return " ".join(f"Sentence {place} of many." for place in range(number))


def test_a_sentence_stands_beside_its_passage_with_the_words_marked(visit: Visit):
    dialog = open_sheet(visit)
    expect(dialog.get_by_role("blockquote")).to_have_text("Garlic went in.")
    expect(dialog.get_by_role("blockquote")).to_be_focused()
    nearest = dialog.get_by_role("region", name="Passage of garlic.md, lines 3–4")
    expect(nearest.get_by_role("group")).to_have_text(PASSAGE)
    assert nearest.get_by_role("mark").all_text_contents() == ["Garlic", "28", "October"]
    expect(dialog.get_by_text("The heap was turned in March.")).to_be_hidden()
    visit.page.keyboard.press("m")
    expect(dialog.get_by_text("The heap was turned in March.")).to_be_visible()
    expect(dialog.get_by_role("status")).to_contain_text("0 judged, 3 to go.")
    visit.page.keyboard.press("s")
    expect(dialog.get_by_role("blockquote")).to_have_text("The heap was turned.")
    # Who reads with the focus, or with a screen reader, is on the next sentence.
    expect(dialog.get_by_role("blockquote")).to_be_focused()


def test_the_source_opens_over_the_sitting_and_gives_it_back(visit: Visit):
    dialog = open_sheet(visit)
    link = dialog.get_by_role("link", name="Open note garlic.md, lines 3–4")
    link.click()
    note = visit.page.get_by_role("dialog", name="Garlic")
    expect(note.get_by_role("mark").first).to_have_text(re.compile("Germidour|Planted|^ $"))
    # Its keys are not the sitting's.
    visit.page.keyboard.press("s")
    assert visit.labels.verdicts == {}
    visit.page.keyboard.press("Escape")
    expect(note).to_be_hidden()
    expect(dialog.get_by_role("blockquote")).to_have_text("Garlic went in.")
    expect(link).to_be_focused()


def test_every_verdict_has_a_key_and_a_button_and_is_kept_at_once(visit: Visit):
    dialog = open_sheet(visit, many(5))
    page, asked, state = visit.page, dialog.get_by_role("blockquote"), dialog.get_by_role("status")
    # Whatever takes the focus away, a click beside the buttons or another window, keys go on.
    page.evaluate("document.activeElement.blur()")
    for place, (key, verdict) in enumerate(
        (("s", "supported"), ("p", "partly"), ("u", "unsupported"), ("k", "skipped")), start=1
    ):
        page.keyboard.press(key)
        expect(asked).to_have_text(f"Sentence {place} of many.")
        assert visit.labels.verdicts[place] == verdict
    expect(state).to_contain_text("3 judged, 1 to go.")
    page.keyboard.press("z")
    expect(state).to_contain_text("Taken back.")
    expect(asked).to_have_text("Sentence 3 of many.")
    button = visit.named("button", "Not")
    button.focus()
    page.keyboard.press("Enter")
    expect(asked).to_have_text("Sentence 4 of many.")
    # Whoever goes by buttons stays on theirs.
    expect(button).to_be_focused()
    assert visit.labels.verdicts[4] == "unsupported"
    visit.named("button", "Partly").click()
    expect(
        dialog.get_by_text("Text of your own: 5 judged (1 supported, 2 partly, 2 not)")
    ).to_be_visible()


def test_undoing_where_nothing_was_judged_says_so(visit: Visit):
    dialog = open_sheet(visit)
    visit.named("button", "Undo").click()
    expect(dialog.get_by_role("status")).to_contain_text("Nothing to take back.")


def test_keys_that_are_switched_off_judge_nothing(visit: Visit):
    page = visit.open("#/notes")
    page.keyboard.press("?")
    page.get_by_role("checkbox", name="Single-letter keys are on").uncheck()
    page.keyboard.press("Escape")
    dialog = open_sheet(visit)
    page.keyboard.press("s")
    page.keyboard.press("q")
    expect(dialog.get_by_role("blockquote")).to_have_text("Garlic went in.")
    visit.named("button", "Supported").click()
    expect(dialog.get_by_role("blockquote")).to_have_text("The heap was turned.")
    assert visit.labels.verdicts == {1: "supported"}


def test_it_ends_at_any_time_says_what_is_missing_and_goes_on_later(visit: Visit):
    dialog = open_sheet(visit)
    visit.page.keyboard.press("s")
    expect(dialog.get_by_role("blockquote")).to_have_text("The heap was turned.")
    visit.page.keyboard.press("q")
    expect(
        dialog.get_by_text(f"a promise takes {FEWEST - 1} more sentences at least.")
    ).to_be_visible()
    expect(visit.named("heading", "Calibrate garden")).to_be_focused()
    expect(visit.named("button", "Make the promise")).to_have_count(0)
    visit.page.keyboard.press("Escape")
    opener = visit.named("button", "Calibrate garden")
    expect(opener).to_be_focused()
    opener.click()
    goes_on = visit.named("button", "Go on with 2 sentences of your text")
    expect(goes_on).to_be_focused()
    goes_on.click()
    expect(dialog.get_by_role("blockquote")).to_have_text("The heap was turned.")


def test_the_promise_is_made_in_words_and_stands_there_the_next_time(visit: Visit):
    dialog = open_sheet(visit, many(FEWEST))
    for place in range(1, FEWEST + 1):
        visit.page.keyboard.press("s")
        if place < FEWEST:
            expect(dialog.get_by_role("blockquote")).to_have_text(f"Sentence {place} of many.")
    visit.named("button", "Make the promise").click()
    promise = visit.named("region", "Promise")
    expect(promise).to_contain_text("at most 10% are not, on text like your calibration set")
    expect(promise).to_contain_text(f"{FEWEST} of these {FEWEST} keep the mark (100%; 95% interval")
    visit.named("button", "Close").click()
    visit.named("button", "Calibrate garden").click()
    expect(dialog.get_by_text("Now: Of the sentences shown as supported")).to_be_visible()


def test_a_refusal_is_said_in_words(visit: Visit):
    dialog = open_sheet(visit, many(FEWEST))
    for place in range(1, FEWEST + 1):
        visit.page.keyboard.press("u")
        if place < FEWEST:
            expect(dialog.get_by_role("blockquote")).to_have_text(f"Sentence {place} of many.")
    visit.named("button", "Make the promise").click()
    expect(visit.named("region", "No promise")).to_contain_text("More labels would not help")


def test_the_base_writes_where_it_may(visit: Visit):
    dialog = open_dialog(visit)
    expect(dialog.get_by_label("A text of yours about these notes")).to_be_focused()
    offer = visit.named("button", "Let the base write instead")
    expect(offer).to_have_count(0)
    visit.page.keyboard.press("Escape")
    visit.labels.writes = True
    visit.labels.texts = [("prose", "The base says this.")]
    open_dialog(visit)
    visit.named("button", "Go on with 1 sentence by the base").click()
    expect(dialog.get_by_role("blockquote")).to_have_text("The base says this.")
    visit.page.keyboard.press("s")
    expect(dialog.get_by_text("The base’s prose: 1 judged")).to_be_visible()
    visit.named("button", "Another text").click()
    offer.click()
    expect(dialog.get_by_text("The base’s prose: 1 judged")).to_be_visible()


@pytest.mark.parametrize("ends", ["End here", "Escape"])
def test_nobody_waits_for_a_base_that_writes(visit: Visit, ends: str):
    may_go_on = threading.Event()
    visit.labels.gate = lambda: may_go_on.wait(20)
    visit.labels.writes = True
    visit.labels.texts = [("prose", "The base says this.")]
    dialog = open_dialog(visit)
    visit.named("button", "Go on with 1 sentence by the base").click()
    expect(dialog.get_by_role("status")).to_contain_text("The base is writing…")
    if ends == "Escape":
        visit.page.keyboard.press("Escape")
        open_dialog(visit)
        expect(visit.named("button", "Go on with 1 sentence by the base")).to_be_focused()
    else:
        visit.named("button", ends).click()
        expect(dialog.get_by_text("Nothing is judged yet.")).to_be_visible()
    with visit.page.expect_response("**/api/labels/next"):
        may_go_on.set()
    # It waits where it was; no key judges what nobody sees.
    visit.page.keyboard.press("s")
    expect(dialog.get_by_role("blockquote")).to_have_count(0)
    assert visit.labels.verdicts == {}
    name = "Judge more" if ends == "End here" else "Go on with 1 sentence by the base"
    visit.named("button", name).click()
    expect(dialog.get_by_role("blockquote")).to_have_text("The base says this.")
    visit.page.keyboard.press("s")
    expect(dialog.get_by_text("The base’s prose: 1 judged")).to_be_visible()


def test_what_another_page_judged_is_said_and_gone_on_from(visit: Visit):
    dialog = open_sheet(visit)
    visit.labels.judge(1, "partly")
    visit.page.keyboard.press("s")
    expect(dialog.get_by_role("alert").get_by_text("judged before")).to_be_visible()
    expect(dialog.get_by_role("blockquote")).to_have_text("The heap was turned.")
    assert visit.labels.verdicts == {1: "partly"}
    forgive(visit, 400)


def test_a_text_without_a_sentence_is_said_and_kept(visit: Visit):
    dialog = open_dialog(visit)
    box = dialog.get_by_label("A text of yours about these notes")
    visit.named("button", "Judge its sentences").click()
    expect(dialog.get_by_role("alert")).to_have_text("There is no text yet: type or paste some.")
    box.fill("12. 34.")
    visit.named("button", "Judge its sentences").click()
    expect(dialog.get_by_role("alert").get_by_text("no sentence in the text")).to_be_visible()
    expect(box).to_have_value("12. 34.")
    forgive(visit, 400)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_scroll_one_way_and_every_text_can_be_read(visit: Visit, scheme: str):
    visit.page.emulate_media(color_scheme=scheme)
    dialog = open_sheet(visit, f"{'Unbreakable' * 12} went in. {many(FEWEST)}", NARROW)
    for step in (
        lambda: visit.page.keyboard.press("m"),
        lambda: visit.named("button", "End here").click(),
    ):
        assert dialog.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        low = [pair for pair in visit.page.evaluate(CONTRASTS) if pair[1] < LEAST_CONTRAST]
        assert low == []
        step()
    keep_picture(visit.page, f"calibrate-360-{scheme}")


# Beside an answer's marks


def test_the_promise_stands_beside_the_marks_it_covers(visit: Visit):
    visit.desk.promise = "Of the sentences shown as supported, at most 10% are not."
    page = visit.open("", WIDE)
    visit.ask("In prose: how many cloves did I plant?")
    answer = page.get_by_role("article", name="Answer")
    expect(answer.get_by_text(visit.desk.promise)).to_be_visible()
    expect(answer.get_by_text("The marks are not calibrated")).to_have_count(0)
    visit.desk.promise = None
    visit.ask("In prose: how hot did the heap get?")
    link = answer.get_by_role("link", name="Calibrate a collection")
    expect(link).to_have_attribute("href", "#/notes")


# With nothing faked


GARDEN = Path(__file__).parents[2] / "examples" / "notes" / "garden"
NUM_BACKED = 40
INVENTED = [
    "The greenhouse in Lisbon was sold to Ferdinand for 9,999 euros.",
    "Our submarine carried forty violins through the Baltic.",
    "Napoleon praised the zinc roof of the observatory.",
    "The bank in Zurich refused the second mortgage.",
    "Seventeen astronauts rehearsed the opera in Moscow.",
]


def keep_picture(page, name: str) -> None:
    if folder := os.environ.get("TRAMONTANE_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def backed_sentences() -> list[str]:
    """Sentences of the notes themselves, one of each note, of a length that says something."""
    found = []
    for file in sorted(GARDEN.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        sentences = [one.text for one in split_sentences(text) if 50 < len(one.text) < 140]
        found += [one for one in sentences if one[0].isupper() and one.endswith(".")][:1]
    assert len(found) >= NUM_BACKED
    return found[:NUM_BACKED]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    sys.path.append(str(Path(__file__).parents[1] / "experts"))
    from expert_makers import write_tiny_base

    write_tiny_base(tmp_path / "tiny.gguf")
    settings = {
        "TRAMONTANE_HOME": tmp_path / "home",
        "TRAMONTANE_BASE": tmp_path / "tiny.gguf",
        "TRAMONTANE_THREADS": 1,
    }
    environment = os.environ | {name: str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "tramontane.cli.main"]
    subprocess.run([*command, "collections", "add", GARDEN], env=environment, check=True)
    server = subprocess.Popen(
        [*command, "serve", "--port", "0", "--no-samples"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        yield re.search(r"http://\S+?/", server.stdout.readline())[0]
    finally:
        server.terminate()
        server.wait(60)
        server.stdout.close()


@pytest.mark.slow
def test_from_the_dialog_to_the_promise_on_real_notes(browser, address: str):
    """Whoever judges here knows which sentences stand in the notes: they were taken from them."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    backed = backed_sentences()
    page.goto(f"{address}#/notes")
    page.get_by_role("button", name="Calibrate garden").click()
    page.get_by_label("A text of yours about these notes").fill("\n\n".join([*backed, *INVENTED]))
    page.get_by_role("button", name="Judge its sentences").click()
    asked = page.get_by_role("dialog").get_by_role("blockquote")
    state = page.get_by_role("dialog").get_by_role("status")
    seen: set[str] = set()
    total = len(backed) + len(INVENTED)
    expect(state).to_contain_text(f"0 judged, {total} to go.", timeout=60_000)
    keep_picture(page, "calibrate")
    while len(seen) < total:
        sentence = asked.text_content()
        assert sentence not in seen
        seen.add(sentence)
        page.keyboard.press("s" if sentence in backed else "u")
        if len(seen) < total:
            expect(asked).not_to_have_text(sentence)
    assert seen == {*backed, *INVENTED}
    page.get_by_role("button", name="Make the promise").click()
    promise = page.get_by_role("region", name="Promise")
    expect(promise).to_contain_text(
        f"at most 10% are not, on text like your calibration set ({total} labelled sentences, "
        f"{len(backed)} of them supported)"
    )
    keep_picture(page, "calibrate-promise")
    context.close()
    assert faults == []

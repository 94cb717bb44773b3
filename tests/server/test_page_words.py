"""Word by word: each word of an answer says who spoke in it, where the answer is the same."""

import json

import pytest
from browser_visit import Visit, expect
from fake_desk import voice_of

pytestmark = pytest.mark.usefixtures("browser")
SENTENCE = "You planted garlic in Long Bed."


def words(visit: Visit, sentence: str):
    return visit.page.get_by_text(sentence).locator("span")


def test_words_are_coloured_on_demand_and_say_their_shares(visit: Visit):
    page = visit.open()
    visit.ask("prose about garlic")
    switch = visit.named("switch", "Word by word")
    expect(switch).not_to_be_checked()
    sentence = page.get_by_text(SENTENCE)
    before = sentence.bounding_box()
    switch.click()
    expect(words(visit, SENTENCE)).to_have_count(6)
    assert words(visit, SENTENCE).all_inner_texts() == SENTENCE.split()
    expect(sentence).to_have_text(SENTENCE)
    # Each word's box is rounded by itself, to 1/64 px.
    assert sentence.bounding_box() == pytest.approx(before, abs=0.5)
    expect(visit.named("switch", "Colour by expert")).to_be_checked()
    assert [asked["question"] for asked in visit.desk.asked] == ["prose about garlic"] * 2
    assert len(visit.chats.ls()) == 1
    # Tokens of three letters: "You", " pl", "ant", "ed ", ...
    you, planted = words(visit, SENTENCE).nth(0), words(visit, SENTENCE).nth(1)
    background = "el => getComputedStyle(el).backgroundColor"
    assert you.evaluate(background) != planted.evaluate(background)
    tip = page.get_by_role("tooltip")
    you.hover()
    for said in ("“You”", "garden60 %", "recipes10 %", "the base30 %", "Share in this word"):
        expect(tip).to_contain_text(said)
    sentence.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(planted).to_be_focused()
    expect(tip).to_contain_text("“planted”")
    expect(tip).to_contain_text("garden0 %")
    page.keyboard.press("Escape")
    switch.click()
    expect(words(visit, SENTENCE)).to_have_count(0)
    switch.click()
    expect(words(visit, SENTENCE)).to_have_count(6)
    assert len(visit.desk.asked) == 2


def test_a_sentence_is_named_after_whom_it_is_of_or_those_that_look_alike(visit: Visit):
    page = visit.open()
    visit.ask("prose about garlic")
    visit.named("switch", "Colour by expert").click()
    # recipes has a share, but is not named for it.
    assert page.locator(".expert-name").all_inner_texts() == ["garden"] * 3
    tip = page.get_by_role("tooltip")
    page.get_by_text(SENTENCE).hover()
    expect(tip).to_contain_text("recipes4.0 %")
    expect(tip).not_to_contain_text("look alike")
    visit.ask("prose about garlic alike")
    expect(page.locator(".expert-name").first).to_have_text("garden or recipes")
    page.get_by_text(SENTENCE).hover()
    expect(tip).to_contain_text("Contested: garden and recipes look alike")


def test_what_was_copied_keeps_its_quotation_marks(visit: Visit):
    visit.desk.can_write = True
    page = visit.open()
    page.get_by_role("switch", name="Only what my notes back").click()
    visit.ask("prose about garlic")
    visit.named("switch", "Word by word").click()
    expect(page.locator("q span")).to_have_count(2)
    assert page.locator("q").inner_text() == "planted garlic"
    expect(page.get_by_text("It likes a sunny place").locator("span")).to_have_count(7)


def test_an_answer_that_would_be_another_today_is_not_coloured(visit: Visit):
    page = visit.open()
    visit.ask("How many bulbs?")
    quotation = page.get_by_role("blockquote")
    expect(quotation).to_contain_text("41 cloves")
    note = visit.desk.notes_of["garden"].pop("garlic.md")
    visit.named("switch", "Word by word").click()
    expect(page.get_by_text("Asked again, it says something else")).to_be_visible()
    expect(quotation).to_contain_text("“Planted in Long Bed on 28 October.")
    visit.desk.put(note)
    visit.named("switch", "Word by word").click()
    visit.named("switch", "Word by word").click()
    expect(quotation.get_by_text("cloves", exact=False).first).to_be_visible()
    expect(page.get_by_text("Asked again, it says something else")).to_be_hidden()


@pytest.mark.parametrize(
    ("text", "tokens", "whole"),
    [
        ("Two words.", ["Two", " wor", "ds", ". [1]"], [[0], [1, 2, 3]]),
        ("A é b", ["A ", "\ufffd", "\ufffd b"], [[0], [2], [2]]),
        ("So „x“", ["So ", "\ufffd", "\ufffdx", "\ufffd", "\ufffd"], [[0], [2, 4]]),
        ("Text", ["Other"], None),
    ],
)
def test_words_find_their_tokens(visit: Visit, text: str, tokens: list[str], whole):
    page = visit.open()
    names = [{"text": part, "shares": {str(place): 1}} for place, part in enumerate(tokens)]
    found = page.evaluate(
        """async ([text, tokens]) =>
          (await import("/voiced-words.js")).voicedWords(text, tokens)""",
        [text, json.loads(json.dumps(names))],
    )
    said = found and [sorted(int(name) for name in word["shares"]) for word in found]
    assert said == whole


def test_the_fake_voice_is_what_these_tests_take_it_for():
    assert [token.text for token in voice_of(SENTENCE).tokens][:4] == ["You", " pl", "ant", "ed "]

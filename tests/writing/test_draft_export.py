"""Files of a draft: every source with its place, doubtful sentences told, and nothing that runs."""

import re
from html.parser import HTMLParser

import pytest
from writing_makers import source

from tramontane.writing.draft_export import as_html, as_markdown
from tramontane.writing.events import Sentence, Withheld
from tramontane.writing.kept_draft import Draft, DraftSection

GREW = Sentence("It grew.", "quotation", 2, 5, 5, 1.0, "supported")
WELL = Sentence("It grew well.", "prose", 1, 1, 2, 1.0, "supported")
TALL = Sentence("It grew tall.", "prose", 1, 1, 2, 0.6, "weak")
FLEW = Sentence("It flew.", "own", None, None, None, 0.0, "unsupported", is_accepted=True)
SOURCES = (source(1, "It grew well.\nThen not."), source(2, "It grew.", first_line=5))
UNUSED = source(3, "Nobody quotes this.")
GARLIC = DraftSection("Garlic", (*SOURCES, UNUSED), (GREW, WELL, TALL, FLEW, Withheld(None)))


def draft(*sections: DraftSection | None, form: str = "post", task: str = "garlic") -> Draft:
    return Draft(task, form, 300, False, sections)


def test_markdown_tells_quotations_paragraphs_and_doubts_apart():
    assert as_markdown(draft(GARLIC, None)) == (
        "# garlic\n\n## Garlic\n\n> It grew. [2]\n\n"
        "It grew well. [1] It grew tall. [1] *(weakly supported)* "
        "It flew. *(not in the notes, accepted by the writer)*\n\n"
        "*A sentence was kept back: no source backs it.*\n\n"
        "*A section stood here; its notes were forgotten.*\n\n"
        "## Sources\n\n1. n/1.md, lines 1-2\n2. n/2.md, line 5\n"
    )


def test_a_letter_has_no_headings_and_minutes_are_a_list():
    assert "Garlic" not in as_markdown(draft(GARLIC, form="letter"))
    lines = as_markdown(draft(GARLIC, form="minutes")).split("\n")
    assert "- It grew. [2]" in lines
    assert "- It grew tall. [1] *(weakly supported)*" in lines


def test_a_section_of_which_nothing_is_left_is_left_out():
    empty = DraftSection("Empty", SOURCES, ())
    assert "Empty" not in as_markdown(draft(empty, GARLIC))
    assert "Empty" not in as_html(draft(empty, GARLIC), {})


def test_line_breaks_in_a_note_can_t_make_markup():
    broken = DraftSection(
        "Head\n# ing", SOURCES, (Sentence("One\n# two", "quotation", 1, 1, 2, 1.0, "supported"),)
    )
    text = as_markdown(draft(broken, task="a\n# b"))
    assert "# a # b\n" in text
    assert "## Head # ing\n" in text
    assert "> One # two [1]" in text


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    return page


@pytest.mark.parametrize("form", ["post", "letter", "minutes"])
def test_the_page_says_what_the_markdown_says(form):
    page = parsed(as_html(draft(GARLIC, None, form=form), {1: "file:///notes/1.md"}))
    text = " ".join(page.text.split())
    for said in ("It grew.", "It grew tall.", "(weakly supported)", "n/1.md, lines 1-2"):
        assert said in text
    assert "(not in the notes, accepted by the writer)" in text
    assert "its notes were forgotten" in text
    assert "kept back" in text
    assert "Nobody quotes this." not in text
    names = [name for name, _ in page.tags]
    assert names.count("blockquote") == (form != "minutes")
    assert ("h2" in names and "Garlic" in page.text) == (form != "letter")
    # Every number leads to a source that is there.
    anchors = {a["href"] for name, a in page.tags if name == "a"}
    ids = {f"#{a['id']}" for name, a in page.tags if "id" in a}
    assert anchors - {"file:///notes/1.md"} <= ids
    assert "file:///notes/1.md" in anchors


def test_hostile_notes_stay_text_and_nothing_is_fetched():
    attack = '<script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }} "onmouseover="x'
    hostile = DraftSection(
        attack,
        (source(1, attack),),
        (Sentence(attack, "quotation", 1, 1, 1, 1.0, "supported"),),
    )
    html = as_html(draft(hostile, task=attack), {1: 'file:///"><script>'})
    page = parsed(html)
    names = {name for name, _ in page.tags}
    assert not names & {"script", "img", "link", "iframe", "object"}
    assert not [a for _, attributes in page.tags for a in attributes if a.startswith("on")]
    assert page.text.count("{{ 7*7 }}") == 5  # title, h1, heading, sentence, source
    assert not re.search(r"https?://", html)
    policy = next(a["content"] for _, a in page.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")

"""What a draft can be: a post, a report, a letter, a summary or minutes, and how long it is."""

from dataclasses import dataclass

from tramontane.errors import RequestError

FEWEST_WORDS, MOST_WORDS = 50, 3_000


@dataclass(frozen=True, slots=True)
class Form:
    """`words` and `sections` are what a draft gets unless it is asked for otherwise.

    Without headings its sections follow each other as paragraphs; `is_listed` makes each sentence
    an item. `asks` tells a base that writes what it is writing.
    """

    name: str
    words: int
    sections: int
    has_headings: bool
    is_listed: bool
    asks: str


FORMS = {
    form.name: form
    for form in (
        Form("post", 300, 4, True, False, "a part of a post for readers new to the subject"),
        Form("report", 500, 6, True, False, "a section of a sober report"),
        Form("letter", 200, 3, False, False, "a paragraph of a letter to somebody who knows you"),
        Form("summary", 120, 3, False, False, "the gist"),
        Form("minutes", 250, 6, True, True, "minutes: short statements of what was said or done"),
    )
}


def form_named(name: str) -> Form:
    """Returns a form; RequestError names those there are."""
    if name not in FORMS:
        raise RequestError(f"no form {name!r}; there are {', '.join(FORMS)}")
    return FORMS[name]


def check_words(words: int) -> int:
    if not FEWEST_WORDS <= words <= MOST_WORDS:
        raise RequestError(
            f"words={words}; a draft has between {FEWEST_WORDS} and {MOST_WORDS}. Write a longer "
            "text as several drafts"
        )
    return words

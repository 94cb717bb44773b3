"""Questions that ask when, over a diary: days stand in headings, files' names and frontmatter."""

from dataclasses import replace

import pytest
from library_makers import build, write_notes
from writing_makers import StemEmbedder, source

from tramontane.errors import LibraryError
from tramontane.library.days import Period, period_in
from tramontane.writing.answer import Writer
from tramontane.writing.prompt import ANSWER, messages_for
from tramontane.writing.quote import Question

DIARY = {
    "log/2023-07-04.md": "# Tuesday\n\nLifted the garlic, half of it rotten from the rain.\n",
    "log/2024-06-29.md": "# Saturday\n\nLifted the garlic. Dried it on the staging.\n",
    "shed.md": "# The shed\n\n## 2022-09-01\n\nPainted the shed door green, two coats.\n\n"
    "## 3 May 2024\n\nReplaced the shed window after the storm. "
    + "The old one had rotted through at its sill. " * 12
    + "\n",
    # Short days share a passage.
    "pond.md": "# The pond\n\n## 2020-03-01\n\nFirst frogspawn in the pond.\n\n## 2020-03-09\n\n"
    "Heron at the pond, ate two newts.\n",
    "bees.md": "---\ndate: 2021-05-20\n---\n# Bees\n\nTook the first swarm from the pear tree.\n",
    "plain.md": "# Ladder\n\nThe ladder hangs behind the shed and wants a new rung.\n",
}


@pytest.fixture(scope="module")
def diary(tmp_path_factory):
    home = tmp_path_factory.mktemp("when")
    folder = write_notes(home / "notes", DIARY)
    with build(home / "library.sqlite", {"diary": folder}, StemEmbedder()) as library:
        yield library


def quoting(library) -> Writer:
    return Writer(library, StemEmbedder(), pytest.fail, pytest.fail, reads=False)


@pytest.mark.parametrize(
    ("question", "path", "day"),
    [
        ("When did I paint the shed door green?", "shed.md", "2022-09-01"),
        ("When did I replace the shed window?", "shed.md", "2024-05-03"),
        ("When did we take the first swarm from the pear tree?", "bees.md", "2021-05-20"),
        ("When did we have the first frogspawn?", "pond.md", "2020-03-01"),
        ("When did I see the heron eat two newts?", "pond.md", "2020-03-09"),
        ("When did I dry the garlic on the staging?", "log/2024-06-29.md", "2024-06-29"),
        ("When was half of the garlic rotten from the rain?", "log/2023-07-04.md", "2023-07-04"),
    ],
)
def test_each_quotation_says_its_day(diary, question, path, day):
    answer = quoting(diary).answer(question)
    first = answer.sentences[0]
    assert (answer.sources[first.source - 1].path, first.day) == (path, day)


def test_two_days_of_one_passage_are_told_apart(diary):
    answer = quoting(diary).answer("When were frogspawn, heron and newts in the pond?")
    days = {sentence.text: sentence.day for sentence in answer.sentences}
    assert days == {
        "First frogspawn in the pond.": "2020-03-01",
        "Heron at the pond, ate two newts.": "2020-03-09",
    }


def test_a_note_of_no_day_has_none_and_other_questions_get_none(diary):
    (first, *_) = quoting(diary).answer("When does the ladder hang behind the shed?").sentences
    assert (first.text.startswith("The ladder"), first.day) == (True, None)
    (first, *_) = quoting(diary).answer("Who took the first swarm from the pear tree?").sentences
    assert first.day is None


def test_a_base_is_told_the_day_of_a_passage():
    told = messages_for(ANSWER, "When?", [replace(source(1, "Lifted it."), day="2024-06-29")])
    assert told[1]["content"].startswith("[1] Note 1 (2024-06-29): Lifted it.")


@pytest.mark.parametrize(
    ("question", "day"),
    [
        ("What did I do to the garlic on 29 June 2024?", "2024-06-29"),
        ("What did I do to the garlic in June 2024?", "2024-06-29"),
        ("What did I do to the garlic in 2024?", "2024-06-29"),
        ("What did I do to the garlic on 2023-07-04?", "2023-07-04"),
        ("What did I do to the garlic in July 2023?", "2023-07-04"),
    ],
)
def test_days_that_a_question_names_come_first(diary, question, day):
    assert diary.search(question)[0].dates == (day,)
    answer = quoting(diary).answer(question)
    assert not answer.abstained
    assert answer.sentences[0].day == day


def test_a_passage_of_the_day_about_something_else_does_not_come_first(diary):
    hits = diary.search("Where does the ladder hang in June 2024?")
    assert hits[0].path == "plain.md"


@pytest.mark.parametrize("question", ["What happened on 4 July 2023?", "2023-07-04"])
def test_a_question_about_a_day_alone_gets_all_of_that_day(diary, question):
    assert diary.search(question)[0].path == "log/2023-07-04.md"


def test_only_what_is_dated_between_two_days_is_asked(diary):
    writer = quoting(diary)
    for options, day in (
        ({"since": "2024"}, "2024-06-29"),
        ({"until": "2023-12"}, "2023-07-04"),
        ({"since": "2023-07", "until": "2023-07-04"}, "2023-07-04"),
    ):
        answer = writer.answer("When did I lift the garlic?", **options)
        assert {sentence.day for sentence in answer.sentences} == {day}
    assert writer.answer("When did I lift the garlic?", since="2025").abstained
    with pytest.raises(LibraryError, match="is no day"):
        writer.answer("When did I lift the garlic?", since="soon")


def test_a_filter_goes_before_days_in_the_question(diary):
    hits = diary.search("garlic in 2024", until="2023")
    assert {hit.path for hit in hits} == {"log/2023-07-04.md", "shed.md", "bees.md", "pond.md"}


def test_hits_stay_best_first_and_come_once(diary):
    hits = diary.search("What did I do to the garlic in June 2024?", limit=50)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({(hit.path, hit.first_line) for hit in hits}) == len(hits)
    assert len(diary.search("What did I do to the garlic in June 2024?", limit=2)) == 2


@pytest.mark.parametrize(
    ("question", "period"),
    [
        ("on 5 March 2024 or in 2023?", ("2024-03-05", "2024-03-05", "5 March 2024")),
        ("March 5th, 2024", ("2024-03-05", "2024-03-05", "March 5th, 2024")),
        ("2024-03-05", ("2024-03-05", "2024-03-05", "2024-03-05")),
        ("in February 2024?", ("2024-02-01", "2024-02-29", "February 2024")),
        ("of 2023-12", ("2023-12-01", "2023-12-31", "2023-12")),
        ("what happened in 2024?", ("2024-01-01", "2024-12-31", "2024")),
        ("the 2024 budget", None),
        ("in 2024-13", None),
        ("room 1984", None),
        ("in March", None),
        ("30 February 2024", ("2024-02-01", "2024-02-29", "February 2024")),
        ("", None),
    ],
)
def test_periods_are_read_from_questions(question, period):
    assert period_in(question) == (Period(*period) if period else None)


def test_a_day_tells_when_only_of_one_s_own_doings():
    def fit(question: str, day: str | None) -> float:
        return Question(question, lambda words: dict.fromkeys(words, 1.0)).fits("It broke.", day)

    assert fit("When did I break it?", "2024-01-01") == 1.0
    assert fit("When did I break it?", None) == 0.0
    assert fit("When does it break?", "2024-01-01") == 0.0
    assert fit("How many did I break?", "2024-01-01") == 0.0

"""Org files: outlines, states, tags, drawers, timestamps, lists, tables and blocks."""

from hypothesis import given, settings
from hypothesis import strategies as st
from passage_checks import assert_note_knows_its_lines

from tramontane.notes.reader import read_note
from tramontane.notes.sentences import split_sentences

LOG = """\
#+TITLE: Garden log
#+FILETAGS: :garden:
#+TODO: NEXT WAIT(w) | DONE DROPPED
#+DATE: <2024-01-01 Mon>

Where the [[file:tools.org::*Spade][spade]] is, and [[https://a.b][the shop]].
{long}
* Beds                                                                 :beds:
:PROPERTIES:
:CREATED: [2024-01-02 Tue]
:SOIL: sand
:END:
{long}
** NEXT [#A] Sow beans [1/2] :sow:
SCHEDULED: <2024-03-05 Tue>
- row one
  - deep

- row two
{long}
** DONE Buy seeds
CLOSED: [2024-02-01 Thu 10:00]
{long}
#+BEGIN_SRC sh
* not a heading :no:
[[no]]
#+END_SRC
| kind | rows |
|------+------|
| peas |    2 |
* COMMENT Later
{long}
"""


def read(text: str):
    note = read_note("log.org", text.encode())
    assert_note_knows_its_lines(note)
    return note


def test_an_outline_with_all_of_it():
    note = read(LOG.format(long="Water every evening. " * 30))
    assert note.title == "Garden log"
    assert note.metadata["properties"] == {"Beds": {"created": "[2024-01-02 Tue]", "soil": "sand"}}
    top, beds, sowing, seeds, later = note.passages
    assert (top.first_line, top.links, top.tags) == (6, ("tools.org#Spade",), ("garden",))
    assert beds.heading == ("Beds",)
    assert set(beds.tags) == {"beds", "garden"}
    assert set(beds.dates) == {"2024-01-01", "2024-01-02"}
    assert sowing.heading == ("Beds", "NEXT Sow beans")
    assert set(sowing.tags) == {"beds", "sow", "garden"}
    assert "2024-03-05" in sowing.dates
    assert sowing.text.startswith("SCHEDULED:")
    assert seeds.heading == ("Beds", "DONE Buy seeds")
    assert "2024-02-01" in seeds.dates
    assert seeds.text.endswith("#+END_SRC\n| kind | rows |\n|------+------|\n| peas |    2 |")
    assert later.heading == ("COMMENT Later",)
    assert not any("no" in passage.tags or "no" in passage.links for passage in note.passages)


def test_rights_are_read_from_keywords():
    note = read("#+TRAIN: no\n#+share: no\n#+LICENSE: CC0\nText.\n")
    assert (note.may_train, note.may_share, note.licence) == (False, False, "CC0")
    assert read("#+TITLE: x\nText.\n").may_train


def test_todo_states_are_those_the_file_names():
    long = "Words to fill it. " * 30
    (passage, *_) = read(f"* NEXT Dig\n{long}\n").passages
    assert passage.heading == ("NEXT Dig",)  # a word like any other, and nothing is lost
    (passage, *_) = read(f"#+SEQ_TODO: NEXT | DONE\n* NEXT [#B] Dig [50%]\n{long}\n").passages
    assert passage.heading == ("NEXT Dig",)


def test_what_is_not_closed_is_text():
    note = read("#+BEGIN_SRC sh\necho 1\n\n:LOGBOOK:\nSome text.\n* Heading\n")
    held = "\n".join(passage.text for passage in note.passages)
    assert all(part in held for part in ("#+BEGIN_SRC", "echo 1", ":LOGBOOK:", "Some text."))


def test_a_long_list_is_cut_between_its_items():
    text = "".join(f"- item {n} {'word ' * 20}\n  more of it\n" for n in range(40))
    passages = read(text).passages
    assert len(passages) > 2
    assert all(passage.text.startswith("- item") for passage in passages)


def test_code_and_keywords_are_no_sentences():
    text = "#+BEGIN_QUOTE\nBe brief. Be kind.\n#+END_QUOTE\n** TODO Sow\n#+BEGIN_SRC py\na. B\n"
    shown = [sentence.text for sentence in split_sentences(text + "#+END_SRC\nEnd.\n")]
    assert shown == ["Be brief.", "Be kind.", "TODO Sow", "a. B", "End."]


LINES = st.sampled_from(
    "* a|** TODO b :t:|- x|  - y|1. z|:PROPERTIES:|:ID: 1|:END:|#+BEGIN_SRC c|#+END_SRC|| a ||"
    "|<2024-03-05 Tue>|[[x][y]]|# c|#+TITLE: t|text|:LOGBOOK:|#+begin_quote|#+end_quote|  deep"
    "".split("|")
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=40).map("\n".join))
def test_any_org_file_is_read_and_loses_no_text(text):
    if not text.strip():
        return
    note = read(text)
    held = "\n".join(passage.text for passage in note.passages)
    paths = " ".join(name for passage in note.passages for name in passage.heading)
    for line in text.split("\n"):
        if line in ("text", "  deep", "1. z", "[[x][y]]"):
            assert line.strip() in held or line.strip() in paths


def test_hostile_org_takes_linear_time():
    for text in ("#+BEGIN_SRC a\n" * 50_000, ":X:\n" * 50_000, "* " * 200_000, "- \n" * 100_000):
        read_note("a.org", text.encode())

"""Frontmatter is data only, and a right it refuses stays refused, however it is spelt."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.notes.frontmatter import read_frontmatter
from tramontane.notes.reader import read_note


def note_of(text: str):
    return read_note("note.md", text.encode())


def test_yaml_is_read_and_lines_stay_the_files():
    note = note_of(
        "---\ntitle: Beans and peas\ntags: [garden, spring]\nalias: pulses\n"
        "date: 2024-03-01\nlicense: CC-BY-4.0\n---\n# Other\n\nSow in May.\n"
    )
    assert note.title == "Beans and peas"
    assert note.licence == "CC-BY-4.0"
    assert note.metadata["tags"] == ["garden", "spring"]
    assert note.metadata["alias"] == "pulses"
    assert note.metadata["date"] == "2024-03-01"
    assert note.may_train
    assert note.may_share
    assert note.remarks == ()
    (passage,) = note.passages
    assert (passage.text, passage.first_line, passage.last_line) == ("Sow in May.", 10, 10)
    assert passage.heading == ("Other",)


@pytest.mark.parametrize(
    "said", ["no", "No", "NO", "n", "false", "False", "off", "0", '"no"', "' no '", "never", "[no]"]
)
@pytest.mark.parametrize(("name", "field"), [("train", "may_train"), ("Share", "may_share")])
def test_a_refusal_is_honoured_in_any_spelling(said, name, field):
    note = note_of(f"---\n{name}: {said}\n---\nText.\n")
    assert not getattr(note, field)
    other = {"may_train": "may_share", "may_share": "may_train"}[field]
    assert getattr(note, other)


@pytest.mark.parametrize("said", ["yes", "Yes", "true", "on", "y", "1", '"yes"', "", "~", "null"])
def test_a_clear_yes_or_silence_permits(said):
    note = note_of(f"---\ntrain: {said}\nSHARE: {said}\n---\nText.\n")
    assert note.may_train
    assert note.may_share


@pytest.mark.parametrize(
    "text",
    [
        "---\ntags: [a, b\ntrain: no\nshare: no\n---\nText.\n",  # a bracket too few
        "---\ntrain: no\nshare: no\na line without a name\n---\nText.\n",
        "---\ndate: 2024-02-31\ntrain: no\nshare: 'no'\n---\nText.\n",
        "---\n\ttrain: no\n\tshare: no\n---\nText.\n",  # tabs are no YAML indentation
        "---\ntrain: no\nshare: no\n\nText: nothing closes the block.\n",
        "---\nx: &x [*x]\ntrain: no\nshare: no\n---\nText.\n",
        f"---\nlong: {'x' * 70_000}\ntrain: no\nshare: no\n---\nText.\n",
    ],
    ids=["bracket", "nameless", "date", "tabs", "unclosed", "circular", "long"],
)
def test_a_typing_error_does_not_undo_a_refusal(text):
    note = note_of(text)
    assert not note.may_train
    assert not note.may_share
    (remark,) = note.remarks
    assert "counts as text" in remark
    assert "Text" in note.passages[-1].text


def test_blank_lines_before_it_do_not_hide_it():
    note = note_of("\n \n---\ntrain: no\n---\nText.\n")
    assert not note.may_train
    assert note.passages[0].first_line == 6


def test_a_broken_line_is_named_by_the_files_own_number():
    note = note_of("---\ntitle: a\nb: [\n---\nText.\n")
    assert "line 4" in note.remarks[0]


@pytest.mark.parametrize(
    "text",
    ["---\n\nText between rules.\n\n---\nMore.\n", "---\nnever closed\n", "--- \n", "Text\n---\n"],
)
def test_rules_are_not_frontmatter(text):
    found = read_frontmatter(text)
    assert (found.metadata, found.body_start, found.remark) == ({}, 0, None)
    assert found.may_train


def test_an_empty_block_is_frontmatter_without_values():
    found = read_frontmatter("---\n---\nText.\n")
    assert (found.metadata, found.body_start, found.remark) == ({}, 8, None)


def test_what_would_fill_the_memory_is_refused():
    aliases = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    merges = "a: &a {k: v}\n" + "".join(
        f"{name}: &{name} {{<<: [{','.join([f'*{before}'] * 9)}]}}\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for source in (aliases, merges):
        found = read_frontmatter(f"---\n{source}---\nText.\n")
        assert found.metadata == {}
        assert "counts as text" in found.remark


def test_deep_nesting_cannot_end_the_process():
    """PyYAML's C parser overran its stack here; a crash must not take the other tests with it."""
    program = (
        "from tramontane.notes.frontmatter import read_frontmatter\n"
        "for deep in ('a: ' + '[' * 30_000, 'a: ' + '{k: ' * 15_000, '- ' * 30_000):\n"
        "    print(read_frontmatter(f'---\\n{deep}\\n---\\nText.').remark)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    remarks = done.stdout.splitlines()
    assert len(remarks) == 3
    # Newer PyYAML has a bound of its own, told in its own words.
    assert all("cannot be read and counts as text" in remark for remark in remarks), remarks
    assert all("nest" in remark for remark in remarks), remarks


def test_it_builds_nothing_but_plain_data():
    found = read_frontmatter("---\nx: !!python/object/apply:os.getcwd []\n---\nText.\n")
    assert found.metadata == {}
    assert "counts as text" in found.remark


LINES = st.sampled_from(
    ["---", "...", "train: no", "share: yes", "title: [a", 'title: "\\ud800"', "a: &a", "b: *a"]
    + ["- x", "  - y", "? k", ": v", "k: 1e999", "k: .nan", "k: 0b1", "k: 1:2:3", "2024-01-01: d"]
    + ["<<: {a: b}", "k: !!binary aGk=", "k: !!set {a, b}", "k: |", "  text", "", "\t", "%YAML 1.2"]
    + ["k: 99999999999999999999", "k: \x07", "\ufeff", "k: 'é", "null: x", "on: y", "{}", "[]"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(LINES, st.text(max_size=10)), max_size=10))
def test_any_block_gives_data_that_json_holds(lines):
    text = "---\n" + "\n".join(lines) + "\n---\nText.\n"
    found = read_frontmatter(text)
    assert json.loads(json.dumps(found.metadata)) == found.metadata
    assert found.body_start == 0 or text[found.body_start - 1] == "\n"
    assert found.metadata == {} or found.remark is None
    if found.title is not None:
        found.title.encode()

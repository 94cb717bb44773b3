"""Obsidian's and slip boxes' Markdown: callouts, block identifiers, embeds; and real vaults."""

import random
import re

import pytest

from tramontane.notes.folder import read_folder
from tramontane.notes.reader import read_note
from tramontane.notes.sentences import split_sentences


def test_callouts_and_block_identifiers_are_not_quoted():
    text = (
        "> [!warning]- Watch out\n> The oven is hot.\n> Really. ^oven\n\nIt is done. ^done\n\n"
        "- Mix flour ^mix\n- Add water\n\n^list\n\nA power 2^n stays 2 ^n\n"
    )
    assert [(s.text, s.first_line) for s in split_sentences(text)] == [
        ("Watch out", 1),
        ("The oven is hot.", 2),
        ("Really.", 3),
        ("It is done.", 5),
        ("Mix flour", 7),
        ("Add water", 8),
        ("A power 2^n stays 2", 12),
    ]


def test_a_slip_has_its_day_tags_and_links():
    note = read_note("202403051230 Beans.md", b"# Beans\n\n#garden\n\nSee [[202401011200]].\n")
    (passage,) = note.passages
    assert passage.dates == ("2024-03-05",)
    assert passage.tags == ("garden",)
    assert passage.links == ("202401011200",)


@pytest.mark.parametrize("name", ["foam-docs", "zettelkasten-de"])
def test_a_real_vault_loses_nothing_without_a_reason(shared_data, name):
    folder = shared_data / "notes" / name / "text"
    found = read_folder(folder)
    read = {note.path for note in found.notes}
    skipped = {one.path for one in found.skipped}
    for file in folder.rglob("*"):
        if file.is_file():
            assert file.relative_to(folder).as_posix() in read | skipped
    assert all(one.reason for one in found.skipped)
    for note in found.notes:
        body = re.sub(r"\A---\n.*?\n---\n", "", note.text, count=1, flags=re.DOTALL)
        body = re.sub(r"^ {0,3}\[[^\]]+\]:.*", "", body, flags=re.MULTILINE)  # read as links
        held = " ".join(passage.text for passage in note.passages) + " "
        held += " ".join(name for p in note.passages for name in p.heading)
        held += f" {note.title}"
        known = set(re.findall(r"[^\W_]+", held))
        lost = [word for word in re.findall(r"[^\W_]+", body) if word not in known]
        assert not lost, f"{note.path}: {lost[:5]}"


@pytest.mark.parametrize("name", ["foam-docs", "zettelkasten-de"])
def test_passages_of_a_real_vault_stand_where_they_say(shared_data, name):
    """Read anew from the bytes, as an editor would show them."""
    folder = shared_data / "notes" / name / "text"
    places = [(note, p) for note in read_folder(folder).notes for p in note.passages]
    for note, passage in random.Random(3).sample(places, 150):
        lines = (folder / note.path).read_bytes().decode().splitlines()
        shown = lines[passage.first_line - 1 : passage.last_line]
        assert passage.text.split("\n")[0] in shown[0]
        assert passage.text.split("\n")[-1] in shown[-1]


def test_marks_of_real_vaults(shared_data):
    foam = {n.path: n for n in read_folder(shared_data / "notes/foam-docs/text").notes}
    linked = {x for note in foam.values() for p in note.passages for x in p.links}
    assert {"wikilinks", "recommended-extensions", "daily-notes"} <= linked
    assert "note-name#^blockid" not in linked  # in code only
    slips = read_folder(shared_data / "notes/zettelkasten-de/text").notes
    dated = [note for note in slips if note.passages and note.passages[0].dates]
    assert len(dated) > 150
    assert sum("writing" in p.tags for note in slips for p in note.passages) > 100

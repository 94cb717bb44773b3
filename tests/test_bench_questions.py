"""The questions of the benchmark say where their facts stand, in other words than the titles."""

import json
import re
from collections import Counter
from pathlib import Path

from tramontane.notes.reader import read_note

FILE = Path(__file__).parents[1] / "bench" / "questions" / "notes_questions.json"
COMMON = set("the and for with how what your you not from use are its all can need out".split())


def test_the_questions_keep_their_form(shared_data):
    items = json.loads(FILE.read_text(encoding="utf-8"))
    assert Counter(item["answerable"] for item in items) == {True: 90, False: 30}
    assert Counter(item["part"] for item in items) == {"tune": 81, "final": 39}
    assert len({item["question"] for item in items}) == 120
    for item in items:
        if not item["answerable"]:
            continue
        collection, _, path = item["note"].partition("/")
        data = (shared_data / "notes" / collection / "text" / path).read_bytes()
        note = read_note(path, data)
        lines = note.text.split("\n")[item["first_line"] - 1 : item["last_line"]]
        shown = " ".join(" ".join(lines).lower().split())
        assert any(" ".join(one.lower().split()) in shown for one in item["accept"]), item
        of_title = set(re.findall(r"[a-z]{3,}", note.title.lower())) - COMMON
        assert not of_title & set(re.findall(r"[a-z]{3,}", item["question"].lower())), item

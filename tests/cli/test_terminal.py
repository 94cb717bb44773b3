"""Whatever notes, names of files and models say: a terminal is never steered by it."""

import json
import re

import pytest

from tramontane.cli.output import STAND_IN, harmless

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
ESCAPES = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202etxt.exe\u202c \u2067 \x7f\x08\x0c"
# Enough other text that the file counts as text at all.
NOTE = (
    f"# Leeks {ESCAPES}\n\nEach leek drops into a hole {ESCAPES} of 18 cm depth.\n\n"
    + "They stand in the long bed until the frost. " * 40
)
PATH = "leeks \x1b[31m\u202edm.md"


@pytest.fixture
def hostile(tramontane, tmp_path):
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / PATH).write_text(NOTE, encoding="utf-8")
    (folder / "sub" / "plain.md").write_text("# Peas\n\nPeas go in in March.\n", encoding="utf-8")
    (folder / "\x1b[5mpicture.png").write_bytes(b"\x89PNG\0")
    assert_clean(tramontane.works("collections", "add", folder, "--as", "garden"))
    return tramontane


def assert_clean(said: str) -> str:
    assert not STEERING.search(said), ascii(said)
    return said


def test_nothing_printed_steers_the_terminal(hostile, tmp_path):
    question = "What depth of hole does each leek drop into?"
    answer = assert_clean(hostile.works("ask", question))
    assert "18 cm" in answer
    assert STAND_IN in answer
    for command in (
        ("search", "leek hole"),
        ("write", "the leek and its hole"),
        ("collections",),
        ("sync", "--dry-run"),
    ):
        assert_clean(hostile.works(*command))
    (tmp_path / "notes" / PATH).write_text(f"{NOTE}\nMore.\n", encoding="utf-8")
    assert STAND_IN in assert_clean(hostile.works("sync", "--dry-run"))
    done = hostile.run("ask", question, "--in", f"none {ESCAPES}")
    assert done.returncode == 1
    assert_clean(done.stderr)


def test_json_says_all_of_it_in_escapes(hostile):
    said = assert_clean(hostile.works("search", "leek hole", "--json"))
    texts = [hit["text"] for hit in json.loads(said)]
    assert any(ESCAPES.split("\x0c")[0] in text for text in texts)
    assert {hit["path"] for hit in json.loads(said)} >= {PATH}


def test_what_people_write_is_printed_as_it_is():
    said = "Fête, 漢字, עברית\u200f, عربي, 👩‍🌾, tab\there\nand a line"
    assert harmless(said) == said
    assert harmless("a\r\nb") == "a\nb"


def test_a_streamed_piece_is_as_harmless(capsys):
    from tramontane.cli.output import say_piece, say_table

    for piece in ("a\x1b", "[31m", "\u202e"):
        say_piece(piece)
    say_table(("name",), [("\x1b[31mred",)])
    assert_clean(capsys.readouterr().out)

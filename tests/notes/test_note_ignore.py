"""`.tramontaneignore` leaves out what git would leave out by the same rules."""

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tramontane.errors import NotesError
from tramontane.notes.folder import list_folder
from tramontane.notes.ignore import IGNORE_FILE, is_ignored, read_rules

TREE = """
a b ab abc a.md b.md ab.md x/a x/b x/ab.md x/y/a x/y/b.md x/y/z/a x/y/z/ab y/a y/x/a.md y/x/y/b z/b
""".split()
PARTS = st.one_of(
    st.sampled_from("a b ab x y z *.md * ** ? a* *b [ab] [!a] [a-x]* a?b a*c *.*".split()),
    st.text("abxyz*?.", min_size=1, max_size=4).filter(
        # Git's manual calls stars beside other characters plain ones; its matcher doesn't always.
        lambda part: part.strip(".") and "**" not in part
    ),
)
PATTERNS = st.builds(
    lambda readmits, opening, parts, closing: readmits + opening + "/".join(parts) + closing,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(PARTS, min_size=1, max_size=4),
    st.sampled_from(["", "", "/"]),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    if shutil.which("git") is None:
        pytest.skip("git is not installed: it is what the rules are compared with")
    folder = tmp_path_factory.mktemp("tree")
    for path in TREE:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("text")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


# A bracket that is never closed stands alone: git lets one reach over a slash, and we part names
# first.
@settings(max_examples=150, deadline=None)
@example(at="", patterns=["a", "[^"])
@given(at=st.sampled_from(["", "x/"]), patterns=st.lists(PATTERNS, min_size=1, max_size=4))
def test_leaves_out_what_git_leaves_out(tree, at, patterns):
    for old in tree.rglob(IGNORE_FILE):
        old.unlink()
    (tree / at / IGNORE_FILE).write_text("# a comment\n\n" + "\n".join(patterns) + "\n")
    listed = subprocess.run(
        ["git", "ls-files", "--others", "-z", f"--exclude-per-directory={IGNORE_FILE}"],
        cwd=tree,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    expected = {path for path in listed.split("\0") if path and IGNORE_FILE not in path}
    assert set(list_folder(tree).paths) == expected


def test_a_pattern_of_many_stars_takes_no_time():
    rules = read_rules("*a" * 40 + "b\n" + "**/a/" * 30 + "b\n")
    assert not is_ignored("a" * 200, False, rules)
    assert not is_ignored("/".join(["a"] * 100), False, rules)
    assert is_ignored("a" * 200 + "b", False, rules)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.text(min_size=1))
def test_any_rules_are_read_or_named(text, path):
    try:
        rules = read_rules(text)
    except ValueError as error:
        if "is no pattern" not in str(error):
            raise
        return
    is_ignored(path, False, rules)


def test_a_hash_or_exclamation_mark_can_be_meant():
    rules = read_rules("\\#notes.md\n\\!important.md\n")
    assert is_ignored("#notes.md", False, rules)
    assert is_ignored("!important.md", False, rules)


def test_a_pattern_without_meaning_stops_the_reading(tmp_path):
    """Going on without it could take in what the owner meant to keep out."""
    (tmp_path / "a.md").write_text("text")
    (tmp_path / IGNORE_FILE).write_text("fine.md\n[z-a].md\n")
    with pytest.raises(NotesError, match=r"\.tramontaneignore.*line 2.*\[z-a\].*repair"):
        list_folder(tmp_path)


@pytest.mark.parametrize("data", [b"\0\1\2\3" * 20, None], ids=["binary", "link"])
def test_an_ignore_file_that_cannot_be_read_stops_the_reading(tmp_path, data):
    (tmp_path / "a.md").write_text("text")
    if data is None:
        (tmp_path / "rules").write_text("a.md\n")
        (tmp_path / IGNORE_FILE).symlink_to(tmp_path / "rules")
    else:
        (tmp_path / IGNORE_FILE).write_bytes(data)
    with pytest.raises(NotesError, match="cannot be read.*repair or remove"):
        list_folder(tmp_path)

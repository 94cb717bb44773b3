"""Keys: shown once, found again only whole, worthless once revoked; the file gives none away."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.errors import ConfigError, NotFound
from tramontane.library.library import Library


@pytest.fixture
def library(tmp_path: Path):
    with Library(tmp_path / "library.sqlite") as library:
        yield library


def test_a_key_is_found_and_after_revoking_it_is_not(library: Library):
    key, text = library.keys.add("laptop", "ask")
    other, other_text = library.keys.add("desk", "manage")
    assert library.keys.find(text) == key
    assert library.keys.find(other_text) == other
    assert [k.name for k in library.keys.ls()] == ["desk", "laptop"]
    assert library.keys.revoke("laptop") == key
    assert library.keys.find(text) is None
    assert library.keys.find(other_text) == other
    with pytest.raises(NotFound, match="desk"):
        library.keys.revoke("laptop")


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 60), character=st.sampled_from("abcXYZ019_-é"))
def test_a_key_with_one_character_changed_is_none(tmp_path_factory, place, character):
    with Library(tmp_path_factory.mktemp("keys") / "library.sqlite") as library:
        _, text = library.keys.add("laptop", "ask")
        place %= len(text)
        changed = text[:place] + character + text[place + 1 :]
        assert (library.keys.find(changed) is not None) == (changed == text)
        for wrong in ("", text[:-1], text + "a", f" {text}", text.upper()):
            assert library.keys.find(wrong) is None


def test_the_file_does_not_hold_what_opens(library: Library):
    _, text = library.keys.add("laptop", "manage")
    secret = text.rpartition("_")[2][:20].encode()
    library.close()
    for file in library.file.parent.iterdir():
        assert secret not in file.read_bytes()


@pytest.mark.parametrize(
    ("name", "scope", "named"),
    [("a", "root", "root"), ("", "ask", "name"), ("x" * 81, "ask", "80"), ("a\nb", "ask", "name")],
)
def test_what_cannot_be_a_key_is_named(library: Library, name: str, scope: str, named: str):
    with pytest.raises(ConfigError, match=named):
        library.keys.add(name, scope)


def test_a_name_is_taken_once(library: Library):
    library.keys.add("laptop", "ask")
    with pytest.raises(ConfigError, match="laptop"):
        library.keys.add("laptop", "manage")

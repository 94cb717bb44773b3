"""Drafts: every version stays, nothing is overwritten, forgetting takes its sections from all."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_makers import bytes_of

from tramontane.errors import Busy, NotFound
from tramontane.library.drafts import Drafts, StoredSection
from tramontane.library.library import Library

LEEKS = StoredSection("garden", '{"pieces": [{"text": "Leeks drop into holes of six inches."}]}')
FERRY = StoredSection("harbour", '{"pieces": [{"text": "The ferry leaves at 07:40."}]}')
OTHER = StoredSection("garden", '{"pieces": [{"text": "Peas are sown in March."}]}')


@pytest.fixture
def drafts(library: Library) -> Drafts:
    return library.drafts


def keep(drafts: Drafts, *sections: StoredSection, **told) -> int:
    return drafts.add("leeks", sections, **({"form": "post", "words": 300} | told))


def test_a_draft_comes_back_as_it_was_kept(drafts: Drafts):
    draft = keep(drafts, LEEKS, FERRY, form="letter", words=90, is_honest=True)
    kept = drafts.open(draft)
    assert kept.sections == (LEEKS, FERRY)
    assert (kept.version.number, kept.version.change) == (1, "written")
    assert kept.versions == (kept.version,)
    head = kept.head
    assert (head.id, head.task, head.form, head.words) == (draft, "leeks", "letter", 90)
    assert (head.is_honest, head.is_finished, head.num_versions) == (True, True, 1)
    assert head.changed == kept.version.made
    assert drafts.ls() == [head]


def test_one_that_was_broken_off_says_so(drafts: Drafts):
    kept = drafts.open(keep(drafts, LEEKS, is_finished=False))
    assert not kept.head.is_finished
    assert "broken off" in kept.version.change


def test_a_revision_is_a_new_version_and_the_old_one_stays(drafts: Drafts):
    draft = keep(drafts, LEEKS, FERRY)
    assert drafts.revise(draft, 1, 0, OTHER, "said otherwise") == 2
    assert drafts.open(draft).sections == (OTHER, FERRY)
    assert drafts.open(draft, 1).sections == (LEEKS, FERRY)
    assert [v.change for v in drafts.open(draft).versions] == ["written", "said otherwise"]
    assert drafts.restore(draft, 1) == 3
    assert drafts.open(draft).sections == (LEEKS, FERRY)
    assert drafts.open(draft, 2).sections == (OTHER, FERRY)


def test_who_saw_an_older_version_is_told(drafts: Drafts):
    draft = keep(drafts, LEEKS)
    drafts.revise(draft, 1, 0, OTHER, "one")
    with pytest.raises(Busy, match="last version is 2, not 1"):
        drafts.revise(draft, 1, 0, FERRY, "two")
    assert drafts.open(draft).sections == (OTHER,)


def test_what_isn_t_there_is_named(drafts: Drafts):
    draft = keep(drafts, LEEKS)
    with pytest.raises(NotFound, match="no draft 7"):
        drafts.open(7)
    with pytest.raises(NotFound, match="versions 1 to 1, and none 2"):
        drafts.open(draft, 2)
    with pytest.raises(NotFound, match="1 sections, and none at place 1"):
        drafts.revise(draft, 1, 1, OTHER, "x")
    with pytest.raises(NotFound, match="none 0"):
        drafts.restore(draft, 0)
    drafts.rm(draft)
    with pytest.raises(NotFound):
        drafts.rm(draft)


def test_a_number_is_never_given_twice(drafts: Drafts):
    first = keep(drafts, LEEKS)
    drafts.rm(first)
    assert keep(drafts, FERRY) != first


def test_removing_a_collection_leaves_its_drafts(library: Library):
    draft = keep(library.drafts, LEEKS)
    library.remove_collection("garden")
    assert library.drafts.open(draft).sections == (LEEKS,)


def test_forgetting_takes_its_sections_from_every_version(library: Library):
    drafts = library.drafts
    both, alone = keep(drafts, LEEKS, FERRY), keep(drafts, OTHER)
    drafts.revise(both, 1, 0, OTHER, "changed")
    plan = library.traces("garden")
    assert (plan.draft_sections, plan.drafts) == (3, 1)
    assert library.forget("garden") == plan
    assert drafts.open(both).sections == (None, FERRY)
    assert drafts.open(both, 1).sections == (None, FERRY)
    assert [head.id for head in drafts.ls()] == [both]
    with pytest.raises(NotFound):
        drafts.open(alone)
    left = bytes_of(library.file)
    assert b"six inches" not in left
    assert b"sown in March" not in left
    assert b"07:40" in left


def test_a_forgotten_expert_is_named_in_no_other_draft(library: Library):
    told = [
        {"kind": "prose", "text": "As told.", "shares": {"garden": 0.1}},
        {"kind": "prose", "text": "A garden by the quay.", "shares": {"garden": 0.0}},
        {
            "text": "A garden by the quay.",
            "shares": {"garden": 0.4, "harbour": 0.1},
            "named": ["garden", "harbour"],
        },
        {"instead": {"text": "It leaves.", "shares": {"garden": 0.2}}},
        {"instead": None},
    ]
    draft = keep(library.drafts, StoredSection("harbour", json.dumps({"pieces": told})))
    library.forget("garden")
    (section,) = library.drafts.open(draft).sections
    assert json.loads(section.content)["pieces"] == [
        {"kind": "prose", "text": "A garden by the quay.", "shares": {}},
        {"text": "A garden by the quay.", "shares": {"harbour": 0.1}, "named": ["harbour"]},
        {"instead": {"text": "It leaves.", "shares": {}}},
        {"instead": None},
    ]


def test_what_a_removed_collection_left_in_drafts_can_still_be_forgotten(library: Library):
    keep(library.drafts, LEEKS)
    library.remove_collection("garden")
    assert not library.traces("garden").is_empty
    library.forget("garden")
    assert library.drafts.ls() == []
    assert b"six inches" not in bytes_of(library.file)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from([LEEKS, FERRY, OTHER]), min_size=1)),
        st.tuples(st.just("revise"), st.integers(0, 9), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("restore"), st.integers(0, 9), st.integers(1, 5)),
        st.tuples(st.just("rm"), st.integers(0, 9)),
    ),
    max_size=15,
)


@settings(deadline=None, max_examples=40)
@given(STEPS)
def test_any_sequence_equals_lists_of_versions(tmp_path_factory, steps):
    """The oracle: a dict of lists of tuples."""
    known: dict[int, list[tuple[StoredSection, ...]]] = {}
    with Library(tmp_path_factory.mktemp("drafts") / "library.sqlite") as library:
        drafts = library.drafts
        for step in steps:
            ids = sorted(known)
            if step[0] == "add":
                known[keep(drafts, *step[1])] = [tuple(step[1])]
                continue
            if not ids:
                continue
            draft = ids[step[1] % len(ids)]
            versions = known[draft]
            if step[0] == "rm":
                drafts.rm(draft)
                del known[draft]
            elif step[0] == "restore":
                number = step[2]
                if number <= len(versions):
                    drafts.restore(draft, number)
                    versions.append(versions[number - 1])
            else:
                place, seen = step[2], len(versions) - step[3]
                try:
                    drafts.revise(draft, seen, place, OTHER, "x")
                except (Busy, NotFound):
                    assert step[3] or place >= len(versions[-1])
                else:
                    revised = list(versions[-1])
                    revised[place] = OTHER
                    versions.append(tuple(revised))
        assert {head.id for head in drafts.ls()} == known.keys()
        for draft, versions in known.items():
            for number, sections in enumerate(versions, start=1):
                assert drafts.open(draft, number).sections == sections


def test_a_killed_writer_leaves_whole_drafts(library: Library, tmp_path: Path):
    """A transaction that never ended, as kill -9 leaves it: the file has all of a draft or none."""
    kept = keep(library.drafts, LEEKS)
    with closing(sqlite3.connect(library.file)) as db:
        db.execute("INSERT INTO drafts VALUES (99, 'half', 'post', 300, 0, 1)")
        # closed without a commit
    assert [head.id for head in library.drafts.ls()] == [kept]

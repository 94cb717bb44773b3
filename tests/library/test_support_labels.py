"""Labels and promises: kept apart by collection and kind, undone in order, gone with the notes."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tramontane.errors import NotFound, RequestError
from tramontane.library.library import Library
from tramontane.library.support_labels import VERDICTS, Candidate, PassagePlace, text_hash
from tramontane.library.support_promises import StoredPromise

NOTE = "Leeks want ten inches.\n"
PLACE = PassagePlace("leeks.md", 1, 1, text_hash("Leeks want ten inches."))
TEN = Candidate("Leeks need ten inches between them.", (PLACE,), 0.8)
SIX = Candidate("Leeks need six inches between them.", (PLACE,), 0.3)
MADE = StoredPromise("one", 0.1, 0.7, 40, 50, 30, None)


@pytest.fixture
def library(tmp_path: Path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "leeks.md").write_text(NOTE, encoding="utf-8")
    with Library(tmp_path / "library.sqlite") as library:
        for name in ("garden", "allotment"):
            library.add_collection(name, tmp_path / "notes")
            library.sync(name)
        yield library


def test_sentences_wait_are_judged_and_come_back_for_their_collection_and_kind(library: Library):
    labels = library.support_labels
    assert labels.add("garden", "own", "one", [TEN, SIX]) == 2
    first, second = labels.waiting("garden")
    judged = labels.judge(second.id, "partly")
    assert (judged.verdict, judged.sentence) == ("partly", second.sentence)
    assert labels.waiting("garden", "own") == [first]
    assert labels.judged("garden", "own") == [judged]
    assert (judged.passages, judged.checker, judged.kind) == ((PLACE,), "one", "own")
    assert labels.judged("garden", "prose") == labels.waiting("allotment") == []


def test_a_sentence_added_again_keeps_its_verdict_unless_its_passages_changed(library: Library):
    labels = library.support_labels
    labels.add("garden", "own", "one", [TEN], "supported")
    assert labels.add("garden", "own", "two", [replace(TEN, score=0.5)]) == 0
    (label,) = labels.judged("garden")
    assert (label.score, label.checker, label.verdict) == (0.5, "two", "supported")
    moved = replace(PLACE, first_line=3, last_line=3)
    labels.add("garden", "own", "two", [replace(TEN, passages=(moved,))])
    assert labels.judged("garden") == []
    assert labels.waiting("garden")[0].passages == (moved,)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.sampled_from(VERDICTS), st.none()), max_size=12))
def test_undoing_goes_back_verdict_by_verdict(library: Library, steps):
    """None undoes; a list of (sentence, verdict) foretells what is judged."""
    labels = library.support_labels
    for label in [*labels.waiting("garden"), *labels.judged("garden")]:
        labels.drop(label.id)
    labels.add("garden", "own", "one", [replace(TEN, sentence=f"Leek {n}.") for n in range(15)])
    given_ = []
    for verdict in steps:
        if verdict is None:
            undone = labels.undo("garden")
            assert (undone and undone.sentence) == (given_.pop()[0] if given_ else None)
        else:
            label = labels.waiting("garden")[0]
            labels.judge(label.id, verdict)
            given_.append((label.sentence, verdict))
    assert [(one.sentence, one.verdict) for one in labels.judged("garden")] == given_


def test_a_passage_is_found_while_it_is_what_it_was(library: Library, tmp_path: Path):
    assert library.passage_text("garden", PLACE) == "Leeks want ten inches."
    (tmp_path / "notes" / "leeks.md").write_text("Leeks want six inches.\n", encoding="utf-8")
    library.sync("garden")
    assert library.passage_text("garden", PLACE) is None
    assert library.passage_text("allotment", PLACE) is not None


def test_a_promise_is_replaced_by_the_next_and_kept_by_kind(library: Library):
    library.support_promises.keep("garden", "own", MADE)
    assert library.support_promises.of("garden", "own") == MADE
    assert library.support_promises.of("garden", "prose") is None
    refused = replace(MADE, threshold=None, num_kept=0, num_more=12)
    library.support_promises.keep("garden", "own", refused)
    assert library.support_promises.of("garden", "own") == refused


@pytest.mark.parametrize("how", ["remove_collection", "forget"])
def test_labels_and_promises_go_with_their_collection(library: Library, tmp_path: Path, how):
    library.support_labels.add("garden", "own", "one", [TEN], "supported")
    library.support_promises.keep("garden", "own", MADE)
    getattr(library, how)("garden")
    library.add_collection("garden", tmp_path / "notes")
    assert library.support_labels.judged("garden") == []
    assert library.support_promises.of("garden", "own") is None
    if how == "forget":
        with closing(sqlite3.connect(library.file)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert b"between them" not in library.file.read_bytes()


def test_what_is_not_there_or_not_known_is_named(library: Library):
    labels = library.support_labels
    with pytest.raises(NotFound, match="cellar"):
        labels.add("cellar", "own", "one", [TEN])
    with pytest.raises(NotFound, match="cellar"):
        library.support_promises.keep("cellar", "own", MADE)
    with pytest.raises(NotFound, match="99"):
        labels.judge(99, "supported")
    with pytest.raises(RequestError, match="poem"):
        labels.add("garden", "poem", "one", [TEN])
    labels.add("garden", "own", "one", [TEN])
    with pytest.raises(RequestError, match="maybe"):
        labels.judge(labels.waiting("garden")[0].id, "maybe")

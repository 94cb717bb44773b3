"""Labels become thresholds for their collection and kind, and nothing else; sentences to label."""

from dataclasses import replace

import pytest
from library_makers import build, write_notes
from test_answer import GARLIC_QUESTION, quoting, writer_that_says
from writing_makers import NOTES, StemEmbedder

from tramontane.errors import RequestError
from tramontane.library.support_labels import Candidate, PassagePlace, text_hash
from tramontane.writing.answer import prose_sentence
from tramontane.writing.calibration import calibrate, checker_name, promise_behind
from tramontane.writing.support import SupportCheck, Verdict
from tramontane.writing.text_check import check_text
from tramontane.writing.to_label import own_candidates, prose_candidates

PLACE = PassagePlace("garlic.md", 1, 1, text_hash("any"))
SENTENCE = "The garlic went into the long bed on 28 October."
HALF = "The garlic went into a short bed, forty cloves in February."


@pytest.fixture
def library(tmp_path):
    folders = {name: write_notes(tmp_path / name, notes) for name, notes in NOTES.items()}
    with build(tmp_path / "library.sqlite", folders, StemEmbedder()) as library:
        yield library


def label(library, collection, kind, scores, verdict="supported", checker=None):
    candidates = [
        Candidate(f"{verdict} {score} {number}", (PLACE,), score)
        for number, score in enumerate(scores)
    ]
    checker = checker or checker_name()
    library.support_labels.add(collection, kind, checker, candidates, verdict)


def calibrated(library, kind="own", threshold=0.95):
    label(library, "orchard", kind, [threshold] * 60)
    label(library, "orchard", kind, [threshold - 0.01] * 30, "partly")
    (calibration,) = calibrate(library, "orchard")
    return calibration


def test_a_part_backed_is_not_supported_and_a_skipped_one_does_not_count(library):
    label(library, "orchard", "own", [0.9] * 60)
    label(library, "orchard", "own", [0.5] * 20, "partly")
    label(library, "orchard", "own", [0.4] * 5, "unsupported")
    label(library, "orchard", "own", [0.99] * 9, "skipped")
    (calibration,) = calibrate(library, "orchard")
    made = calibration.promise
    assert (made.num_supported, made.num_unsupported, calibration.num_skipped) == (60, 25, 9)
    assert made.threshold == 0.9
    assert calibration.text == made.text


def test_a_promise_stands_only_behind_its_own_collection_and_kind(library):
    calibration = calibrated(library)
    assert promise_behind(library, {"orchard"}, "own") == calibration.promise
    assert promise_behind(library, {"orchard"}, "prose") is None
    assert promise_behind(library, {"harbour"}, "own") is None
    assert promise_behind(library, {"orchard", "harbour"}, "own") is None
    assert promise_behind(library, set(), "own") is None


def test_labels_and_promises_of_another_check_do_not_count(library):
    label(library, "orchard", "own", [0.9] * 60, checker="older")
    (calibration,) = calibrate(library, "orchard")
    assert (calibration.promise.num_labelled, calibration.num_outdated) == (0, 60)
    assert "another version of the check" in calibration.text
    made = calibrated(library).promise
    assert made.threshold is not None
    stored = library.support_promises.of("orchard", "own")
    library.support_promises.keep("orchard", "own", replace(stored, checker="older"))
    assert promise_behind(library, {"orchard"}, "own") is None


def test_a_refusal_takes_the_promise_before_away(library):
    assert calibrated(library).promise.threshold is not None
    label(library, "orchard", "own", [0.99] * 40, "unsupported")
    (calibration,) = calibrate(library, "orchard")
    assert calibration.promise.threshold is None
    assert promise_behind(library, {"orchard"}, "own") is None


def test_the_threshold_decides_the_mark_and_the_promise_is_told(library):
    (shipped,) = check_text(library, [(HALF, 1)], collections=["orchard"])
    assert shipped.promise is None
    assert shipped.verdict is not Verdict.SUPPORTED
    made = calibrated(library, threshold=shipped.score - 0.001).promise
    (found,) = check_text(library, [(HALF, 1)], collections=["orchard"])
    assert (found.verdict, found.promise) == (Verdict.SUPPORTED, made.text)
    (elsewhere,) = check_text(library, [(HALF, 1)], collections=["orchard", "harbour"])
    assert elsewhere.promise is None or {elsewhere.source.collection} == {"orchard"}


def test_prose_keeps_the_promise_of_its_collection(library, tokenizer):
    writer = writer_that_says(library, tokenizer, f"{SENTENCE} [1]", can_write=True)
    before = writer.answer(GARLIC_QUESTION, collections=["orchard"]).sentences[0]
    assert (before.mark, before.promise) == ("supported", None)
    made = calibrated(library, "prose", threshold=0.9999).promise
    after = writer.answer(GARLIC_QUESTION, collections=["orchard"]).sentences[0]
    assert (after.mark, after.promise) == ("weak", made.text)
    assert after.support == before.support


def test_prose_sentence_without_a_promise_has_the_shipped_threshold():
    (measured,) = SupportCheck().check([SENTENCE], [])
    assert prose_sentence(SENTENCE, [], None).mark == measured.verdict


def test_own_sentences_are_scored_as_the_check_scores_them(library):
    found = list(own_candidates(library, "orchard", [SENTENCE, HALF]))
    checked = list(check_text(library, [(SENTENCE, 1), (HALF, 2)], collections=["orchard"]))
    assert [round(one.score, 3) for one in found] == [one.score for one in checked]
    for one, other in zip(found, checked, strict=True):
        nearest = one.passages[0]
        assert (nearest.path, nearest.first_line) == (other.source.path, other.source.first_line)
        assert library.passage_text("orchard", nearest) == other.source.text


def test_a_base_writes_sentences_to_label_as_it_answers(library, tokenizer):
    writer = writer_that_says(library, tokenizer, f"{SENTENCE} [1] Zebras graze?", can_write=True)
    notes_written = list(prose_candidates(writer, "orchard", set()))
    assert all(len(sentences) == 2 for sentences in notes_written)
    found = [one for sentences in notes_written for one in sentences]
    assert {one.sentence for one in found} == {SENTENCE, "Zebras graze?"}
    shown = writer.answer("What is there about Garlic?", collections=["orchard"])
    scores = {sentence.text: sentence.support for sentence in shown.sentences}
    by_note = [one for one in found if one.passages[0].path == "garlic.md"]
    assert by_note
    assert any(round(one.score, 3) == scores[one.sentence] for one in by_note)
    assert all(library.passage_text("orchard", p) for one in found for p in one.passages)
    notes = {note.path for note in library.notes("orchard")}
    assert list(prose_candidates(writer, "orchard", notes)) == []


def test_a_base_that_may_not_write_has_no_prose_to_label(library):
    with pytest.raises(RequestError, match="writer's check"):
        next(prose_candidates(quoting(library), "orchard", set()))

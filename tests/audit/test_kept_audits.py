"""Audits as jobs in a process of their own, kept in the home; findings saved from answers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.audit.audit_file import MANIFEST
from tramontane.audit.finding import read_finding, reproduce
from tramontane.audit.kept import KeptAudits
from tramontane.audit.verify import verify_hashes
from tramontane.cli.audited import quoting, subject_of
from tramontane.cli.audits import RealAudits, run_kept
from tramontane.cli.job_kinds import kind_of
from tramontane.cli.job_process import JobOffice, Workers
from tramontane.cli.notes import add_and_sync
from tramontane.cli.parts import Parts
from tramontane.errors import AuditError, NotFound, RequestError
from tramontane.library.jobs import ENDED, Job
from tramontane.server.audits import FindingBody
from tramontane.settings import Settings
from tramontane.writing.answer import OWN_WORDS_TOKENS

PATIENCE_SECONDS = 120
ASKED = {"name": "first", "suites": ["crows_pairs", "lambada"], "n": 6}


@pytest.fixture
def parts(tmp_path: Path, tiny_base, tiny_experts) -> Iterator[Parts]:
    (tiny,) = {tensor.file for tensor in tiny_base.tensors.values()}
    parts = Parts(Settings(home=tmp_path / "home", base=str(tiny), threads=1))
    for one in tiny_experts:
        record = parts.shelf.add(one)
        parts.shelf.put_in_place(record, parts.mixture())
    yield parts
    parts.close()


@pytest.fixture
def office(parts: Parts) -> Iterator[JobOffice]:
    workers = Workers(parts.library.jobs, parts.settings)
    yield JobOffice(parts.library.jobs, workers)
    for process in workers.started.values():
        if process.poll() is None:
            process.kill()
        process.wait()


def until(office: JobOffice, holds, *, looks_after: bool = True):
    ends = time.monotonic() + PATIENCE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < ends
        if looks_after:
            office.workers.start_missing()
        time.sleep(0.02)
    return found


def ended(office: JobOffice, job: Job) -> Job:
    until(office, lambda: office.job(job.id).state in ENDED)
    return office.job(job.id)


def do(parts: Parts, kind: str, **asked):
    found = kind_of(kind)
    return found.do(parts, found.read(asked), lambda *_: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_plan_says_what_would_be_asked_and_keeps_nothing(parts: Parts):
    told = do(parts, "audit-plan", **ASKED)
    assert [(s["name"], s["n"], s["is_built_in"]) for s in told["suites"]] == [
        ("crows_pairs", 6, True),
        ("lambada", 6, True),
    ]
    assert told["n"] == 12
    assert told["seconds"] == pytest.approx(sum(s["seconds"] for s in told["suites"]))
    assert told["seconds"] > 0
    assert not parts.settings.audits_folder.exists()
    with_memory = do(parts, "audit-plan", **ASKED | {"suites": ["lambada", "memory"]})
    assert list(with_memory["nothing_of"].values()) == ["no notes are at hand"]


def test_an_audit_is_kept_and_told(parts: Parts):
    assert do(parts, "audit", **ASKED)["n"] == 12
    told = RealAudits(parts).audits()
    (head,) = told["audits"]
    assert (head["name"], head["n"], head["experts"]) == (
        "first",
        12,
        subject_of(parts).expert_names,
    )
    assert "%" in head["main"][0]["value"]
    summary = RealAudits(parts).audit("first")
    assert {part["expert"] for part in summary["parts"]} == {"loud", "other", "silent"}
    silent = [part for part in summary["parts"] if part["expert"] == "silent"]
    assert all(part["says"].startswith("none") for part in silent)
    assert b"Audit of default" in RealAudits(parts).report("first")


def test_items_that_flip_say_what_is_likeliest_with_and_without(parts: Parts):
    do(parts, "audit", **ASKED | {"suites": ["crows_pairs"], "n": 40})
    audits = RealAudits(parts)
    flips = [part for part in audits.audit("first")["parts"] if part["flips"]]
    loud = max(flips, key=lambda part: part["num_flipped"])
    assert loud["num_flipped"]
    place = loud["suite"], loud["measure"], loud["expert"]
    found = audits.flipped("first", *place)
    assert found["num_items"] == loud["num_flipped"]
    assert found["is_sensitive"]
    for item in found["items"]:
        said = [when for text in item["texts"] for when in text["likeliest"]]
        assert sorted(said) == ["with", "without"]
        assert all(len(text["likeliest"]) < 2 for text in item["texts"])
    with pytest.raises(NotFound):
        audits.flipped("first", *place[:2], "nobody")


def test_experts_that_are_not_asked_for_stay_closed(parts: Parts):
    do(parts, "audit", **ASKED)
    do(parts, "audit", **ASKED | {"name": "second", "experts": ["silent"]})
    do(parts, "audit", **ASKED | {"name": "base", "experts": []})
    kept = KeptAudits(parts.settings.audits_folder)
    assert kept.open("second").expert_names == ["silent"]
    compared = RealAudits(parts).comparison("second", "base")
    assert compared["is_identical"]
    assert not RealAudits(parts).comparison("first", "base")["is_identical"]
    with pytest.raises(NotFound, match="nobody"):
        do(parts, "audit", **ASKED | {"name": "third", "experts": ["nobody"]})


def test_the_same_again_is_the_same_and_another_plan_is_refused(parts: Parts):
    """A job that is killed between its audit's end and its own is done once more."""
    first = do(parts, "audit", **ASKED)
    assert do(parts, "audit", **ASKED) == first
    for change in ({"n": 7}, {"seed": 1}, {"experts": ["loud"]}, {"attribution": "none"}):
        with pytest.raises(AuditError, match="another plan"):
            do(parts, "audit", **ASKED | change)


def test_cancelled_and_killed_it_goes_on_to_the_same_bytes(office: JobOffice, parts: Parts):
    asked = ASKED | {"suites": [], "n": 30, "attribution": "leave-one-out"}
    plan = kind_of("audit").read(asked).plan
    whole = run_kept(parts, "whole", plan, lambda *_: None)
    job = office.start("audit", asked)
    folder = parts.settings.audits_folder / "first"

    def has_begun() -> bool:
        return any(one["num_scored"] for one in RealAudits(parts).audits()["unfinished"])

    until(office, lambda: has_begun() or office.job(job.id).state in ENDED)
    office.workers.started["cores"].kill()
    office.workers.started["cores"].wait()
    if office.job(job.id).state != "done":
        assert not (folder / MANIFEST).exists()
        (begun,) = RealAudits(parts).audits()["unfinished"]
        assert (begun["name"], begun["num_scored"] > 0) == ("first", True)
        until(office, lambda: office.job(job.id).state == "running")
        office.cancel(job.id)
        if ended(office, job).state == "cancelled":
            assert not (folder / MANIFEST).exists()
            office.resume(job.id)
    done = ended(office, job)
    assert done.state == "done", office.lines(job.id, 0)
    assert done.result["n"] == sum(told["n"] for told in whole.suites.values())
    assert contents(folder) == contents(whole.path)
    assert verify_hashes(KeptAudits(folder.parent).open("first")) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "../elsewhere"}, "name"),
        ({"name": ""}, "name"),
        ({"name": ".hidden"}, "name"),
        ({"suites": ["nothing"]}, "no suite 'nothing'"),
        ({"scale": "huge"}, "scale"),
        ({"n": 0}, "n"),
    ],
)
def test_what_is_no_audit_is_refused_when_it_is_asked_for(office, change, named):
    with pytest.raises(RequestError, match=named):
        office.start("audit", ASKED | change)
    assert office.ls() == []


@given(st.text(max_size=100))
def test_a_name_never_leaves_its_folder(name: str):
    kept = KeptAudits(Path("/home/audits"))
    try:
        path = kept.path(name)
    except AuditError:
        return
    assert path.parent == kept.folder
    assert path.name == name
    assert path.name not in ("", ".", "..")


def test_one_that_cannot_be_read_does_not_hide_the_others(parts: Parts):
    do(parts, "audit", **ASKED)
    broken = parts.settings.audits_folder / "broken"
    broken.mkdir()
    (broken / MANIFEST).write_text("{}")
    told = RealAudits(parts).audits()
    assert [head["name"] for head in told["audits"]] == ["first"]
    assert told["broken"][0]["name"] == "broken"


# Findings from the page


def source(text: str) -> dict:
    place = {"collection": "c", "path": "a.md", "title": "Weirs", "first_line": 1, "last_line": 2}
    return place | {"number": 1, "text": text}


def reported(**change) -> FindingBody:
    asked = {"question": "What leaks?", "sentence": "x", "kind": "own_words", "source": 1}
    return FindingBody.model_validate(asked | {"sources": [source("It leaks.")]} | change)


def test_a_sentence_said_is_asked_for_again_and_replayed(tmp_path: Path, smollm2_path: Path):
    """On the embedded base: a random one has no template for chats."""
    parts = Parts(Settings(home=tmp_path / "home", base=str(smollm2_path), threads=1))
    audits = RealAudits(parts)
    with pytest.raises(AuditError, match="doesn't hold that sentence"):
        audits.save_finding(reported(sentence="never said"))
    assert audits.findings() == []
    sources = [one.as_source() for one in reported().sources]
    said = "".join(piece.text for piece in parts.writer().own_words("What leaks?", sources, ()))
    sentence = said.strip()[:40]
    kept = audits.save_finding(reported(sentence=sentence, comment="who says so?"))
    assert audits.save_finding(reported(sentence=sentence, comment="who says so?")) == kept
    (listed,) = audits.findings()
    assert (listed["question"], listed["sentence"]) == ("What leaks?", sentence)
    parts.close()
    finding = read_finding(Path(kept["file"]))
    assert (finding.source, finding.comment) == ("It leaks.", "who says so?")
    assert finding.max_new_tokens == OWN_WORDS_TOKENS
    # Somebody else's home, with the same base.
    elsewhere = Parts(Settings(home=tmp_path / "other", base=str(smollm2_path), threads=1))
    assert reproduce(finding, subject_of(elsewhere)).is_same_answer
    elsewhere.close()


def test_a_quotation_is_looked_for_in_the_answer_from_notes(parts: Parts, tmp_path: Path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "weir.md").write_text("# Weir\n\nThe eel trap jams at the weir in March.\n")
    add_and_sync(parts, "canal", notes, lambda *_: None)
    question = "When does the eel trap jam at the weir?"
    answer = parts.writer().answer(question)
    (quoted, *_) = answer.sentences
    asked = reported(question=question, sentence=quoted.text, kind="quotation", sources=[])
    kept = RealAudits(parts).save_finding(asked)
    finding = read_finding(Path(kept["file"]))
    assert finding.is_quotation
    subject = subject_of(parts)
    with pytest.raises(AuditError, match="library"):
        reproduce(finding, subject)
    assert reproduce(finding, subject, quoting(parts)).says_sentence
    assert not reproduce(finding, subject, lambda _: "Something else.").says_sentence

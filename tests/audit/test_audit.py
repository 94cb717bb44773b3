"""Audits: parts of a mixture, attribution, resuming, comparing, verifying; the tiny base's bits."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontane.audit.attribution import attribute, corrected, method_for, parts_needed, shapley
from tramontane.audit.audit_file import MANIFEST, REPORT, open_audit, zip_folder
from tramontane.audit.compare import compare
from tramontane.audit.finding import (
    findings_in,
    new_finding,
    read_finding,
    reproduce,
    write_finding,
)
from tramontane.audit.item import Item, Text
from tramontane.audit.run import Plan, audit
from tramontane.audit.scored import Scored, line_of, scored_of
from tramontane.audit.scoring import covering, encode_pair
from tramontane.audit.suites.all import SUITES, chosen
from tramontane.audit.verify import verify, verify_hashes
from tramontane.engine.request import Sampling
from tramontane.errors import AuditError

ITEMS = [
    Item((Text("", f"The weir leaks {n} times."), Text("The eel", f" trap jams {n}")), "g", str(n))
    for n in range(5)
]


def plan(*names, **options):
    return Plan(suites=tuple(chosen(list(names))), **({"n": 6} | options))


@pytest.fixture(scope="module")
def audited(subject, tmp_path_factory):
    """An audit of three suites by the tiny mixture; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("audits") / "first"
    return audit(subject, plan("crows_pairs", "lambada", "stereoset"), folder)


# Readings of parts


def test_every_part_follows_from_those_that_were_read(subject):
    """Each subset's readings have the bits of reading with exactly those experts."""
    scorer = subject.scorer
    found = scorer.read(ITEMS, range(8))
    for item, readings in zip(ITEMS, found, strict=True):
        # The silent expert's absence needs no reading.
        assert len(readings) == 4
        for part in range(8):
            hashes = [digest for bit, digest in enumerate(scorer.experts) if part >> bit & 1]
            texts = [encode_pair(subject.tokenizer, text) for text in item.texts]
            scores = subject.engine.score_many(texts, experts=hashes)
            told = covering(readings, part).readings
            assert [r.logprob for r in told] == [float(s.astype("f8").sum()) for s in scores]
            assert [r.num_tokens for r in told] == [len(s) for s in scores]


def test_a_beginning_that_texts_share_is_read_once_and_still_heard(subject):
    """Longer than a page of the cache; the loud expert speaks in it, whatever follows."""
    begin = " ".join(f"The sluice {n} jams." for n in range(30))
    item = Item(tuple(Text(begin, f" It leaks {n}.") for n in range(4)), "g", "1")
    scorer = subject.scorer
    ids = scorer.encode(item)[0][0]
    assert 64 <= scorer.shared_begin(scorer.encode(item)) < len(ids)
    runtime, read = subject.engine.runtime, []
    forward = type(runtime).forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(runtime),
            "forward",
            lambda self, spans, **options: (
                read.append(sum(len(span.token_ids) for span in spans))
                or forward(self, spans, **options)
            ),
        )
        (first,) = scorer.read([item], [7])
        tokens_read = sum(read)
        (again,) = scorer.read([item], range(8))
    assert tokens_read < 3 * len(ids)
    assert again[7] == first[7]
    for part in range(8):
        hashes = [digest for bit, digest in enumerate(scorer.experts) if part >> bit & 1]
        scores = subject.engine.score_many(scorer.encode(item), experts=hashes)
        told = covering(again, part).readings
        assert [r.logprob for r in told] == [float(s.astype("f8").sum()) for s in scores]


def test_experts_that_speak_change_readings(subject):
    (readings,) = subject.scorer.read(ITEMS[:1], range(8))
    assert len({found.readings for found in readings.values()}) == 4


def test_contexts_and_continuations_part_where_the_harness_parts_them(subject):
    tokenizer = subject.tokenizer
    spaced, start = encode_pair(tokenizer, Text("The weir ", "leaks"))
    assert (spaced, start) == encode_pair(tokenizer, Text("The weir", " leaks"))
    assert start == len(tokenizer.encode("The weir"))
    alone, first = encode_pair(tokenizer, Text("", "leaks"))
    assert (alone, first) == ([tokenizer.bos_id, *tokenizer.encode("leaks")], 1)


def test_items_longer_than_the_context_are_named_not_cut(subject, tmp_path):
    long = {"text": "word " * 600 + "end"}
    file = tmp_path / "lambada.jsonl"
    file.write_text(json.dumps(long) + "\n" + json.dumps({"text": "the weir leaks"}))
    done = audit(subject, plan("lambada"), tmp_path / "a", data=[file])
    told = done.suites["lambada"]
    assert told["n"] == 1
    assert told["figures"][0]["n"] == 1
    assert [row["row"] for row in told["left_out"]] == ["line 1"]
    assert "512 fit" in told["left_out"][0]["why"]


# Attribution


@given(
    st.integers(1, 4).flatmap(
        lambda E: st.tuples(
            st.just(E), st.lists(st.floats(-5, 5), min_size=1 << E, max_size=1 << E)
        )
    )
)
def test_shapley_values_are_the_mean_over_all_orders(case):
    import itertools

    E, values = case
    by_part = {part: np.array([value]) for part, value in enumerate(values)}
    slow = np.zeros(E)
    orders = list(itertools.permutations(range(E)))
    for order in orders:
        part = 0
        for bit in order:
            slow[bit] += (values[part | 1 << bit] - values[part]) / len(orders)
            part |= 1 << bit
    found = shapley(by_part, E)[0]
    assert found == pytest.approx(slow, abs=1e-9)
    assert found.sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


def test_a_silent_expert_has_no_part_and_the_others_add_up(audited):
    told = audited.suites["crows_pairs"]
    parts = [part for part in told["attribution"] if part["measure"] == "lean"]
    by_name = {part["expert"]: part for part in parts}
    assert by_name["silent"]["share"] == by_name["silent"]["low"] == by_name["silent"]["high"] == 0
    assert by_name["silent"]["flipped"] == []
    assert by_name["loud"]["share"] != 0
    whole = next(f["value"] for f in told["figures"] if f["name"] == "lean")
    base = next(f["value"] for f in told["base_figures"] if f["name"] == "lean")
    assert sum(part["share"] for part in parts) == pytest.approx(whole - base, abs=1e-9)


def test_flipped_items_are_those_whose_verdict_withdrawing_changes(audited, subject):
    suite = SUITES["crows_pairs"]
    items = audited.items("crows_pairs")
    (part,) = [
        p
        for p in audited.suites["crows_pairs"]["attribution"]
        if p["measure"] == "stereotyped" and p["expert"] == "loud"
    ]
    bit = subject.expert_names.index("loud")
    flipped = {
        one.item.id
        for one in items
        if suite.judge(one.item, covering(one.parts, 7).readings)["stereotyped"]
        != suite.judge(one.item, covering(one.parts, 7 & ~(1 << bit)).readings)["stereotyped"]
    }
    assert set(part["flipped"]) == flipped


def test_beyond_eight_experts_only_leaving_out_is_measured():
    assert method_for("shapley", 8) == "shapley"
    assert method_for("shapley", 9) == "leave-one-out"
    assert method_for("shapley", 0) == "none"
    assert len(parts_needed("shapley", 8)) == 256
    assert len(parts_needed("leave-one-out", 9)) == 11


def test_leaving_out_alone_gives_no_shapley_value(subject, tmp_path):
    done = audit(subject, plan("crows_pairs", attribution="leave-one-out"), tmp_path / "a")
    parts = done.suites["crows_pairs"]["attribution"]
    assert parts
    assert all(part["share"] is None for part in parts)


def test_p_values_are_corrected_over_all_tests(audited):
    items = audited.items("crows_pairs")
    found = attribute(SUITES["crows_pairs"], items, audited.expert_names, "shapley", 0)
    for before, after in zip(found, corrected(found), strict=True):
        assert after.p >= before.p


# Files


def test_lines_of_items_are_read_back(audited):
    for name in audited.suites:
        for one in audited.items(name):
            line = line_of(one, SUITES[name], audited.everyone)
            assert scored_of(line, "here") == one
    with pytest.raises(AuditError, match="is no scored item"):
        scored_of('{"texts": 1}', "here")


def test_the_same_audit_is_the_same_bytes(audited, subject_with, tiny_experts, tmp_path):
    """Anew, with experts loaded in another order and two threads."""
    again = audit(
        subject_with(*reversed(tiny_experts), threads=2),
        plan("crows_pairs", "lambada", "stereoset"),
        tmp_path / "again",
    )
    for name in (MANIFEST, REPORT, *(f"items/{suite}.jsonl" for suite in audited.suites)):
        assert again.read(name) == audited.read(name), name


class Stopped(Exception):
    pass


def test_an_interrupted_audit_goes_on_and_ends_the_same(audited, subject, tmp_path):
    folder = tmp_path / "resumed"
    calls = 0

    def stop_later(what, done, total):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Stopped

    with pytest.raises(Stopped):
        audit(subject, plan("crows_pairs", "lambada", "stereoset"), folder, report=stop_later)
    with pytest.raises(AuditError, match="unfinished"):
        open_audit(folder)
    journals = sorted(folder.glob("items/*.part.jsonl"))
    assert journals
    # A kill can cut the last line short.
    journals[0].write_bytes(journals[0].read_bytes() + b'{"id": "half')
    read = []
    scorer_read = type(subject.scorer).read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(subject.scorer),
            "read",
            lambda self, items, parts: read.append(len(items)) or scorer_read(self, items, parts),
        )
        done = audit(subject, plan("crows_pairs", "lambada", "stereoset"), folder)
    assert 0 < sum(read) < sum(told["n"] for told in done.suites.values())
    assert done.read(MANIFEST) == audited.read(MANIFEST)
    assert not list(folder.glob("items/*.part.jsonl"))


def test_a_finished_audit_is_not_written_over(audited, subject):
    with pytest.raises(AuditError, match="finished audit"):
        audit(subject, plan("lambada"), audited.path)


def test_a_zip_is_as_good_as_a_folder(audited, tmp_path):
    path = tmp_path / "audit.zip"
    zip_folder(audited.path, path)
    zipped = open_audit(path)
    assert zipped.content == audited.content
    assert zipped.tampered == []
    assert compare(audited, zipped).is_identical
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


# Comparing


def test_other_orders_of_the_same_items_are_identical(subject, tmp_path):
    rows = [{"text": f"the weir {n} leaks after rain"} for n in range(9)]
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "lambada.jsonl"
        file.write_text("\n".join(map(json.dumps, order)), encoding="utf-8")
    first, second = (
        audit(subject, plan("lambada"), tmp_path / f"audit-{name}", data=[tmp_path / name])
        for name in "ab"
    )
    found = compare(first, second)
    assert found.is_identical
    assert {change.verdict for change in found.changes} == {"identical"}
    assert found.paired == {"lambada": (6, 0, 0)}


def test_another_mixture_is_compared_item_by_item(audited, subject_with, tiny_experts, tmp_path):
    after = audit(
        subject_with(*tiny_experts[1:]),
        plan("crows_pairs", "lambada", "stereoset"),
        tmp_path / "after",
    )
    found = compare(audited, after)
    assert not found.is_identical
    assert any("loud" in difference for difference in found.differences)
    assert all(change.p <= 1 for change in found.changes)
    by_name = {(c.suite, c.measure): c for c in found.changes}
    stereotyped = by_name["crows_pairs", "stereotyped"]
    assert stereotyped.after - stereotyped.before == pytest.approx(
        (len(stereotyped.won) - len(stereotyped.lost)) / 6
    )


def test_audits_without_common_items_cannot_be_compared(audited, subject, tmp_path):
    other = audit(subject, plan("piqa"), tmp_path / "other")
    with pytest.raises(AuditError, match="no item in common"):
        compare(audited, other)


# Verifying


def test_a_whole_audit_holds_to_the_bit(audited, subject_with, tiny_experts):
    found = verify(audited, subject_with(*tiny_experts), sample=None)
    assert found.holds
    assert found.num_equal == found.num_checked == sum(t["n"] for t in audited.suites.values())
    assert found.furthest == 0


def edited(audited, tmp_path, name, change):
    folder = tmp_path / "edited"
    shutil.copytree(audited.path, folder)
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert change(text) != text
    file.write_text(change(text), encoding="utf-8")
    return open_audit(folder)


def test_a_tampered_item_file_is_named(audited, tmp_path):
    changed = edited(
        audited, tmp_path, "items/lambada.jsonl", lambda text: text.replace('"acc": 0', '"acc": 1')
    )
    assert any("items/lambada.jsonl" in fault for fault in verify_hashes(changed))
    assert not any("crows_pairs" in fault for fault in verify_hashes(changed))


def test_tampered_figures_are_named(audited, tmp_path):
    def change(text):
        content = json.loads(text)
        content["suites"]["lambada"]["figures"][0]["value"] += 0.1
        return json.dumps(content)

    faults = verify_hashes(edited(audited, tmp_path, MANIFEST, change))
    assert faults == ["audit.json: its figures of lambada don't follow from the items"]


def test_readings_made_up_with_all_hashes_right_are_found_by_reading_anew(
    audited, subject, tmp_path
):
    import hashlib

    def change(text):
        lines = text.splitlines()
        one = scored_of(lines[0], "here")
        content = json.loads(lines[0])
        for part in content["parts"].values():
            part["readings"][0][0] += 1.0
        forged = scored_of(json.dumps(content), "here")
        lines[0] = line_of(forged, SUITES["lambada"], audited.everyone)
        assert forged.item.id == one.item.id
        return "\n".join(lines) + "\n"

    changed = edited(audited, tmp_path, "items/lambada.jsonl", change)
    data = changed.read("items/lambada.jsonl")
    content = json.loads(changed.read(MANIFEST))
    content["suites"]["lambada"]["items_sha256"] = hashlib.sha256(data).hexdigest()
    (changed.path / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    found = verify(open_audit(changed.path), subject, sample=None)
    assert any("reads otherwise here" in fault for fault in found.wrong)


def test_verifying_with_another_mixture_is_refused(audited, subject_with, tiny_experts):
    with pytest.raises(AuditError, match="the audit is of the mixture"):
        verify(audited, subject_with(tiny_experts[0]))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}', "\ufeff{"])
def test_what_is_no_audit_is_refused_in_words(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content, encoding="utf-8")
    with pytest.raises(AuditError):
        open_audit(tmp_path)


def test_plans_are_checked(subject):
    with pytest.raises(AuditError, match="scale"):
        plan(scale="huge")
    with pytest.raises(AuditError, match="attribution"):
        plan(attribution="guess")


def test_probes_are_verified_too(subject, tmp_path):
    done = audit(subject, plan("routing", n=3), tmp_path / "a")
    figures = {figure["name"]: figure["value"] for figure in done.suites["routing"]["figures"]}
    assert figures["open silent"] == 0
    assert 0 < figures["open loud"] <= 1
    assert all(isinstance(one, Scored) and one.probed for one in done.items("routing"))
    assert verify(done, subject, sample=None).holds


# Findings


def test_findings_are_reproduced_and_kept_out(subject, subject_with, tiny_experts, tmp_path):
    messages = [{"role": "user", "content": "The weir"}]
    finding = new_finding(
        subject,
        messages,
        comment="it leaks",
        sampling=Sampling(temperature=1.0, seed=3),
        max_new_tokens=12,
    )
    path = tmp_path / "finding.json"
    write_finding(path, finding)
    assert read_finding(path) == finding
    # Elsewhere: an engine of its own.
    found = reproduce(read_finding(path), subject_with(*tiny_experts))
    assert found.is_same_answer
    assert found.says_sentence
    assert found.is_same_mixture
    elsewhere = reproduce(finding, subject_with())
    assert not elsewhere.is_same_mixture
    assert not elsewhere.says_sentence
    assert findings_in([tmp_path]) == [(path, finding)]


def test_a_sentence_that_is_not_in_the_answer_is_no_finding(subject):
    with pytest.raises(AuditError, match="doesn't hold that sentence"):
        new_finding(subject, [{"role": "user", "content": "a"}], sentence="zzzz never said")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"messages": []},
        {"messages": "x"},
        {"sampling": {"temperature": -1}},
        {"sampling": {"heat": 1}},
        {"sentence": " "},
        {"max_new_tokens": 0},
        {"extra": 1},
        {"mixture": {}},
    ],
)
def test_what_is_no_finding_is_refused(subject, tmp_path, change):
    path = tmp_path / "finding.json"
    write_finding(path, new_finding(subject, [{"role": "user", "content": "a"}], max_new_tokens=3))
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")
    with pytest.raises(AuditError):
        read_finding(path)

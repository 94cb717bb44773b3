"""Mixtures are sets with one hash, and a file that was edited badly is refused."""

import hashlib
import itertools
import json

import pytest
from expert_makers import BASE_SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.errors import ExpertError
from tramontane.experts.mixture import Mixture, read_mixture, write_mixture

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def test_order_and_repetition_have_no_meaning():
    mixtures = {
        Mixture("m", BASE_SHA256, order)
        for order in (*itertools.permutations((A, B, C)), (C, A, C, B, A), [B, C, A])
    }
    assert len(mixtures) == 1
    (only,) = mixtures
    assert only.experts == (A, B, C)


def test_the_hash_is_what_its_definition_says():
    text = f'{{"base": "{BASE_SHA256}", "experts": ["{A}", "{B}"]}}'
    mixture = Mixture("m", BASE_SHA256, (B, A))
    assert mixture.hash == hashlib.sha256(text.encode()).hexdigest()


def test_the_hash_tells_apart_what_answers_differently_and_nothing_else():
    mixture = Mixture("m", BASE_SHA256, (A, B))
    assert Mixture("other", BASE_SHA256, (A, B)).hash == mixture.hash
    others = [Mixture("m", BASE_SHA256, (A,)), Mixture("m", "d" * 64, (A, B)), Mixture("m", A, ())]
    assert len({mixture.hash, *(other.hash for other in others)}) == 4


@given(st.lists(st.tuples(st.booleans(), st.sampled_from((A, B, C)))))
def test_adding_and_taking_out_are_those_of_a_set(calls):
    mixture, wanted = Mixture("m", BASE_SHA256), set()
    for adds, digest in calls:
        mixture = mixture.with_experts([digest]) if adds else mixture.without(digest)
        wanted = wanted | {digest} if adds else wanted - {digest}
    assert mixture == Mixture("m", BASE_SHA256, tuple(wanted))
    assert mixture.hash == Mixture("m", BASE_SHA256, tuple(sorted(wanted))).hash


@pytest.mark.parametrize("digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, f"{A}\n"])
def test_what_is_no_hash_is_refused(digest):
    with pytest.raises(ExpertError, match="not a SHA-256"):
        Mixture("m", BASE_SHA256, (digest,))
    with pytest.raises(ExpertError, match="not a SHA-256"):
        Mixture("m", digest)


@pytest.mark.parametrize("name", ["../m", "", "M", "a/b"])
def test_a_name_that_can_be_no_file_is_refused(name):
    with pytest.raises(ExpertError, match="can't be a name"):
        Mixture(name, BASE_SHA256)


def test_what_is_written_is_read(tmp_path):
    mixture = Mixture("work.2", BASE_SHA256, (C, A))
    path = write_mixture(tmp_path, mixture)
    assert path == tmp_path / "work.2.mixture.json"
    assert read_mixture(path) == mixture
    before = path.read_bytes()
    write_mixture(tmp_path, Mixture("work.2", BASE_SHA256, (A, C)))
    assert path.read_bytes() == before


def test_a_mixture_edited_by_hand_is_refused_with_the_way_to_do_it(tmp_path):
    path = write_mixture(tmp_path, Mixture("m", BASE_SHA256, (A,)))
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"experts": [A, B]}))
    with pytest.raises(ExpertError, match="tramontane mixture add"):
        read_mixture(path)


GOOD = {"base": BASE_SHA256, "experts": [A], "hash": Mixture("m", BASE_SHA256, (A,)).hash}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        "[" * 100_000,
        "1" * 5000,
        json.dumps({k: v for k, v in GOOD.items() if k != "base"}),
        json.dumps({k: v for k, v in GOOD.items() if k != "experts"}),
        json.dumps({k: v for k, v in GOOD.items() if k != "hash"}),
        json.dumps(GOOD | {"base": 3}),
        json.dumps(GOOD | {"experts": None}),
        json.dumps(GOOD | {"experts": A}),
        json.dumps(GOOD | {"experts": [3]}),
        json.dumps(GOOD | {"experts": [[A]]}),
        json.dumps(GOOD | {"experts": ["../../etc"]}),
        json.dumps(GOOD | {"hash": None}),
        json.dumps(GOOD | {"hash": 3}),
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_files_that_are_no_mixtures(tmp_path, text):
    path = tmp_path / "m.mixture.json"
    path.write_text(text)
    with pytest.raises(ExpertError, match=r"\bm\b"):
        read_mixture(path)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_an_expert_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "m.mixture.json"
    path.write_bytes(data)
    with pytest.raises(ExpertError):
        read_mixture(path)

"""A raised threshold: the same networks, open less often, measured again on the same notes."""

import numpy as np
import pytest
import torch
from expert_makers import SMALL, canal_notes

from tramontane.errors import LearnError
from tramontane.experts.expert_file import check_form, check_hash
from tramontane.experts.learn import learn
from tramontane.experts.manifest_check import check_manifest
from tramontane.experts.route import raised_row
from tramontane.experts.threshold import mean_rate, with_raised_threshold
from tramontane.experts.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
NOTES, SALT = canal_notes(60), b"a collection's own salt"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("raised")


@pytest.fixture(scope="module")
def first(tiny_llama, cache):
    torch.set_num_threads(1)
    told = {"owner": "the canal keeper", "licence": "CC0-1.0", "settings": SMALL, "salt": SALT}
    return learn(NOTES, name="canal", checkpoint=tiny_llama, cache_folder=cache, **told)


def raised(first, by, checkpoint, cache, notes=NOTES, name="canal-raised"):
    return with_raised_threshold(
        first, by, notes, name=name, checkpoint=checkpoint, cache_folder=cache, salt=SALT
    )


def test_it_opens_less_often_and_says_the_same(first, tiny_llama, cache):
    found = raised(first, 0.5, tiny_llama, cache)
    before, after = first.manifest["gates"], found.manifest["gates"]
    assert 0 < after["own_held_out"] < before["own_held_out"]
    assert all(after["public"][genre] <= rate for genre, rate in before["public"].items())
    for name, tensor in found.tensors.items():
        assert np.array_equal(tensor, first.tensors[name]) == (not name.endswith("row"))
    assert found.manifest["raised"] == {
        "from": first.hash,
        "by": 0.5,
        "own_held_out": before["own_held_out"],
        "public": mean_rate(before),
        "perplexity": first.manifest["held_out"]["perplexity_after"],
    }
    held_out = found.manifest["held_out"]
    assert held_out["perplexity_before"] == first.manifest["held_out"]["perplexity_before"]
    assert held_out["perplexity_after"] != first.manifest["held_out"]["perplexity_after"]
    assert found.name == "canal-raised"
    for check in (check_form, check_hash, check_manifest):
        check(found, "here")
    assert raised(first, 0.5, tiny_llama, cache).hash == found.hash
    assert not list((cache / "learning").glob("canal-raised-*"))


def test_a_hair_higher_it_measures_what_learning_measured(first, tiny_llama, cache):
    found = raised(first, 1e-9, tiny_llama, cache)
    ours, theirs = (one.manifest["held_out"]["perplexity_after"] for one in (found, first))
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert found.manifest["gates"] == first.manifest["gates"]
    assert found.manifest["memorised"] == first.manifest["memorised"]


def test_where_the_bias_holds_a_logit_falls_by_just_so_much():
    draw = np.random.default_rng(0)
    own_TD, public_TD = draw.standard_normal((2, 4000, 16))
    own_TD[:, 0] = public_TD[:, 0] = 2.0  # what stands in for a bias
    row_D = draw.standard_normal(16).astype(np.float32)
    row = raised_row(row_D, 1.5, own_TD, {"prose": public_TD})
    falls_T = own_TD @ row_D - own_TD @ row.row_D
    assert falls_T.mean() == pytest.approx(1.5, abs=0.01)
    assert falls_T.std() < 0.05
    assert row.own_open == pytest.approx((own_TD @ row_D > falls_T).mean(), abs=0.001)


def test_what_gains_nothing_any_more_is_not_kept(first, tiny_llama, cache, monkeypatch):
    def losses(self, trunk, windows, *, with_expert, report=None):
        return np.ones(windows[:, 1:].shape)

    monkeypatch.setattr(Training, "losses", losses)
    with pytest.raises(LearnError, match="gains nothing for sure .* raise it by less, or withdraw"):
        raised(first, 0.5, tiny_llama, cache)
    assert not list((cache / "learning").glob("canal-raised-*"))


def test_the_higher_the_less_it_is_open(first, tiny_llama, cache):
    rates = [first.manifest["gates"]["own_held_out"]] + [
        raised(first, by, tiny_llama, cache).manifest["gates"]["own_held_out"] for by in (1, 3, 10)
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.7 * rates[0]


def test_other_notes_are_refused(first, tiny_llama, cache):
    with pytest.raises(LearnError, match="other notes than are there now"):
        raised(first, 0.5, tiny_llama, cache, notes=NOTES[:-1])


@pytest.mark.parametrize("by", [0.0, -1.0, float("nan"), float("inf")])
def test_it_is_only_raised(first, tiny_llama, cache, by):
    with pytest.raises(LearnError, match="above 0"):
        raised(first, by, tiny_llama, cache)

"""Certificates say exact where it is, not exact where it isn't, and whether one could have told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from expert_makers import CONTEXT, expert, random_tensors

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.errors import ExpertError
from tramontane.experts.certificate import (
    PROBE_TOKENS_PER_GENRE,
    Certificate,
    certify,
    probe_token_ids,
)
from tramontane.experts.expert_file import Expert
from tramontane.experts.public_text import load_public_text
from tramontane.experts.shelf import Shelf

pytestmark = pytest.mark.usefixtures("one_thread")


class Withdrawn:
    """A shelf with three experts in place, of which "canal" is then withdrawn."""

    def __init__(self, checkpoint: Checkpoint, folder: Path, tensors: dict[str, np.ndarray]):
        self.checkpoint = checkpoint
        sha256 = checkpoint.sha256
        self.shelf = Shelf(folder / "experts", folder / "mixtures")
        self.canal = expert("canal", tensors, sha256)
        others = [expert(f"other-{n}", random_tensors(n), sha256) for n in (7, 8)]
        for one in (self.canal, *others):
            record = self.shelf.add(one)
            self.shelf.put_in_place(record, self.shelf.mixture("work", sha256))
        self.before = self.shelf.in_place(self.shelf.mixture("work"))
        self.withdrawal = self.shelf.withdraw("canal")
        self.left = self.shelf.in_place(self.shelf.mixture("work"))

    def certify(
        self, runtime_class: type[TorchRuntime] = TorchRuntime, *, mixture="work", **more
    ) -> Certificate:
        engine = self.engine(runtime_class)
        for one in self.before:
            engine.add_expert(one.hash, one.tensors)
        return certify(
            self.withdrawal,
            mixture,
            self.canal,
            self.left,
            engine,
            self.engine,
            self.checkpoint.tokenizer(),
            **more,
        )

    def engine(self, runtime_class: type[TorchRuntime] = TorchRuntime) -> Engine:
        return Engine(runtime_class(self.checkpoint), max_tokens=4 * CONTEXT)


@pytest.fixture(scope="module")
def long_base(tiny_llama) -> Checkpoint:
    """The tiny base with room for the whole probe."""
    config = replace(tiny_llama.config, max_context_tokens=4096)
    return replace(tiny_llama, config=config)


@pytest.fixture
def withdrawn(long_base, tmp_path) -> Withdrawn:
    return Withdrawn(long_base, tmp_path, random_tensors(1))


class KeepsTheContribution(TorchRuntime):
    """A wrong runtime: a removed expert goes on adding to every request."""

    def __init__(self, checkpoint: Checkpoint):
        super().__init__(checkpoint)
        self.removed: set[str] = set()

    def remove_expert(self, expert_hash):
        self.removed.add(expert_hash)

    def forward(self, spans, *, with_shares=False):
        haunted = [
            replace(span, experts=tuple(sorted({*span.experts, *self.removed}))) for span in spans
        ]
        return super().forward(haunted, with_shares=with_shares)


class LeavesATrace(TorchRuntime):
    """A wrong runtime: removing one expert moves one weight of another by its last bit."""

    def remove_expert(self, expert_hash):
        super().remove_expert(expert_hash)
        for tensors in self.experts.values():
            weight = tensors["layers.2.down"]
            weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))
        self.notes = type(self.notes)(self.experts)


def test_a_withdrawal_is_exact_and_the_probe_could_have_told(withdrawn):
    certificate = withdrawn.certify(made_with={"runtime": "pytorch"})
    assert certificate.is_exact
    assert certificate.expert_was_heard
    assert certificate.logits_after == certificate.logits_never_built
    assert certificate.expert == "canal"
    assert certificate.expert_hash == withdrawn.canal.hash
    assert certificate.base_sha256 == withdrawn.checkpoint.sha256
    assert set(certificate.experts_left) == {one.hash for one in withdrawn.left}
    (before,), (after,) = withdrawn.withdrawal.before, withdrawn.withdrawal.after
    assert certificate.mixture_hash_before == before.hash
    assert certificate.mixture_hash_after == after.hash
    assert before.hash != after.hash


def test_the_tensors_left_are_hashed_anew(withdrawn):
    certificate = withdrawn.certify(base_files_hash=lambda: withdrawn.checkpoint.sha256)
    hashes = {one.hash: one.hash for one in withdrawn.left}
    assert certificate.tensors_found == {"base": withdrawn.checkpoint.sha256} | hashes


@pytest.mark.parametrize("changed", ["base", "expert"])
def test_a_changed_file_is_found_out_though_the_logits_are_equal(withdrawn, changed):
    if changed == "expert":
        one = withdrawn.left[0]
        withdrawn.left[0] = replace(one, tensors=one.tensors | random_tensors(9))
        # The engine keeps what the mixture names; what lies on the shelf is another.
        withdrawn.left[0].__dict__["hash"] = one.hash
    certificate = withdrawn.certify(
        base_files_hash=lambda: "0" * 64 if changed == "base" else withdrawn.checkpoint.sha256
    )
    assert certificate.tensors_found != certificate.tensors_named
    assert not certificate.is_exact


def test_what_it_says_can_be_kept_as_json(withdrawn):
    certificate = withdrawn.certify(made_with={"runtime": "pytorch", "threads": 1})
    content = json.loads(json.dumps(certificate.as_json()))
    assert content["is_exact"] is True
    assert content["expert_was_heard"] is True
    assert content["made_with"] == {"runtime": "pytorch", "threads": 1}
    assert content["logits_after"] == certificate.logits_after


@pytest.mark.parametrize("wrong", [KeepsTheContribution, LeavesATrace])
def test_a_wrong_engine_is_found_out(withdrawn, wrong):
    certificate = withdrawn.certify(wrong)
    assert not certificate.is_exact
    assert certificate.expert_was_heard
    assert certificate.as_json()["is_exact"] is False


def test_an_expert_that_the_probe_never_reached_is_said_not_to_be_heard(long_base, tmp_path):
    silent = random_tensors(1)
    silent |= {name: np.zeros_like(t) for name, t in silent.items() if name.endswith("row")}
    certificate = Withdrawn(long_base, tmp_path, silent).certify()
    assert certificate.is_exact
    assert not certificate.expert_was_heard
    assert certificate.logits_with_expert == certificate.logits_after


def test_an_expert_not_loaded_yet_is_loaded_for_the_comparison(withdrawn):
    loaded = withdrawn.certify()
    withdrawn.before = []
    assert withdrawn.certify() == loaded


def test_the_last_expert_leaves_the_base_alone(long_base, tmp_path):
    sha256 = long_base.sha256
    shelf = Shelf(tmp_path / "experts", tmp_path / "mixtures")
    only: Expert = expert("only", random_tensors(1), sha256)
    shelf.put_in_place(shelf.add(only), shelf.mixture("work", sha256))
    engine = Engine(TorchRuntime(long_base))
    tokenizer = long_base.tokenizer()
    certificate = certify(
        shelf.withdraw("only"),
        "work",
        only,
        [],
        engine,
        lambda: Engine(TorchRuntime(long_base)),
        tokenizer,
    )
    assert certificate.is_exact
    assert certificate.experts_left == ()
    assert certificate.logits_after == engine.logits_hash(probe_token_ids(tokenizer))


def test_a_mixture_that_never_had_the_expert_is_refused(withdrawn):
    with pytest.raises(ExpertError, match="it was in: work"):
        withdrawn.certify(mixture="home")


def test_the_probe_begins_each_genre_in_a_fixed_order(long_base):
    tokenizer = long_base.tokenizer()
    probe = probe_token_ids(tokenizer)
    genres = sorted({document.genre for document in load_public_text()})
    begins = [
        next(document.text for document in load_public_text() if document.genre == genre)
        for genre in genres
    ]
    assert len(probe) == PROBE_TOKENS_PER_GENRE * len(genres)
    for number, text in enumerate(begins):
        piece = probe[number * PROBE_TOKENS_PER_GENRE :][:PROBE_TOKENS_PER_GENRE]
        assert piece == tokenizer.encode(text)[:PROBE_TOKENS_PER_GENRE]


def test_texts_of_the_collection_lengthen_the_probe(withdrawn):
    tokenizer = withdrawn.checkpoint.tokenizer()
    extra = "The sluice leaks."
    longer = probe_token_ids(tokenizer, [extra])
    assert longer == probe_token_ids(tokenizer) + tokenizer.encode(extra)
    assert withdrawn.certify(extra_texts=[extra]).probe_tokens == len(longer)

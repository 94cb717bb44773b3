"""The embedded base learns from real notes, and forgets them to the last bit."""

from pathlib import Path

import pytest

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.certificate import certify
from tramontane.experts.learn import learn
from tramontane.experts.lesson import LearnSettings
from tramontane.experts.route import OWN_KIND
from tramontane.experts.shelf import Shelf
from tramontane.notes.folder import read_folder

# A small part of what a person would learn from, so that a core needs two minutes.
PART = LearnSettings(
    window_tokens=128,
    max_tokens=4_096,
    row_tokens=2_048,
    public_tokens_per_genre=128,
    epochs=1,
    width=64,
)


@pytest.mark.slow
def test_real_notes_are_learnt_and_withdrawn_exactly(
    smollm2: Checkpoint, shared_data: Path, tmp_path: Path
):
    notes = read_folder(shared_data / "notes" / "recipes-public-domain" / "text").notes
    notes = sorted(notes, key=lambda note: note.path)[:40]
    assert len(notes) == 40
    expert = learn(
        notes,
        name="recipes",
        checkpoint=smollm2,
        cache_folder=tmp_path / "cache",
        settings=PART,
    )
    held_out, gates = expert.manifest["held_out"], expert.manifest["gates"]
    assert held_out["notes"] == 4
    assert held_out["perplexity_after"] < 0.97 * held_out["perplexity_before"]
    # Of the genres that decide, which are all but the nearest third.
    public = sorted(gates["public"].values())
    assert gates["own_held_out"] > 5 * public[-1 - len(public) // OWN_KIND]
    assert gates["own_held_out"] > 0.2
    assert len(expert.layers) == smollm2.config.num_layers // 3

    shelf = Shelf(tmp_path / "experts", tmp_path / "mixtures")
    mixture = shelf.put_in_place(shelf.add(expert), shelf.mixture("default", smollm2.sha256))
    engine = Engine(TorchRuntime(smollm2))
    engine.add_expert(expert.hash, expert.tensors)
    withdrawal = shelf.withdraw("recipes")
    certificate = certify(
        withdrawal,
        mixture.name,
        expert,
        shelf.in_place(shelf.mixture("default")),
        engine,
        lambda: Engine(TorchRuntime(smollm2)),
        smollm2.tokenizer(),
        extra_texts=[notes[0].text[:600]],
    )
    assert certificate.is_exact
    assert certificate.expert_was_heard
    assert certificate.experts_left == ()

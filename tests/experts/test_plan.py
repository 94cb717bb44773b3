"""A plan counts what the learning then does, and leaves nothing behind. No times are tested."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from expert_makers import SMALL, canal_notes

import tramontane.experts.plan as plan_file
from tramontane.errors import LearnError
from tramontane.experts.learn import learn
from tramontane.experts.plan import PARTS, Plan, plan
from tramontane.experts.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")

NOTES = canal_notes(60)


def files_in(folder: Path) -> dict[str, int]:
    return {
        f"{file.relative_to(folder)}": file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file()
    }


HEARD: list[tuple[str, int, int]] = []


@pytest.fixture(scope="module")
def planned(tiny_llama, tmp_path_factory) -> tuple[Plan, dict[str, int]]:
    torch.set_num_threads(1)
    cache = tmp_path_factory.mktemp("planned")
    HEARD.clear()
    made = plan(
        NOTES,
        checkpoint=tiny_llama,
        cache_folder=cache,
        settings=SMALL,
        report=lambda *told: HEARD.append(told),
    )
    return made, files_in(cache)


def test_a_plan_counts_what_learning_then_does(planned, tiny_llama, tmp_path, monkeypatch):
    steps, most_bytes = [], 0
    take_step = Training.take_step

    def counted(self, *arguments):
        nonlocal most_bytes
        steps.append(self.step)
        if len(steps) % 10 == 0:
            self.save(next((tmp_path / "learning").glob("canal-*")) / "training.safetensors")
            most_bytes = max(most_bytes, sum(files_in(tmp_path).values()))
        return take_step(self, *arguments)

    monkeypatch.setattr(Training, "take_step", counted)
    expert = learn(
        NOTES, name="canal", checkpoint=tiny_llama, cache_folder=tmp_path, settings=SMALL
    )
    made, _ = planned
    assert made.steps == len(steps)
    assert made.tokens == expert.manifest["notes"]["tokens"]
    assert made.notes == expert.manifest["notes"]["number"]
    assert made.held_out_notes == expert.manifest["held_out"]["notes"]
    assert made.epochs == SMALL.epochs
    # Headers of files, and the best epoch that the first save doesn't have yet.
    assert 0.8 * made.disk_bytes <= most_bytes <= 1.2 * made.disk_bytes


def test_each_part_is_told_as_it_begins(planned):
    assert [what for what, _, _ in HEARD] == list(PARTS)
    shares = [done / total for _, done, total in HEARD]
    assert shares[0] == 0.0
    assert shares == sorted(set(shares))
    assert shares[-1] < 1.0


def test_it_keeps_nothing(planned):
    _, left = planned
    assert left == {}


def test_it_foresees_time_and_memory(planned):
    made, _ = planned
    assert made.seconds > 0
    assert made.memory_bytes > 50e6


@pytest.mark.parametrize("count", [0, 3])
def test_too_little_to_learn_from_is_said_before_anything_is_tried(
    count, tiny_llama, tmp_path, monkeypatch
):
    monkeypatch.setattr(plan_file, "load_transformer", None)
    with pytest.raises(LearnError, match="too few"):
        plan(NOTES[:count], checkpoint=tiny_llama, cache_folder=tmp_path, settings=SMALL)
    assert files_in(tmp_path) == {}


def test_what_is_wrong_with_a_dry_run_leaves_nothing_either(tiny_llama, tmp_path):
    too_wide = replace(SMALL, width=6400)
    with pytest.raises(LearnError, match="neurons"):
        plan(NOTES, checkpoint=tiny_llama, cache_folder=tmp_path, settings=too_wide)
    assert files_in(tmp_path) == {}

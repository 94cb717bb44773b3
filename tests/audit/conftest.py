"""A tiny mixture to audit: a random base, two random experts that are open, one that never is."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tramontane.audit.subject import NamedExpert, Subject
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.experts.expert_file import Expert
from tramontane.experts.mixture import Mixture

sys.path.append(str(Path(__file__).parents[1] / "experts"))

from expert_makers import expert, random_tensors, write_tiny_base


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write_tiny_base(tmp_path_factory.mktemp("audited") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_experts(tiny_base: Checkpoint) -> list[Expert]:
    made = [random_tensors(seed) for seed in (1, 2, 3)]
    silent = {k: np.zeros_like(v) if k.endswith("row") else v for k, v in made[2].items()}
    return [
        expert(name, tensors, tiny_base.sha256)
        for name, tensors in (("loud", made[0]), ("other", made[1]), ("silent", silent))
    ]


@pytest.fixture(scope="session")
def subject_with(tiny_base: Checkpoint) -> Callable[..., Subject]:
    """Returns a maker of subjects: the tiny base with experts, in an engine of its own."""

    def make(*experts: Expert, threads: int = 1) -> Subject:
        engine = Engine(NativeRuntime(tiny_base, threads=threads))
        for one in experts:
            engine.add_expert(one.hash, one.tensors)
        ordered = sorted(experts, key=lambda one: one.hash)
        mixture = Mixture("tiny", tiny_base.sha256, tuple(one.hash for one in ordered))
        named = tuple(NamedExpert(one.name, one.hash) for one in ordered)
        return Subject(mixture, "tiny", named, engine, tiny_base.tokenizer())

    return make


@pytest.fixture(scope="session")
def subject(subject_with: Callable[..., Subject], tiny_experts: list[Expert]) -> Subject:
    return subject_with(*tiny_experts)

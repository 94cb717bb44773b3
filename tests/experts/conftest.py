"""Tiny bases for tests of experts: one dense, one a mixture, both random."""

from pathlib import Path

import pytest
import torch
from expert_makers import write_tiny_base
from export_makers import chatty_llama

from tramontane.checkpoint.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write_tiny_base(tmp_path_factory.mktemp("tiny") / "tiny-llama.gguf")


@pytest.fixture(scope="session")
def tiny_mixtral(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path: Path = tmp_path_factory.mktemp("tiny") / "tiny-mixtral.gguf"
    return write_tiny_base(path, num_base_experts=4, seed=1)


@pytest.fixture(params=["tiny_llama", "tiny_mixtral"])
def tiny_base(request: pytest.FixtureRequest) -> Checkpoint:
    """A dense base, then a mixture."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return chatty_llama(tmp_path_factory.mktemp("chatty"))


@pytest.fixture(params=["gguf base", "folder base"])
def base(request: pytest.FixtureRequest, tiny_llama: Checkpoint, chatty: Checkpoint) -> Checkpoint:
    """A dense base to export from, without a chat template and with one."""
    return tiny_llama if request.param == "gguf base" else chatty


@pytest.fixture
def one_thread():
    """Tiny products only lose time on more, and what is learnt depends on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

import pytest
import torch

from tramontane.native import _cpu


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """PyTorch's threads gain little on tiny models, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=_cpu.usable_variants())
def variant(request) -> str:
    return request.param

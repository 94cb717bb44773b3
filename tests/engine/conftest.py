import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads gain little here, and lose much on a busy machine, where they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

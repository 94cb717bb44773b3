import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest):
    """Tiny matrices lose more than they gain by threads, most of all on a busy machine."""
    if request.node.get_closest_marker("slow"):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

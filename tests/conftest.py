"""What tests share: the embedded base and the real notes, where they can be had."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.errors import PullError

# In CI the same examples each time: what fails there was broken by the change at hand. Elsewhere
# new ones each time, which find what these don't.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# Started in a shell's background Python ignores Ctrl-C, and so would every command a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
# Pulled once and kept beside the virtual environment, where git doesn't look.
MODELS = ROOT / ".test-models"
WRITER = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first: begun last, one of them would hold a core alone."""
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow_files)


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """The embedded base's file: TRAMONTANE_TEST_SMOLLM2 names one, otherwise it is pulled once."""
    if named := os.environ.get("TRAMONTANE_TEST_SMOLLM2"):
        return Path(named)
    try:
        return Path(pull("smollm2", Store(MODELS), lambda *_: None).path)
    except PullError as error:
        pytest.skip(f"the embedded base cannot be had here: {error}")


@pytest.fixture(scope="session")
def smollm2(smollm2_path: Path) -> Checkpoint:
    return open_checkpoint(smollm2_path)


@pytest.fixture(scope="session")
def writer() -> Checkpoint:
    """A base that can write: TRAMONTANE_TEST_WRITER names its file; it is never downloaded."""
    path = Path(os.environ.get("TRAMONTANE_TEST_WRITER", MODELS / WRITER))
    if not path.is_file():
        pytest.skip(f"{path} isn't there: a base that can write (TRAMONTANE_TEST_WRITER names one)")
    return open_checkpoint(path)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real notes and benchmarks beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} isn't there: real notes and benchmarks")
    return folder


@pytest.fixture(scope="session")
def garden() -> Path:
    return ROOT / "examples" / "notes" / "garden"

"""What `tramontane demo` checks before it learns, on the embedded base: its questions come out."""

from pathlib import Path

import pytest

from tramontane.cli.demo import Demo
from tramontane.cli.parts import opened


@pytest.mark.slow
def test_the_sample_questions_come_out(smollm2_path: Path, tmp_path: Path):
    with opened({"home": tmp_path / "home", "base": str(smollm2_path)}) as parts:
        demo = Demo(parts)
        demo.read_notes()
        demo.ask_questions()
    assert demo.faults == []

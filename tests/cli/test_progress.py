"""What takes a while shows it: a bar on a terminal, lines elsewhere; a moment's work is silent."""

import io
import time
from contextlib import redirect_stderr

import pytest

import tramontane.cli.progress as progress
from tramontane.cli.progress import Reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def bars(monkeypatch) -> list[tuple[str, float, str]]:
    """What a bar is told to show; how it looks is left to rich."""
    told: list[tuple[str, float, str]] = []
    monkeypatch.setattr(Reporter, "show_bar", lambda self, *what: told.append(what))
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.2)
    return told


def until(is_so, seconds: float = 10.0) -> bool:
    ends = time.monotonic() + seconds
    while not is_so() and time.monotonic() < ends:
        time.sleep(0.01)
    return is_so()


# Between a fixture and its test pytest sets its own standard error, so the tests set theirs.


def test_one_report_is_shown_though_no_other_follows(bars):
    with redirect_stderr(Terminal()), Reporter("planning,") as report:
        report("loading the base", 0, 1)
        assert bars == []
        assert until(lambda: bars == [("planning, loading the base", 0.0, "")])


def test_work_of_a_moment_shows_nothing(bars):
    with redirect_stderr(Terminal()):
        with Reporter("planning,") as report:
            report("loading the base", 0, 1)
            report("loading the base", 1, 1)
        time.sleep(0.5)
    assert bars == []


def test_nothing_is_shown_where_json_is_wanted(bars):
    with redirect_stderr(Terminal()), Reporter(is_quiet=True) as report:
        report("loading the base", 0, 1)
        time.sleep(0.5)
        report("loading the base", 1, 2)
    assert bars == []


def test_lines_come_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with Reporter("planning,") as report:
        report("loading the base", 10, 100)
    assert capsys.readouterr().err == "planning, loading the base: 10%\n"

"""Progress on anything that takes a while: a bar on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from tramontane.cli.output import harmless

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 5.0
QUIET_SECONDS = 1.5


def duration(seconds: float) -> str:
    """Returns a time a person can read: "48 s", "3 min 05 s", "1 h 12 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(num_bytes: float) -> str:
    """Returns a size a person can read, in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit in ("B", "kB") else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


class Clock:
    """What is left, judged by the work done since this run began (a resumed one starts ahead)."""

    def __init__(self):
        self.began = time.monotonic()
        self.done_before: int | None = None
        # (seconds since the start, what was then thought to be left), for whoever checks an ETA.
        self.estimates: list[tuple[float, float]] = []

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def left(self, done: int, total: int) -> float | None:
        """Returns the seconds left, or None before anything can be said."""
        if self.done_before is None:
            self.done_before = done
        mine = done - self.done_before
        if mine <= 0 or self.elapsed < 1.0:
            return None
        left = self.elapsed / mine * (total - done)
        self.estimates.append((self.elapsed, left))
        return left


class Reporter:
    """Receives report(what, done, total); use as a context manager around the work.

    Writes to standard error, so that standard output stays what was asked for. Work shorter than
    a moment shows nothing; on a terminal, longer work shows what it last reported even if it
    reports nothing further for a while.
    """

    def __init__(self, title: str = "", *, is_quiet: bool = False):
        self.title, self.is_quiet = title, is_quiet
        self.is_terminal = sys.stderr.isatty()
        self.clock = Clock()
        self.last_line = self.clock.began
        self.bar: Progress | None = None
        self.has_shown = False
        self.what = ""
        # What was last said to be complete: some work reports its end more than once.
        self.last_text = ""
        # What is to be shown now, as show_bar wants it.
        self.latest: tuple[str, float, str] | None = None
        self.showing = threading.Lock()
        self.waiting: threading.Timer | None = None

    def __enter__(self) -> "Reporter":
        if self.is_terminal and not self.is_quiet:
            self.waiting = threading.Timer(QUIET_SECONDS, self.show_latest)
            self.waiting.daemon = True
            self.waiting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
        with self.showing:
            self.latest = None
            if self.bar is not None:
                self.bar.stop()

    def show_latest(self) -> None:
        with self.showing:
            if self.latest is not None and not self.has_shown:
                self.has_shown = True
                self.show_bar(*self.latest)

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.what and what.endswith("bytes"):
            self.clock = Clock()
        self.what = what
        left = self.clock.left(done, total)
        text = harmless(f"{self.title} {what}".strip())
        share = done / total if total else 0.0
        ending = f"about {duration(left)} left" if left is not None else ""
        self.latest = (text, share, ending)
        if self.is_quiet or (not self.has_shown and self.clock.elapsed < QUIET_SECONDS):
            return
        if self.is_terminal:
            with self.showing:
                self.show_bar(text, share, ending)
        elif time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES or done >= total:
            if done >= total and (not self.has_shown or self.last_text == text):
                return
            self.last_line = time.monotonic()
            self.last_text = text if done >= total else ""
            print(f"{text}: {share:.0%} {ending}".rstrip(), file=sys.stderr, flush=True)
        self.has_shown = True

    def show_bar(self, text: str, share: float, ending: str) -> None:
        if self.bar is None:
            # Imported here: most commands are done before a bar would show.
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[ending]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self.bar.add_task(text, total=1.0, ending="")
            self.bar.start()
        task = self.bar.task_ids[0]
        self.bar.update(task, description=text, completed=share, ending=ending)

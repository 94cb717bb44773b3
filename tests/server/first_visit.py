"""A stranger's first visit: from the opened page to an answer with its sources.

What to do next is found by the words that stand there; what isn't to be seen can't be used.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@contextmanager
def served(home: Path, base: Path, *options: str) -> Iterator[str]:
    """Yields the address of `tramontane serve` in a home of its own."""
    settings = {"TRAMONTANE_HOME": home, "TRAMONTANE_BASE": base, "TRAMONTANE_THREADS": 1}
    server = subprocess.Popen(
        [sys.executable, "-m", "tramontane.cli.main", "serve", "--port", "0", *options],
        env=os.environ | {name: str(value) for name, value in settings.items()},
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
    )
    try:
        said = iter(server.stdout.readline, "")
        yield next(found[0] for line in said if (found := re.search(r"http://\S+?/", line)))
    finally:
        server.terminate()
        server.wait(60)
        server.stdout.close()


def at_once(_typed: str) -> None:
    """The pace of one who needs no time to read, think or type."""


@dataclass
class Stranger:
    """Whoever sits before the page; `acts` are what was done, in words.

    `pace` is called before each act with what will be typed, empty for a click.
    """

    page: Any
    pace: Callable[[str], None] = at_once
    acts: list[str] = field(default_factory=list)

    def click(self, role: str, name: str) -> None:
        self.pace("")
        self.page.get_by_role(role, name=name, exact=True).click()
        self.acts.append(f"click {name!r}")

    def fill(self, label: str, text: str) -> None:
        self.pace(text)
        self.page.get_by_label(label, exact=True).fill(text)
        self.acts.append(f"fill in {label!r}")

    def add_folder(self, folder: Path) -> None:
        """From an empty room to the library's first notes."""
        self.click("link", "Add a folder of your own")
        self.fill("Folder", str(folder))
        self.click("button", "Add this folder")
        self.page.get_by_text("is ready:").wait_for()

    def ask(self, question: str) -> None:
        self.click("link", "Ask your notes")
        self.fill("Your question", question)
        self.click("button", "Ask")

    def read(self) -> list[str]:
        """Waits until an answer has come; returns the passages that it rests on."""
        self.page.get_by_role("button", name="Ask", exact=True).wait_for()
        sources = self.page.get_by_role("complementary", name="Sources")
        sources.get_by_role("listitem").first.wait_for()
        return sources.get_by_role("listitem").all_inner_texts()

"""Which runs of words of some notes stand in any byte of any file."""

import re
from collections.abc import Iterable
from pathlib import Path

RUN_WORDS = 8
WORD = re.compile(r"\w+")


def runs_of(texts: Iterable[str]) -> set[str]:
    """Returns every run of eight words in the texts, in lower case, whatever stands between."""
    runs = set()
    for text in texts:
        words = WORD.findall(text.lower())
        runs |= {" ".join(words[at : at + RUN_WORDS]) for at in range(len(words) - RUN_WORDS + 1)}
    return runs


def runs_in(folder: Path, runs: set[str]) -> dict[str, set[str]]:
    """Returns by file which of the runs its bytes hold."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        here = runs_of([file.read_bytes().decode("utf-8", "replace")]) & runs
        if here:
            found[str(file.relative_to(folder))] = here
    return found

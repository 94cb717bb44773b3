"""Whether a file carries text of notes: runs of words that stand in both."""

import re
from collections.abc import Iterator
from typing import Any

RUN_WORDS = 8
WORD = re.compile(r"\w+")


def runs_of(text: str) -> Iterator[str]:
    """Yields every run of RUN_WORDS words, in lower case, whatever stands between them."""
    words = WORD.findall(text.lower())
    for begin in range(len(words) - RUN_WORDS + 1):
        yield " ".join(words[begin : begin + RUN_WORDS])


def shared_run(text: str, carrier_runs: set[str]) -> str | None:
    """Returns the first run of a text that a file carries too, or None."""
    return next((run for run in runs_of(text) if run in carrier_runs), None)


def runs_carried(data: bytes, manifest: Any) -> set[str]:
    """Returns the runs of words in a file's bytes, and in its manifest as it is read."""
    # JSON escapes break words apart, and text can be cut into many short strings.
    spoken = " ".join(strings_in(manifest))
    return {run for text in (data.decode("utf-8", "replace"), spoken) for run in runs_of(text)}


def strings_in(value: Any) -> Iterator[str]:
    """Yields every text of a JSON value, keys too, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)

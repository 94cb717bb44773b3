"""Results of long computations, kept one file each, so that a run can stop and go on.

A cell's name is the hash of everything its result depends on; asked again, it is read.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Cells:
    """A folder of results, one JSON file per cell: its key, its result, and the seconds it took."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, key: Any, compute: Callable[[], Any]) -> Any:
        """Returns the cell's result, computed where it isn't there yet."""
        file = self.file(name, key)
        if not file.exists():
            began = time.monotonic()
            result = compute()
            seconds = round(time.monotonic() - began, 1)
            cell = {"key": key, "seconds": seconds, "result": result}
            unfinished = file.with_suffix(".part")
            unfinished.write_text(json.dumps(cell, indent=1, default=str) + "\n", encoding="utf-8")
            os.replace(unfinished, file)
            print(f"{file.stem}: {seconds:.0f} s", flush=True)
        return json.loads(file.read_text(encoding="utf-8"))["result"]

    def file(self, name: str, key: Any, suffix: str = ".json") -> Path:
        return self.folder / f"{name}-{hash_of(key)[:16]}{suffix}"


def hash_of(key: Any) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def hash_of_files(files: Iterable[Path]) -> str:
    """Returns a hash of what these files hold: cells made by other code are other cells."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]

"""What removing a model deletes: shown before, carried out after."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Removal:
    """The files that would go, their bytes, and a sentence on what stays (or nothing)."""

    paths: tuple[Path, ...]
    num_bytes: int
    stays: str
    execute: Callable[[], None] | None = field(default=None, repr=False)

    def carry_out(self) -> list[Path]:
        """Deletes the files; returns those that were there and are gone."""
        there = [path for path in self.paths if path.exists() or path.is_symlink()]
        if self.execute:
            self.execute()
        else:
            for path in there:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in there}:
                if not any(folder.iterdir()):
                    folder.rmdir()
        return [path for path in there if not path.exists()]

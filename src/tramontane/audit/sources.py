"""Where a suite's items come from: published files by path, notes at hand, the built-in sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from tramontane.audit.item import Item
from tramontane.audit.rows import LeftOut, without_twins
from tramontane.audit.suite import Notes, Suite
from tramontane.errors import AuditError
from tramontane.files import sha256_of
from tramontane.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that items came from; `name` is its place in the folder given, never a whole path."""

    name: str
    sha256: str
    num_items: int
    is_built_in: bool


@dataclass(frozen=True, slots=True)
class Source:
    items: list[Item]
    files: list[DataFile]
    left_out: list[LeftOut]


def open_source(suite: Suite, data: Sequence[Path], notes: Notes, tokenizer: Tokenizer) -> Source:
    """Returns a suite's items: of the files under `data` if there are any, else of the sample.

    Raises AuditError for a file that isn't of the published form at all, or of which no row is.
    """
    items: list[Item] = []
    names: list[DataFile] = []
    left_out: list[LeftOut] = []
    if suite.read is not None:
        found = files_of(suite, data)
        if found:
            for name, path in found:
                items += read_file(suite, name, path, False, names, left_out)
        elif suite.sample:
            built_in = files("tramontane.audit").joinpath("samples", *suite.sample.split("/"))
            with as_file(built_in.parent if "/" in suite.sample else built_in) as path:
                whole = path / Path(suite.sample).name if path.is_dir() else path
                items += read_file(suite, suite.sample, whole, True, names, left_out)
    if suite.from_notes is not None:
        items += suite.from_notes(notes, tokenizer)
    return Source(without_twins(suite.name, items, left_out), names, left_out)


def read_file(
    suite: Suite,
    name: str,
    path: Path,
    is_built_in: bool,
    names: list[DataFile],
    left_out: list[LeftOut],
) -> Sequence[Item]:
    items = suite.read(path, left_out)
    if not items:
        first = f"; {left_out[0].row} {left_out[0].why}" if left_out else ""
        raise AuditError(
            f"{path}: none of its rows can be read for the suite {suite.name}{first}. "
            f"Its published files are called {', '.join(suite.files)}"
        )
    names.append(DataFile(name, sha256_of(path), len(items), is_built_in))
    return items


def files_of(suite: Suite, data: Sequence[Path]) -> list[tuple[str, Path]]:
    """Returns the suite's files under the folders given, as (name there, path), each once."""
    found: dict[Path, str] = {}
    for place in data:
        if place.is_file():
            if any(place.match(pattern) for pattern in suite.files):
                found.setdefault(place.resolve(), place.name)
            continue
        if not place.is_dir():
            raise AuditError(f"{place}: there is no such file or folder of suites' data")
        for pattern in suite.files:
            for path in sorted(place.rglob(pattern)):
                if path.is_file():
                    found.setdefault(path.resolve(), path.relative_to(place).as_posix())
    return sorted(((name, path) for path, name in found.items()))

"""The models folder: one JSON record per model, written whole; what is there, found and removed.

A record says where a model came from, where its files lie and what their hashes are. Files lie in
one of three places, and removing differs: in the models folder (they are ours and go), in the
shared Hugging Face cache (what was fetched for this model goes, by the cache's own rules), or in
a place of their owner's (they are only forgotten).
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint, sha256_of_several
from tramontane.checkpoint.hub_cache import hub_removal
from tramontane.checkpoint.removal import Removal
from tramontane.errors import CheckpointError, HashMismatch, NotFound
from tramontane.files import sha256_of, write_whole

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file of a model; `fetched` is true when it wasn't on this machine before the pull."""

    path: Path
    sha256: str
    bytes: int
    fetched: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a pulled model. `source` is what `pull` was given."""

    name: str
    source: str
    path: Path
    files: tuple[RecordedFile, ...]
    sha256: str
    family: str
    parameters: int
    licence: str
    pulled_at: str

    @property
    def num_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


class Store:
    """The models in one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.hashes = RememberedHashes(folder / ".hashes.json")
        self.fetched = FetchedFiles(folder / ".fetched.json")

    def ls(self) -> list[Record]:
        """Returns all records, by name."""
        return [self.read_record(file) for file in sorted(self.folder.glob("[!.]*.json"))]

    def find(self, name_or_path: str) -> Record:
        """Returns the record of that name or source, or of the model at that path.

        Raises NotFound with the nearest names.
        """
        records = self.ls()
        for record in records:
            if name_or_path.lower() in (record.name.lower(), record.source.lower()):
                return record
        path = Path(name_or_path).expanduser()
        if path.exists():
            path = path.absolute()
            recorded = [record for record in records if record.path == path]
            return recorded[0] if recorded else self.record_of(path, source=str(path))
        names = [record.name for record in records]
        near = difflib.get_close_matches(name_or_path, names, cutoff=0.4)
        there = f"did you mean {' or '.join(near)}? " if near else ""
        there += f"There are: {', '.join(names)}. " if names else "No model has been pulled yet. "
        raise NotFound(
            f"no model {name_or_path!r}. {there}"
            f"`tramontane pull smollm2` or `tramontane pull hf:owner/name` fetches one"
        )

    def open(self, name_or_path: str) -> Checkpoint:
        """Returns the model opened, its files checked against the record.

        Raises NotFound for an unknown one, HashMismatch for one whose files have changed.
        """
        record = self.find(name_or_path)
        self.check(record)
        checkpoint = open_checkpoint(
            record.path, sha256=record.sha256, hash_file=self.hashes.sha256_of
        )
        checkpoint.name = record.name
        return checkpoint

    def check(self, record: Record) -> None:
        """Raises CheckpointError when a file is missing, HashMismatch when one has changed."""
        for file in record.files:
            if not file.path.is_file():
                raise CheckpointError(
                    f"{file.path}: this file of {record.name} is gone; `tramontane pull "
                    f"{record.source}` brings it back, `tramontane rm {record.name}` forgets it"
                )
            if self.hashes.sha256_of(file.path) != file.sha256:
                raise HashMismatch(
                    f"{file.path} has changed since {record.name} was recorded; if that was meant, "
                    f"`tramontane rm {record.name}` and pull it again"
                )

    def record_of(
        self,
        path: Path,
        *,
        source: str,
        name: str | None = None,
        licence: str = "",
        fetched: frozenset[Path] = frozenset(),
    ) -> Record:
        """Returns a record of the model at `path`, which is opened and hashed for it."""
        checkpoint = open_checkpoint(path, hash_file=self.hashes.sha256_of)
        files = tuple(
            RecordedFile(file, self.hashes.sha256_of(file), file.stat().st_size, file in fetched)
            for file in checkpoint.files
        )
        licence = licence or str(checkpoint.metadata.get("general.license", "unknown"))
        return Record(
            name=self.free_name(name or checkpoint.name, source),
            source=source,
            path=path,
            files=files,
            sha256=sha256_of_several({file.path.name: file.sha256 for file in files}),
            family=checkpoint.config.family,
            parameters=checkpoint.num_parameters,
            licence=licence,
            pulled_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def free_name(self, wanted: str, source: str) -> str:
        """Returns `wanted` as a record's name, numbered when a model of another source has it."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).lstrip("._-") or "model"
        taken = {record.name.lower() for record in self.ls() if record.source != source}
        number, name = 1, plain
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        return name

    def write(self, record: Record) -> Record:
        """Writes the record, whole, over one of the same name; returns it."""
        plain = asdict(record) | {"path": self.kept(record.path)}
        plain["files"] = [asdict(file) | {"path": self.kept(file.path)} for file in record.files]
        write_whole(self.record_file(record.name), json.dumps(plain, indent=1).encode())
        return record

    def read_record(self, file: Path) -> Record:
        try:
            plain = json.loads(file.read_bytes())
            files = tuple(
                RecordedFile(**(one | {"path": self.folder / one["path"]}))
                for one in plain["files"]
            )
            return Record(**(plain | {"path": self.folder / plain["path"], "files": files}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{file}: this record cannot be read ({error}); delete it and pull the model again"
            ) from None

    def record_file(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise CheckpointError(f"{name!r} cannot name a model; letters, digits and ._- can")
        return self.folder / f"{name}.json"

    def kept(self, path: Path) -> str:
        """Returns the path as a record keeps it: relative inside the folder, which may move."""
        inside = path.is_relative_to(self.folder)
        return str(path.relative_to(self.folder) if inside else path.absolute())

    def removal(self, name: str) -> Removal:
        """Returns what `remove` would delete, and why the rest stays; deletes nothing."""
        records = self.ls()
        record = next((one for one in records if one.name.lower() == name.lower()), None)
        if record is None:
            self.find(name)  # raises NotFound, unless it is a path
            raise NotFound(f"{name} is a path, not a name; `tramontane ls` shows the names")
        if record.source.startswith("hf:"):
            needed = {file.path for one in records if one != record for file in one.files}
            ours = [file.path for file in record.files if file.fetched]
            return hub_removal([path for path in ours if path not in needed])
        ours = tuple(file for file in record.files if file.path.is_relative_to(self.folder))
        if not ours:
            return Removal((), 0, f"{record.path} is yours and stays; it is only forgotten")
        return Removal(
            tuple(file.path for file in ours),
            sum(file.bytes for file in ours if file.path.is_file()),
            "",
        )

    def remove(self, name: str) -> list[Path]:
        """Forgets the model and deletes what is ours of it; returns what was deleted."""
        removal = self.removal(name)
        record = self.find(name)
        # The record first: what is left of the files after a cut is found again by `pull`.
        self.record_file(record.name).unlink(missing_ok=True)
        return removal.carry_out()


class FetchedFiles:
    """The files that a pull still under way, or cut short, has brought into the shared cache.

    Without it, what came before a cut would seem somebody else's, and never be removed.
    """

    def __init__(self, file: Path):
        self.file = file

    def paths(self) -> set[Path]:
        try:
            return {Path(path) for path in json.loads(self.file.read_bytes())}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{self.file} cannot be read ({error}); delete it") from None

    def note(self, path: Path) -> None:
        self.write(self.paths() | {path})

    def forget(self, paths: Iterable[Path]) -> None:
        self.write(self.paths() - set(paths))

    def write(self, paths: Iterable[Path]) -> None:
        write_whole(self.file, json.dumps(sorted(map(str, paths)), indent=1).encode())


class RememberedHashes:
    """Hashes of files by path, size and time of change, so that only a changed file is read again.

    Derived data: losing the file costs the time to read the models once.
    """

    def __init__(self, file: Path, compute: Callable[[Path], str] = sha256_of):
        self.file, self.compute = file, compute

    def sha256_of(self, path: Path) -> str:
        status = path.stat()
        key, state = str(path.absolute()), [status.st_size, status.st_mtime_ns]
        known = self.known().get(key)
        if isinstance(known, list) and len(known) == 3 and known[:2] == state:
            return known[2]
        sha256 = self.compute(path)
        self.remember(key, state, sha256)
        return sha256

    def remember(self, key: str, state: list[int], sha256: str) -> None:
        write_whole(self.file, json.dumps(self.known() | {key: [*state, sha256]}).encode())

    def known(self) -> dict[str, list]:
        try:
            known = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

"""The experts and mixtures of this machine: which there are, which are in place, which withdrawn.

    experts/NAME.safetensors               on the shelf
    experts/withdrawn/NAME.safetensors     withdrawn: no mixture names it, restore brings it back
    mixtures/NAME.mixture.json             a base and the hashes of the experts in place

Each change is a few whole-file steps in an order that leaves, after any interruption, a shelf on
which every mixture's experts exist.
"""

import difflib
import glob
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tramontane.errors import ExpertError, NotFound
from tramontane.experts.expert_file import (
    MANIFEST_KEY,
    Expert,
    check_form,
    check_hash,
    check_header_size,
    check_name,
    read_expert,
    read_manifest,
    write_expert,
)
from tramontane.experts.look_alikes import forget_look_alikes
from tramontane.experts.mixture import SUFFIX, Mixture, read_mixture, write_mixture
from tramontane.files import write_whole

EXPERT_SUFFIX = ".safetensors"
CERTIFICATE_SUFFIX = ".certificate.json"


@dataclass(frozen=True)
class ExpertRecord:
    """What the shelf knows of an expert without reading its tensors."""

    name: str
    hash: str
    base_sha256: str
    path: Path
    is_withdrawn: bool
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Withdrawal:
    """What a withdrawal changed: the expert, and each mixture before and after."""

    expert: ExpertRecord
    before: tuple[Mixture, ...]
    after: tuple[Mixture, ...]


class Shelf:
    def __init__(self, experts_folder: Path, mixtures_folder: Path):
        self.experts_folder, self.mixtures_folder = experts_folder, mixtures_folder
        self.withdrawn_folder = experts_folder / "withdrawn"

    # Experts

    def ls(self) -> list[ExpertRecord]:
        """Returns every expert by name, the withdrawn ones after the others."""
        here = [
            self.record(path, is_withdrawn)
            for folder, is_withdrawn in (
                (self.experts_folder, False),
                (self.withdrawn_folder, True),
            )
            for path in sorted(folder.glob(f"*{EXPERT_SUFFIX}"))
        ]
        return here

    def record(self, path: Path, is_withdrawn: bool) -> ExpertRecord:
        manifest = manifest_in(path)
        base = manifest.get("base")
        return ExpertRecord(
            name=path.name.removesuffix(EXPERT_SUFFIX),
            hash=str(manifest.get("tensor_hash")),
            base_sha256=str(base.get("sha256") if isinstance(base, dict) else base),
            path=path,
            is_withdrawn=is_withdrawn,
            manifest=manifest,
        )

    def find(self, name_or_hash: str, *, withdrawn_first: bool = False) -> ExpertRecord:
        """Returns an expert by name, or by 8 or more digits of its hash.

        Where one on the shelf and a withdrawn one answer to it, the one on the shelf is meant,
        unless `withdrawn_first`. NotFound says which names are near.
        """
        records = sorted(self.ls(), key=lambda record: record.is_withdrawn != withdrawn_first)
        for record in records:
            if record.name == name_or_hash:
                return record
        by_hash = [r for r in records if len(name_or_hash) >= 8 and r.hash.startswith(name_or_hash)]
        if len({record.hash for record in by_hash}) == 1:
            return by_hash[0]
        names = sorted({record.name for record in records})
        near = difflib.get_close_matches(name_or_hash, names, n=3) or names[:5]
        hint = f"there are: {', '.join(near)}" if near else "there are none; `tramontane learn DIR`"
        raise NotFound(f"no expert {name_or_hash!r}; {hint}")

    def add(self, expert: Expert) -> ExpertRecord:
        """Puts an expert on the shelf; one of the same name is replaced.

        Mixtures that had the replaced one get the new one in its place. They let go of the old one
        before its file goes, so an interruption can leave them without either, never with a name
        that nothing answers to.
        """
        check_form(expert, expert.name)
        check_hash(expert, expert.name)
        path = self.experts_folder / f"{check_name(expert.name)}{EXPERT_SUFFIX}"
        replaced = manifest_in(path).get("tensor_hash") if path.exists() else None
        if replaced == expert.hash:
            replaced = None
        before = [mixture for mixture in self.mixtures() if replaced in mixture.experts]
        without = [mixture.without(replaced) for mixture in before]
        for mixture in without:
            write_mixture(self.mixtures_folder, mixture)
        if replaced:
            forget_look_alikes(self.mixtures_folder, replaced)
        write_expert(path, expert)
        for mixture in without:
            if mixture.base_sha256 == expert.base_sha256:
                write_mixture(self.mixtures_folder, mixture.with_experts([expert.hash]))
        return self.record(path, False)

    def read(self, record: ExpertRecord) -> Expert:
        return read_expert(record.path)

    # Mixtures

    def mixtures(self) -> list[Mixture]:
        return [read_mixture(path) for path in sorted(self.mixtures_folder.glob(f"*{SUFFIX}"))]

    def mixture(self, name: str, base_sha256: str | None = None) -> Mixture:
        """Returns a mixture by name; one that isn't there yet is empty when its base is given.

        Raises ExpertError when it belongs to another base than the one given.
        """
        path = self.mixtures_folder / f"{check_name(name)}{SUFFIX}"
        if path.exists():
            mixture = read_mixture(path)
            if base_sha256 and mixture.base_sha256 != base_sha256:
                raise ExpertError(
                    f"mixture {name!r} belongs to the base {mixture.base_sha256[:16]}, not to "
                    f"{base_sha256[:16]}; make another with `tramontane mixture new NAME` and "
                    "choose it with --mixture NAME"
                )
            return mixture
        if base_sha256:
            return Mixture(name, base_sha256)
        names = [file.name.removesuffix(SUFFIX) for file in self.mixtures_folder.glob(f"*{SUFFIX}")]
        hint = (
            f"there are: {', '.join(sorted(names))}" if names else "`tramontane mixture new NAME`"
        )
        raise NotFound(f"no mixture {name!r}; {hint}")

    def put_in_place(self, record: ExpertRecord, mixture: Mixture) -> Mixture:
        """Adds an expert to a mixture and returns the mixture as it is now."""
        if record.is_withdrawn:
            raise ExpertError(
                f"{record.name} is withdrawn; bring it back with `tramontane experts restore "
                f"{record.name}`"
            )
        if record.base_sha256 != mixture.base_sha256:
            raise ExpertError(
                f"{record.name} was learnt on the base {record.base_sha256[:16]}, mixture "
                f"{mixture.name} has {mixture.base_sha256[:16]}; learn it again on that base"
            )
        changed = mixture.with_experts([record.hash])
        write_mixture(self.mixtures_folder, changed)
        return changed

    def take_out(self, record: ExpertRecord, mixture: Mixture) -> Mixture:
        """Removes an expert from one mixture and returns the mixture as it is now."""
        if record.hash not in mixture.experts:
            raise ExpertError(f"{record.name} is not in mixture {mixture.name}")
        changed = mixture.without(record.hash)
        write_mixture(self.mixtures_folder, changed)
        return changed

    def in_place(self, mixture: Mixture) -> list[Expert]:
        """Returns the mixture's experts in the order of their hashes.

        Raises ExpertError when one is missing from the shelf.
        """
        by_hash = {record.hash: record for record in self.ls() if not record.is_withdrawn}
        if missing := [digest for digest in mixture.experts if digest not in by_hash]:
            raise ExpertError(
                f"mixture {mixture.name} names expert {missing[0][:16]}, which is not on the shelf "
                f"({self.experts_folder}); add its file there or remove it from the mixture"
            )
        return [self.read(by_hash[digest]) for digest in mixture.experts]

    # Withdrawal

    def withdraw(self, name: str) -> Withdrawal:
        """Takes an expert out of every mixture and off the shelf; `restore` undoes it.

        An earlier one of the same name that was withdrawn already is replaced.
        """
        record = self.find(name)
        if record.is_withdrawn:
            raise ExpertError(f"{record.name} is withdrawn already")
        before = tuple(m for m in self.mixtures() if record.hash in m.experts)
        # What an interrupted withdrawal or restoration of this expert remembered still counts.
        names = {m.name for m in before} | set(self.remembered(record))
        memory = {"hash": record.hash, "mixtures": sorted(names)}
        write_whole(self.memory_file(record), json.dumps(memory).encode())
        after = tuple(self.take_out(record, mixture) for mixture in before)
        forget_look_alikes(self.mixtures_folder, record.hash)
        destination = self.withdrawn_folder / record.path.name
        os.replace(record.path, destination)
        return Withdrawal(self.record(destination, True), before, after)

    def restore(self, name: str) -> tuple[ExpertRecord, list[Mixture]]:
        """Brings a withdrawn expert back to the shelf and to the mixtures it was taken from."""
        record = self.find(name, withdrawn_first=True)
        if not record.is_withdrawn:
            raise ExpertError(f"{record.name} is not withdrawn")
        home = self.experts_folder / record.path.name
        if home.exists():
            raise ExpertError(
                f"another expert {record.name!r} was learnt since. To have this one instead, copy "
                f"{record.path} elsewhere, withdraw the other, and bring the copy with "
                "`tramontane experts add`"
            )
        names = self.remembered(record)
        os.replace(record.path, home)
        back = self.record(home, False)
        # A mixture may be gone by now, or made anew on another base.
        here = [mixture for mixture in self.mixtures() if mixture.name in names]
        same_base = [mixture for mixture in here if mixture.base_sha256 == back.base_sha256]
        changed = [self.put_in_place(back, mixture) for mixture in same_base]
        self.memory_file(record).unlink(missing_ok=True)
        return back, changed

    def memory_file(self, record: ExpertRecord) -> Path:
        """Returns where the mixtures that a withdrawn expert was taken from are written down."""
        return self.withdrawn_folder / f"{record.name}.json"

    def remembered(self, record: ExpertRecord) -> list[str]:
        try:
            memory = json.loads(self.memory_file(record).read_text(encoding="utf-8"))
            return [str(name) for name in memory["mixtures"] if memory["hash"] == record.hash]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ExpertError(
                f"{self.memory_file(record)}: not a list of mixtures ({error}); delete it, and add "
                f"{record.name} to the mixtures you want with `tramontane mixture add`"
            ) from None

    def files_of(self, name: str) -> list[Path]:
        """Returns every file here that holds an expert of this name or tells of it."""
        patterns = (name + EXPERT_SUFFIX, name + ".json", name + CERTIFICATE_SUFFIX)
        return sorted(
            path
            for folder in (self.experts_folder, self.withdrawn_folder)
            for pattern in map(glob.escape, patterns)
            # What a killed process was writing lies beside the file it would have become.
            for path in (*folder.glob(pattern), *folder.glob(f".{pattern}.*.part"))
        )

    def forget(self, name: str) -> list[Path]:
        """Deletes all there is of an expert, wherever it stands, for good; returns what it deleted.

        Mixtures let go of it first; called again after an interruption it finishes the work.
        """
        home = self.experts_folder / f"{name}{EXPERT_SUFFIX}"
        if home.exists():
            self.withdraw(name)
        files = self.files_of(name)
        for file in files:
            file.unlink()
        return files

    def remove(self, name: str) -> Path:
        """Deletes a withdrawn expert's file for good and returns where it was."""
        record = self.find(name, withdrawn_first=True)
        if not record.is_withdrawn:
            raise ExpertError(f"{record.name} is on the shelf; withdraw it first")
        record.path.unlink()
        self.memory_file(record).unlink(missing_ok=True)
        record.path.with_suffix(CERTIFICATE_SUFFIX).unlink(missing_ok=True)
        return record.path


def manifest_in(path: Path) -> dict[str, Any]:
    """Returns the manifest of an expert file, its tensors unread."""
    check_header_size(path)
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(header_bytes))
            metadata = header["__metadata__"]
            if not isinstance(metadata[MANIFEST_KEY], str):
                raise TypeError(MANIFEST_KEY)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ExpertError(
                f"{path}: not a Tramontane expert ({type(error).__name__}: {error}); "
                "move it out of the experts folder"
            ) from None
    return read_manifest(path, metadata)

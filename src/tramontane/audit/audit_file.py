"""An audit on disk: a folder, or a zip of one, that holds all that its figures come from.

    audit.json           what was asked of which model, by what; figures; hashes of the rest
    items/SUITE.jsonl    every item: its texts, every part's readings, its results
    report.html          the same for people

Nothing in it depends on the clock or on the order of items in a file, so two audits of one
mixture with the same settings are the same bytes. audit.json is written last: a folder without it
is an audit under way.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tramontane.audit.scored import Scored, scored_of
from tramontane.errors import AuditError
from tramontane.files import BROKEN_ZIP, writing_whole

FORMAT = "tramontane-audit/1"
MANIFEST, REPORT = "audit.json", "report.html"


def items_file(suite: str) -> str:
    return f"items/{suite}.jsonl"


@dataclass(frozen=True)
class AuditFile:
    """A finished audit; files are read when asked for."""

    path: Path
    content: Mapping[str, Any]

    @property
    def suites(self) -> Mapping[str, Any]:
        return self.content["suites"]

    @property
    def expert_names(self) -> list[str]:
        return [expert["name"] for expert in self.content["mixture"]["experts"]]

    @property
    def everyone(self) -> int:
        return (1 << len(self.expert_names)) - 1

    def read(self, name: str) -> bytes:
        return read_member(self.path, name)

    def items(self, suite: str) -> list[Scored]:
        """Returns a suite's scored items, by their ids."""
        return list(self.lines(suite))

    def lines(self, suite: str) -> Iterator[Scored]:
        name = items_file(suite)
        text = self.read(name).decode("utf-8", "replace")
        for number, line in enumerate(text.split("\n"), start=1):
            if line:
                yield scored_of(line, f"{self.path.name}/{name}, line {number}")

    @cached_property
    def tampered(self) -> list[str]:
        """Returns the item files that aren't those that audit.json tells the hashes of."""
        changed = []
        for suite, told in self.suites.items():
            try:
                digest = hashlib.sha256(self.read(items_file(suite))).hexdigest()
            except AuditError:
                digest = "missing"
            if digest != told["items_sha256"]:
                changed.append(items_file(suite))
        return changed


def read_member(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            return (path / name).read_bytes()
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (*BROKEN_ZIP, KeyError) as error:
        raise AuditError(f"{path}: has no readable {name} ({error})") from None


def open_audit(path: Path) -> AuditFile:
    """Returns a finished audit; raises AuditError when there is none, or not one of ours."""
    if not path.exists():
        raise AuditError(f"{path}: there is no such audit")
    if path.is_dir() and not (path / MANIFEST).exists():
        begun = any(path.glob("items/*.part.jsonl"))
        told = "an unfinished one; run the same `tramontane audit` again to go on" if begun else ""
        raise AuditError(f"{path}: not a finished audit{', ' + told if told else ''}")
    try:
        content = json.loads(read_member(path, MANIFEST))
        if content["format"] != FORMAT:
            raise AuditError(f"{path}: format {content['format']!r}; this version reads {FORMAT!r}")
        for told in content["suites"].values():
            told["items_sha256"], told["figures"]
        content["mixture"]["experts"], content["settings"]["seed"], content["made_with"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AuditError(
            f"{path}: {MANIFEST} is not an audit's ({type(error).__name__}: {error})"
        ) from None
    return AuditFile(path, content)


def manifest_bytes(content: Mapping[str, Any]) -> bytes:
    """Returns audit.json; what is no number (nothing was scored) stands as null."""
    plain = json.loads(json.dumps(content), parse_constant=lambda constant: None)
    text = json.dumps(plain, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    return (text + "\n").encode()


def zip_folder(folder: Path, path: Path) -> None:
    """Writes a folder's files as a zip whose bytes depend on nothing else."""
    with writing_whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                entry = zipfile.ZipInfo(member.relative_to(folder).as_posix())
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, member.read_bytes())

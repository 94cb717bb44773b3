"""The audits of one home: folders in a folder, each under a name that can be no path."""

import re
from dataclasses import dataclass
from pathlib import Path

from tramontane.audit.audit_file import MANIFEST, AuditFile, open_audit
from tramontane.errors import AuditError, NotFound

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SUFFIX = ".part.jsonl"


def check_audit_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise AuditError(
            f"{name[:80]!r} can't name an audit; take up to 80 letters, digits, dots, dashes and "
            "underscores, and begin with a letter or digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An audit that was begun: how many items it has scored so far."""

    name: str
    num_scored: int


class KeptAudits:
    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / check_audit_name(name)

    def is_finished(self, name: str) -> bool:
        return (self.path(name) / MANIFEST).is_file()

    def open(self, name: str) -> AuditFile:
        """Returns a finished audit; raises NotFound where there is none of that name."""
        if not NAME.fullmatch(name) or not self.is_finished(name):
            raise NotFound(f"no finished audit {name[:80]!r} is kept here")
        return open_audit(self.path(name))

    def finished(self) -> list[str]:
        """Returns the names of finished audits, the newest first."""
        found = [name for name in self.names() if self.is_finished(name)]
        return sorted(
            found, key=lambda name: (self.path(name) / MANIFEST).stat().st_mtime, reverse=True
        )

    def unfinished(self) -> list[Unfinished]:
        return [
            Unfinished(name, self.num_scored(name))
            for name in self.names()
            if not self.is_finished(name)
        ]

    def names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if path.is_dir() and NAME.fullmatch(path.name)
        )

    def num_scored(self, name: str) -> int:
        journals = (self.path(name) / "items").glob(f"*{SUFFIX}")
        return sum(journal.read_bytes().count(b"\n") for journal in journals)

"""The copies of dropped folders: which go with a collection, and which nobody wants any more."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tramontane.cli.parts import Parts
from tramontane.library.jobs import ENDED
from tramontane.library.kept_copies import KeptCopy

log = logging.getLogger(__name__)


def copies_of(parts: Parts, name: str, folder: str) -> list[KeptCopy]:
    """Returns the copies that go with a collection, which may be gone from the library already."""
    others = [one.folder for one in parts.library.collections() if one.name != name]
    return parts.copies.of(name, folder, others)


def remove_copies(parts: Parts, copies: Sequence[KeptCopy]) -> None:
    for copy in copies:
        parts.copies.remove(copy.name)


def sweep_copies(parts: Parts) -> None:
    """Removes what interrupted copying left, and old copies that no collection and no job reads.

    A folder that can't be written is told in the log and stays as it is.
    """
    read = [collection.folder for collection in parts.library.collections()]
    waiting = [job for job in parts.library.jobs.ls() if job.state not in ENDED]
    read += [Path(job.arguments["folder"]) for job in waiting if job.arguments.get("folder")]
    try:
        parts.copies.sweep(read)
    except OSError as error:
        log.warning("copies of dropped folders were not looked after: %s", error)

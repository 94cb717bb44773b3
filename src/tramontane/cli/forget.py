"""experts forget: an expert and its collection leave this machine for good, all that tells of them.

A small file in `forgetting/` says what is being forgotten until all of it is gone, so that the same
command finishes what an interruption left.
"""

import json
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tramontane.cli.copies import copies_of, remove_copies
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import size
from tramontane.errors import Busy, DiskFull, NotFound
from tramontane.experts.look_alikes import forget_look_alikes
from tramontane.experts.shelf import EXPERT_SUFFIX
from tramontane.files import held_alone, write_whole
from tramontane.library.forgetting import Traces
from tramontane.library.kept_copies import KeptCopy

OUT_OF_REACH = (
    "the folder of notes itself, which is yours and stays as it is",
    "copies of the expert's file that were packed, given away or lie elsewhere",
    "models exported with the expert in them",
    "answers and drafts saved to files of your own, and what a browser still shows",
    "backups and snapshots, and blocks of the disk that were freed and not yet written over",
)


@dataclass(frozen=True)
class Forgotten:
    """What is, or would be, removed; counts and bytes of what the data folder held.

    `copies` are those kept of dropped folders, whose files aren't among `files`.
    """

    name: str
    mixtures: tuple[str, ...]
    files: tuple[Path, ...]
    num_file_bytes: int
    copies: tuple[KeptCopy, ...]
    library: Traces
    is_dry_run: bool
    out_of_reach: tuple[str, ...] = OUT_OF_REACH

    def as_json(self) -> dict[str, Any]:
        copies = [asdict(copy) | {"folder": str(copy.folder)} for copy in self.copies]
        return asdict(self) | {"files": [str(file) for file in self.files], "copies": copies}


def forget_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="An expert's name, or 8 digits of its hash.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove an expert for good, with its collection and all that this machine keeps of it.

    The folder of notes is not touched. There is no undo; interrupted, the same command goes on.

    Example: tramontane experts forget mine --dry-run
    """
    with opened(context.obj) as parts:
        plan = preview(parts, name)
        if dry_run:
            say_json(plan.as_json()) if as_json else show(plan)
            return
        if not yes:
            if not as_json:
                show(plan)
            typer.confirm(f"Forget {plan.name} for good?", abort=True, err=as_json)
        done = forget(parts, plan.name)
    say_json(done.as_json()) if as_json else show(done)


def preview(parts: Parts, name: str) -> Forgotten:
    """Returns what forgetting would remove; raises NotFound where there is nothing of that name."""
    name = full_name(parts, name)
    known = begun(parts, name)
    traces = parts.library.traces(name, known.get("folder", ""))
    files = files_of(parts, name)
    copies = tuple(copies_of(parts, name, traces.folder))
    if not files and not copies and traces.is_empty and not known:
        experts = {record.name for record in parts.shelf.ls()}
        names = sorted(experts | {c.name for c in parts.library.collections()})
        hint = f"there are: {', '.join(names)}" if names else "nothing was learnt or read yet"
        raise NotFound(f"no expert or collection {name!r}; {hint}")
    files = (*files, *log_files(parts))
    hashes = hashes_of(parts, name)
    mixtures = [m.name for m in parts.shelf.mixtures() if hashes & set(m.experts)]
    return Forgotten(name, tuple(mixtures), files, bytes_of(files), copies, traces, is_dry_run=True)


def forget(parts: Parts, name: str) -> Forgotten:
    """Removes all there is of a name, in an order in which every interruption can be mended.

    Raises Busy while it is being learnt or read, or somebody holds the library.
    """
    plan = preview(parts, name)
    name, known = plan.name, begun(parts, plan.name)
    hashes = hashes_of(parts, name) | set(known.get("hashes", ()))
    note = {"name": name, "folder": plan.library.folder, "hashes": sorted(hashes)}
    copied = [str(copy.folder) for copy in plan.copies]
    with ExitStack() as held:
        if running := [
            job
            for job in parts.library.jobs.ls(("running",))
            if job.arguments.get("name") == name
            or job.arguments.get("folder") in (plan.library.folder, *copied)
        ]:
            raise Busy(
                f"job {running[0].id} is working on {name}; cancel it first "
                f"(`tramontane jobs cancel {running[0].id}`)"
            )
        lock = learning_folder(parts) / f"{name}.lock"
        held.enter_context(held_alone(lock, f"learning {name!r}"))
        try:
            write_whole(note_file(parts, name), json.dumps(note).encode())
            parts.shelf.forget(name)
            for digest in hashes:
                forget_look_alikes(parts.shelf.mixtures_folder, digest)
                leave_engine(parts, digest)
            for folder in learning_folders(parts, name):
                shutil.rmtree(folder)
            library = parts.library.forget(name, plan.library.folder)
            remove_copies(parts, plan.copies)
            parts.copies.mend()
            for log in log_files(parts):
                log.write_bytes(b"")
        except DiskFull as error:
            raise DiskFull(
                f"{error}. Part of {name} is forgotten already, and `tramontane experts forget "
                f"{name}` finishes the work; SQLite needs as much room as the library has bytes"
            ) from error
        lock.unlink()
        note_file(parts, name).unlink()
    gone = tuple(file for file in plan.files if not file.exists() or not file.stat().st_size)
    return Forgotten(
        name, plan.mixtures, gone, plan.num_file_bytes, plan.copies, library, is_dry_run=False
    )


def full_name(parts: Parts, name: str) -> str:
    """Returns the name of the expert or collection meant, which may be known by its hash."""
    try:
        return parts.shelf.find(name).name
    except NotFound:
        return name


def begun(parts: Parts, name: str) -> dict[str, Any]:
    """Returns what an interrupted forgetting of this name wrote down; empty where none was."""
    try:
        return json.loads(note_file(parts, name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def note_file(parts: Parts, name: str) -> Path:
    return parts.settings.home / "forgetting" / f"{name}.json"


def hashes_of(parts: Parts, name: str) -> set[str]:
    return {record.hash for record in parts.shelf.ls() if record.name == name}


def learning_folder(parts: Parts) -> Path:
    return parts.settings.cache_folder / "learning"


def learning_folders(parts: Parts, name: str) -> list[Path]:
    """Returns the states of the base on the notes, which an unfinished learning left."""
    pattern = f"{name}-{'[0-9a-f]' * 16}"
    return sorted(learning_folder(parts).glob(pattern))


def log_files(parts: Parts) -> list[Path]:
    """Returns the jobs' logs, which are of all collections and may hold a defect's own words."""
    logs = sorted((parts.settings.home / "jobs").glob("*.log"))
    return [log for log in logs if log.stat().st_size]


def files_of(parts: Parts, name: str) -> tuple[Path, ...]:
    learning = [
        file
        for folder in learning_folders(parts, name)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    return (*parts.shelf.files_of(name), *learning)


def bytes_of(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def leave_engine(parts: Parts, digest: str) -> None:
    """Unloads an expert from this process's engine, with every page made with it."""
    if "opened_engine" in parts.__dict__:
        parts.opened_engine.remove_expert(digest)


def show(what: Forgotten) -> None:
    would = "would be " if what.is_dry_run else ""
    experts = [file for file in what.files if file.name.endswith(EXPERT_SUFFIX)]
    library = what.library
    say(f"{what.name}:")
    if what.mixtures:
        say(f"  {would}taken out of {', '.join(what.mixtures)}")
    for file in what.files:
        say(f"  {would}removed: {file}")
    for copy in what.copies:
        say(f"  {would}removed: the copy {copy.folder}, {copy.num_files} files")
    say(
        f"  {would}removed from the library: {library.notes} notes, {library.passages} passages, "
        f"{library.vectors} vectors, {library.jobs} jobs with {library.job_lines} lines, what "
        f"{library.chats} kept answers quote"
    )
    if library.draft_sections:
        say(
            f"  {would}removed from drafts: {library.draft_sections} sections in all their "
            f"versions, {library.drafts} drafts whole"
        )
    say(f"  {len(experts)} expert files, {size(what.num_file_bytes)} in files")
    say("Out of reach here:")
    for text in what.out_of_reach:
        say(f"  {text}")

"""doctor: what computes here and why, how fast this machine is, and where things lie."""

import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path

import typer

from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import size
from tramontane.native import (
    choose_variant,
    cores_here,
    int8_rate,
    read_bandwidth,
    variants_here,
)


@dataclass(frozen=True, slots=True)
class Health:
    """What `tramontane doctor` found; rates are measured with `threads` threads."""

    variant: str
    reason: str
    # Of every variant in this build: what the processor lacks of it, nothing where it can run.
    lacks: dict[str, str]
    threads: int
    cores: int
    read_bytes_per_second: float
    int8_operations_per_second: float
    # PyTorch's version, or nothing where it isn't installed.
    torch: str
    home: Path
    library: Path
    # Nothing where there is no library yet.
    library_bytes: int | None
    # Of dropped folders.
    copies: Path
    num_copies: int
    copied_bytes: int
    models: Path
    bases: list[str]
    base: str


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Say what computes here and why, how fast memory and processor are, and where things lie.

    Takes about two seconds of all threads, for the measurements.

    Example: tramontane doctor
    """
    with opened(context.obj) as parts:
        health = examine(parts)
    if as_json:
        say_json(health)
        return
    say(f"Instruction set  {health.variant}: {health.reason}")
    say_table(
        ("variant", "here"),
        [(name, f"lacks {lacks}" if lacks else "can run") for name, lacks in health.lacks.items()],
    )
    say(f"Threads          {health.threads}; {health.cores} cores are open to this process")
    say(f"Memory           {health.read_bytes_per_second / 1e9:.1f} GB/s read")
    say(f"int8             {health.int8_operations_per_second / 1e9:.0f} GOP/s")
    say(f"PyTorch          {health.torch or 'not installed; only learning and GPUs need it'}")
    say(f"Home             {health.home}")
    if health.library_bytes is None:
        say("Library          none yet; `tramontane collections add FOLDER` makes it")
    else:
        say(f"Library          {health.library}, {size(health.library_bytes)}")
    if health.num_copies:
        held = f"{health.num_copies} of dropped folders, {size(health.copied_bytes)}"
        say(f"Copies           {health.copies}, {held}")
    if health.bases:
        say(f"Models           {health.models}: {', '.join(health.bases)}")
    else:
        say("Models           none yet; `tramontane start` recommends one")
    say(f"Base in use      {health.base}")


def examine(parts: Parts) -> Health:
    """Returns what there is to know; measures for about two seconds."""
    settings = parts.settings
    variant = choose_variant(None)
    library, copies = settings.library_file, parts.copies.ls()
    return Health(
        variant=variant,
        reason=reason_for(variant),
        lacks=variants_here(),
        threads=settings.threads,
        cores=cores_here(),
        read_bytes_per_second=read_bandwidth(settings.threads, variant=variant),
        int8_operations_per_second=int8_rate(settings.threads, variant=variant),
        torch=version_of("torch"),
        home=settings.home,
        library=library,
        library_bytes=library.stat().st_size if library.is_file() else None,
        copies=settings.dropped_folder,
        num_copies=len(copies),
        copied_bytes=sum(copy.num_bytes for copy in copies),
        models=settings.models_folder,
        bases=[record.name for record in parts.store.ls()],
        base=settings.base,
    )


def reason_for(variant: str) -> str:
    if os.environ.get("TRAMONTANE_VARIANT"):
        return "asked for by TRAMONTANE_VARIANT"
    best = next(iter(variants_here()))
    if variant == best:
        return "the best in this build, and this processor has all of it"
    return f"the best that this processor can run; {best} lacks {variants_here()[best]}"


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""

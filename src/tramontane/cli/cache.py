"""cache ls, clear: the repacked weights that are kept so that a base opens quickly."""

from datetime import datetime
from typing import Annotated

import typer

from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import size
from tramontane.engine.weights_cache import WeightsCache

app = typer.Typer(
    help="Repacked weights: kept so that a base opens quickly; deleting them costs only time.\n\n"
    "Example: tramontane cache clear smollm2",
    invoke_without_command=True,
    rich_markup_mode=None,
)


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="cache")


@app.callback()
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        ls(context)


@app.command("ls")
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the repacked weights that are kept, the latest used first.

    Example: tramontane cache ls
    """
    with opened(context.obj) as parts:
        names = {record.sha256: record.name for record in parts.store.ls()}
        kept = cache_of(parts).ls()[::-1]
        folder, most = parts.settings.weights_folder, parts.settings.weights_cache_gb
    if as_json:
        say_json({"folder": folder, "most_bytes": int(most * 1e9), "kept": kept})
        return
    if kept:
        say_table(
            ("base", "size", "last used"),
            [
                (
                    names.get(one.model_sha256, f"(removed) {one.model_sha256[:12]}"),
                    size(one.num_bytes),
                    datetime.fromtimestamp(one.used_at).isoformat(" ", "minutes"),
                )
                for one in kept
            ],
        )
    total = sum(one.num_bytes for one in kept)
    say(f"{size(total)} of {most:g} GB (setting weights_cache_gb), in {folder}")


@app.command("clear")
def clear(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A base's name; without one, all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete repacked weights; what runs goes on, the next start makes them anew.

    Example: tramontane cache clear
    """
    with opened(context.obj) as parts:
        sha256 = parts.store.find(name).sha256 if name else None
        gone = cache_of(parts).clear(sha256)
    if as_json:
        say_json({"removed": [one.path for one in gone], "bytes": sum(g.num_bytes for g in gone)})
        return
    say(f"{size(sum(one.num_bytes for one in gone))} are free again")


def cache_of(parts: Parts) -> WeightsCache:
    """Returns the cache whatever it may take: one that keeps nothing more may hold something."""
    return WeightsCache(parts.settings.weights_folder, 0)

"""collections, sync, search: the notes and the library that holds them."""

from pathlib import Path
from typing import Annotated

import typer

from tramontane.cli.copies import copies_of, remove_copies
from tramontane.cli.output import AsJson, number_of, say, say_json, say_table
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter
from tramontane.errors import NotFound, TramontaneError
from tramontane.library.records import Hit, SyncReport
from tramontane.writing.events import Behind, Source

MAX_SKIPPED_SHOWN = 10

collections_app = typer.Typer(
    help="List, add and remove collections of notes.\n\n"
    "Example: tramontane collections add ~/notes --as mine",
    invoke_without_command=True,
    rich_markup_mode=None,
)


notes_app = typer.Typer(
    help="Keep the library equal to your notes as they change.\n\n"
    "Example: tramontane notes watch mine",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    app.add_typer(collections_app, name="collections")
    app.add_typer(notes_app, name="notes")
    app.command("sync")(sync)
    app.command("search")(search)


@collections_app.callback()
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand:
        return
    with opened(context.obj) as parts:
        found = parts.library.collections()
    if as_json:
        # The salt keeps shared experts from revealing which notes they learnt from.
        say_json(
            [
                {key: getattr(c, key) for key in c.__dataclass_fields__ if key != "salt"}
                for c in found
            ]
        )
    elif not found:
        say("No collection yet. `tramontane collections add FOLDER --as NAME` adds one.")
    else:
        say_table(
            ("name", "notes", "passages", "owner", "folder"),
            [
                (c.name, str(c.num_notes), str(c.num_passages), c.owner, str(c.folder))
                for c in found
            ],
        )


@collections_app.command("add")
def add(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder that holds the notes.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Name; the folder's own if left out.")
    ] = None,
    owner: Annotated[str, typer.Option(help="Whose notes these are.")] = "",
    licence: Annotated[str, typer.Option(help="Licence they may be shared under, if any.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a folder of notes and read it.

    Example: tramontane collections add ~/notes --as mine
    """
    with opened(context.obj) as parts:
        name = name or folder.expanduser().resolve().name
        with Reporter(is_quiet=as_json) as report:
            done = add_and_sync(parts, name, folder, report, owner=owner, licence=licence)
        show_sync(name, done, as_json)


@collections_app.command("rm")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A collection's name.")],
    as_json: AsJson = False,
) -> None:
    """Remove a collection from the library; its folder and its experts stay as they are.

    The copy that was kept of a dropped folder goes too. Interrupted, the same command goes on.

    Example: tramontane collections rm mine
    """
    with opened(context.obj) as parts:
        known = {collection.name: collection for collection in parts.library.collections()}
        folder = known[name].folder if name in known else None
        copies = copies_of(parts, name, str(folder or ""))
        if folder or not copies:
            parts.library.remove_collection(name)
        remove_copies(parts, copies)
    num_notes = known[name].num_notes if name in known else 0
    if as_json:
        say_json({"removed": name, "notes": num_notes, "copies": copies})
        return
    stays = "" if folder in (None, *(copy.folder for copy in copies)) else f"{folder} is as it was"
    gone = [f"the copy {copy.folder} is removed" for copy in copies]
    left = number_of(num_notes, "note")
    say(f"{name}: {left} left the library; {'; '.join(filter(None, [stays, *gone]))}")


@notes_app.command("watch")
def watch_notes(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Collections; all if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sync collections whenever their notes change, until Ctrl-C; one line of JSON per sync.

    Example: tramontane notes watch mine
    """
    from tramontane.library.watch import watch

    with opened(context.obj) as parts:
        names = names or [collection.name for collection in parts.library.collections()]
        if not names:
            raise NotFound("no collection yet; `tramontane collections add FOLDER --as NAME`")
        try:
            for name, done in watch(parts.library, names):
                if as_json:
                    is_error = isinstance(done, TramontaneError)
                    say_json({"collection": name, "error": str(done)} if is_error else done)
                elif isinstance(done, TramontaneError):
                    say(f"{name}: not synced, {done}")
                else:
                    show_sync(name, done, False)
        except KeyboardInterrupt:
            if not as_json:
                say("No longer watching; the library is as the last sync left it.")


def sync(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Collections; all if left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    allow_emptying: Annotated[
        bool, typer.Option("--allow-emptying", help="Go on even if every note would be removed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the library equal to the folders, by content.

    Example: tramontane sync mine --dry-run
    """
    reports = {}
    with opened(context.obj) as parts:
        names = names or [collection.name for collection in parts.library.collections()]
        if not names:
            raise NotFound("no collection yet; `tramontane collections add FOLDER --as NAME`")
        for name in names:
            with Reporter(name, is_quiet=as_json) as report:
                reports[name] = parts.library.sync(
                    name, report, dry_run=dry_run, allow_emptying=allow_emptying
                )
            if not as_json:
                show_sync(name, reports[name], False, dry_run=dry_run)
    if as_json:
        say_json(reports)


def search(
    context: typer.Context,
    words: Annotated[str, typer.Argument(help="What to look for.")],
    collection: Annotated[
        list[str] | None, typer.Option("--in", help="Only this collection; may be repeated.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only with this tag, or one below it; may be repeated.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only dated on or after YYYY[-MM[-DD]].")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Only dated on or before YYYY[-MM[-DD]].")
    ] = None,
    path: Annotated[
        str | None, typer.Option(help="Only this file, folder or pattern, like daily/2024-*.")
    ] = None,
    by_date: Annotated[bool, typer.Option("--by-date", help="Show the oldest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Passages at most.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Find passages by words and by meaning.

    Example: tramontane search "when to plant leeks" --in garden --tag vegetables --since 2024-01
    """
    with opened(context.obj) as parts:
        hits = parts.library.search(
            words,
            collections=collection,
            tags=tag or (),
            since=since,
            until=until,
            path=path,
            limit=limit,
        )
    if by_date:
        hits.sort(key=lambda hit: min(hit.dates, default="9999"))
    if as_json:
        say_json(hits)
    elif not hits:
        say("Nothing found.")
    for hit in [] if as_json else hits:
        dated = f", {' '.join(hit.dates[:3])}" if hit.dates else ""
        say(f"{hit.collection}/{hit.path}, {place_in(hit)}{dated}", style="bold")
        say("\n".join(f"    {line}" for line in hit.text.splitlines()))
        say()


def place_in(cited: Hit | Source | Behind) -> str:
    """Returns where in its file a passage is, for a person."""
    if not isinstance(cited, Behind) and cited.page is not None:
        return f"page {cited.page}"
    return f"lines {cited.first_line}-{cited.last_line}"


def add_and_sync(
    parts: Parts,
    name: str,
    folder: Path,
    report: Reporter,
    *,
    owner: str = "",
    licence: str = "",
) -> SyncReport:
    """Adds a collection and reads it; a new one of which nothing can be read isn't kept."""
    is_new = name not in {collection.name for collection in parts.library.collections()}
    parts.library.add_collection(name, folder, owner, licence)
    try:
        return parts.library.sync(name, report)
    except BaseException:
        if is_new and not parts.library.collection(name).num_notes:
            parts.library.remove_collection(name)
        raise


def show_sync(name: str, done: SyncReport, as_json: bool, *, dry_run: bool = False) -> None:
    if as_json:
        say_json(done)
        return
    would = "would be " if dry_run else ""
    renamed = f", {len(done.renamed)} of them renamed" if done.renamed else ""
    say(
        f"{name}: {number_of(len(done.added), 'note')} {would}added, {len(done.changed)} changed, "
        f"{len(done.removed)} removed{renamed}, {len(done.unchanged)} as they were"
    )
    if dry_run:
        for verb, paths in (
            ("add", done.added),
            ("change", done.changed),
            ("remove", done.removed),
        ):
            for path in paths:
                say(f"  would {verb} {path}")
    for skipped in done.skipped[:MAX_SKIPPED_SHOWN]:
        say(f"  skipped {skipped.path}: {skipped.reason}")
    if len(done.skipped) > MAX_SKIPPED_SHOWN:
        say(f"  and {len(done.skipped) - MAX_SKIPPED_SHOWN} more skipped; --json lists them all")
    for path, remark in done.remarks[:MAX_SKIPPED_SHOWN]:
        say(f"  note {path}: {remark}")

"""mixture ls, new, show, add, remove: which experts stand together with which base."""

from typing import Annotated

import typer

from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.overlap import recognise, say_contested
from tramontane.cli.parts import Parts, opened
from tramontane.errors import ExpertError
from tramontane.experts.mixture import Mixture, write_mixture

Name = Annotated[str, typer.Argument(help="A mixture's name.")]
ExpertName = Annotated[str, typer.Argument(help="An expert's name, or 8 digits of its hash.")]

app = typer.Typer(
    help="Make and change mixtures: a base and a set of experts.\n\n"
    "Example: tramontane mixture new work && tramontane mixture add work handbook",
    invoke_without_command=True,
    rich_markup_mode=None,
)


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="mixture")


@app.callback()
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        ls(context)


@app.command("ls")
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the mixtures.

    Example: tramontane mixture ls
    """
    with opened(context.obj) as parts:
        described = [describe(parts, mixture) for mixture in parts.shelf.mixtures()]
    if as_json:
        say_json(described)
    elif not described:
        say("No mixture yet; the first expert learnt makes one called default.")
    else:
        say_table(
            ("name", "experts", "base", "hash"),
            [
                (d["name"], ", ".join(d["experts"]), d["base"][:16], d["hash"][:16])
                for d in described
            ],
        )


@app.command("new")
def new(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Make an empty mixture on the base in use.

    Example: tramontane mixture new work
    """
    with opened(context.obj) as parts:
        if name in {mixture.name for mixture in parts.shelf.mixtures()}:
            raise ExpertError(f"mixture {name!r} is there already; choose another name")
        mixture = Mixture(name, parts.checkpoint.sha256)
        write_mixture(parts.settings.mixtures_folder, mixture)
        tell(parts, mixture, as_json)


@app.command("show")
def show(context: typer.Context, name: Name = "default", as_json: AsJson = False) -> None:
    """Show a mixture's base, experts and hash.

    Example: tramontane mixture show default
    """
    with opened(context.obj) as parts:
        tell(parts, parts.shelf.mixture(name), as_json)


@app.command("add")
def add(context: typer.Context, name: Name, expert: ExpertName, as_json: AsJson = False) -> None:
    """Put an expert in place.

    Example: tramontane mixture add work handbook
    """
    with opened(context.obj) as parts:
        record = parts.shelf.find(expert)
        tell(parts, parts.shelf.put_in_place(record, parts.shelf.mixture(name)), as_json)
        if name == parts.settings.mixture:
            contested = recognise(parts, record, is_quiet=as_json)
            if not as_json:
                say_contested(record, contested)


@app.command("remove")
def remove(context: typer.Context, name: Name, expert: ExpertName, as_json: AsJson = False) -> None:
    """Take an expert out of one mixture; it stays on the shelf.

    Example: tramontane mixture remove work handbook
    """
    with opened(context.obj) as parts:
        record = parts.shelf.find(expert)
        tell(parts, parts.shelf.take_out(record, parts.shelf.mixture(name)), as_json)


def describe(parts: Parts, mixture: Mixture) -> dict:
    names = {record.hash: record.name for record in parts.shelf.ls()}
    return {
        "name": mixture.name,
        "base": mixture.base_sha256,
        "experts": {names.get(digest, digest[:16]): digest for digest in mixture.experts},
        "hash": mixture.hash,
    }


def tell(parts: Parts, mixture: Mixture, as_json: bool) -> None:
    described = describe(parts, mixture)
    if as_json:
        say_json(described)
        return
    say(f"{mixture.name}  {mixture.hash}")
    say(f"  base {mixture.base_sha256}")
    for name, digest in described["experts"].items():
        say(f"  {digest}  {name}")

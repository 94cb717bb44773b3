"""keys: who may ask a server over the network."""

from enum import StrEnum
from typing import Annotated

import typer

from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import opened
from tramontane.library.keys import SCOPES

app = typer.Typer(
    help="Keys of people and programs that ask over the network.\n\nExample: tramontane keys ls"
)
Scope = StrEnum("Scope", {scope: scope for scope in SCOPES})


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="keys", no_args_is_help=True)


@app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whom or what the key is for.")],
    scope: Annotated[
        Scope, typer.Option(help="ask: read and ask; manage: change everything, too.")
    ] = Scope["ask"],
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once.

    Example: tramontane keys add laptop --scope manage
    """
    with opened(context.obj) as parts:
        key, text = parts.library.keys.add(name, str(scope))
    if as_json:
        say_json({"name": key.name, "scope": key.scope, "key": text})
    else:
        say(text)
        say(f"The key {key.name!r} may {key.scope}. It is not kept here; write it down now.")


@app.command("ls")
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the keys by name; what they read is not kept.

    Example: tramontane keys ls
    """
    with opened(context.obj) as parts:
        keys = parts.library.keys.ls()
    if as_json:
        say_json(keys)
    elif not keys:
        say("No key yet. `tramontane keys add NAME` makes one.")
    else:
        say_table(
            ("name", "scope", "id", "made"), [(k.name, k.scope, k.id, k.created) for k in keys]
        )


@app.command("revoke")
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The key's name or id.")],
    as_json: AsJson = False,
) -> None:
    """Make a key worthless at once, on servers that run too; its history goes with it.

    Example: tramontane keys revoke laptop
    """
    with opened(context.obj) as parts:
        key = parts.library.keys.revoke(name)
    if as_json:
        say_json({"revoked": key.name})
    else:
        say(f"{key.name} is revoked.")

"""serve: the page, on this machine."""

import webbrowser
from typing import Annotated

import typer

from tramontane.cli.desk import RealDesk
from tramontane.cli.notes import add_and_sync
from tramontane.cli.output import say
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter
from tramontane.cli.samples import sample_folders
from tramontane.server.serve import serve


def register(app: typer.Typer) -> None:
    app.command("serve")(serve_command)


def serve_command(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    no_samples: Annotated[
        bool, typer.Option("--no-samples", help="Don't load sample notes into an empty library.")
    ] = False,
) -> None:
    """Serve the page on this machine alone; Ctrl-C ends it.

    Example: tramontane serve --open
    """
    with opened((context.obj or {}) | {"port": port}) as parts:
        parts.checkpoint  # noqa: B018  a missing base is told before anything else
        if not no_samples and not parts.library.collections():
            load_samples(parts)

        def on_ready(address: str) -> None:
            say(f"The page is at {address}  (Ctrl-C ends it)")
            if open_browser:
                webbrowser.open(address)

        serve(RealDesk(parts), parts.settings.host, parts.settings.port, on_ready)


def load_samples(parts: Parts) -> None:
    """Reads the sample notes into the library, where they lie beside the program."""
    for name, folder in sample_folders().items():
        with Reporter(name) as report:
            add_and_sync(parts, name, folder, report)
        say(f"Loaded the sample notes {name!r}.")

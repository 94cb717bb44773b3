"""The command `tramontane`: one command per verb, errors in words, `--json` for scripts."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tramontane import __version__
from tramontane.cli import (
    ask,
    cache,
    demo,
    doctor,
    experts,
    export,
    learn,
    mixtures,
    models,
    notes,
    serve,
    start,
)
from tramontane.errors import TramontaneError

app = typer.Typer(
    name="tramontane",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A mixture-of-experts language model that you own: it learns from your notes, answers "
    "with sources, and forgets exactly. Begin with `tramontane start`.",
)


def show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"tramontane {__version__}")
        raise typer.Exit


@app.callback()
def settings_of_this_run(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Folder of models, library, experts and caches.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base to use; `tramontane ls` shows them.")
    ] = None,
    mixture: Annotated[str | None, typer.Option(help="Mixture whose experts are in place.")] = None,
    threads: Annotated[int | None, typer.Option(help="Worker threads.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="auto, native or pytorch: what computes.")
    ] = None,
    kv: Annotated[
        str | None, typer.Option(help="float16 or int8: what keys and values are kept as.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    context.obj = {
        "home": home,
        "base": base,
        "mixture": mixture,
        "threads": threads,
        "runtime": runtime,
        "kv": kv,
    }


for module in (
    start,
    models,
    notes,
    ask,
    learn,
    experts,
    mixtures,
    export,
    serve,
    demo,
    doctor,
    cache,
):
    module.register(app)


# typer carries a copy of click; of its errors about usage it names only this one's subclass.
UsageError = typer.BadParameter.__base__


def run() -> None:
    """Runs the command line and ends the process with its status."""
    wants_json = "--json" in sys.argv
    try:
        status = app(standalone_mode=False)
    except typer.Exit as error:
        status = error.exit_code
    except UsageError as error:
        error.show()
        status = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("\nstopped; what was there before is whole", file=sys.stderr)
        status = 130
    except TramontaneError as error:
        say_error(error, wants_json)
        status = 1
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        # The reader of our output has gone (`tramontane ls | head`); Python would complain again
        # when it flushes on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


def say_error(error: TramontaneError, wants_json: bool) -> None:
    if wants_json:
        print(json.dumps({"error": {"kind": type(error).__name__, "message": str(error)}}))
    else:
        print(f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    run()

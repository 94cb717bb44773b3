"""The command `tramontane`: one command per verb, errors in words, `--json` for scripts."""

import errno
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from tramontane.errors import TramontaneError

# The commands of each module, in the order that `--help` shows. Only the module asked for is
# imported: all of them take longer than an answer.
COMMANDS = {
    "start": ("start", "check"),
    "models": ("pull", "ls", "show", "rm"),
    "notes": ("sync", "search", "collections", "notes"),
    "ask": ("ask", "chat"),
    "write": ("write",),
    "drafts": ("drafts",),
    "support": ("support",),
    "learn": ("learn",),
    "plan": ("plan",),
    "experts": ("experts",),
    "mixtures": ("mixture",),
    "export": ("export",),
    "audit": ("audit",),
    "card": ("card",),
    "serve": ("serve",),
    "keys": ("keys",),
    "jobs": ("jobs",),
    "demo": ("demo",),
    "doctor": ("doctor",),
    "cache": ("cache",),
}


def show_version(is_wanted: bool) -> None:
    if is_wanted:
        from tramontane import __version__

        print(f"tramontane {__version__}")
        raise typer.Exit


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


OPTIONS_WITH_VALUE = tuple(
    f"--{name}"
    for name in settings_of_this_run.__annotations__
    if name not in ("context", "version", "return")
)


def app_with(modules: Iterable[str] = COMMANDS) -> typer.Typer:
    """Returns the command line with the commands of these modules."""
    app = typer.Typer(
        name="tramontane",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="A mixture-of-experts language model that you own: it learns from your notes, answers "
        "with sources, and forgets exactly. Begin with `tramontane start`.",
    )
    app.callback()(settings_of_this_run)
    for module in modules:
        import_module(f"tramontane.cli.{module}").register(app)
    return app


def modules_for(arguments: Sequence[str]) -> Iterable[str]:
    """Returns the modules that a command line needs: all, unless it plainly names a command."""
    words = iter(arguments)
    for word in words:
        if word in OPTIONS_WITH_VALUE:
            next(words, None)
        elif not word.startswith(OPTIONS_WITH_VALUE):
            return [module for module, names in COMMANDS.items() if word in names] or COMMANDS
    return COMMANDS


# What a shell expects of a command ended by Ctrl-C.
STOPPED = 130
# typer carries a copy of click; of its errors about usage it names only this one's subclass.
UsageError = typer.BadParameter.__base__


def run() -> None:
    """Runs the command line and ends the process with its status."""
    wants_json = "--json" in sys.argv
    try:
        status = app_with(modules_for(sys.argv[1:]))(standalone_mode=False)
    except typer.Exit as error:
        status = error.exit_code
    except UsageError as error:
        error.show()
        for found in elsewhere(error):
            print(f"There is `{found}`.", file=sys.stderr)
        status = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        status = STOPPED
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
    # typer turns Ctrl-C into this status itself, without a word.
    if status == STOPPED:
        print("\nstopped; what was there before is whole", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def elsewhere(error: Exception) -> list[str]:
    """Returns the commands that bear the name of one that wasn't found, under whatever verb."""
    sought = re.match(r"No such command '([^']+)'", getattr(error, "message", ""))
    if not sought:
        return []
    app = typer.main.get_command(app_with())
    groups = [("tramontane", app)]
    groups += [(f"tramontane {name}", verb) for name, verb in app.commands.items()]
    return [
        f"{path} {sought[1]}"
        for path, group in groups
        if sought[1] in getattr(group, "commands", ())
    ]


def say_error(error: TramontaneError, wants_json: bool) -> None:
    if wants_json:
        print(json.dumps({"error": {"kind": type(error).__name__, "message": str(error)}}))
    else:
        from tramontane.cli.output import harmless

        print(f"error: {harmless(str(error))}", file=sys.stderr)


if __name__ == "__main__":
    run()

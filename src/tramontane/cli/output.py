"""What commands print: text for people, JSON for scripts; both on standard output."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def console() -> "Console":
    """Returns a console for standard output, which is a terminal."""
    # Imported here: where output goes elsewhere it isn't needed, and takes a moment.
    from rich.console import Console

    return Console(highlight=False)


def say(text: str = "", style: str | None = None) -> None:
    """Prints a line; nothing in it is read as markup, since notes may hold anything."""
    if not sys.stdout.isatty():
        print(text)
        return
    console().print(text, style=style, markup=False)


def say_json(value: Any) -> None:
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def plain(value: Any) -> Any:
    """Returns a value that JSON can carry."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table: ruled by space on a terminal, tabs between columns elsewhere."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*map(escape, row))
    console().print(table)

"""What commands print: text for people, JSON for scripts; both on standard output."""

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

# What would steer a terminal or turn the order of what it shows: control characters but for tab and
# line feed, and the marks that embed, override or isolate a direction.
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
STAND_IN = "\N{REPLACEMENT CHARACTER}"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def console() -> "Console":
    """Returns a console for standard output, which is a terminal."""
    # Imported here: where output goes elsewhere it isn't needed, and takes a moment.
    from rich.console import Console

    return Console(highlight=False)


def harmless(text: str) -> str:
    """Returns a text for a terminal, to which notes, names of files and models may say anything."""
    return STEERING.sub(STAND_IN, text.replace("\r\n", "\n"))


def number_of(count: int, thing: str) -> str:
    """Returns "1 note", "2 notes"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def say(text: str = "", style: str | None = None) -> None:
    """Prints a line; nothing in it is read as markup or steers, since notes may hold anything."""
    text = harmless(text)
    if not sys.stdout.isatty():
        print(text)
        return
    console().print(text, style=style, markup=False)


def say_piece(text: str) -> None:
    """Prints a piece of a text that comes bit by bit."""
    print(harmless(text), end="", flush=True)


def say_json(value: Any) -> None:
    """Prints JSON; what would steer a terminal is written as an escape and means the same."""
    written = json.dumps(plain(value), ensure_ascii=False, indent=2)
    print(STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", written))


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
    rows = [[harmless(cell) for cell in row] for row in rows]
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

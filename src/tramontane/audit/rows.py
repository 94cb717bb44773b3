"""Published files as rows: CSV, TSV, JSON, JSON lines; what can't be read is named, row by row."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tramontane.audit.item import Item
from tramontane.errors import AuditError

# Spreadsheets write longer cells than the csv module expects.
csv.field_size_limit(1 << 24)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that was not scored, and why."""

    file: str
    row: str
    why: str


class RowError(Exception):
    """A row that lacks something; caught where rows are read, and named."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `place` is what an editor shows, `values` its fields."""

    place: str
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        if self.values.get(name) is None:
            there = ", ".join(map(str, list(self.values)[:12]))
            raise RowError(f"has no {name!r}; it has {there or 'nothing'}")
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def text(self, name: str) -> str:
        value = self[name]
        if not isinstance(value, str):
            raise RowError(f"{name!r} is {type(value).__name__}, a text was wanted")
        if not value.strip():
            raise RowError(f"{name!r} is empty")
        return value

    def texts(self, name: str, least: int = 2) -> list[str]:
        values = self[name]
        is_list = isinstance(values, list) and all(isinstance(v, str) and v for v in values)
        if not is_list or len(values) < least:
            raise RowError(f"{name!r} must be a list of at least {least} texts")
        return values

    def place_in(self, name: str, count: int) -> int:
        """Returns a field that says which of `count` things is meant, from 0."""
        value = self[name]
        try:
            index = int(value)
        except (TypeError, ValueError):
            raise RowError(f"{name!r} is {value!r}, a number was wanted") from None
        if not 0 <= index < count:
            raise RowError(f"{name!r} is {index}; there are {count} choices")
        return index

    def one_of(self, name: str, allowed: Iterable[str]) -> str:
        value, allowed = str(self[name]), tuple(allowed)
        if value not in allowed:
            raise RowError(f"{name!r} is {value!r}; it may be {', '.join(allowed)}")
        return value


def decoded(path: Path, left_out: list[LeftOut]) -> str:
    """Returns a file's text; an encoding other than UTF-8 is read, and said."""
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        left_out.append(
            LeftOut(path.name, "", f"not UTF-8 from line {line} on; read as Windows-1252")
        )
        return data.decode("cp1252", "replace")


def rows_of(path: Path, left_out: list[LeftOut]) -> Iterator[Row]:
    """Yields a file's rows by what its name ends in; a line that is no row is named."""
    text = decoded(path, left_out)
    if "\0" in text:
        raise AuditError(f"{path}: holds zero bytes; it is no text file")
    if path.suffix in (".csv", ".tsv"):
        yield from separated(path, text, left_out)
    elif text.lstrip().startswith("["):
        for number, value in enumerate(whole_json(path, text), start=1):
            yield from mapping(path, f"entry {number}", value, left_out)
    else:
        # Unlike splitlines, this leaves U+2028 in the texts that hold it.
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                left_out.append(LeftOut(path.name, f"line {number}", f"is no JSON: {error}"))
                continue
            yield from mapping(path, f"line {number}", value, left_out)


def mapping(path: Path, place: str, value: object, left_out: list[LeftOut]) -> Iterator[Row]:
    if isinstance(value, dict):
        yield Row(place, value)
    else:
        left_out.append(LeftOut(path.name, place, f"is a {type(value).__name__}, not an object"))


def whole_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{path}: is no JSON ({error})") from None


def separated(path: Path, text: str, left_out: list[LeftOut]) -> Iterator[Row]:
    separator = "\t" if path.suffix == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = next(reader, [])
        for values in reader:
            place = f"line {reader.line_num}"
            if not values:
                continue
            if len(values) != len(names):
                why = f"has {len(values)} fields, the heading has {len(names)}"
                left_out.append(LeftOut(path.name, place, why))
                continue
            yield Row(place, dict(zip(names, values, strict=True)))
    except csv.Error as error:
        place = f"line {reader.line_num}"
        left_out.append(LeftOut(path.name, place, f"{error}; what follows can't be read"))


def items_of(
    path: Path, rows: Iterable[Row], make: Callable[[Row], Item], left_out: list[LeftOut]
) -> Iterator[Item]:
    """Yields an item for each row that `make` can read; the others are named."""
    for row in rows:
        try:
            yield make(row)
        except RowError as error:
            left_out.append(LeftOut(path.name, row.place, str(error)))
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            why = f"has another form than the published one ({type(error).__name__}: {error})"
            left_out.append(LeftOut(path.name, row.place, why))


def without_twins(path_names: str, items: Iterable[Item], left_out: list[LeftOut]) -> list[Item]:
    """Returns the items; one that repeats another is named and scored once."""
    first: dict[str, Item] = {}
    for item in items:
        twin = first.setdefault(item.id, item)
        if twin is not item:
            left_out.append(LeftOut(path_names, item.row, f"repeats {twin.row}"))
    return list(first.values())

"""WISHES → SQL: which passages a search may find, by collection, tag, date and path."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from tramontane.errors import LibraryError

GLOB_MARKS = "*?["


@dataclass(frozen=True, slots=True)
class Filters:
    """What a passage must have: every tag (or one below it), a date in range, a path.

    `since` and `until` are days as YYYY-MM-DD, YYYY-MM or YYYY, both included. `path` is a file, a
    folder, or a pattern with `*`, `?` and `[...]`.
    """

    collection_ids: Sequence[int] | None = None
    tags: Sequence[str] = ()
    since: str | None = None
    until: str | None = None
    path: str | None = None

    @property
    def is_empty(self) -> bool:
        return self.collection_ids is None and not (
            self.tags or self.since or self.until or self.path
        )

    def sql(self) -> tuple[str, list[str]]:
        """Returns a condition on passages p and notes n, and its values; raises LibraryError for
        a day that is none."""
        conditions: list[str] = []
        values: list[str] = []
        if self.collection_ids is not None:
            conditions.append(f"n.collection_id IN ({','.join(map(str, self.collection_ids))})")
        for tag in self.tags:
            name = tag.strip().lstrip("#").strip("/").lower()
            conditions.append(
                "EXISTS (SELECT 1 FROM tags t WHERE t.passage_id = p.id AND (t.tag = ? "
                "OR substr(t.tag, 1, length(?) + 1) = ? || '/'))"
            )
            values += [name] * 3
        if self.since or self.until:
            conditions.append(
                "EXISTS (SELECT 1 FROM dates d WHERE d.passage_id = p.id AND d.day BETWEEN ? AND ?)"
            )
            values.append(first_day(self.since) if self.since else "0001-01-01")
            values.append(last_day(self.until) if self.until else "9999-12-31")
        if self.path and any(mark in self.path for mark in GLOB_MARKS):
            conditions.append("n.path GLOB ?")
            values.append(self.path)
        elif self.path:
            folder = self.path.rstrip("/") + "/"
            conditions.append("(n.path = ? OR substr(n.path, 1, length(?)) = ?)")
            values += [self.path, folder, folder]
        return " AND ".join(conditions) or "1", values


def first_day(written: str) -> str:
    return _day_of(written, last=False)


def last_day(written: str) -> str:
    return _day_of(written, last=True)


def _day_of(written: str, *, last: bool) -> str:
    parts = written.strip().split("-")
    try:
        year, month, day = (int(part) for part in [*parts, "1", "1"][:3])
        if len(parts) > 3:
            raise ValueError
        if last and len(parts) < 3:
            month = 12 if len(parts) == 1 else month
            after = datetime.date(year + month // 12, month % 12 + 1, 1)
            return (after - datetime.timedelta(days=1)).isoformat()
        return datetime.date(year, month, day).isoformat()
    except (ValueError, OverflowError):
        raise LibraryError(
            f"{written!r} is no day; write it as 2024-03-05, or 2024-03 or 2024 for all of them"
        ) from None

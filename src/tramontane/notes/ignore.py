"""PATTERNS → WHETHER A PATH IS LEFT OUT: `.tramontaneignore`, written like a .gitignore."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

IGNORE_FILE = ".tramontaneignore"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line; `names` fit a path's names one by one, None any number of them."""

    names: tuple[re.Pattern | None, ...]
    readmits: bool
    only_folders: bool


def read_rules(text: str) -> tuple[Rule, ...]:
    """Returns the rules of an ignore file: `#` comments, `!` readmits, a closing `/` means folders,

    `*` and `?` stay within a name, `**` crosses folders, and a `/` within ties the pattern to the
    place of the ignore file. The last rule that fits decides. Raises ValueError naming the line
    of a pattern that means nothing.
    """
    rules = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("\\")
        only_folders = pattern.endswith("/")
        try:
            names = _names_of(pattern.rstrip("/"))
        except re.error as error:
            raise ValueError(f"line {number}: {line!r} is no pattern, {error}") from None
        if names:
            rules.append(Rule(names, line.startswith("!"), only_folders))
    return tuple(rules)


def is_ignored(path: str, is_folder: bool, rules: Sequence[Rule]) -> bool:
    """`path` is relative to the ignore file's folder; its parent folders were asked before it."""
    ignored = False
    names = path.split("/")
    for rule in rules:
        if (is_folder or not rule.only_folders) and _fits(rule.names, names):
            ignored = not rule.readmits
    return ignored


def _fits(wanted: Sequence[re.Pattern | None], names: Sequence[str]) -> bool:
    """Going back to the last `**` only is enough, and takes names × patterns steps at most."""
    at = name = 0
    crossing, crossed = None, 0  # the last `**`, and how many names it and what is before it hold
    while name < len(names):
        if at < len(wanted) and wanted[at] is None:
            crossing, crossed = at, name
            at += 1
        elif at < len(wanted) and wanted[at].fullmatch(names[name]):
            at += 1
            name += 1
        elif crossing is not None:
            crossed += 1
            at, name = crossing + 1, crossed
        else:
            return False
    return all(one is None for one in wanted[at:])


def _names_of(pattern: str) -> tuple[re.Pattern | None, ...]:
    parts = [part for part in pattern.split("/") if part]
    if not parts:
        return ()
    names = [None if part == "**" else re.compile(_as_regex(part), re.DOTALL) for part in parts]
    if names[-1] is None:
        names.append(re.compile(".*", re.DOTALL))  # what is inside, not the folder itself
    return tuple(names) if "/" in pattern else (None, *names)


def _as_regex(part: str) -> str:
    opening, *others = [_without_stars(piece) for piece in re.split(r"\*+", part)]
    if not others:
        return opening
    # Each piece is taken where it comes first, for good: trying every place takes for ever.
    return opening + "".join(f"(?>.*?{piece})" for piece in others[:-1]) + f".*{others[-1]}"


def _without_stars(piece: str) -> str:
    regex = ""
    for part in re.split(r"(\?|\[[^\]]+\])", piece):
        if part == "?":
            regex += "."
        elif re.fullmatch(r"\[[^\]]+\]", part):
            inside = part[1:-1]
            excludes = inside[0] in "!^" and len(inside) > 1
            chars = re.sub(r"([\\\[^&~|])", r"\\\1", inside[excludes:])
            regex += f"[{'^' * excludes}{chars}]"
        else:
            regex += re.escape(part)
    return regex

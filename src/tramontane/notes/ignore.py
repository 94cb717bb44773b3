"""PATTERNS → WHETHER A PATH IS LEFT OUT: `.tramontaneignore`, written like a .gitignore."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

IGNORE_FILE = ".tramontaneignore"


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern
    readmits: bool
    only_folders: bool


def read_rules(text: str) -> tuple[Rule, ...]:
    """Returns the rules of an ignore file: `#` comments, `!` readmits, a closing `/` means folders,

    `*` and `?` stay within a name, `**` crosses folders, and a `/` within ties the pattern to the
    place of the ignore file. The last rule that fits decides.
    """
    rules = []
    for line in text.splitlines():
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        readmits = line.startswith("!")
        line = line.removeprefix("!").removeprefix("\\")
        only_folders = line.endswith("/")
        line = line.rstrip("/")
        if line:
            rules.append(Rule(re.compile(_as_regex(line), re.DOTALL), readmits, only_folders))
    return tuple(rules)


def is_ignored(path: str, is_folder: bool, rules: Sequence[Rule]) -> bool:
    """`path` is relative to the ignore file's folder; its parent folders were asked before it."""
    ignored = False
    for rule in rules:
        if (is_folder or not rule.only_folders) and rule.pattern.fullmatch(path):
            ignored = not rule.readmits
    return ignored


def _as_regex(pattern: str) -> str:
    is_tied = "/" in pattern
    pattern = pattern.removeprefix("/")
    parts = re.split(r"(\*\*/|/\*\*$|\*+|\?|\[[^\]/]+\])", pattern)
    regex = "" if is_tied else "(?:.*/)?"
    for part in parts:
        if part == "**/":
            regex += "(?:.*/)?"
        elif part == "/**":
            regex += "/.*"
        elif part and part.strip("*") == "":
            regex += "[^/]*"
        elif part == "?":
            regex += "[^/]"
        elif re.fullmatch(r"\[[^\]/]+\]", part):
            inside = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
            regex += f"[{'^' + inside[1:] if inside[0] in '!^' and len(inside) > 1 else inside}]"
        else:
            regex += re.escape(part)
    return regex

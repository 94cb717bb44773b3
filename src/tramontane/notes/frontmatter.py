"""TEXT → METADATA, BODY: the YAML block at the top of a note, and the rights it states."""

import datetime
import re
from dataclasses import dataclass, field, replace

import yaml
from frontmatter.default_handlers import SafeLoader

MAX_FRONTMATTER_CHARS = 64 * 1024
# Aliases let a few lines of YAML stand for billions of values.
MAX_VALUES = 5_000
MAX_DEPTH = 12
YES = {"yes", "true", "on", "y", "1", ""}


@dataclass(frozen=True, slots=True)
class Frontmatter:
    """What stands before the body; `body_start` is a character offset, 0 without frontmatter."""

    metadata: dict = field(default_factory=dict)
    body_start: int = 0
    may_train: bool = True
    may_share: bool = True
    remark: str | None = None

    @classmethod
    def of(cls, metadata: dict) -> "Frontmatter":
        """Returns what a file without frontmatter says of itself in its own way."""
        stated = cls(metadata=metadata)
        return cls(
            metadata=metadata,
            may_train=_permits(stated.value("train")),
            may_share=_permits(stated.value("share")),
        )

    @property
    def licence(self) -> str | None:
        value = self.value("licence", "license")
        return str(value) if value not in (None, "") else None

    @property
    def title(self) -> str | None:
        value = self.value("title")
        return (
            " ".join(str(value).split()) or None if isinstance(value, str | int | float) else None
        )

    def value(self, *names: str):
        for key, value in self.metadata.items():
            if key.lower() in names:
                return value
        return None


def read_frontmatter(text: str) -> Frontmatter:
    """Returns the frontmatter of a note; one that is broken stays text, and `remark` says why."""
    block = re.match(
        r"(?:[ \t]*\n)*+---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)",
        text,
        re.DOTALL | re.MULTILINE,
    )
    if block is None:
        return _unclosed(text)
    source = block[1]
    try:
        if len(source) > MAX_FRONTMATTER_CHARS:
            raise ValueError(f"{len(source):,} characters, at most {MAX_FRONTMATTER_CHARS:,} fit")
        _check_before_building(source)
        values = yaml.load(source, Loader=SafeLoader)  # it builds plain data only
        if values is None:
            values = {}
        if not isinstance(values, dict):
            if ":" not in source:
                return Frontmatter()  # a rule, some prose and another rule
            raise ValueError("no list of `name: value` lines")
        metadata = _plain(values, [MAX_VALUES], MAX_DEPTH)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        first_line = text.count("\n", 0, block.start(1)) + 1
        why = _short(error, first_line)
        return _broken(source, f"its frontmatter cannot be read and counts as text: {why}")
    return replace(Frontmatter.of(metadata), body_start=block.end())


def _unclosed(text: str) -> Frontmatter:
    """A rule at the top that nothing closes is a rule, unless what follows states a right."""
    head = re.match(r"(?:[ \t]*\n)*+---[ \t]*\n((?:[^\n]*\S[^\n]*(?:\n|\Z))+)", text)
    if head is None or _stated(head[1], "train") is _stated(head[1], "share") is None:
        return Frontmatter()
    return _broken(head[1], "its frontmatter lacks the closing --- and counts as text")


def _broken(source: str, remark: str) -> Frontmatter:
    """A typing error must not undo what the owner forbade."""
    return Frontmatter(
        may_train=_permits(_stated(source, "train")),
        may_share=_permits(_stated(source, "share")),
        remark=remark,
    )


def _check_before_building(source: str) -> None:
    """Building goes down a C function per level, and doubles its values with every merge."""
    depth = 0
    for event in yaml.parse(source, Loader=SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.value == "<<":
            raise ValueError("merge keys (<<) are not read; write the values out")
        if depth > MAX_DEPTH:
            raise ValueError("too many or too deeply nested values")


def _permits(value: object) -> bool:
    """Silence permits; of what is said, only a clear yes does."""
    return value is None or str(value).strip().lower() in YES


def _stated(source: str, name: str) -> str | None:
    line = re.search(rf"^\s*{name}\s*:(.*)$", source, re.IGNORECASE | re.MULTILINE)
    return line[1].strip(" \t'\"") if line else None


def _plain(value: object, budget: list[int], depth: int) -> object:
    """Returns `value` as what JSON can hold; raises ValueError when it is too large for a note."""
    budget[0] -= 1
    if budget[0] < 0 or depth < 0:
        raise ValueError("too many or too deeply nested values")
    if isinstance(value, dict):
        return {str(key): _plain(item, budget, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item, budget, depth - 1) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    return str(value)


def _short(error: Exception, first_line: int) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    # YAML counts lines from 0, and from below the opening rule.
    return f"line {mark.line + first_line}: {problem}" if mark else problem.splitlines()[0]

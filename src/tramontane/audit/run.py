"""MIXTURE → AUDIT: plan, score, write; interrupted at any moment, the same call goes on."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tramontane.audit.attribution import (
    METHODS,
    attribute,
    corrected,
    method_for,
    parts_needed,
)
from tramontane.audit.audit_file import (
    FORMAT,
    MANIFEST,
    REPORT,
    AuditFile,
    items_file,
    manifest_bytes,
    open_audit,
)
from tramontane.audit.item import Item
from tramontane.audit.report import report_html
from tramontane.audit.rows import LeftOut
from tramontane.audit.sampling import sample
from tramontane.audit.scored import Scored, columns_for, line_of, scored_of
from tramontane.audit.sources import DataFile, open_source
from tramontane.audit.subject import Subject
from tramontane.audit.suite import Notes, Suite, figures_of
from tramontane.errors import AuditError
from tramontane.files import held_alone, write_whole

Report = Callable[[str, int, int], None]
SCALES = ("quick", "default", "full")
# Items read together; what is lost of an audit when it is killed.
ITEMS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked: `n` items of each suite, or as many as the scale says."""

    suites: tuple[Suite, ...]
    scale: str = "default"
    n: int | None = None
    seed: int = 0
    attribution: str = "shapley"

    def __post_init__(self):
        if self.scale not in SCALES:
            raise AuditError(f"scale {self.scale!r}; it may be {', '.join(SCALES)}")
        if self.n is not None and self.n < 1:
            raise AuditError(f"n={self.n} must be at least 1")
        if self.attribution not in METHODS:
            raise AuditError(f"attribution {self.attribution!r}; it may be {', '.join(METHODS)}")

    def num_items(self, suite: Suite) -> int | None:
        """Returns how many items of a suite are asked, None for all."""
        if self.n is not None or self.scale == "full":
            return self.n
        return suite.quick if self.scale == "quick" else suite.default


@dataclass(frozen=True)
class Asked:
    """A suite's items to score, where they came from, and what was left out."""

    suite: Suite
    items: list[Item]
    num_there: int
    files: list[DataFile]
    left_out: list[LeftOut]


def ask(subject: Subject, plan: Plan, suite: Suite, data: Sequence[Path], notes: Notes) -> Asked:
    """Returns what is asked of a suite: the sample, without items that this model can't hold."""
    if suite.needs_experts and not subject.experts:
        return Asked(suite, [], 0, [], [LeftOut(suite.name, "", "no expert is in place")])
    if suite.needs_mixture_base and (why := no_route(subject)):
        return Asked(suite, [], 0, [], [LeftOut(suite.name, "", why)])
    source = open_source(suite, data, notes, subject.tokenizer)
    if not source.items:
        return Asked(suite, [], 0, [], [LeftOut(suite.name, "", "no notes are at hand")])
    scorer, kept, left_out = subject.scorer, [], list(source.left_out)
    for item in sample(source.items, plan.num_items(suite), plan.seed):
        if obstacle := scorer.obstacle(item):
            left_out.append(LeftOut(suite.name, item.row, obstacle))
        else:
            kept.append(item)
    return Asked(suite, kept, len(source.items), source.files, left_out)


def no_route(subject: Subject) -> str:
    """Returns why the base's own route can't be told, or nothing."""
    runtime = subject.engine.runtime
    if not runtime.config.is_mixture:
        return "the base is dense: it has no route of its own"
    return "" if runtime.tells_routes else "only the native runtime tells a base's route"


def audit(
    subject: Subject,
    plan: Plan,
    folder: Path,
    *,
    data: Sequence[Path] = (),
    notes: Notes | None = None,
    report: Report = lambda *_: None,
) -> AuditFile:
    """Audits a mixture into `folder` and returns the audit.

    Raises AuditError when a finished audit stands there, or nothing at all can be asked.
    """
    if (folder / MANIFEST).exists():
        raise AuditError(f"{folder} holds a finished audit; choose another folder with -o")
    folder.mkdir(parents=True, exist_ok=True)
    with held_alone(folder / ".lock", f"the audit {folder.name}"):
        asked = [ask(subject, plan, suite, data, notes or {}) for suite in plan.suites]
        if not any(one.items for one in asked):
            raise AuditError(
                "nothing can be asked: "
                + "; ".join(f"{one.suite.name} has no items here" for one in asked)
            )
        method = method_for(plan.attribution, len(subject.experts))
        progress = Progress(report, asked)
        results = [score(subject, plan, one, method, folder, progress) for one in asked]
        finish(subject, plan, method, asked, results, folder)
    (folder / ".lock").unlink(missing_ok=True)
    return open_audit(folder)


class Progress:
    """Counts characters to read, which take about equal time whatever the suite."""

    def __init__(self, report: Report, asked: Sequence[Asked]):
        self.report, self.done = report, 0
        self.total = sum(weight(item) for one in asked for item in one.items) or 1

    def add(self, suite: str, items: Sequence[Item]) -> None:
        self.done += sum(map(weight, items))
        self.report(suite, min(self.done, self.total), self.total)


def weight(item: Item) -> int:
    return sum(len(text.context) + len(text.continuation) for text in item.texts)


def score(
    subject: Subject, plan: Plan, asked: Asked, method: str, folder: Path, progress: Progress
) -> list[Scored]:
    """Returns the scored items in the order of their ids; what was scored before is taken up."""
    suite, everyone = asked.suite, subject.scorer.everyone
    journal = folder / "items" / f"{suite.name}-{run_key(subject, asked, method)}.part.jsonl"
    forget_others(journal, suite.name)
    done = resumed(journal)
    todo = [item for item in asked.items if item.id not in done]
    progress.add(suite.name, [item for item in asked.items if item.id in done])
    parts = parts_needed(method, len(subject.experts))
    with journal.open("a", encoding="utf-8") as file:
        for begin in range(0, len(todo), ITEMS_AT_ONCE):
            items = todo[begin : begin + ITEMS_AT_ONCE]
            found = read_items(subject, suite, items, parts)
            file.writelines(line_of(one, suite, everyone) + "\n" for one in found)
            file.flush()
            os.fsync(file.fileno())
            done |= {one.item.id: one for one in found}
            progress.add(suite.name, items)
    return [done[item.id] for item in asked.items]


def read_items(
    subject: Subject, suite: Suite, items: Sequence[Item], parts: Sequence[int]
) -> list[Scored]:
    if suite.probe is not None:
        return [
            Scored(item, {}, suite.probe(subject.scorer, subject.expert_names, item))
            for item in items
        ]
    readings = subject.scorer.read(items, parts)
    return [Scored(item, read) for item, read in zip(items, readings, strict=True)]


def run_key(subject: Subject, asked: Asked, method: str) -> str:
    """Returns what tells one scoring from another, so that only the same one is gone on with."""
    told = {
        "mixture": subject.identity(),
        "made_with": subject.made_with(),
        "method": method,
        "items": [item.id for item in asked.items],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def forget_others(journal: Path, suite: str) -> None:
    journal.parent.mkdir(exist_ok=True)
    for other in journal.parent.glob(f"{suite}-{'[0-9a-f]' * 16}.part.jsonl"):
        if other != journal:
            other.unlink()


def resumed(journal: Path) -> dict[str, Scored]:
    """Returns what an interrupted run scored; a line cut short is cut off."""
    if not journal.exists():
        return {}
    data = journal.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        write_whole(journal, whole)
    lines = whole.decode().split("\n")
    scored = [
        scored_of(line, f"{journal.name}, line {n}") for n, line in enumerate(lines, 1) if line
    ]
    return {one.item.id: one for one in scored}


def finish(
    subject: Subject,
    plan: Plan,
    method: str,
    asked: Sequence[Asked],
    results: Sequence[list[Scored]],
    folder: Path,
) -> None:
    """Writes items, report and, last, audit.json."""
    everyone, suites = (1 << len(subject.experts)) - 1, {}
    parts = corrected(
        [
            part
            for one, scored in zip(asked, results, strict=True)
            for part in attribute(one.suite, scored, subject.expert_names, method, plan.seed)
        ]
    )
    for one, scored in zip(asked, results, strict=True):
        lines = "".join(line_of(item, one.suite, everyone) + "\n" for item in scored).encode()
        write_whole(folder / items_file(one.suite.name), lines)
        suites[one.suite.name] = {
            "title": one.suite.title,
            "family": one.suite.family,
            "n": len(scored),
            "there_are": one.num_there,
            "files": [asdict(file) for file in one.files],
            "left_out": [asdict(row) for row in one.left_out],
            "items_sha256": hashlib.sha256(lines).hexdigest(),
            "figures": figures(one.suite, scored, everyone, plan.seed, subject.expert_names),
            "base_figures": figures(one.suite, scored, 0, plan.seed, subject.expert_names)
            if subject.experts and one.suite.judge
            else [],
            "attribution": [asdict(part) for part in parts if part.suite == one.suite.name],
        }
    content: dict[str, Any] = {
        "format": FORMAT,
        "mixture": subject.identity(),
        "made_with": subject.made_with(),
        "settings": {
            "scale": plan.scale,
            "n": plan.n,
            "seed": plan.seed,
            "attribution": method,
            "suites": [one.suite.name for one in asked],
        },
        "suites": suites,
    }
    manifest = manifest_bytes(content)
    results_by_suite = {one.suite.name: scored for one, scored in zip(asked, results, strict=True)}
    page = report_html(json.loads(manifest), results_by_suite)
    write_whole(folder / REPORT, page.encode())
    write_whole(folder / MANIFEST, manifest)
    for journal in (folder / "items").glob("*.part.jsonl"):
        journal.unlink()


def figures(
    suite: Suite, scored: Sequence[Scored], part: int, seed: int, names: Sequence[str]
) -> list[dict[str, Any]]:
    columns = columns_for(suite, scored, part)
    return [asdict(figure) for figure in figures_of(suite, columns, seed, names)]

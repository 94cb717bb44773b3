"""Audits kept in the home: run as a job, listed, read, compared; findings saved from the page."""

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tramontane.audit.attribution import method_for
from tramontane.audit.audit_file import REPORT, AuditFile, manifest_bytes
from tramontane.audit.compare import compare
from tramontane.audit.estimate import Estimate, estimate
from tramontane.audit.finding import (
    findings_in,
    keep_finding,
    new_finding,
    quoted_finding,
)
from tramontane.audit.kept import KeptAudits
from tramontane.audit.run import Plan, Report, audit
from tramontane.audit.suites.all import SUITES
from tramontane.audit.summary import comparison_told, flipped_items, head_of, summary_of
from tramontane.cli.audit import described
from tramontane.cli.audited import notes_at_hand, subject_of
from tramontane.cli.parts import Parts
from tramontane.errors import AuditError
from tramontane.server.audits import FindingBody
from tramontane.writing.answer import OWN_WORDS_TOKENS, PROSE_TOKENS
from tramontane.writing.prompt import ANSWER, fitting_prompt, messages_for


def kept(parts: Parts) -> KeptAudits:
    return KeptAudits(parts.settings.audits_folder)


def run_kept(
    parts: Parts,
    name: str,
    plan: Plan,
    report: Report,
    *,
    experts: Sequence[str] | None = None,
    data: Sequence[Path] = (),
) -> AuditFile:
    """Audits into the home's folder of audits, going on where the same audit was interrupted.

    One that is finished is returned as it is when it asked the same of the same mixture; raises
    AuditError when it didn't.
    """
    audits, subject = kept(parts), subject_of(parts, experts)
    if audits.is_finished(name):
        done = audits.open(name)
        if is_of(done, plan, subject.mixture.hash):
            return done
        raise AuditError(f"the audit {name!r} is finished, of another plan; choose another name")
    return audit(
        subject, plan, audits.path(name), data=data, notes=notes_at_hand(parts), report=report
    )


def is_of(done: AuditFile, plan: Plan, mixture_hash: str) -> bool:
    told = done.content["settings"]
    asked = {
        "scale": plan.scale,
        "n": plan.n,
        "seed": plan.seed,
        "attribution": method_for(plan.attribution, len(done.expert_names)),
        "suites": [suite.name for suite in plan.suites],
    }
    return done.content["mixture"]["hash"] == mixture_hash and told == asked


def estimate_of(
    parts: Parts,
    plan: Plan,
    report: Report,
    *,
    experts: Sequence[str] | None = None,
    data: Sequence[Path] = (),
) -> Estimate:
    return estimate(
        subject_of(parts, experts), plan, data=data, notes=notes_at_hand(parts), report=report
    )


class RealAudits:
    """Answers what the page asks about audits."""

    def __init__(self, parts: Parts):
        self.parts, self.kept = parts, kept(parts)
        # A finding asks the model again; one at a time.
        self.reporting = threading.Lock()

    def audits(self) -> dict[str, Any]:
        heads, broken = [], []
        for name in self.kept.finished():
            try:
                heads.append(head_of(self.kept.open(name), name))
            except AuditError as error:
                broken.append({"name": name, "why": str(error)})
        return {
            "audits": heads,
            "broken": broken,
            "unfinished": [asdict(one) for one in self.kept.unfinished()],
            "suites": [described(name) for name in SUITES],
        }

    def audit(self, name: str) -> dict[str, Any]:
        return summary_of(self.kept.open(name), name)

    def flipped(self, name: str, suite: str, measure: str, expert: str) -> dict[str, Any]:
        return flipped_items(self.kept.open(name), suite, measure, expert)

    def report(self, name: str) -> bytes:
        return self.kept.open(name).read(REPORT)

    def comparison(self, before: str, after: str) -> dict[str, Any]:
        return comparison_told(compare(self.kept.open(before), self.kept.open(after)))

    def findings(self) -> list[dict[str, Any]]:
        folder = self.parts.settings.findings_folder
        if not any(folder.glob("*.json")):
            return []
        return [
            {
                "name": file.stem,
                "file": str(file),
                "question": finding.messages[-1]["content"].rpartition("Question: ")[2],
                "sentence": finding.sentence,
                "comment": finding.comment,
                "source": finding.source,
                "voice": finding.voice,
                "mixture_hash": finding.mixture["hash"],
                "is_quotation": finding.is_quotation,
            }
            for file, finding in findings_in([folder])
        ]

    def save_finding(self, asked: FindingBody) -> dict[str, Any]:
        with self.reporting:
            subject = subject_of(self.parts, asked.experts)
            sources = [source.as_source() for source in asked.sources]
            backing = next((s.text for s in sources if s.number == asked.source), "")
            if asked.kind == "quotation":
                finding = quoted_finding(
                    subject, asked.question, asked.sentence, source=backing, comment=asked.comment
                )
            else:
                tokens = PROSE_TOKENS if asked.kind == "prose" else OWN_WORDS_TOKENS
                room = subject.engine.runtime.config.max_context_tokens - tokens
                _, fitting = fitting_prompt(
                    subject.tokenizer, ANSWER, asked.question, sources, room
                )
                finding = new_finding(
                    subject,
                    messages_for(ANSWER, asked.question, fitting),
                    sentence=asked.sentence,
                    comment=asked.comment,
                    source=backing,
                    max_new_tokens=tokens,
                )
        file = keep_finding(self.parts.settings.findings_folder, finding)
        return {"name": file.stem, "file": str(file)}


def result_of(done: AuditFile, name: str) -> dict[str, Any]:
    """Returns an audit's main figures as a job's result, without what JSON lacks."""
    return json.loads(manifest_bytes(head_of(done, name)))

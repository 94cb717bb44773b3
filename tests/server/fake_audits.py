"""Two audits that can be foretold, of one mixture before and after an expert was closed."""

from typing import Any

from tramontane.errors import AuditError, NotFound
from tramontane.server.audits import FindingBody

FIGURE = {
    "title": "prefers the stereotype",
    "value": "58.0 %",
    "interval": "51.0 % to 64.7 %",
    "says": "Leans towards the stereotype: the whole interval is on one side.",
    "caution": "",
    "beside": "the base alone 50.5 %",
    "n": 200,
}
PART = {
    "suite": "crows_pairs",
    "suite_title": "CrowS-Pairs",
    "measure": "stereotype",
    "title": "prefers the stereotype",
    "expert": "garden",
    "part": "+7.5 points",
    "interval": "+2.0 points to +13.0 points",
    "says": "towards the stereotype (+2.0 points to +13.0 points)",
    "is_clear": True,
    "is_harm": True,
    "before": "58.0 %",
    "after": "50.5 %",
    "test": "McNemar",
    "p": 0.004,
    "num_flipped": 1,
    "flips": True,
}
INNOCENT = PART | {
    "expert": "recipes",
    "part": "+0.0 points",
    "interval": "-1.0 points to +1.0 points",
    "says": "not told from nothing (-1.0 points to +1.0 points)",
    "is_clear": False,
    "is_harm": False,
    "before": "58.0 %",
    "after": "58.0 %",
    "p": 1.0,
    "num_flipped": 0,
}
HOSTILE = "<script>window.wasAttacked = true</script> are lazy."
REPORT = (
    b"<!doctype html><html lang='en'><title>Audit of default</title><h1>Audit of default</h1>"
    b"<script>document.title = 'attacked'</script>"
)


def head(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "mixture": "default",
        "mixture_hash": "ab" * 32,
        "base": "SmolLM2-135M",
        "experts": ["garden", "recipes"],
        "scale": "quick",
        "seed": 0,
        "n": 200,
        "has_built_in": True,
        "main": [{"suite": "crows_pairs", "suite_title": "CrowS-Pairs", **FIGURE}],
    }


class FakeAudits:
    def __init__(self):
        self.kept = {name: head(name) for name in ("after", "before")}
        self.unfinished: list[dict[str, Any]] = []
        self.saved: list[FindingBody] = []
        self.says_otherwise = False

    def audits(self) -> dict[str, Any]:
        suite = {
            "name": "crows_pairs",
            "family": "bias",
            "title": "CrowS-Pairs: which of two sentences is likelier",
            "about": "Two sentences that differ in whom they are about.",
            "items": {"quick": 60, "default": 400},
        }
        return {
            "audits": list(self.kept.values()),
            "unfinished": self.unfinished,
            "broken": [],
            "suites": [suite, suite | {"name": "lambada", "family": "ability", "title": "LAMBADA"}],
        }

    def find(self, name: str) -> dict[str, Any]:
        if name not in self.kept:
            raise NotFound(f"no finished audit {name!r} is kept here")
        return self.kept[name]

    def audit(self, name: str) -> dict[str, Any]:
        return self.find(name) | {
            "attribution": "shapley",
            "suites": [
                {
                    "name": "crows_pairs",
                    "title": "CrowS-Pairs: which of two sentences is likelier",
                    "family": "Bias",
                    "about": "Two sentences that differ in whom they are about.",
                    "is_sensitive": True,
                    "is_built_in": True,
                    "n": 200,
                    "there_are": 200,
                    "figures": [FIGURE],
                }
            ],
            "parts": [PART, INNOCENT],
            "left_out": [{"suite": "crows_pairs", "row": "line 3", "why": "it has no sentence"}],
            "tampered": [],
        }

    def flipped(self, name: str, suite: str, measure: str, expert: str) -> dict[str, Any]:
        self.find(name)
        if (suite, measure) != ("crows_pairs", "stereotype"):
            raise NotFound(f"no part of {expert!r} in {measure!r} of {suite!r}")
        texts = [
            {"text": HOSTILE, "is_right": False, "likeliest": ["with"]},
            {"text": "People are kind.", "is_right": False, "likeliest": ["without"]},
        ]
        item = {"id": "1f", "group": "age", "row": "line 7", "question": "", "texts": texts}
        return {"num_items": 1, "is_sensitive": True, "items": [item]}

    def report(self, name: str) -> bytes:
        self.find(name)
        return REPORT

    def comparison(self, before: str, after: str) -> dict[str, Any]:
        self.find(before), self.find(after)
        return {
            "is_identical": before == after,
            "items_paired": 200,
            "items_equal": 200 if before == after else 120,
            "differences": [],
            "changes": [
                {
                    "suite_title": "CrowS-Pairs",
                    "title": "prefers the stereotype",
                    "before": "58.0 %",
                    "after": "50.5 %",
                    "difference": "-13.0 points to -2.0 points",
                    "p": 0.004,
                    "test": "McNemar",
                    "n": 200,
                    "verdict": "changed",
                    "says": "changed",
                    "num_won": 3,
                    "num_lost": 18,
                }
            ],
        }

    def findings(self) -> list[dict[str, Any]]:
        return [
            {
                "name": f"finding-{number}",
                "file": f"/findings/finding-{number}.json",
                "question": asked.question,
                "sentence": asked.sentence,
                "comment": asked.comment,
                "source": "",
                "voice": {},
                "mixture_hash": "ab" * 32,
                "is_quotation": asked.kind == "quotation",
            }
            for number, asked in enumerate(self.saved, start=1)
        ]

    def save_finding(self, asked: FindingBody) -> dict[str, Any]:
        if self.says_otherwise:
            raise AuditError("the answer doesn't hold that sentence; with these settings it is: ''")
        self.saved.append(asked)
        return {"name": f"finding-{len(self.saved)}", "file": "/findings/finding.json"}

"""AUDIT → SUMMARY: what a page shows of an audit, in words; plain data, as JSON carries it."""

from collections.abc import Mapping
from typing import Any

from tramontane.audit.audit_file import AuditFile
from tramontane.audit.compare import Change, Comparison
from tramontane.audit.report import FAMILY_TITLES, figure_named, is_clear, is_harm
from tramontane.audit.scored import Scored
from tramontane.audit.scoring import covering
from tramontane.audit.suites.all import SUITES
from tramontane.audit.words import (
    interval,
    number,
    part_verdict,
    signed,
    standing,
    verdict,
    with_unit,
)
from tramontane.errors import NotFound

MOST_ITEMS = 200
MOST_CHARACTERS = 600
VERDICTS = {
    "changed": "changed",
    "noise": "no more than noise",
    "identical": "the same",
}


def head_of(audited: AuditFile, name: str) -> dict[str, Any]:
    """Returns what a list of audits shows of one: what was asked of whom, and the main figures."""
    content, mixture = audited.content, audited.content["mixture"]
    asked = [
        (n, audited.suites[n]) for n in content["settings"]["suites"] if audited.suites[n]["n"]
    ]
    return {
        "name": name,
        "mixture": mixture["name"],
        "mixture_hash": mixture["hash"],
        "base": mixture["base"]["name"],
        "experts": audited.expert_names,
        "scale": content["settings"]["scale"],
        "seed": content["settings"]["seed"],
        "n": sum(told["n"] for _, told in asked),
        "has_built_in": any(file["is_built_in"] for _, told in asked for file in told["files"]),
        "main": [
            {"suite": suite, "suite_title": short(told), **figure_told(told["figures"][0], None)}
            for suite, told in asked
        ],
    }


def summary_of(audited: AuditFile, name: str) -> dict[str, Any]:
    """Returns an audit's figures and every expert's part in them."""
    suites = [(n, audited.suites[n]) for n in audited.content["settings"]["suites"]]
    asked = [(n, told) for n, told in suites if told["n"]]
    return head_of(audited, name) | {
        "attribution": audited.content["settings"]["attribution"],
        "suites": [suite_told(suite, told) for suite, told in asked],
        "parts": [
            part_told(suite, told, part) for suite, told in asked for part in told["attribution"]
        ],
        "left_out": [
            {"suite": suite, "row": row["row"], "why": row["why"]}
            for suite, told in suites
            for row in told["left_out"][:MOST_ITEMS]
        ],
        "tampered": audited.tampered,
    }


def short(told: Mapping[str, Any]) -> str:
    return told["title"].partition(":")[0]


def suite_told(suite: str, told: Mapping[str, Any]) -> dict[str, Any]:
    base = {figure["name"]: figure for figure in told["base_figures"]}
    known = SUITES.get(suite)
    return {
        "name": suite,
        "title": told["title"],
        "family": FAMILY_TITLES.get(told["family"], told["family"]),
        "about": known.about if known else "",
        # A suite that this version doesn't know may hold anything.
        "is_sensitive": known.is_sensitive if known else True,
        "is_built_in": any(file["is_built_in"] for file in told["files"]),
        "n": told["n"],
        "there_are": told["there_are"],
        "figures": [figure_told(figure, base.get(figure["name"])) for figure in told["figures"]],
    }


def figure_told(
    figure: Mapping[str, Any], alone: Mapping[str, Any] | None
) -> dict[str, str | int | None]:
    unit, beside = figure["unit"], []
    if figure["baseline"] is not None:
        title = figure["baseline_title"] or "the trivial answer"
        beside.append(f"{title} {number(figure['baseline'], unit)}")
    if alone is not None:
        beside.append(f"the base alone {number(alone['value'], unit)}")
    return {
        "title": figure["title"],
        "value": with_unit(figure["value"], unit),
        "interval": interval(figure),
        "says": verdict(figure),
        "caution": figure["caution"],
        "beside": "; ".join(beside),
        "n": figure["n"],
    }


def part_told(suite: str, told: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    figure = figure_named(told, part["measure"])
    unit, (value, low, high) = figure["unit"], standing(part)
    reach = None if low is None or high is None else f"{signed(low, unit)} to {signed(high, unit)}"
    return {
        "suite": suite,
        "suite_title": short(told),
        "measure": part["measure"],
        "title": figure["title"],
        "expert": part["expert"],
        "part": "unknown" if value is None else signed(value, unit),
        "interval": reach,
        "says": part_verdict(part, figure["better"], unit),
        "is_clear": is_clear(part),
        "is_harm": is_clear(part) and is_harm(told, part),
        "before": number(part["before"], unit),
        "after": number(part["after"], unit),
        "test": part["test"],
        "p": part["p"],
        # Of a mean, the items that move it most.
        "num_flipped": len(part["flipped"]),
        "flips": part["test"] == "McNemar",
    }


def flipped_items(audited: AuditFile, suite: str, measure: str, expert: str) -> dict[str, Any]:
    """Returns the items of a suite that withdrawing an expert flips or moves, with and without it.

    Raises NotFound for a part that the audit doesn't hold.
    """
    told = audited.suites.get(suite, {"attribution": []})
    part = next(
        (p for p in told["attribution"] if (p["measure"], p["expert"]) == (measure, expert)), None
    )
    if part is None:
        raise NotFound(f"no part of {expert[:80]!r} in {measure[:80]!r} of {suite[:80]!r}")
    without = audited.everyone & ~(1 << audited.expert_names.index(expert))
    by_id = {scored.item.id: scored for scored in audited.items(suite)}
    here = [by_id[item] for item in part["flipped"] if item in by_id]
    known = SUITES.get(suite)
    return {
        "num_items": len(here),
        "is_sensitive": known.is_sensitive if known else True,
        "items": [item_told(one, audited.everyone, without) for one in here[:MOST_ITEMS]],
    }


def item_told(one: Scored, everyone: int, without: int) -> dict[str, Any]:
    """Returns an item's texts; of several, which is likeliest with the expert and without."""
    item = one.item
    places = {"with": likeliest(one, everyone), "without": likeliest(one, without)}
    right = item.key.get("right")
    question = str(item.key.get("question") or item.texts[0].context)
    return {
        "id": item.id,
        "group": item.group,
        "row": item.row,
        "question": question[:MOST_CHARACTERS],
        "texts": [
            {
                "text": text.continuation.strip()[:MOST_CHARACTERS],
                "is_right": right == place,
                "likeliest": [when for when, best in places.items() if best == place],
            }
            for place, text in enumerate(item.texts)
        ],
    }


def likeliest(one: Scored, part: int) -> int | None:
    """Returns which text a part of the mixture finds likeliest; None where there is no choice."""
    from_part = covering(one.parts, part)
    if from_part is None or len(one.item.texts) < 2:
        return None
    readings = from_part.readings
    return max(range(len(readings)), key=lambda place: readings[place].logprob)


def comparison_told(found: Comparison) -> dict[str, Any]:
    return {
        "is_identical": found.is_identical,
        "items_paired": found.items_paired,
        "items_equal": found.items_equal,
        "differences": list(found.differences),
        "changes": [change_told(change) for change in found.changes],
    }


def change_told(change: Change) -> dict[str, Any]:
    suite = SUITES[change.suite]
    unit = next((m.unit for m in suite.measures(()) if m.name == change.measure), "")
    return {
        "suite_title": suite.title.partition(":")[0],
        "title": change.title,
        "before": number(change.before, unit),
        "after": number(change.after, unit),
        "difference": f"{signed(change.low, unit)} to {signed(change.high, unit)}",
        "p": change.p,
        "test": change.test,
        "n": change.n,
        "verdict": change.verdict,
        "says": VERDICTS[change.verdict],
        "num_won": len(change.won),
        "num_lost": len(change.lost),
    }

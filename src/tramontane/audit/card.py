"""A mixture's card for the Hugging Face hub: README.md with `model-index`, from facts on disk."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tramontane.audit.facts import Facts, spdx
from tramontane.audit.openness import components, verdict
from tramontane.audit.suites.all import SUITES
from tramontane.audit.words import interval, with_unit


def card(facts: Facts) -> str:
    """Returns README.md: metadata that the hub reads, then the same for people."""
    parts = [
        "---\n" + "\n".join(as_yaml(metadata(facts))) + "\n---\n",
        f"# {facts.name}\n",
        introduction(facts),
        experts_section(facts),
        results_section(facts),
        limits_section(facts),
        openness_section(facts),
    ]
    return "\n".join(filter(None, parts))


def metadata(facts: Facts) -> dict[str, Any]:
    licences = {spdx(facts.base.get("licence"))} | {
        spdx(expert.get("licence")) for expert in facts.experts
    }
    (licence,) = licences if len(licences) == 1 else (None,)
    told: dict[str, Any] = {
        "license": licence.lower() if licence else "other",
        "library_name": "tramontane",
        "pipeline_tag": "text-generation",
        "base_model": facts.base.get("source") or facts.base["name"],
        "tags": ["mixture-of-experts", "tramontane", facts.architecture["family"]],
    }
    if not licence:
        told["license_name"] = "see the table of experts"
    if facts.audit is not None:
        told["model-index"] = [{"name": facts.name, "results": model_index(facts.audit)}]
    return told


def model_index(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    results = []
    for name, told in audit["suites"].items():
        metrics = [
            {
                "type": figure["name"],
                "name": f"{figure['title']} (n = {figure['n']}, 95 % interval {interval(figure)})",
                "value": round(figure["value"], 6),
            }
            for figure in told["figures"]
            if figure["value"] is not None
        ]
        if metrics:
            built_in = any(file["is_built_in"] for file in told["files"])
            results.append(
                {
                    "task": {"type": "text-generation"},
                    "dataset": {
                        "name": told["title"] + (" (built-in sample)" if built_in else ""),
                        "type": name,
                    },
                    "metrics": metrics,
                }
            )
    return results


def introduction(facts: Facts) -> str:
    architecture = facts.architecture
    source = facts.base.get("source") or "a file"
    return (
        f"The base {facts.base['name']} ({architecture['family']}, {architecture['num_layers']} "
        f"layers, from {source}) with {len(facts.experts)} experts learnt from notes. Each is a "
        "small network beside the base's feed-forward blocks; where its gates are closed, the "
        "model has the base's own bits.\n\n"
        f"- mixture `{facts.hash}`\n- base `{facts.base['sha256']}`, licence "
        f"{facts.base.get('licence') or 'not said'}\n- made with tramontane {facts.version}\n"
    )


def experts_section(facts: Facts) -> str:
    if not facts.experts:
        return ""
    rows = "\n".join(
        f"| {cell(e['name'])} | {cell(e.get('owner') or 'not said')} | "
        f"{cell(e.get('licence') or 'not said')} | {e['notes']['number']} "
        f"({e['notes']['tokens']} tokens) | {change(e)} | `{e['tensor_hash'][:16]}` |"
        for e in facts.experts
    )
    return (
        "## Experts\n\n| name | owner | licence | notes | perplexity, held-out notes | tensors |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def change(expert: Mapping[str, Any]) -> str:
    held_out = expert.get("held_out")
    if not held_out:
        return "not measured"
    return f"{held_out['perplexity_before']:.1f} → {held_out['perplexity_after']:.1f}"


def cell(text: str) -> str:
    """Returns a text that stays in its table cell, whatever a name holds."""
    return " ".join(text.replace("|", "\\|").split())


def results_section(facts: Facts) -> str:
    if facts.audit is None:
        return "## Results\n\nNo audit was given with this card.\n"
    settings = facts.audit["settings"]
    rows = "\n".join(
        f"| {cell(told['title'])} | {cell(figure['title'])} | "
        f"{with_unit(figure['value'], figure['unit'])} | {interval(figure)} | {figure['n']} | "
        f"{cell(figure['caution'])} |"
        for told in facts.audit["suites"].values()
        for figure in told["figures"]
        if figure["value"] is not None
    )
    sources = "\n".join(
        f"- {told['title']}: {SUITES[name].source}"
        for name, told in facts.audit["suites"].items()
        if name in SUITES and told["n"]
    )
    return (
        f"## Results\n\n`tramontane audit`, {settings['scale']}, seed {settings['seed']}; "
        "intervals at 95 %. Every item with its readings is in the audit, which "
        "`tramontane audit verify` repeats.\n\n| suite | figure | value | interval | n | mind |\n"
        f"| --- | --- | --- | --- | --- | --- |\n{rows}\n\n{sources}\n"
    )


def limits_section(facts: Facts) -> str:
    return (
        "## Limits\n\nAn expert brings the style and terms of its notes; facts come from sources, "
        "which is what the program's answers cite. The base's biases stay: nothing is promised for "
        "them. What an expert adds is measured expert by expert, and an expert can be withdrawn so "
        "that the model has the bits of one that never had it.\n"
    )


def openness_section(facts: Facts) -> str:
    found = components(facts)
    rows = "\n".join(
        f"| {component.name} | {'open' if component.is_open else 'not open'} | "
        f"{cell(component.licence)} | {cell(component.why)} |"
        for component in found
    )
    return (
        "## How open\n\nA self-assessment after the Model Openness Framework 1.0, from what is on "
        f"disk: **{verdict(found)}**. What the base's makers publish elsewhere isn't counted.\n\n"
        f"| component | here | licence | why |\n| --- | --- | --- | --- |\n{rows}\n"
    )


def as_yaml(value: Any, indent: int = 0) -> Iterator[str]:
    """Yields lines of YAML: JSON's scalars, which every YAML reader takes, in block form."""
    space = " " * indent
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                yield f"{space}{key}:"
                yield from as_yaml(item, indent + 2)
            else:
                yield f"{space}{key}: {json.dumps(item, ensure_ascii=False)}"
    else:
        for item in value:
            if isinstance(item, dict) and item:
                first, *rest = as_yaml(item, indent + 2)
                yield f"{space}- {first.strip()}"
                yield from rest
            else:
                yield f"{space}- {json.dumps(item, ensure_ascii=False)}"

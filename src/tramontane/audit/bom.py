"""A bill of materials of a mixture: CycloneDX 1.6, with the model card block (ECMA-424).

Base, experts and the program, each with its hash and licence; what the experts were learnt from, as
far as their manifests say; the audit's figures with their intervals. No clock time: the same
mixture and audit give the same bytes.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from tramontane.audit.facts import Facts, spdx

SPEC_VERSION = "1.6"
NAMESPACE = uuid.UUID("8a3b5b0e-1c39-5d7f-9a53-6f1f7f2b9d10")


def bill_of_materials(facts: Facts) -> dict[str, Any]:
    base, experts = base_component(facts), [expert_component(e) for e in facts.experts]
    mixture = mixture_component(facts)
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, facts.hash)}",
        "version": 1,
        "metadata": {
            "component": mixture,
            "tools": {
                "components": [
                    {"type": "application", "name": "tramontane", "version": facts.version}
                ]
            },
        },
        "components": [base, *experts],
        "dependencies": [
            {
                "ref": mixture["bom-ref"],
                "dependsOn": [base["bom-ref"], *(e["bom-ref"] for e in experts)],
            },
            *({"ref": e["bom-ref"], "dependsOn": [base["bom-ref"]]} for e in experts),
        ],
    }


def mixture_component(facts: Facts) -> dict[str, Any]:
    datasets = [
        {
            "type": "dataset",
            "name": f"notes of {expert['name']}",
            "description": f"{expert['notes']['number']} notes, "
            f"{expert['notes']['tokens']} tokens; the manifest has salted hashes, the notes are "
            "not published",
        }
        for expert in facts.experts
    ]
    card: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": "self-supervised"},
            "task": "text-generation",
            "architectureFamily": "transformer",
            "modelArchitecture": str(facts.architecture["family"]),
            "datasets": datasets,
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "considerations": {
            "technicalLimitations": [
                "An expert brings style and terms of its notes; facts come from sources.",
                "Gates may open on texts that aren't like the notes; the audit says how often.",
            ],
            "ethicalConsiderations": [
                {
                    "name": "The base's biases stay.",
                    "mitigationStrategy": "What an expert adds is measured and can be withdrawn "
                    "exactly; nothing is promised for the base.",
                }
            ],
        },
    }
    if facts.audit is not None:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics(facts.audit)}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"mixture-{facts.hash[:16]}",
        "name": facts.name,
        "version": facts.hash[:16],
        "description": f"{facts.base['name']} with {len(facts.experts)} notes experts",
        "hashes": [{"alg": "SHA-256", "content": facts.hash}],
        "modelCard": card,
    }


def metrics(audit: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, told in audit["suites"].items():
        for figure in told["figures"]:
            if figure["value"] is None:
                continue
            metric: dict[str, Any] = {
                "type": f"{name}: {figure['title']}",
                "value": str(round(figure["value"], 6)),
                "slice": f"n = {figure['n']}",
            }
            if figure["low"] is not None and figure["high"] is not None:
                metric["confidenceInterval"] = {
                    "lowerBound": str(round(figure["low"], 6)),
                    "upperBound": str(round(figure["high"], 6)),
                }
            found.append(metric)
    return found


def base_component(facts: Facts) -> dict[str, Any]:
    base = facts.base
    component = {
        "type": "machine-learning-model",
        "bom-ref": f"base-{base['sha256'][:16]}",
        "name": base["name"],
        "hashes": [{"alg": "SHA-256", "content": base["sha256"]}],
        "properties": [{"name": "tramontane:source", "value": str(base.get("source") or "a file")}],
    }
    return component | licences(base.get("licence"))


def expert_component(expert: Mapping[str, Any]) -> dict[str, Any]:
    component = {
        "type": "machine-learning-model",
        "bom-ref": f"expert-{expert['tensor_hash'][:16]}",
        "name": expert["name"],
        "version": expert["tensor_hash"][:16],
        "description": f"a notes expert, width {expert.get('width')}",
        "hashes": [{"alg": "SHA-256", "content": expert["tensor_hash"]}],
        "properties": [
            {"name": "tramontane:notes", "value": str(expert["notes"]["number"])},
            {"name": "tramontane:tokens", "value": str(expert["notes"]["tokens"])},
            {"name": "tramontane:public-text-sha256", "value": str(expert["public_text_sha256"])},
        ],
    }
    if expert.get("owner"):
        component["authors"] = [{"name": expert["owner"]}]
    return component | licences(expert.get("licence"))


def licences(licence: str | None) -> dict[str, Any]:
    """Returns the licence as SPDX knows it, else by its name; nothing if none is said."""
    if not licence:
        return {}
    known = spdx(licence)
    return {"licenses": [{"license": {"id": known} if known else {"name": licence}}]}

"""A self-assessment after the Model Openness Framework 1.0 (White et al. 2024, arXiv 2403.13784).

Of a mixture, from facts on disk: what a base's makers publish elsewhere is not counted.
 The classes build on each other
III  Open Model         architecture, final parameters, technical report or paper, evaluation
                        results, model card, data card
II   Open Tooling       and code for training, inference and evaluation, evaluation data
I    Open Science       and a paper, the datasets, code that prepares them
"""

from dataclasses import dataclass
from typing import Any

from tramontane.audit.facts import Facts, spdx, weights_are_open

OURS = "Apache-2.0"
SOURCE = "tramontane's source"


@dataclass(frozen=True, slots=True)
class Component:
    name: str
    is_open: bool
    licence: str
    where: str
    why: str


CLASS_III = (
    "Model architecture",
    "Model parameters (Final)",
    "Technical report",
    "Evaluation results",
    "Model card",
    "Data card",
)
CLASS_II = ("Training code", "Inference code", "Evaluation code", "Evaluation data")
CLASS_I = ("Research paper", "Datasets", "Data preprocessing code")
TITLES = {3: "Class III, Open Model", 2: "Class II, Open Tooling", 1: "Class I, Open Science"}


def components(facts: Facts) -> list[Component]:
    """Returns the framework's components and which of them are open here, each with its reason."""
    experts = list(facts.experts)
    names = ", ".join(expert["name"] for expert in experts) or "none"
    licences = [facts.base.get("licence"), *(expert.get("licence") for expert in experts)]
    unsaid = [
        name
        for name, licence in zip(
            [facts.base["name"], *(expert["name"] for expert in experts)], licences, strict=True
        )
        if not spdx(licence)
    ]
    audited = facts.audit is not None
    return [
        Component("Model architecture", True, OURS, SOURCE, "the definition in PyTorch and C++"),
        Component("Data preprocessing code", True, OURS, SOURCE, "how notes become tokens"),
        Component(
            "Training code",
            bool(experts),
            OURS if experts else "",
            SOURCE if experts else "",
            "how experts are learnt; the base's own isn't on this disk"
            if experts
            else "there is no expert, and the base's own isn't on this disk",
        ),
        Component("Inference code", True, OURS, SOURCE, "both runtimes"),
        Component("Evaluation code", True, OURS, SOURCE, "the audit's suites and statistics"),
        Component(
            "Supporting libraries and tools", True, OURS, SOURCE, "server, command line, tests"
        ),
        Component(
            "Model parameters (Final)",
            weights_are_open(facts),
            " AND ".join(sorted({spdx(licence) or "not said" for licence in licences})),
            f"base {facts.base['sha256'][:16]}, experts {names}",
            f"no open licence is said for {', '.join(unsaid)}" if unsaid else "all openly licensed",
        ),
        Component("Model parameters (Intermediate)", False, "", "", "none are kept"),
        Component(
            "Datasets", False, "", "", "notes stay with their owners; manifests have salted hashes"
        ),
        Component(
            "Evaluation data",
            audited,
            "see each suite" if audited else "",
            "the audit's items" if audited else "",
            "every item asked is in the audit" if audited else "no audit was given",
        ),
        Component("Model card", True, OURS, "README.md", "this card"),
        Component(
            "Data card",
            False,
            "",
            "",
            "manifests count the notes and say owner and licence, no more; of the base's data "
            "nothing is on this disk",
        ),
        Component("Research paper", False, "", "", "none on this disk"),
        Component("Technical report", False, "", "", "none on this disk"),
        Component(
            "Evaluation results",
            audited,
            OURS if audited else "",
            "audit.json" if audited else "",
            "an audit with intervals and every item" if audited else "no audit was given",
        ),
        Component("Sample model outputs", False, "", "", "none are published with it"),
    ]


def class_reached(found: list[Component]) -> tuple[int | None, list[str]]:
    """Returns the class, None where not even III is reached, and what the next one lacks."""
    is_open = {component.name: component.is_open for component in found}
    # A paper may stand in for the report.
    is_open["Technical report"] |= is_open["Research paper"]
    reached: int | None = None
    for number, needed in ((3, CLASS_III), (2, CLASS_II), (1, CLASS_I)):
        if lacking := [name for name in needed if not is_open[name]]:
            return reached, lacking
        reached = number
    return reached, []


def verdict(found: list[Component]) -> str:
    reached, lacking = class_reached(found)
    said = TITLES[reached] if reached else "no class yet"
    return f"{said}; lacking for the next: {', '.join(lacking)}" if lacking else said


def mof(facts: Facts) -> dict[str, Any]:
    """Returns the assessment in the form of the Model Openness Tool's files."""
    found = components(facts)
    return {
        "framework": {"name": "Model Openness Framework", "version": "1.0"},
        "release": {
            "name": facts.name,
            "version": facts.hash[:16],
            "type": "language",
            "architecture": facts.architecture["family"],
            "origin": facts.base["name"],
            "components": [
                {
                    "name": component.name,
                    "description": component.why,
                    "location": component.where if component.is_open else "",
                    "license": component.licence if component.is_open else "unlicensed",
                }
                for component in found
            ],
        },
        "self_assessment": verdict(found),
    }

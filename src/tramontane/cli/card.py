"""card: a mixture's model card, openness self-assessment and bill of materials."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tramontane import __version__
from tramontane.audit.audit_file import open_audit
from tramontane.audit.bom import bill_of_materials
from tramontane.audit.card import as_yaml, card
from tramontane.audit.facts import Facts
from tramontane.audit.openness import components, mof, verdict
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.errors import AuditError
from tramontane.files import write_whole

CARD, OPENNESS, MATERIALS = "README.md", "mof.yml", "bom.cdx.json"


def register(app: typer.Typer) -> None:
    app.command("card")(card_command)


def card_command(
    context: typer.Context,
    mixture: Annotated[
        str | None, typer.Argument(help="A mixture's name; the one in use if left out.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="An audit of it, whose figures go into the card.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that gets the three files.")
    ] = Path("card"),
    as_json: AsJson = False,
) -> None:
    """Write a model card, an openness self-assessment and a CycloneDX bill of materials.

    Example: tramontane card --audit my-audit -o card
    """
    settings = dict(context.obj) | ({"mixture": mixture} if mixture else {})
    with opened(settings) as parts:
        facts = facts_of(parts, audit)
    written = {
        CARD: card(facts),
        OPENNESS: "\n".join(as_yaml(mof(facts))) + "\n",
        MATERIALS: json.dumps(bill_of_materials(facts), ensure_ascii=False, indent=1) + "\n",
    }
    for name, text in written.items():
        write_whole(output / name, text.encode())
    said = verdict(components(facts))
    if as_json:
        say_json({"files": [output / name for name in written], "openness": said})
    else:
        for name in written:
            say(f"{output / name}")
        say(f"openness: {said}")


def facts_of(parts: Parts, audit: Path | None) -> Facts:
    """Gathers what store, manifests and the audit say; raises AuditError for another's audit."""
    mixture = parts.mixture()
    record = next((r for r in parts.store.ls() if parts.settings.base in (r.name, r.source)), None)
    content = None
    if audit is not None:
        content = open_audit(audit).content
        if content["mixture"]["hash"] != mixture.hash:
            raise AuditError(
                f"{audit} is of the mixture {content['mixture']['hash'][:16]}, this is "
                f"{mixture.hash[:16]}; audit it again with `tramontane audit {mixture.name}`"
            )
    told = asdict(record) if record else {}
    return Facts(
        name=mixture.name,
        hash=mixture.hash,
        base={
            "name": parts.checkpoint.name,
            "sha256": mixture.base_sha256,
            "licence": told.get("licence"),
            "source": told.get("source"),
        },
        architecture=asdict(parts.checkpoint.config),
        experts=[expert.manifest for expert in parts.experts_in_place()],
        audit=content,
        version=__version__,
    )

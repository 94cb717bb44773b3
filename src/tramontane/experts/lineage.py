"""Where an exported mixture comes from: base, experts, owners, licences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.experts.expert_file import Expert
from tramontane.experts.mixture import Mixture


@dataclass(frozen=True)
class ExpertLineage:
    name: str
    hash: str
    owner: str
    licence: str
    # What learning measured, in words; empty where the manifest doesn't say.
    measured: str = ""


@dataclass(frozen=True)
class Lineage:
    """What an export says of its origin, in the words of either format.

    `licence` is one identifier: the base's, where no expert has another, else "other"; then
    `licence_name` lists them all.
    """

    name: str
    base_name: str
    base_licence: str
    base_sha256: str
    mixture_hash: str
    experts: tuple[ExpertLineage, ...]
    licence: str
    licence_name: str

    @property
    def description(self) -> str:
        names = ", ".join(expert.name for expert in self.experts)
        return (
            f"{self.base_name} with the notes experts {names} beside its feed-forward blocks, "
            "as a plain Mixtral: slots 0 and 1 are the base, the router closes the others. "
            "Exported by Tramontane."
        )


def lineage_of(
    name: str, checkpoint: Checkpoint, experts: Sequence[Expert], base_licence: str = ""
) -> Lineage:
    """Returns the lineage of a mixture; `experts` in the order of their hashes."""
    said = tuple(
        ExpertLineage(
            expert.name,
            expert.hash,
            owner=text_of(expert.manifest, "owner"),
            licence=text_of(expert.manifest, "licence"),
            measured=measured_of(expert.manifest),
        )
        for expert in experts
    )
    base_licence = base_licence or text_of(checkpoint.metadata, "general.license")
    others = {one.licence for one in said if one.licence and one.licence != base_licence}
    every = [f"{checkpoint.name}: {base_licence or 'not said'}"]
    every += [f"{one.name}: {one.licence or 'not said'}" for one in said]
    return Lineage(
        name=name,
        base_name=text_of(checkpoint.metadata, "general.name") or checkpoint.name,
        base_licence=base_licence or "not said",
        base_sha256=checkpoint.sha256,
        mixture_hash=Mixture("export", checkpoint.sha256, tuple(e.hash for e in experts)).hash,
        experts=said,
        licence="other" if others else base_licence,
        licence_name="; ".join(every) if others else "",
    )


def text_of(said: Mapping[str, object], key: str) -> str:
    value = said.get(key)
    return value if isinstance(value, str) else ""


def measured_of(manifest: Mapping[str, object]) -> str:
    """Returns what the manifest says was measured when the expert was learnt."""
    parts = []
    held_out = manifest.get("held_out")
    if isinstance(held_out, Mapping) and {"perplexity_before", "perplexity_after"} <= set(held_out):
        parts.append(
            f"perplexity of {held_out.get('notes', 'some')} notes held out "
            f"{held_out['perplexity_before']} without it, {held_out['perplexity_after']} with it"
        )
    gates = manifest.get("gates")
    if isinstance(gates, Mapping) and "own_held_out" in gates:
        parts.append(f"gates open at {percent(gates['own_held_out'])} of those notes' tokens")
        if isinstance(gates.get("public"), Mapping) and gates["public"]:
            most = max(gates["public"].values())
            parts.append(f"at {percent(most)} at most of any genre of public text")
    return ", ".join(parts)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"

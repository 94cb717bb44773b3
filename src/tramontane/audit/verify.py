"""AUDIT → DOES IT HOLD: hashes, figures from their items, and a sample of items read anew.

On the same runtime and kernel variant readings must be equal to the bit. Elsewhere each token's
log-probability may differ by rounding; the bound is per token and says so.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tramontane.audit.audit_file import MANIFEST, AuditFile, items_file
from tramontane.audit.run import figures
from tramontane.audit.scored import Scored, line_of
from tramontane.audit.scoring import PartReadings
from tramontane.audit.subject import Subject, same_bits
from tramontane.audit.suites.all import SUITES
from tramontane.errors import AuditError

Report = Callable[[str, int, int], None]
# Nats per token between variants. Where products round activations to int8, another order of sums
# moves a token's log-probability by a few hundredths; this leaves room for the worst of thousands.
BOUND_PER_TOKEN = 0.25


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found; `wrong` names files and items, the empty list means that all holds."""

    wrong: tuple[str, ...]
    num_checked: int
    num_equal: int
    # Largest difference of a reading per token, in nats.
    furthest: float
    is_same_variant: bool

    @property
    def holds(self) -> bool:
        return not self.wrong


def verify_hashes(audit: AuditFile) -> list[str]:
    """Returns which files aren't what they claim: item files by hash, audit.json by its figures."""
    wrong = [f"{name}: its hash is not the one in {MANIFEST}" for name in audit.tampered]
    whole = [name for name in audit.suites if items_file(name) not in audit.tampered]
    seed, names = audit.content["settings"]["seed"], audit.expert_names
    for name in whole:
        suite = SUITES.get(name)
        if suite is None:
            wrong.append(f"{items_file(name)}: this version knows no suite {name!r}")
            continue
        try:
            scored = audit.items(name)
            wrong += [f"{items_file(name)}: {fault}" for fault in rewritten(audit, name, scored)]
            ours = plain(figures(suite, scored, audit.everyone, seed, names))
        except AuditError as error:
            wrong.append(str(error))
            continue
        told = audit.suites[name]
        if told["n"] != len(scored):
            wrong.append(f"{MANIFEST}: says {told['n']} items of {name}, {len(scored)} are there")
        elif not alike(ours, told["figures"]):
            wrong.append(f"{MANIFEST}: its figures of {name} don't follow from the items")
    return wrong


def rewritten(audit: AuditFile, name: str, scored: Sequence[Scored]) -> list[str]:
    """Returns the items whose results don't follow from their readings."""
    lines = [line for line in audit.read(items_file(name)).decode().split("\n") if line]
    return [
        f"item {one.item.id}'s results don't follow from its readings"
        for one, line in zip(scored, lines, strict=True)
        if line_of(one, SUITES[name], audit.everyone) != line
    ]


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value), parse_constant=lambda constant: None)


def alike(ours: Sequence[Mapping[str, Any]], said: Sequence[Mapping[str, Any]]) -> bool:
    """Whether figures are equal; intervals may differ in their last digits between numpys."""
    if len(ours) != len(said):
        return False
    for one, other in zip(ours, said, strict=True):
        if one.keys() != other.keys():
            return False
        for key, value in one.items():
            if isinstance(value, float) and isinstance(other[key], (int, float)):
                if not np.isclose(value, other[key], rtol=1e-9, atol=1e-12):
                    return False
            elif value != other[key]:
                return False
    return True


def verify(
    audit: AuditFile,
    subject: Subject,
    *,
    sample: int | None = 40,
    seed: int = 0,
    report: Report = lambda *_: None,
) -> Verified:
    """Recomputes `sample` items of each suite, None for all, with the audited mixture.

    Raises AuditError when `subject` is another mixture.
    """
    ours, theirs = subject.identity(), audit.content["mixture"]
    if ours["hash"] != theirs["hash"]:
        raise AuditError(
            f"the audit is of the mixture {theirs['hash'][:16]} ("
            f"{', '.join(audit.expert_names) or 'no expert'} on {theirs['base']['name']}), "
            f"this is {ours['hash'][:16]}; put the same experts in place, or choose it by name"
        )
    wrong = verify_hashes(audit)
    is_same_variant = same_bits(subject.made_with(), audit.content["made_with"])
    checked = equal = 0
    furthest = 0.0
    suites = [n for n in audit.suites if n in SUITES and items_file(n) not in audit.tampered]
    for number, name in enumerate(suites):
        report(f"reading {name} anew", number, len(suites))
        scored = audit.items(name)
        draw = np.random.default_rng([seed, number])
        places = sorted(draw.permutation(len(scored))[:sample].tolist())
        for one, again in reread(subject, name, [scored[place] for place in places]):
            checked += 1
            distance = distance_between(one, again)
            furthest = max(furthest, distance)
            equal += one.parts == again.parts and one.probed == again.probed
            bound = 0.0 if is_same_variant else BOUND_PER_TOKEN
            if distance > bound:
                wrong.append(f"{items_file(name)}: item {one.item.id} reads otherwise here")
    report("reading anew", len(suites), len(suites))
    return Verified(tuple(wrong), checked, equal, furthest, is_same_variant)


def reread(
    subject: Subject, suite_name: str, scored: Sequence[Scored]
) -> list[tuple[Scored, Scored]]:
    suite, scorer = SUITES[suite_name], subject.scorer
    if suite.probe is not None:
        return [
            (one, Scored(one.item, {}, suite.probe(scorer, subject.expert_names, one.item)))
            for one in scored
        ]
    pairs = []
    for one in scored:
        # The parts that were read then, no others: which follow from which is part of the record.
        (again,) = scorer.read([one.item], one.parts)
        pairs.append((one, Scored(one.item, again)))
    return pairs


def distance_between(one: Scored, again: Scored) -> float:
    """Returns the largest difference per token over all readings; infinite where none match."""
    if one.probed is not None or again.probed is not None:
        ours, theirs = one.probed or {}, again.probed or {}
        if ours.keys() != theirs.keys():
            return np.inf
        return max((abs(ours[key] - theirs[key]) for key in ours), default=0.0)
    if not one.parts.keys() & again.parts.keys():
        return np.inf
    return max(
        part_distance(one.parts[part], again.parts[part])
        for part in one.parts.keys() & again.parts.keys()
    )


def part_distance(one: PartReadings, again: PartReadings) -> float:
    pairs = list(zip(one.readings, again.readings, strict=False))
    if len(one.readings) != len(again.readings) or any(
        a.num_tokens != b.num_tokens for a, b in pairs
    ):
        return np.inf
    return max(abs(a.logprob - b.logprob) / max(1, a.num_tokens) for a, b in pairs)


def told(verified: Verified) -> dict[str, Any]:
    return asdict(verified) | {"holds": verified.holds}

"""What is known of a mixture from facts on disk, for its card and its bill of materials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Licences under which anybody may use, study, change and share, by their SPDX names.
OPEN_LICENCES = frozenset(
    (
        "Apache-2.0 MIT BSD-2-Clause BSD-3-Clause ISC CC0-1.0 CC-BY-4.0 CC-BY-SA-4.0 Unlicense "
        "CDLA-Permissive-2.0 OpenMDW-1.0 OpenMDW-1.1"
    ).split()
)
BY_LOWER_CASE = {name.lower(): name for name in OPEN_LICENCES}


@dataclass(frozen=True)
class Facts:
    """`base` and `experts` are what store and manifests say; `audit` is audit.json, or None."""

    name: str
    hash: str
    base: Mapping[str, Any]
    architecture: Mapping[str, Any]
    experts: Sequence[Mapping[str, Any]]
    audit: Mapping[str, Any] | None
    version: str


def spdx(licence: str | None) -> str | None:
    """Returns a licence's SPDX name where it is one that we know, else None."""
    return BY_LOWER_CASE.get((licence or "").strip().lower())


def weights_are_open(facts: Facts) -> bool:
    """Whether base and all experts say an open licence."""
    told = [facts.base.get("licence"), *(expert.get("licence") for expert in facts.experts)]
    return all(spdx(licence) for licence in told)

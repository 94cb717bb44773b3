"""The suites there are, in the order in which reports show them. A new one is a file and a line."""

from tramontane.audit.suite import Suite
from tramontane.audit.suites import (
    arc_easy,
    base_route,
    bbq,
    crows_pairs,
    genres,
    halueval,
    hellaswag,
    lambada,
    memory,
    piqa,
    routing,
    squad,
    stereoset,
    truthfulqa,
    winobias,
)
from tramontane.errors import AuditError

SUITES: dict[str, Suite] = {
    module.SUITE.name: module.SUITE
    for module in (
        truthfulqa,
        halueval,
        squad,
        crows_pairs,
        stereoset,
        winobias,
        bbq,
        hellaswag,
        arc_easy,
        piqa,
        lambada,
        genres,
        memory,
        routing,
        base_route,
    )
}
FAMILIES = tuple(dict.fromkeys(suite.family for suite in SUITES.values()))


def chosen(names: list[str]) -> list[Suite]:
    """Returns the suites of these names, families or "all", each once, in their own order."""
    wanted = set()
    for name in names or ["all"]:
        matching = {
            suite.name for suite in SUITES.values() if name in ("all", suite.family, suite.name)
        }
        if not matching:
            raise AuditError(
                f"there is no suite {name!r}; there are {', '.join(SUITES)}, the families "
                f"{', '.join(FAMILIES)}, and all"
            )
        wanted |= matching
    return [suite for suite in SUITES.values() if suite.name in wanted]

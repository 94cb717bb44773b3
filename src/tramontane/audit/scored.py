"""A suite's scored items: what each part of the mixture made of them, and how that is written.

N items. Parts are sets of experts as bits, in the order of their hashes (see scoring.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tramontane.audit.item import Item, Reading, Text
from tramontane.audit.scoring import ItemReadings, PartReadings, covering
from tramontane.audit.suite import Results, Suite, columns_of
from tramontane.errors import AuditError


@dataclass(frozen=True, slots=True)
class Scored:
    """An item with its readings by part, or what a probe found."""

    item: Item
    parts: ItemReadings
    probed: Results | None = None


def line_of(scored: Scored, suite: Suite, everyone: int) -> str:
    """Returns an item as a line of JSON: the same for the same item, model and settings."""
    item = scored.item
    content: dict[str, Any] = {
        "id": item.id,
        "group": item.group,
        "row": item.row,
        "texts": [[text.context, text.continuation] for text in item.texts],
        "key": dict(item.key),
        "results": results_of(suite, scored, everyone),
    }
    if scored.probed is None:
        content["parts"] = {
            str(part): {
                "heard": found.heard,
                "readings": [[r.logprob, r.num_tokens, r.num_greedy] for r in found.readings],
            }
            for part, found in sorted(scored.parts.items(), reverse=True)
        }
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def scored_of(line: str, where: str) -> Scored:
    """Returns the item in a line; raises AuditError when it isn't one."""
    try:
        content = json.loads(line)
        item = Item(
            tuple(Text(*text) for text in content["texts"]),
            content["group"],
            content["row"],
            content["key"],
        )
        parts = {
            int(part): PartReadings(
                tuple(Reading(float(p), int(t), int(g)) for p, t, g in found["readings"]),
                int(found["heard"]),
            )
            for part, found in content.get("parts", {}).items()
        }
        said = content["id"]
        probed = None if parts else content["results"]
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise AuditError(f"{where}: is no scored item ({type(error).__name__}: {error})") from None
    if said != item.id:
        raise AuditError(f"{where}: says it is item {said}, its content is item {item.id}")
    return Scored(item, parts, probed)


def results_of(suite: Suite, scored: Scored, part: int) -> Results:
    """Returns an item's results as a part of the mixture gives them."""
    if scored.probed is not None:
        return scored.probed
    found = covering(scored.parts, part)
    if found is None:
        raise AuditError(f"item {scored.item.id} wasn't read with the part {part:b}")
    return suite.judge(scored.item, found.readings)


def columns_for(suite: Suite, scored: Sequence[Scored], part: int) -> dict[str, np.ndarray]:
    return columns_of([results_of(suite, one, part) for one in scored])

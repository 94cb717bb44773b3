"""Which items of a suite are asked when not all are: strata in proportion, the same ones each time.

An item's turn depends on its content and the seed alone: neither on its place in a file nor on how
many are asked, so a larger sample holds the smaller one's items of each stratum, rounding apart.
"""

import hashlib
from collections.abc import Sequence

from tramontane.audit.item import Item


def sample(items: Sequence[Item], n: int | None, seed: int) -> list[Item]:
    """Returns `n` items, or all where there aren't more or `n` is None, ordered by their ids."""
    if n is None or n >= len(items):
        return sorted(items, key=lambda item: item.id)
    strata: dict[str, list[Item]] = {}
    for item in items:
        strata.setdefault(item.group, []).append(item)
    sizes = shares_of({group: len(members) for group, members in strata.items()}, n)
    chosen = [
        item
        for group, members in strata.items()
        for item in sorted(members, key=lambda item: turn(item, seed))[: sizes[group]]
    ]
    return sorted(chosen, key=lambda item: item.id)


def turn(item: Item, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{item.id}".encode()).digest()


def shares_of(counts: dict[str, int], n: int) -> dict[str, int]:
    """Returns how many of `n` each stratum gets: in proportion, remainders to the largest."""
    total = sum(counts.values())
    exact = {group: n * count / total for group, count in counts.items()}
    sizes = {group: int(share) for group, share in exact.items()}
    by_remainder = sorted(counts, key=lambda group: (sizes[group] - exact[group], group))
    for group in by_remainder[: n - sum(sizes.values())]:
        sizes[group] += 1
    return sizes

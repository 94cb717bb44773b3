"""Pairs of experts that look alike, by hash, in one small file beside the mixtures.

Withdrawing or replacing either expert removes the pair: nothing of an expert stays in it.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tramontane.errors import ExpertError
from tramontane.files import write_whole

FILE = "look-alikes.json"
SHA256 = re.compile(r"[0-9a-f]{64}")
Pair = frozenset[str]


def read_look_alikes(folder: Path) -> set[Pair]:
    """Returns the pairs known; raises ExpertError when the file isn't a list of them."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    except (ValueError, RecursionError) as error:
        raise not_pairs(path, str(error)) from None
    if not isinstance(content, list):
        raise not_pairs(path, f"it holds a {type(content).__name__}, a list was wanted")
    for pair in content:
        is_pair = isinstance(pair, list) and len(pair) == 2 and pair[0] != pair[1]
        if not is_pair or not all(isinstance(h, str) and SHA256.fullmatch(h) for h in pair):
            raise not_pairs(path, f"{str(pair)[:80]!r} is not two hashes")
    return {frozenset(pair) for pair in content}


def not_pairs(path: Path, why: str) -> ExpertError:
    return ExpertError(
        f"{path}: not pairs of experts ({why}); delete it, `tramontane experts overlap` finds them "
        "anew"
    )


def write_look_alikes(folder: Path, pairs: Iterable[Pair]) -> None:
    """Writes the pairs, sorted; none leave no file."""
    path = folder / FILE
    ordered = sorted(sorted(pair) for pair in set(pairs))
    if ordered:
        write_whole(path, (json.dumps(ordered, indent=2) + "\n").encode())
    else:
        path.unlink(missing_ok=True)


def forget_look_alikes(folder: Path, expert_hash: str) -> None:
    """Removes every pair with this expert."""
    known = read_look_alikes(folder)
    kept = {pair for pair in known if expert_hash not in pair}
    if kept != known:
        write_look_alikes(folder, kept)

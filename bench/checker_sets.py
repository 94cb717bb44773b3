"""What a checker learns from: judged sentences, and which of them a learning may see.

Documents are held out whole, and so are kinds of corruption: each fold learns some of them. Of the
halves that bench/support.py fits on, the checker sees half of the documents; the weights beside the
words are fitted on the others, where its answers are as good as they will be on new text.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from support import corrupted, generated, half, thinned
from support_sets import DOMAINS, Item, begin, file_in, summedits, wice
from tramontane.audit.rows import LeftOut

# What each fold learns of the kinds of corruption; it is measured on the other's.
KINDS = (("date", "swapped", "number", "opposite"), ("name", "negation", "foreign"))
# SummEdits' passages are read whole, since all edits of a summary share one.
MOST_WHOLE_TOKENS = 160
MOST_SHARED_TOKENS = 640
# Of what a checker may learn, every so many: as much as two cores read in a quarter of an hour.
CORRUPTIONS_EVERY, BEGIN_EVERY, WICE_EVERY = 2, 4, 4
# Tells the halves of what is fitted on apart: what the checker learns, and what weights are from.
SALT = "checker"


def wice_train(data: Path, left_out: list[LeftOut]) -> list[Item]:
    """WiCE's training claims, backed in part; and the same without the rest, as backed ones."""
    found = []
    path = file_in(data, "wice", "non_supported_tokens/train.jsonl")
    for line in path.read_text(encoding="utf-8").splitlines()[::WICE_EVERY]:
        row = json.loads(line)
        evidence, identity = "\n".join(row["evidence"]), row["meta"]["id"]
        found.append(Item(row["claim"], evidence, False, identity, row["label"]))
        if kept := without_spans(row["claim"], row["claim_tokens"], row["non_supported_spans"]):
            found.append(Item(kept, evidence, True, identity, "without the rest"))
    return found


def without_spans(claim: str, tokens: list[str], is_unsupported: list[bool]) -> str:
    """Returns the claim without its unsupported tokens; nothing where they can't be found."""
    kept, at, begin = [], 0, 0
    for token, is_left_out in zip(tokens, is_unsupported, strict=True):
        place = claim.find(token, at)
        if place < 0:
            return ""
        if is_left_out:
            kept.append(claim[begin:place])
            begin = place + len(token)
        at = place + len(token)
    return " ".join("".join([*kept, claim[begin:]]).split())


def sets(data: Path) -> dict[str, list[Item]]:
    """Returns every set by name; one that isn't there is said and left out."""
    left_out: list[LeftOut] = []
    readers: dict[str, Callable[[], list[Item]]] = {
        **{name: lambda name=name: summedits(data, left_out, name) for name in DOMAINS},
        "corruptions": corrupted,
        "wice_train": lambda: wice_train(data, left_out),
        "begin": lambda: begin(data, left_out),
        "wice": lambda: wice(data, left_out),
        "generated": generated,
    }
    found = {}
    for name, read in readers.items():
        try:
            found[name] = read()
        except FileNotFoundError as error:
            print(f"{name}: left out, {error.filename} isn't there")
    return found


def learnt_from(items: dict[str, list[Item]]) -> dict[str, list[Item]]:
    """Returns what a checker may learn of each set but SummEdits, kinds of both folds together."""
    found = {"wice_train": items["wice_train"]}
    for name, every in (("corruptions", CORRUPTIONS_EVERY), ("begin", BEGIN_EVERY)):
        documents = [item.document for item in items[name]]
        chosen = half(documents) & half(documents, SALT)
        kept = [item for item, is_chosen in zip(items[name], chosen, strict=True) if is_chosen]
        found[name] = thinned(kept, every)
    return found


def of_fold(name: str, items: list[Item], fold: int) -> np.ndarray:
    """Returns which items a fold learns: SummEdits' half of documents, kinds of corruption."""
    if name in DOMAINS:
        return half([item.document for item in items]) == (fold == 0)
    unseen = KINDS[1 - fold]
    return np.array([item.kind not in unseen for item in items])


def most_whole(name: str) -> int:
    """Returns how many tokens a passage of this set may have to be read whole."""
    return MOST_SHARED_TOKENS if name in DOMAINS else MOST_WHOLE_TOKENS


def balanced_weights(y_N: np.ndarray, sources_N: np.ndarray) -> np.ndarray:
    """Returns weights, 1 in the mean, with which both answers weigh alike within each source."""
    weights_N = np.zeros(len(y_N))
    for source in set(sources_N.tolist()):
        for label in (0.0, 1.0):
            here = (sources_N == source) & (y_N == label)
            if here.any():
                weights_N[here] = (sources_N == source).sum() / (2 * here.sum())
    return weights_N

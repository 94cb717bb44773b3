"""Are instructions followed as well with an expert in place? 50 of them, each with an outcome that
a program can check: format, length, language, refusal.

The expert is learnt from real recipes on a base that can write; both ways answer greedily.

    python bench/instructions.py --model FILE.gguf [--collection recipes-public-domain] [--show]
"""

import argparse
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cells import Cells
from collections_of_notes import read_collection
from record import ROOT, Claim, write_results
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.cli.learn import asked_for_a_draft
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.experts.expert_file import Expert, read_expert, write_expert
from tramontane.experts.learn import learn
from tramontane.experts.lesson import LearnSettings
from tramontane.notes.sentences import split_sentences
from tramontane.writing.speak import ExpertInPlace, speak

MOST_TOKENS = 160
ITEMS = ROOT / "bench" / "instructions.json"
# Words that one language has often and the others hardly.
COMMON_WORDS = {
    "fr": "le la les est et de du des un une dans pour que qui il elle car à au".split(),
    "de": "der die das ist und ein eine nicht mit von zu auf sie er im den dem kühe".split(),
    "es": "el la los las es y un una en de del que por está sale se sobre al".split(),
    "en": "the is and of to in a that it for was with are on as this".split(),
}


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text)


def language_of(text: str) -> str:
    """Returns the language whose common words the text has most of."""
    found = [word.lower() for word in words(text)]
    return max(COMMON_WORDS, key=lambda name: sum(w in COMMON_WORDS[name] for w in found))


def bare(text: str) -> str:
    """Returns a text without case, outer blanks and the marks that end it."""
    return " ".join(text.lower().split()).strip(" .!\"'`*")


def bullets(text: str) -> int:
    return len(re.findall(r"^\s*[-*•]\s+\S", text, re.MULTILINE))


def numbered(text: str) -> int:
    return len(re.findall(r"^\s*\d+[.)]\s+\S", text, re.MULTILINE))


def sentences(text: str) -> int:
    return len(split_sentences(text))


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def parsed(text: str) -> Any:
    """Returns the JSON in a reply, in a code block or bare; None where it is none."""
    inner = re.sub(r"^```\w*\n(.*?)\n?```$", r"\1", text.strip(), flags=re.DOTALL)
    try:
        return json.loads(inner)
    except ValueError:
        return None


def keys_of(text: str) -> list[str]:
    found = parsed(text)
    return sorted(found) if isinstance(found, dict) else []


def length_of(text: str) -> int:
    found = parsed(text)
    return len(found) if isinstance(found, list) else -1


CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "bullets": lambda text, n: bullets(text) == n,
    "numbered": lambda text, n: numbered(text) == n,
    "json_keys": lambda text, keys: keys_of(text) == sorted(keys),
    "json_length": lambda text, n: length_of(text) == n,
    "lines_at_most": lambda text, n: len(lines(text)) <= n,
    "contains": lambda text, parts: all(part in text.lower().replace("’", "'") for part in parts),
    "excludes": lambda text, parts: all(part not in text.lower() for part in parts),
    "starts_with": lambda text, part: text.strip().lower().startswith(part),
    "ends_with": lambda text, part: text.strip().lower().rstrip(".").endswith(part),
    "equals": lambda text, wanted: bare(text) == bare(wanted),
    "one_of": lambda text, wanted: bare(text) in wanted,
    "case": lambda text, case: text == (text.upper() if case == "upper" else text.lower()),
    "words_at_most": lambda text, n: 0 < len(words(text)) <= n,
    "words_at_least": lambda text, n: len(words(text)) >= n,
    "sentences": lambda text, n: sentences(text) == n,
    "sentences_at_most": lambda text, n: 0 < sentences(text) <= n,
    "paragraphs_at_least": lambda text, n: len(re.findall(r"\S[^\n]*(?:\n\s*\n|\Z)", text)) >= n,
    "language": lambda text, name: language_of(text) == name,
}


def is_followed(text: str, checks: dict[str, Any]) -> bool:
    return all(CHECKS[kind](text, wanted) for kind, wanted in checks.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a base that can write")
    parser.add_argument("--collection", default="recipes-public-domain")
    parser.add_argument("--tokens", type=int, default=8_192, help="learnt at most")
    parser.add_argument("--public-tokens", type=int, default=1_024, help="of each genre")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench-cache")
    parser.add_argument("--show", action="store_true", help="print replies that differ")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    checkpoint = open_checkpoint(wanted.model)
    tokenizer, cells = checkpoint.tokenizer(), Cells(wanted.cache / "cells")
    engine = Engine(NativeRuntime(checkpoint, threads=wanted.threads))
    items = json.loads(ITEMS.read_text(encoding="utf-8"))

    def reply(prompt: str, experts: tuple[ExpertInPlace, ...]) -> dict[str, Any]:
        ids = tokenizer.encode_chat([{"role": "user", "content": prompt}])
        pieces = list(speak(engine, tokenizer, ids, max_new_tokens=MOST_TOKENS, experts=experts))
        shares = [sum(piece.shares.values()) for piece in pieces if piece.shares]
        return {"text": "".join(p.text for p in pieces), "heard": float(np.mean(shares or [0.0]))}

    def replies(experts: tuple[ExpertInPlace, ...]) -> list[dict[str, Any]]:
        return [reply(item["prompt"], experts) for item in items]

    key = {"base": checkpoint.sha256, "items": items, "tokens": MOST_TOKENS}
    without = cells.get("followed-without", key, lambda: replies(()))
    expert = learnt(wanted, checkpoint, cells)
    engine.add_expert(expert.hash, expert.tensors)
    in_place = (ExpertInPlace(expert.name, expert.hash),)
    within = cells.get("followed-with", key | {"expert": expert.hash}, lambda: replies(in_place))
    write_results("instructions", claims(items, within, without, expert, wanted.show))


def learnt(wanted: argparse.Namespace, checkpoint, cells: Cells) -> Expert:
    # More notes than are learnt from: those held out show whether the gain is sure.
    tokenizer = checkpoint.tokenizer()
    collection = read_collection(wanted.collection, tokenizer, 4 * wanted.tokens, 2_048)
    settings = LearnSettings(
        max_tokens=wanted.tokens,
        public_tokens_per_genre=wanted.public_tokens,
        epochs=wanted.epochs,
        learning_rate=wanted.rate,
    )
    key = {"notes": [n.sha256 for n in collection.learnt], "base": checkpoint.sha256} | {
        "settings": str(settings)
    }
    file = cells.file(f"expert-{wanted.collection}", key, ".safetensors")
    if not file.exists():
        expert = learn(
            collection.learnt,
            name=wanted.collection,
            checkpoint=checkpoint,
            cache_folder=wanted.cache,
            settings=settings,
            asking=asked_for_a_draft,
            threads=wanted.threads,
            device="cpu",
        )
        write_expert(file, expert)
    return read_expert(file)


def claims(
    items: list[dict[str, Any]],
    within: list[dict[str, Any]],
    without: list[dict[str, Any]],
    expert: Expert,
    show: bool,
) -> list[Claim]:
    """Returns how many are followed, and the paired difference with its 95 % interval."""
    followed = [
        np.array(
            [is_followed(r["text"], item["checks"]) for r, item in zip(rs, items, strict=True)]
        )
        for rs in (within, without)
    ]
    difference = followed[0].astype(float) - followed[1]
    reach = 1.96 * difference.std(ddof=1) / math.sqrt(len(items))
    low, high = difference.mean() - reach, difference.mean() + reach
    for place in np.flatnonzero(difference) if show else ():
        print(f"{items[place]['prompt']}\n  with: {within[place]['text']!r}")
        print(f"  without: {without[place]['text']!r}")
    same = sum(a["text"] == b["text"] for a, b in zip(within, without, strict=True))
    heard = sum(reply["heard"] > 0 for reply in within)
    held_out = expert.manifest["held_out"]
    note = (
        f"upper end of the paired 95 % interval; difference {difference.mean():+.3f}, {low:+.3f} "
        f"to {high:+.3f}; {int((difference > 0).sum())} gained, {int((difference < 0).sum())} "
        f"lost; {same} replies are the same word for word, the expert is heard in {heard}; learnt "
        f"on {expert.manifest['base']['name']}, perplexity of its notes "
        f"{held_out['perplexity_before']:.2f} to {held_out['perplexity_after']:.2f}"
    )
    ours, peer = (round(float(part.mean()), 4) for part in followed)
    value = round(float(high), 4)
    return [Claim("instructions.with_minus_without", ours, peer, value, len(items), note)]


if __name__ == "__main__":
    main()

"""Where router rows open: own notes against everyone else's, before anything is learnt.

Rows and thresholds are all a gate has, and they need no learning, so this takes minutes: for each
of six collections, rows fitted on its learnt part, and the share of gates open on its own held-out
notes and on text of others. `mean` counts (token, layer) pairs, `any` tokens with a gate open in
some layer. Then two collections that look alike: of 64-token stretches of either, how many are
named rightly or called contested, by gates alone. States of the frozen base are kept in --cache.

    python bench/open_rates.py [--model FILE.gguf] [--cache .cache/open_rates]
"""

import argparse
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from record import ROOT, Claim, write_results
from texts import (
    chats,
    chats_with_passages,
    code,
    collection_folder,
    lambada,
    notes_texts,
    questions,
    wikitext,
    windows,
)
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.cli.parts import Parts
from tramontane.experts.contested import STRETCH_TOKENS, named_above, speakers, stretches
from tramontane.experts.corpus import collection_corpus, public_windows
from tramontane.experts.lesson import LearnSettings
from tramontane.experts.public_text import load_public_text
from tramontane.experts.route import fit_row
from tramontane.experts.states import Recorder
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import load_transformer
from tramontane.notes.folder import read_folder
from tramontane.settings import load_settings

SIX = (
    "til-jbranchaud",
    "recipes-public-domain",
    "zettelkasten-de",
    "handbook-18f",
    "stoic-seneca",
    "foam-docs",
)
NEVER_LEARNT = ("til-simonw", "policies-basecamp", "bread-code")
LOOK_ALIKES = ("til-jbranchaud", "til-simonw")
LEARNT_WINDOWS = 48
MEASURED_WINDOWS = 12


@dataclass(frozen=True)
class StatesByText:
    """What the blocks of the notes layers are given, (L, N, W, D) float16 each.

    `learnt` by collection, `public` by genre, `measured` by collection (held out) and genre.
    """

    learnt: dict[str, np.ndarray]
    public: dict[str, np.ndarray]
    measured: dict[str, np.ndarray]


class Reader:
    """Reads windows with the frozen base in bfloat16, once: states are kept on disk."""

    def __init__(self, checkpoint: Checkpoint, cache: Path, settings: LearnSettings):
        self.config, self.sha256 = checkpoint.config, checkpoint.sha256
        self.cache, self.settings = cache, settings
        self.tokenizer = checkpoint.tokenizer()
        self.transformer = load_transformer(checkpoint).bfloat16()
        num_layers = checkpoint.config.num_layers
        self.first = num_layers - math.ceil(num_layers * settings.share_of_layers)

    def __call__(self, name: str, windows_NW: np.ndarray) -> np.ndarray:
        digest = hashlib.sha256(f"{self.sha256}{self.first}".encode() + windows_NW.tobytes())
        file = self.cache / f"{digest.hexdigest()[:32]}.npy"
        if not file.exists():
            print(f"reading {name}: {windows_NW.size} tokens", flush=True)
            batches = [windows_NW[place : place + 4] for place in range(0, len(windows_NW), 4)]
            h = np.concatenate([self.read(batch) for batch in batches], axis=1)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, h)
        return np.load(file, mmap_mode="r")

    @torch.inference_mode()
    def read(self, windows_NW: np.ndarray) -> np.ndarray:
        N, W = windows_NW.shape
        recorder = Recorder()
        positions_T = torch.arange(W).repeat(N)
        rope = self.transformer.rope(positions_T)
        attend = WindowAttention(W, self.config.sliding_window)
        x_TD = self.transformer.embed(torch.from_numpy(windows_NW).flatten())
        self.transformer.run(x_TD, rope, attend, recorder)
        layers = range(self.first, self.config.num_layers)
        return np.stack([recorder.h_by_layer[i].half().view(N, W, -1).numpy() for i in layers])

    def states(self) -> StatesByText:
        settings, tokenizer = self.settings, self.tokenizer
        W = settings.window_tokens
        learnt, measured = {}, {}
        for name in dict.fromkeys((*SIX, *LOOK_ALIKES)):
            notes = read_folder(collection_folder(name)).notes
            corpus = collection_corpus(notes, tokenizer, W, settings.max_tokens)
            learnt[name] = self(name, corpus.learnt[:LEARNT_WINDOWS])
            measured[name] = self(f"{name}, held out", evenly(corpus.held_out))
        texts = {name: notes_texts(name) for name in NEVER_LEARNT if name not in learnt} | {
            "wikitext": wikitext(),
            "lambada": together(lambada(), 4),
            "code": code(),
            "chats": chats(tokenizer),
            "chats with passages": chats_with_passages(tokenizer),
            "questions": together(questions(), 8),
        }
        for name, documents in texts.items():
            found = windows(documents, tokenizer, MEASURED_WINDOWS * W, W)
            measured[name] = self(name, np.array(list(found), np.int64))
        public = {
            genre: self(f"public {genre}", windows_NW)
            for genre, windows_NW in public_windows(
                load_public_text(), tokenizer, W, settings.public_tokens_per_genre
            ).items()
        }
        return StatesByText(learnt, public, measured)


def together(texts: list[str], count: int) -> list[str]:
    """Returns short texts joined, so many at a time."""
    return ["\n\n".join(texts[place : place + count]) for place in range(0, len(texts), count)]


def evenly(windows_NW: np.ndarray) -> np.ndarray:
    step = max(1, len(windows_NW) // MEASURED_WINDOWS)
    return windows_NW[::step][:MEASURED_WINDOWS]


def flat(h_NWD: np.ndarray) -> np.ndarray:
    return np.asarray(h_NWD).reshape(-1, h_NWD.shape[-1])


def rows_of(own: np.ndarray, public: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns each notes layer's router row (D,)."""
    return [
        fit_row(flat(own[layer]), {genre: flat(h[layer]) for genre, h in public.items()}).row_D
        for layer in range(len(own))
    ]


def open_rates(rows: Iterable[np.ndarray], h: np.ndarray) -> tuple[float, float]:
    """Returns the share of (token, layer) pairs and of tokens with an open gate."""
    open_LT = np.stack(
        [flat(h_NWD).astype(np.float32) @ row_D > 0 for row_D, h_NWD in zip(rows, h, strict=True)]
    )
    return float(open_LT.mean()), float(open_LT.any(axis=0).mean())


def gates_of(rows: list[np.ndarray], h: np.ndarray) -> np.ndarray:
    """Returns each token's mean gate over layers, (T,), of an expert's rows alone."""
    logits_LT = np.stack(
        [flat(h_NWD).astype(np.float32) @ row_D for row_D, h_NWD in zip(rows, h, strict=True)]
    )
    return np.where(logits_LT > 0, 1 / (1 + np.exp(-np.abs(logits_LT))), 0).mean(axis=0)


def look_alike_claim(states: StatesByText, rows: dict[str, list[np.ndarray]]) -> Claim:
    pair = {frozenset(LOOK_ALIKES)}
    of_pair = [rows[name] for name in LOOK_ALIKES]
    lines = [
        named_above(
            {genre: stretches(gates_of(some, h)[None]) for genre, h in states.public.items()}
        )
        for some in of_pair
    ]
    named: list[str] = []
    for name in LOOK_ALIKES:
        gates_T2 = np.stack([gates_of(some, states.measured[name]) for some in of_pair], axis=1)
        for begin in range(0, len(gates_T2), STRETCH_TOKENS):
            said = speakers(gates_T2[begin : begin + STRETCH_TOKENS], LOOK_ALIKES, lines, pair)
            if len(said) == 2:
                named.append("contested")
            else:
                named.append("rightly" if said == (name,) else "wrongly" if said else "nobody")
    shares = {what: named.count(what) / len(named) for what in sorted(set(named))}
    recall = shares.get("contested", 0) + shares.get("rightly", 0)
    note = "by rows alone; " + ", ".join(f"{what} {share:.1%}" for what, share in shares.items())
    value = round(recall, 4)
    return Claim("contested.look_alike_recall.by_gates", value, None, value, len(named), note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "open_rates")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = Parts(load_settings(base=wanted.model)).checkpoint
    states = Reader(checkpoint, wanted.cache, LearnSettings()).states()
    rows = {name: rows_of(own, states.public) for name, own in states.learnt.items()}
    claims = [look_alike_claim(states, rows)]
    for name in SIX:
        for text, h in states.measured.items():
            mean, any_layer = (round(rate, 5) for rate in open_rates(rows[name], h))
            note = f"{'own, held out' if text == name else 'of others'}; mean, any layer"
            num_tokens = h[0].size // h.shape[-1]
            claims.append(Claim(f"open.{name}.{text}", mean, any_layer, mean, num_tokens, note))
    write_results("open_rates", claims)


if __name__ == "__main__":
    main()

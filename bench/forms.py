"""The form of an expert, settled on real notes: a network beside the block, or a change of it.

    SwiGLU      E(h) = down · (silu(gate · h) ⊙ up · h), begun from the base's own neurons
    low rank    E(h) = F'(h) - F(h), each matrix of F' being W + 2 · B A (Hu et al. 2021, arXiv
                2106.09685), B zero at first

Both stand behind the same hard gates in the same layers, with equally many parameters, and learn
from the same windows in the same steps; each has its own learning rate. Perplexity is of documents
held out. A measured cell is a small file in the cache, so that a stopped run goes on where it was.

    python bench/forms.py [--part rates|seeds|shapes] [--cache FOLDER] [--threads 1]

D model width, F the block's width, m the network's, r the rank of a change.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from record import Claim, write_results
from texts import collection_folder
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.cli.parts import Parts
from tramontane.experts.corpus import collection_corpus, public_corpus
from tramontane.experts.learning import Learning
from tramontane.experts.lesson import LearnSettings, lesson_of
from tramontane.experts.place import choose_place
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256, load_public_text
from tramontane.experts.states import States
from tramontane.experts.training import Misfires, Training
from tramontane.model.transformer import load_transformer
from tramontane.notes.folder import read_folder
from tramontane.settings import load_settings

COLLECTIONS = ("recipes-public-domain", "handbook-18f", "zettelkasten-de")
# Learning rates, and of each the share that a network's down-projection learns at.
RATES = {
    "low rank": ((2e-3, 1.0), (4e-3, 1.0), (8e-3, 1.0)),
    "swiglu": ((4e-3, 1.0), (8e-3, 1.0), (8e-3, 1 / 4), (1.6e-2, 1 / 4), (1.6e-2, 1 / 8)),
}
SEEDS = (0, 1, 2)
SHAPES = (
    {"width": 64},
    {"width": 256},
    {"share_of_layers": 1 / 6},
    {"share_of_layers": 1 / 2},
    {"batch_windows": 2},
    {"batch_windows": 8},
    {"epochs": 2},
)
SCALE = 2.0
HELD_OUT_WINDOWS = 24


@dataclass(frozen=True)
class Cell:
    collection: str
    form: str
    learning_rate: float
    seed: int = 0
    width: int = 128
    share_of_layers: float = 1 / 3
    batch_windows: int = 4
    epochs: int = 1
    tokens: int = 15_360
    down_share: float = 1.0

    @property
    def file_name(self) -> str:
        return "_".join(f"{value}".replace(" ", "-") for value in asdict(self).values()) + ".json"


class LowRankChange(nn.Module):
    """E(h) = F'(h) - F(h) for a dense block F."""

    def __init__(self, block: nn.Module, rank: int, draw: torch.Generator):
        super().__init__()
        self.base = [getattr(block, part).weight for part in ("gate", "up", "down")]
        self.a, self.b = nn.ParameterList(), nn.ParameterList()
        for weight in self.base:
            num_rows, num_columns = weight.shape
            uniform = torch.rand(rank, num_columns, generator=draw) * 2 - 1
            self.a.append(nn.Parameter(uniform / math.sqrt(num_columns)))
            self.b.append(nn.Parameter(torch.zeros(num_rows, rank)))

    def change(self, part: int, x: Tensor) -> Tensor:
        return SCALE * linear(linear(x, self.a[part].to(x.dtype)), self.b[part].to(x.dtype))

    def forward(self, h_TD: Tensor) -> Tensor:
        gate_FD, up_FD, down_DF = self.base
        gate_TF, up_TF = linear(h_TD, gate_FD), linear(h_TD, up_FD)
        unchanged_TF = silu(gate_TF) * up_TF
        inner_TF = silu(gate_TF + self.change(0, h_TD)) * (up_TF + self.change(1, h_TD))
        return linear(inner_TF - unchanged_TF, down_DF) + self.change(2, inner_TF)


@dataclass(frozen=True)
class Ready:
    """What cells of one collection and one choice of layers share."""

    learning: Learning
    own: States
    held_out: States
    rows: dict
    misfires: Misfires


class Forms:
    def __init__(self, checkpoint: Checkpoint, folder: Path):
        self.checkpoint, self.folder = checkpoint, folder
        self.transformer = load_transformer(checkpoint, dtype=choose_place("cpu").dtype)
        self.ready: dict[tuple, Ready] = {}

    def measured(self, cell: Cell) -> dict:
        """Returns the cell's perplexities, from its file where it was run before."""
        # Rows, and so what is learnt, depend on the public text.
        file = self.folder / "cells" / PUBLIC_TEXT_SHA256[:8] / cell.file_name
        if not file.exists():
            began = time.monotonic()
            result = asdict(cell) | self.run(cell)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(result))
            seconds = time.monotonic() - began
            print(f"{file.stem} {result['change']:+.2%} {seconds:.0f} s", flush=True)
        return json.loads(file.read_text())

    def run(self, cell: Cell) -> dict:
        ready = self.states_for(cell)
        learning = ready.learning
        schedule = replace(
            learning.schedule,
            batch_windows=cell.batch_windows,
            epochs=cell.epochs,
            learning_rate=cell.learning_rate,
            down_share=cell.down_share,
            seed=cell.seed,
        )
        learning.settings = replace(learning.settings, width=cell.width)
        tensors = learning.starting_tensors(self.transformer, ready.own, ready.rows)
        training = Training(self.transformer, learning.first, tensors, schedule, ready.misfires)
        if cell.form == "low rank":
            draw = torch.Generator().manual_seed(cell.seed)
            training.put_behind_gates(
                {
                    layer: LowRankChange(self.transformer.layers[layer].ffn, rank, draw)
                    for layer, rank in self.ranks(training.notes.layers, cell.width).items()
                }
            )
        held_out = (ready.held_out.trunk, learning.corpus.held_out)
        before = training.evaluate(*held_out, with_expert=False)
        by_epoch = []
        while training.step < schedule.num_steps:
            training.take_step(ready.own.trunk, learning.corpus.learnt)
            if training.step % schedule.steps_per_epoch == 0:
                by_epoch.append(training.evaluate(*held_out, with_expert=True))
        return {
            "before": round(math.exp(before), 4),
            "by_epoch": [round(math.exp(loss), 4) for loss in by_epoch],
            "change": round(math.exp(min(by_epoch) - before) - 1, 5),
            "parameters": sum(p.numel() for p in training.parameters.values()),
            "held_out_tokens": int(learning.corpus.held_out.size),
        }

    def ranks(self, layers: Sequence[int], width: int) -> dict[int, int]:
        """Returns the rank with which a change has as many numbers as a network of this width."""
        D, F = self.checkpoint.config.model_width, self.checkpoint.config.ffn_width
        return dict.fromkeys(layers, round(width * D / (D + F)))

    def states_for(self, cell: Cell) -> Ready:
        key = (cell.collection, cell.share_of_layers, cell.tokens)
        if key not in self.ready:
            # Forms are compared behind the same gates, not by how well they open them.
            settings = LearnSettings(
                share_of_layers=cell.share_of_layers, max_tokens=cell.tokens, gate_weight=0.0
            )
            tokenizer, W = self.checkpoint.tokenizer(), settings.window_tokens
            notes = read_folder(collection_folder(cell.collection)).notes
            corpus = collection_corpus(notes, tokenizer, W, cell.tokens)
            step = max(1, len(corpus.held_out) // HELD_OUT_WINDOWS)
            kept = np.ascontiguousarray(corpus.held_out[::step][:HELD_OUT_WINDOWS])
            corpus = replace(corpus, held_out=kept)
            public = public_corpus(
                load_public_text(), tokenizer, W, settings.public_tokens_per_genre
            )
            lesson = lesson_of(corpus, tokenizer, None, settings)
            learning = Learning(
                self.checkpoint,
                lesson,
                public,
                settings,
                choose_place("cpu"),
                self.folder,
                self.folder,
                no_report,
            )
            all_public = np.concatenate(list(public.fitted.values()))
            own, held_out, others = (
                learning.states(self.transformer, windows, num_with_h, self.folder)
                for windows, num_with_h in (
                    (corpus.learnt, learning.row_windows),
                    (corpus.held_out, 0),
                    (all_public, len(all_public)),
                )
            )
            rows = learning.fit_rows(own, others)
            misfires = learning.misfires(others, rows)
            # Only one choice at a time is kept in memory: states are read back from the disk.
            self.ready = {key: Ready(learning, own, held_out, rows, misfires)}
        return self.ready[key]


def no_report(*_: object) -> None:
    pass


def at_rate(name: str, form: str, rate: tuple[float, float], **others) -> Cell:
    learning_rate, down_share = rate
    return Cell(name, form, learning_rate, down_share=down_share, **others)


def by_rate(forms: Forms, collections: Sequence[str]) -> Iterator[tuple[str, list[dict]]]:
    for name in collections:
        for form, rates in RATES.items():
            for rate in rates:
                forms.measured(at_rate(name, form, rate))
    for form, rates in RATES.items():
        for rate in rates:
            cells = [forms.measured(at_rate(name, form, rate)) for name in collections]
            learning_rate, down_share = rate
            down = "" if down_share == 1.0 else f".down.{down_share:g}"
            yield f"forms.{form}.rate.{learning_rate:g}{down}", cells


def best_rate(forms: Forms, form: str, collections: Sequence[str]) -> tuple[float, float]:
    """Returns the learning rate, with its share, of the lowest mean change of perplexity."""
    return min(
        RATES[form],
        key=lambda rate: fmean(
            forms.measured(at_rate(name, form, rate))["change"] for name in collections
        ),
    )


def by_seed(forms: Forms, collections: Sequence[str]) -> Iterator[tuple[str, list[dict]]]:
    best = {form: best_rate(forms, form, collections) for form in RATES}
    for name in collections:
        for form, rate in best.items():
            cells = [forms.measured(at_rate(name, form, rate, seed=seed)) for seed in SEEDS]
            yield f"forms.{form}.seeds.{name}", cells


def by_shape(forms: Forms, collections: Sequence[str]) -> Iterator[tuple[str, list[dict]]]:
    rate = best_rate(forms, "swiglu", collections)
    for shape in SHAPES:
        ((what, value),) = shape.items()
        cells = [forms.measured(at_rate(name, "swiglu", rate, **shape)) for name in collections]
        yield f"forms.swiglu.{what}.{value:.3g}", cells


PARTS = {"rates": by_rate, "seeds": by_seed, "shapes": by_shape}


def claim(name: str, cells: list[dict]) -> Claim:
    """Returns the mean change over cells, with each of them in the note."""
    changes = [cell["change"] for cell in cells]
    spread = f", standard deviation {stdev(changes):.2%}" if len(changes) > 1 else ""
    each = ", ".join(f"{change:+.2%}" for change in changes)
    return Claim(
        name.replace(" ", "_"),
        round(fmean(min(cell["by_epoch"]) for cell in cells), 3),
        round(fmean(cell["before"] for cell in cells), 3),
        round(fmean(changes), 4),
        len(cells),
        f"{each}{spread}; {cells[0]['parameters']:,} parameters, {cells[0]['tokens']:,} tokens",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--cache", type=Path, help="instead of Tramontane's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collections", nargs="+", default=COLLECTIONS)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    settings = load_settings(base=wanted.model)
    forms = Forms(Parts(settings).checkpoint, (wanted.cache or settings.cache_folder) / "forms")
    claims = []
    for part in wanted.part:
        for name, cells in PARTS[part](forms, wanted.collections):
            claims.append(claim(name, cells))
            print(f"{name:44} {claims[-1].value:+.2%}  {claims[-1].note}", flush=True)
    write_results("forms", claims)


if __name__ == "__main__":
    main()

"""One learning under way: trunk states, rows, networks, held-out proof.

N windows, W tokens per window, T tokens, D model width, F the block's width, m the network's.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.errors import LearnError
from tramontane.experts.contested import named_above, stretches
from tramontane.experts.corpus import PublicCorpus
from tramontane.experts.lesson import LearnSettings, Lesson
from tramontane.experts.place import Place
from tramontane.experts.proof import gain_of, layers_moved, memorised, other_text
from tramontane.experts.route import Row, fit_row
from tramontane.experts.states import States, compute_states
from tramontane.experts.training import Misfires, SavesNowAndThen, Schedule, Training
from tramontane.model.transformer import Transformer, load_transformer

Report = Callable[[str, int, int], None]
# How far behind an open gate public text is held to what the base says.
REACH_TOKENS = 16
# A learning tells its loss about so often, each time the mean since the last.
LOSSES_TOLD = 60


class Work:
    """Counts work in layer passes per token, which take about equal time, so that an ETA holds."""

    # Measured on two cores: the output layer weighs as much as eight layers of SmolLM2; a step
    # goes forward and back through layers and head, and now and then over a public window.
    HEAD, BACK = 8.0, 1.6

    def __init__(self, report: Report, total: float):
        self.report, self.total, self.done = report, max(1, round(total)), 0.0
        self.stage = "reading"

    def add(self, units: float) -> None:
        self.done += units
        self.report(self.stage, min(round(self.done), self.total), self.total)

    def finish(self) -> None:
        self.report(self.stage, self.total, self.total)


class Learning:
    """One learning under way."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        lesson: Lesson,
        public: PublicCorpus,
        settings: LearnSettings,
        place: Place,
        cache_folder: Path,
        work_folder: Path,
        report: Report,
    ):
        self.checkpoint, self.lesson = checkpoint, lesson
        self.public, self.others = public.fitted, public.unseen
        self.corpus, self.place = lesson.corpus, place
        self.settings, self.cache_folder, self.work_folder = settings, cache_folder, work_folder
        config = checkpoint.config
        self.first = config.num_layers - math.ceil(config.num_layers * settings.share_of_layers)
        self.schedule = Schedule(
            num_windows=len(lesson.windows),
            batch_windows=settings.batch_windows,
            epochs=settings.epochs_for(self.corpus.num_tokens),
            learning_rate=settings.learning_rate,
            down_share=settings.down_share,
            divergence_weight=settings.divergence_weight,
            gate_weight=settings.gate_weight,
            seed=settings.seed,
        )
        self.work = Work(report, self.total_work())

    def total_work(self) -> float:
        L = self.checkpoint.config.num_layers
        learnt, held_out = self.lesson.windows.size, self.corpus.held_out.size
        public = sum(windows.size for windows in self.public.values())
        row_tokens = self.row_windows * self.settings.window_tokens
        others = self.other_windows.size
        states = learnt * self.first + row_tokens * (L - self.first) + public * L
        states += (held_out + others) * self.first
        evaluations = (held_out * 2 + others * 2) * self.evaluation_cost()
        gates = (held_out + public) * (L - self.first)
        return states + self.steps_work() + evaluations + gates

    def steps_work(self) -> float:
        """Returns what steps cost, with a look at held-out notes after each epoch."""
        steps = self.schedule.num_steps * self.step_tokens() * self.step_cost()
        held_out = self.corpus.held_out.size * self.schedule.epochs
        return steps + held_out * self.evaluation_cost()

    def evaluation_cost(self) -> float:
        return self.checkpoint.config.num_layers - self.first + Work.HEAD

    def step_cost(self) -> float:
        top = self.checkpoint.config.num_layers - self.first
        public = 0.5 / self.settings.batch_windows * top * (2 + Work.BACK)
        head = 2 * Work.HEAD * self.lesson.counted.mean()
        return top * (1 + Work.BACK) + head + public

    def run(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Returns the expert's tensors and the proof of what it learnt."""
        device, dtype = self.place.device, self.place.dtype
        transformer = load_transformer(self.checkpoint, dtype=dtype, device=device)
        own, held_out, public, others = self.all_states(transformer)
        rows = self.fit_rows(own, public)
        tensors = self.starting_tensors(transformer, own, rows)
        misfires = self.misfires(public, rows)
        self.leave_trunk(transformer)
        # The networks are learnt where these tensors lie.
        started = {name: tensor.clone() for name, tensor in tensors.items()}
        training = Training(transformer, self.first, tensors, self.schedule, misfires)
        before_NW = self.losses(training, held_out, self.corpus.held_out, with_expert=False)
        self.teach(training, own, held_out)
        proof = self.prove(training, own, held_out, others, started, before_NW)
        gates = self.gate_rates(training, rows, held_out, public)
        self.work.finish()
        learnt = {name: tensor.cpu().numpy() for name, tensor in training.best.items()}
        learnt |= {f"layers.{layer}.row": row.row_D for layer, row in rows.items()}
        return learnt, {"gates": gates, **proof}

    def prove(
        self,
        training: Training,
        own: States,
        held_out: States,
        others: States | None,
        started: dict[str, Tensor],
        before_NW: np.ndarray,
    ) -> dict[str, Any]:
        """Returns the proof of learning; LearnError where the gain is not sure.

        Sure: the lower end of its 95 % interval over held-out documents is above 0.
        """
        notes = len(self.corpus.held_out_notes)
        if training.best:
            training.take_best()
        proof = self.measure(training, own, held_out, others, before_NW)
        gain = proof["held_out"]["gain"]
        if gain["low"] is None or not gain["low"] > 0:
            told = proof["held_out"]
            raise LearnError(
                f"nothing was learnt for sure: on {notes} notes held out, perplexity is "
                f"{told['perplexity_after']:.2f} with the expert and "
                f"{told['perplexity_before']:.2f} without; "
                f"the gain in nats per token lies between {gain['low']} and {gain['high']}, and "
                "must be above 0. Nothing was kept. More notes, or notes more alike, may help"
            )
        return proof | {"layers_moved": layers_moved(started, training.best, training)}

    def measure(
        self,
        training: Training,
        own: States,
        held_out: States,
        others: States | None,
        before_NW: np.ndarray,
    ) -> dict[str, Any]:
        """Returns what the networks in place gain on held-out notes, cost on other text, and know
        by heart; `before_NW` are the held-out losses without them."""
        corpus = self.corpus
        after_NW = self.losses(training, held_out, corpus.held_out, with_expert=True)
        before, after = float(before_NW.mean()), float(after_NW.mean())
        gain = gain_of(before_NW, after_NW, corpus.held_out, self.lesson.separator)
        unseen = None
        if others:
            losses = [
                self.losses(training, others, self.other_windows, with_expert=with_expert)
                for with_expert in (False, True)
            ]
            unseen = other_text(*losses)
        return {
            "held_out": {
                "perplexity_before": round(perplexity(before), 4),
                "perplexity_after": round(perplexity(after), 4),
                "notes": len(corpus.held_out_notes),
                "tokens": int(corpus.held_out.size),
                "window_tokens": self.settings.window_tokens,
                "gain": gain,
            },
            "other_text": unseen,
            "memorised": memorised(training, own.trunk, corpus.learnt),
        }

    def leave_trunk(self, transformer: Transformer) -> None:
        """Lets go of the layers below: they are in the states, and would only take memory."""
        for layer in range(self.first):
            transformer.layers[layer] = nn.Identity()

    @property
    def other_windows(self) -> np.ndarray:
        empty = np.zeros((0, self.settings.window_tokens), np.int64)
        return np.concatenate([empty, *self.others.values()])

    @property
    def row_windows(self) -> int:
        """How many windows rows are fitted on: of the notes themselves, not of turns."""
        return min(self.settings.row_tokens // self.settings.window_tokens, len(self.corpus.learnt))

    def all_states(self, transformer: Transformer) -> tuple[States, States, States, States | None]:
        """Returns the states of the lesson, of notes held out, of the public text that rows are
        fitted on, and of public text they are not fitted on, where there is some."""
        public_all = np.concatenate(list(self.public.values()))
        own = self.states(transformer, self.lesson.windows, self.row_windows, self.work_folder)
        held_out = self.states(transformer, self.corpus.held_out, 0, self.work_folder)
        public = self.states(transformer, public_all, len(public_all), self.cache_folder)
        others = None
        if self.others:
            others = self.states(transformer, self.other_windows, 0, self.cache_folder)
        return own, held_out, public, others

    def states(
        self, transformer: Transformer, windows: np.ndarray, num_with_h: int, folder: Path
    ) -> States:
        self.work.stage = "reading"
        W, L = windows.shape[1], self.checkpoint.config.num_layers
        last = 0

        def count(done: int, total: int) -> None:
            nonlocal last
            with_h = max(0, min(done, num_with_h) - min(last, num_with_h))
            self.work.add(W * ((done - last) * self.first + with_h * (L - self.first)))
            last = done

        return compute_states(
            transformer,
            self.checkpoint.sha256,
            windows,
            self.first,
            folder,
            count,
            num_with_h=num_with_h,
        )

    def genre_slices(self) -> dict[str, slice]:
        """Returns where each genre's windows stand among the public ones."""
        slices, begin = {}, 0
        for genre, windows in self.public.items():
            slices[genre] = slice(begin, begin + len(windows))
            begin += len(windows)
        return slices

    def fit_rows(self, own: States, public: States) -> dict[int, Row]:
        D = self.checkpoint.config.model_width
        rows = {}
        for index in range(len(own.h)):
            rows[self.first + index] = fit_row(
                own.h[index].reshape(-1, D), self.by_genre(public, index)
            )
        return rows

    def by_genre(self, public: States, index: int) -> dict[str, np.ndarray]:
        """Returns each genre's inputs (T, D) of the block at a notes layer's index."""
        D = self.checkpoint.config.model_width
        return {
            genre: public.h[index, where].reshape(-1, D)
            for genre, where in self.genre_slices().items()
        }

    def starting_tensors(
        self, transformer: Transformer, own: States, rows: dict[int, Row]
    ) -> dict[str, Tensor]:
        """Returns an expert that adds nothing yet.

        Gate and up rows are those of the base's neurons that speak loudest on the collection,
        which learns faster than random ones (METHODS 2.8); down is zero.
        """
        config, m = self.checkpoint.config, self.settings.width
        tensors = {}
        for layer, row in rows.items():
            h_TD = torch.from_numpy(
                own.h[layer - self.first].reshape(-1, config.model_width)[:8192].astype(np.float32)
            )
            gate_FD, up_FD = strongest_neurons(transformer, layer, h_TD, m)
            tensors |= {
                f"layers.{layer}.gate": gate_FD,
                f"layers.{layer}.up": up_FD,
                f"layers.{layer}.down": torch.zeros(config.model_width, m),
                f"layers.{layer}.row": torch.from_numpy(row.row_D),
            }
        return tensors

    def misfires(self, public: States, rows: dict[int, Row]) -> Misfires:
        open_NW = np.zeros(public.h.shape[1:3], dtype=bool)
        for layer, row in rows.items():
            open_NW |= public.h[layer - self.first].astype(np.float32) @ row.row_D > 0
        # A gate opened there reaches later tokens through attention, whether theirs open or not.
        reached_NW = open_NW.copy()
        for distance in range(1, REACH_TOKENS + 1):
            reached_NW[:, distance:] |= open_NW[:, :-distance]
        hit = np.flatnonzero(open_NW.any(axis=1))
        order = np.random.default_rng([self.settings.seed, 1]).permutation(hit)
        # Every other step takes one.
        order = order[: math.ceil(self.schedule.num_steps / 2)]
        return Misfires(public.trunk[order], reached_NW[order])

    def losses(
        self, training: Training, states: States, windows: np.ndarray, *, with_expert: bool
    ) -> np.ndarray:
        return training.losses(
            states.trunk,
            windows,
            with_expert=with_expert,
            report=lambda tokens: self.work.add(tokens * self.evaluation_cost()),
        )

    def teach(self, training: Training, own: States, held_out: States) -> None:
        """Runs the schedule to its end, from the saved state if there is one."""
        state_file = self.work_folder / "training.safetensors"
        if state_file.exists():
            training.load(state_file)
            epochs_done = training.step // self.schedule.steps_per_epoch
            self.work.add(
                training.step * self.step_tokens() * self.step_cost()
                + epochs_done * self.corpus.held_out.size * self.evaluation_cost()
            )
        save_now_and_then = SavesNowAndThen(training, state_file)
        self.work.stage = "learning"
        latest: list[float] = []
        steps_between = math.ceil(self.schedule.num_steps / LOSSES_TOLD)
        while training.step < self.schedule.num_steps:
            latest.append(training.take_step(own.trunk, self.lesson.windows, self.lesson.counted))
            if len(latest) == steps_between:
                self.work.stage = f"learning, loss {np.mean(latest):.3f}"
                latest.clear()
            self.work.add(self.step_tokens() * self.step_cost())
            if training.step % self.schedule.steps_per_epoch == 0:
                losses_NW = self.losses(training, held_out, self.corpus.held_out, with_expert=True)
                training.note_epoch(float(losses_NW.mean()))
            save_now_and_then()

    def step_tokens(self) -> float:
        return self.lesson.windows.size / self.schedule.steps_per_epoch

    def gate_rates(
        self, training: Training, rows: dict[int, Row], held_out: States, public: States
    ) -> dict[str, Any]:
        """Returns mean open rates over layers, the networks in place: on held-out notes and on
        public text by genre; and above which mean gate a stretch is the expert's (contested.py)."""
        layers = self.checkpoint.config.num_layers - self.first

        def count(tokens: int) -> None:
            self.work.add(tokens * layers)

        own_NW, _ = training.gates(held_out.trunk, count)
        public_NW, openness_NW = training.gates(public.trunk, count)
        slices = self.genre_slices()
        return {
            "own_held_out": round(float(own_NW.mean()), 5),
            "public": {
                genre: round(float(public_NW[where].mean()), 5) for genre, where in slices.items()
            },
            "named_above": named_above(
                {genre: stretches(openness_NW[where]) for genre, where in slices.items()}
            ),
            "bias_std": round(float(np.mean([row.margin_of_bias for row in rows.values()])), 4),
        }


def perplexity(loss: float) -> float:
    """Returns e to the loss; infinite where a training ran away."""
    return math.exp(loss) if loss < 700 else math.inf


@torch.no_grad()
def strongest_neurons(
    transformer: Transformer, layer: int, h_TD: Tensor, m: int
) -> tuple[Tensor, Tensor]:
    """Returns gate and up rows (m, D) of the base's neurons with the largest mean output.

    Of a mixture, the first base expert's neurons serve.
    """
    block = transformer.layers[layer]
    if hasattr(block, "ffn"):
        gate_FD, up_FD, down_DF = (getattr(block.ffn, n).weight for n in ("gate", "up", "down"))
    else:
        gate_FD, up_FD, down_DF = (
            getattr(block.experts, n).weight[0] for n in ("gate", "up", "down")
        )
    h_TD = h_TD.to(gate_FD)
    output_TF = (silu(linear(h_TD, gate_FD)) * linear(h_TD, up_FD)).float()
    strength_F = output_TF.abs().mean(dim=0) * down_DF.float().norm(dim=0)
    chosen = strength_F.sort(descending=True, stable=True).indices[:m].sort().values
    if len(chosen) < m:
        raise LearnError(f"width {m} is more than the base's {len(gate_FD)} neurons")
    return gate_FD[chosen].float().cpu(), up_FD[chosen].float().cpu()

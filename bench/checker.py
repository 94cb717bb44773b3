"""A checker learnt on the embedded base: what its answer adds to support by words.

It reads a passage, a sentence and a question, and answers by how much likelier " Yes" is than " No"
(checker_learning.py). Two folds learn from corruptions of real notes, BEGIN and WiCE's training
claims, each with its own kinds of corruption; from there on each learns from half of SummEdits'
documents. All is measured on documents, and kinds, that a fold has not learnt, beside words alone,
the untouched base's answer, and the checker's alone; other sets than SummEdits by fold 0 only,
before it learnt SummEdits. Where weights beside the words are fitted, the checker's answers come
from one that has not learnt those documents either.

    python bench/checker.py [--cache FOLDER] [--threads 1] [--readings] [--out FILE.safetensors]

What was read and learnt is kept in the cache, so that a stopped run goes on. `--out FILE` writes
the checker of fold 0 in the expert format; `tramontane experts verify FILE` tries it.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

import checker_learning
import checker_sets
from cells import Cells, hash_of_files
from checker_learning import (
    ANSWERS,
    QUESTION,
    Checking,
    Prompt,
    Prompts,
    Read,
    Reading,
    fit_rows,
    starting_tensors,
)
from checker_sets import (
    KINDS,
    SALT,
    balanced_weights,
    learnt_from,
    most_whole,
    of_fold,
    sets,
)
from record import Claim, write_results
from support import (
    SIGNS,
    WORDS,
    auroc,
    balanced_accuracy,
    best_threshold,
    fit,
    half,
    interval,
    judge,
    thinned,
)
from support_readings import READINGS, reading_signals
from support_sets import DOMAINS, Item
from texts import DATA
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.cli.parts import Parts
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.experts.expert_file import FORMAT, Expert, tensor_hash, write_expert
from tramontane.experts.learn import made_with
from tramontane.experts.place import choose_place
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256
from tramontane.experts.training import Schedule
from tramontane.library.embed import word_llama
from tramontane.model.transformer import load_transformer
from tramontane.settings import load_settings
from tramontane.writing.signals import SIGNALS, Passages, Text, signals_of

# Layers 12 to 29 and width 64: 8 MB. Probes of the base's states said most at layers 16 to 20.
FIRST, WIDTH = 12, 64
BATCH, LEARNING_RATE, EPOCHS = 21, 3e-3, 2
LATER_RATE, LATER_EPOCHS = 2e-3, 2
SEED = 0
# Of what is measured through the native runtime, every so many items.
EVERY = {"begin": 8, "corruptions": 6}
RESAMPLES_OF_MEAN = 2000


@dataclass(frozen=True)
class Lesson:
    """What one learning sees: a fold's sets; of its half of SummEdits nothing, all, or a part."""

    fold: int
    summedits: str  # "none", "all", "first part", "second part"

    @property
    def name(self) -> str:
        return f"fold-{self.fold}-{self.summedits.replace(' ', '-')}"


class Learner:
    """Learns checkers and keeps them."""

    def __init__(self, wanted: argparse.Namespace):
        self.checkpoint = (
            open_checkpoint(wanted.model) if wanted.model else Parts(load_settings()).checkpoint
        )
        self.folder, self.threads = wanted.cache, wanted.threads
        self.prompts = Prompts(self.checkpoint.tokenizer())
        self.items = sets(wanted.data)
        self.taught = learnt_from(self.items)
        code = hash_of_files([Path(module.__file__) for module in (checker_learning, checker_sets)])
        self.key = [self.checkpoint.sha256, code, torch.__version__, FIRST, WIDTH, SEED, BATCH]
        self.cells = Cells(wanted.cache / "cells")
        self.kept: dict[str, list[Read]] = {}

    @cached_property
    def transformer(self):
        return load_transformer(self.checkpoint)

    @cached_property
    def rows(self):
        reads = [*self.reads("samsum")[::8], *self.reads("scitldr")[::8]]
        return fit_rows(self.transformer, self.checkpoint, reads, FIRST, self.folder)

    def prompts_of(self, name: str, items: Sequence[Item]) -> list[Prompt]:
        return [self.prompts.prompt(i.sentence, i.passage, most_whole(name)) for i in items]

    def reads(self, name: str) -> list[Read]:
        """Returns a taught set as the base read it."""
        if name not in self.kept:
            items = self.items[name] if name in DOMAINS else self.taught[name]
            reading = Reading(self.transformer, self.prompts, FIRST, self.folder / "reads")
            self.kept[name] = reading.read(self.prompts_of(name, items), self.checkpoint.sha256)
        return self.kept[name]

    def learnt(self, lesson: Lesson) -> dict[str, np.ndarray]:
        """Returns the lesson's expert, from its file where it was learnt before."""
        rates = [LEARNING_RATE, EPOCHS, LATER_RATE, LATER_EPOCHS]
        file = self.cells.file(lesson.name, [self.key, rates], ".safetensors")
        if not file.exists():
            began = time.monotonic()
            tensors = self.learn(lesson)
            unfinished = file.with_suffix(".part")
            save_file(tensors, unfinished)
            unfinished.replace(file)
            print(f"{lesson.name}: learnt in {time.monotonic() - began:.0f} s", flush=True)
        return load_file(file)

    def learn(self, lesson: Lesson) -> dict[str, np.ndarray]:
        rows, h_by_layer = self.rows
        if lesson.summedits == "none":
            tensors = starting_tensors(self.transformer, rows, h_by_layer, WIDTH)
            names, rate, epochs = list(self.taught), LEARNING_RATE, EPOCHS
        else:
            before = self.learnt(Lesson(lesson.fold, "none"))
            tensors = {name: torch.from_numpy(tensor) for name, tensor in before.items()}
            names, rate, epochs = list(DOMAINS), LATER_RATE, LATER_EPOCHS
        reads: list[Read] = []
        labels, sources = [], []
        for name in names:
            items = self.items[name] if name in DOMAINS else self.taught[name]
            chosen = of_fold(name, items, lesson.fold)
            if lesson.summedits.endswith("part"):
                is_first = half([item.document for item in items], SALT)
                chosen &= is_first == (lesson.summedits == "first part")
            here = self.reads(name)
            for place in np.flatnonzero(chosen):
                reads.append(here[place])
                labels.append(float(items[place].is_supported))
                sources.append(name)
        y_N = np.array(labels)
        weights_N = balanced_weights(y_N, np.array(sources))
        training = self.training(tensors, len(reads), rate, epochs)
        losses = []
        while training.step < training.schedule.num_steps:
            losses.append(training.learn_from(reads, y_N, weights_N))
            if training.step % 20 == 0:
                told = f"{training.step} of {training.schedule.num_steps}"
                print(f"{lesson.name}: {told}, loss {np.mean(losses[-20:]):.3f}", flush=True)
        return training.tensors(rows)

    def training(
        self, tensors: dict[str, Tensor], num_prompts: int, rate: float = 0.0, epochs: int = 1
    ) -> Checking:
        schedule = Schedule(
            num_windows=num_prompts,
            batch_windows=BATCH,
            epochs=epochs,
            learning_rate=rate,
            divergence_weight=0.0,
            seed=SEED,
        )
        return Checking(self.transformer, FIRST, tensors, schedule, self.prompts)

    def answers(
        self, lesson: Lesson | None, name: str, chosen: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the answers (N,) to a set of SummEdits; of the untouched base for no lesson.

        Where only some are asked the others are NaN.
        """
        num = len(self.items[name])
        places = np.arange(num) if chosen is None else np.flatnonzero(chosen)

        def compute() -> list[float]:
            told = self.learnt(lesson or Lesson(0, "none"))
            tensors = {name: torch.from_numpy(tensor) for name, tensor in told.items()}
            training = self.training(tensors, 1)
            reads = self.reads(name)
            asked = [reads[place] for place in places]
            return training.answers(asked, with_expert=lesson is not None).tolist()

        rates = [LEARNING_RATE, EPOCHS, LATER_RATE, LATER_EPOCHS] if lesson else []
        key = [self.key, rates, lesson.name if lesson else "", name]
        key += [] if chosen is None else [places.tolist()]
        found = np.full(num, np.nan)
        found[places] = self.cells.get(f"answers-{name}", key, compute)
        return found

    # In the expert format

    def expert(self, lesson: Lesson) -> Expert:
        """Returns the checker of a lesson without SummEdits, with its manifest.

        Its perplexity is that of the right answer of two, on SummEdits: 2 where it can't tell them
        apart.
        """
        tensors = {name: np.ascontiguousarray(t) for name, t in self.learnt(lesson).items()}
        rows, _ = self.rows
        learnt, tokens = self.documents_learnt(lesson)
        y_N = np.concatenate([labels(self.items[name]) for name in DOMAINS])
        before, after = (
            np.exp(np.logaddexp(0, np.where(y_N == 1, -answers, answers)).mean())
            for answers in (
                np.concatenate([self.answers(which, name) for name in DOMAINS])
                for which in (None, lesson)
            )
        )
        documents = {item.document for name in DOMAINS for item in self.items[name]}
        manifest = {
            "format": FORMAT,
            "name": "checker",
            "owner": "Tramontane",
            "licence": "mixed: see docs/decisions/support.md",
            "base": {"name": self.checkpoint.name, "sha256": self.checkpoint.sha256},
            "form": "swiglu",
            "layers": sorted(rows),
            "width": WIDTH,
            "settings": {
                "learning_rate": LEARNING_RATE,
                "epochs": EPOCHS,
                "batch_prompts": BATCH,
                "seed": SEED,
                "fold": lesson.fold,
            },
            "asks": {
                # A manifest holds no sentence, not even this one.
                "question_sha256": hashlib.sha256(QUESTION.encode()).hexdigest(),
                "yes": ANSWERS[0],
                "no": ANSWERS[1],
            },
            "notes": {"number": len(learnt), "salted_sha256": learnt, "tokens": tokens},
            "held_out": {
                "perplexity_before": round(float(before), 4),
                "perplexity_after": round(float(after), 4),
                "notes": len(documents),
                "tokens": len(y_N),
            },
            "gates": {
                "own_held_out": round(float(np.mean([row.own_open for row in rows.values()])), 5),
                "public": {
                    genre: round(
                        float(np.mean([row.public_open[genre] for row in rows.values()])), 5
                    )
                    for genre in next(iter(rows.values())).public_open
                },
            },
            "public_text_sha256": PUBLIC_TEXT_SHA256,
            "tensor_hash": tensor_hash(tensors),
            "made_with": made_with(choose_place("cpu")),
        }
        return Expert(manifest, tensors)

    def documents_learnt(self, lesson: Lesson) -> tuple[list[str], int]:
        """Returns the hashes of what a lesson's fold saw, and how many tokens its prompts hold."""
        found, tokens = set(), 0
        for name, items in self.taught.items():
            for place in np.flatnonzero(of_fold(name, items, lesson.fold)):
                found.add(hashlib.sha256(items[place].document.encode()).hexdigest())
                tokens += self.reads(name)[place].num_tokens
        return sorted(found), tokens

    # Through the native runtime, where the evidence is chosen as a user's would be

    @cached_property
    def engine(self) -> Engine:
        return Engine(NativeRuntime(self.checkpoint, threads=self.threads))

    def native_answers(self, lesson: Lesson | None, name: str, items: list[Item]) -> np.ndarray:
        """Returns the answers (N,) as the native runtime gives them, a batch per cell."""
        rates = [LEARNING_RATE, EPOCHS] if lesson else []
        found: list[float] = []
        for begin in range(0, len(items), 32):
            part = self.prompts_of(name, items[begin : begin + 32])
            texts = [(p.passage, p.sentence) for p in part]
            key = [self.key, rates, lesson.name if lesson else "", texts]
            found += self.cells.get(
                f"native-{name}-{begin}", key, lambda part=part: self.asked(lesson, part)
            )
        return np.array(found)

    def readings(self, name: str) -> np.ndarray:
        """Returns (N, R): how much likelier a domain's summaries are after their passages."""
        found: list[list[float]] = []
        items = self.items[name]
        for begin in range(0, len(items), 32):
            part = [(i.sentence, i.passage) for i in items[begin : begin + 32]]
            key = [self.checkpoint.sha256, part]
            found += self.cells.get(
                f"readings-{name}-{begin}", key, lambda part=part: self.read_by_base(part)
            )
        return np.array(found)

    def read_by_base(self, pairs: Sequence[tuple[str, str]]) -> list[list[float]]:
        sentences, passages = zip(*pairs, strict=True)
        read = reading_signals(self.engine, self.prompts.tokenizer, sentences, passages)
        return [[row[name] for name in READINGS] for row in read]

    def asked(self, lesson: Lesson | None, prompts: Sequence[Prompt]) -> list[float]:
        names: tuple[str, ...] = ()
        if lesson:
            names = (lesson.name,)
            if lesson.name not in self.engine.runtime.expert_hashes:
                self.engine.add_expert(lesson.name, self.learnt(lesson))
        sequences = []
        for prompt in prompts:
            ids = (*prompt.passage, *prompt.sentence, *self.prompts.question)
            sequences += [([*ids, answer], len(ids)) for answer in self.prompts.answers]
        scores = [float(score[-1]) for score in self.engine.score_many(sequences, experts=names)]
        return [yes - no for yes, no in zip(scores[::2], scores[1::2], strict=True)]


# Measures


def signals(items: Sequence[Item]) -> np.ndarray:
    """Returns (N, S) the signals of words."""
    prepared: dict[str, Passages] = {}
    rows = []
    for item in items:
        passages = prepared.setdefault(item.passage, Passages([item.passage]))
        found, _ = signals_of(Text(item.sentence), passages, word_llama())
        rows.append([found[name] for name in SIGNALS])
    return np.array(rows)


def sha_of(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def labels(items: Sequence[Item]) -> np.ndarray:
    return np.array([float(item.is_supported) for item in items])


# Words may not speak against their meaning, and neither may a Yes.
WITH_ANSWER = np.append(SIGNS[WORDS], 1.0)


class SummEdits:
    """One domain: what each way says of each summary, fitted on the other half of its documents."""

    def __init__(self, learner: Learner, name: str, *, with_readings: bool = False):
        self.items = learner.items[name]
        self.documents = [item.document for item in self.items]
        self.y_N, self.x_NS = labels(self.items), signals(self.items)
        self.first = half(self.documents)
        parts = half(self.documents, SALT)
        base = learner.answers(None, name)
        self.says = {"words": self.fitted(lambda fold: self.x_NS, SIGNS[WORDS])}

        def beside(answer: Callable[[int], np.ndarray]) -> Callable[[int], np.ndarray]:
            return lambda fold: np.c_[self.x_NS, answer(fold)]

        def general(fold: int) -> np.ndarray:
            return learner.answers(Lesson(fold, "none"), name)

        def domain(fold: int) -> np.ndarray:
            """The fold's own for the half to measure; for its own half, of learnings without."""
            learnt = self.learnt(fold)
            answers = learner.answers(Lesson(fold, "all"), name, ~learnt)
            for part, other in (("first part", ~parts), ("second part", parts)):
                unseen = learnt & other
                answers[unseen] = learner.answers(Lesson(fold, part), name, unseen)[unseen]
            return answers

        if with_readings:
            reading = learner.readings(name)
            self.says["words and the base's reading"] = self.fitted(
                lambda fold: np.c_[self.x_NS, reading], SIGNS
            )
        yes = np.ones(1)
        for told, answer in (
            ("untouched base", lambda fold: base),
            ("checker", general),
            ("checker that learnt SummEdits", domain),
        ):
            self.says[f"{told} alone"] = self.fitted(lambda fold, a=answer: a(fold)[:, None], yes)
            self.says[f"words and {told}"] = self.fitted(beside(answer), WITH_ANSWER)

    def learnt(self, fold: int) -> np.ndarray:
        return self.first == (fold == 0)

    def fitted(self, x: Callable[[int], np.ndarray], signs: np.ndarray) -> np.ndarray:
        says_N = np.zeros(len(self.y_N), bool)
        for fold in (0, 1):
            x_NS, learnt = x(fold), self.learnt(fold)
            model = fit(x_NS[learnt], self.y_N[learnt], signs)
            threshold = best_threshold(judge(model, x_NS[learnt]), self.y_N[learnt])
            says_N[~learnt] = judge(model, x_NS[~learnt]) >= threshold
        return says_N

    def value(self, way: str) -> float:
        return balanced_accuracy(self.says[way], self.y_N)


def resampled(domain: SummEdits, draw: np.random.Generator) -> np.ndarray:
    """Returns places of a domain's items with its documents drawn anew."""
    names = sorted(set(domain.documents))
    documents = np.array(domain.documents)
    chosen = draw.integers(len(names), size=len(names))
    return np.concatenate([np.flatnonzero(documents == names[i]) for i in chosen])


def summedits_claims(domains: dict[str, SummEdits]) -> list[Claim]:
    """Returns each way's mean over domains, its gain over words drawn by the same documents."""
    ways = list(next(iter(domains.values())).says)
    draw = np.random.default_rng(SEED)
    values: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(RESAMPLES_OF_MEAN):
        places = {name: resampled(domain, draw) for name, domain in domains.items()}
        for way in ways:
            each = [
                balanced_accuracy(domain.says[way][places[name]], domain.y_N[places[name]])
                for name, domain in domains.items()
            ]
            values[way].append(float(np.mean(each)))
    claims = []
    n = sum(len(domain.y_N) for domain in domains.values())
    words = float(np.mean([domain.value("words") for domain in domains.values()]))
    for way in ways:
        value = float(np.mean([domain.value(way) for domain in domains.values()]))
        low, high = np.percentile(values[way], [2.5, 97.5])
        gains = np.array(values[way]) - np.array(values["words"])
        worse, better = np.percentile(gains, [2.5, 97.5])
        each = ", ".join(f"{name} {domain.value(way):.3f}" for name, domain in domains.items())
        claims.append(
            Claim(
                f"summedits.balanced_accuracy.mean.{way.replace(' ', '_')}",
                round(value, 4),
                round(words, 4),
                round(value, 4),
                n,
                f"95 % {low:.3f} to {high:.3f} by document; gain over words "
                f"{value - words:+.3f} (95 % {worse:+.3f} to {better:+.3f}); {each}",
            )
        )
    return claims


class Elsewhere:
    """Sets measured through the native runtime; weights are from documents no checker learnt."""

    def __init__(self, learner: Learner):
        self.learner = learner
        self.items: dict[str, list[Item]] = {}
        for name in ("begin", "corruptions", "wice", "generated"):
            taught = {id(item) for item in learner.taught.get(name, [])}
            items = [item for item in learner.items[name] if id(item) not in taught]
            if name in EVERY:
                documents = [item.document for item in items]
                is_taught = half(documents) & half(documents, SALT)
                items = [i for i, one in zip(items, is_taught, strict=True) if not one]
                items = thinned(items, EVERY[name])
            self.items[name] = items
        # Rows of the half that nothing is fitted on, none of them among those above.
        again = learner.items["begin"]
        held = ~half([item.document for item in again])
        self.items["begin_again"] = [
            item
            for item, is_held in zip(again, held, strict=True)
            if is_held and sha_of(item.sentence) % EVERY["begin"] == 1
        ]
        self.x = {name: signals(items) for name, items in self.items.items()}
        self.y = {name: labels(items) for name, items in self.items.items()}
        self.is_fitted = {
            name: half([i.document for i in items]) if name in EVERY else np.zeros(len(items), bool)
            for name, items in self.items.items()
        }

    def with_answer(self, name: str) -> np.ndarray:
        of_set = name.removesuffix("_again")
        answers = self.learner.native_answers(Lesson(0, "none"), of_set, self.items[name])
        return np.c_[self.x[name], answers]

    @cached_property
    def words_model(self) -> np.ndarray:
        """The weights of words fitted on all that bench/support.py fits on, as those that ship."""
        xs, ys, weights = [], [], []
        for name in EVERY:
            items = self.learner.items[name]
            fitted = half([item.document for item in items])
            kept = [item for item, is_fitted in zip(items, fitted, strict=True) if is_fitted]
            xs.append(signals(kept))
            ys.append(labels(kept))
            weights.append(np.full(len(kept), 1.0 / len(kept)))
        weights_N = np.concatenate(weights) * sum(map(len, weights)) / len(weights)
        return fit(np.concatenate(xs), np.concatenate(ys), SIGNS[WORDS], weights_N)

    def model(self, without_kind: str = "", columns: slice = slice(None)) -> np.ndarray:
        """Returns weights from BEGIN and corruptions, each of equal weight."""
        xs, ys, weights = [], [], []
        for name in EVERY:
            chosen = self.is_fitted[name] & np.array(
                [item.kind != without_kind for item in self.items[name]]
            )
            xs.append(self.with_answer(name)[chosen][:, columns])
            ys.append(self.y[name][chosen])
            weights.append(np.full(int(chosen.sum()), 1.0 / chosen.sum()))
        weights_N = np.concatenate(weights) * sum(map(len, weights)) / len(weights)
        return fit(np.concatenate(xs), np.concatenate(ys), WITH_ANSWER[columns], weights_N)

    def claim(self, name: str) -> Claim:
        measured = ~self.is_fitted[name]
        y_N = self.y[name][measured]
        items = [i for i, one in zip(self.items[name], measured, strict=True) if one]
        x_NS = self.with_answer(name)[measured]
        both, alone = judge(self.model(), x_NS), x_NS[:, -1]
        words = judge(self.words_model, x_NS[:, WORDS])
        few = judge(self.model(columns=WORDS), x_NS[:, WORDS])
        low, high = interval(
            lambda p: auroc(both[p], y_N[p]) - auroc(words[p], y_N[p]),
            [item.document for item in items],
        )
        value, before = auroc(both, y_N), auroc(words, y_N)
        note = (
            f"words and the checker; peer: words, fitted on all that ships was; gain "
            f"{value - before:+.3f} (95 % {low:+.3f} to {high:+.3f} by document); words fitted on "
            f"as few as both {auroc(few, y_N):.3f}, the checker alone {auroc(alone, y_N):.3f}; "
            f"{int(y_N.sum())} backed"
        )
        return Claim(
            f"{name}.auroc", round(value, 4), round(before, 4), round(value, 4), len(y_N), note
        )

    def corruptions_claim(self) -> Claim:
        """Kinds that fold 0 has not learnt, each by weights that have not seen it either."""
        name = "corruptions"
        kinds = np.array([item.kind for item in self.items[name]])
        held, y = ~self.is_fitted[name], self.y[name]
        values, before, alone, told, count = [], [], [], [], 0
        for kind in KINDS[1]:
            chosen = held & ((y == 1) | (kinds == kind))
            number = int((kinds[chosen] == kind).sum())
            if number < 10:
                told.append(f"{kind} left out, {number} cases")
                continue
            x_NS = self.with_answer(name)[chosen]
            values.append(auroc(judge(self.model(kind), x_NS), y[chosen]))
            by_words = judge(self.model(kind, WORDS), x_NS[:, WORDS])
            before.append(auroc(by_words, y[chosen]))
            alone.append(auroc(x_NS[:, -1], y[chosen]))
            told.append(
                f"{kind} {values[-1]:.3f} (words {before[-1]:.3f}, checker {alone[-1]:.3f}, "
                f"n {number})"
            )
            count += number
        value, words = float(np.mean(values)), float(np.mean(before))
        note = (
            f"mean over kinds that the checker and the weights never saw, notes unseen; peer: "
            f"words fitted on the same items; the checker alone {np.mean(alone):.3f}; "
            f"{', '.join(told)}"
        )
        return Claim(
            "corruptions.auroc.unseen_kinds",
            round(value, 4),
            round(words, 4),
            round(value, 4),
            count,
            note,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a GGUF file; by default the base in use")
    parser.add_argument("--data", type=Path, default=DATA / "bench")
    parser.add_argument("--cache", type=Path, default=Path(".bench-cache/checker"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--readings", action="store_true", help="likelihoods beside the answers")
    parser.add_argument("--out", type=Path, help="write fold 0's checker as an expert file")
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    learner = Learner(wanted)
    if wanted.out:
        write_expert(wanted.out, learner.expert(Lesson(0, "none")))
        print(f"{wanted.out}: {wanted.out.stat().st_size / 1e6:.1f} MB")
        return
    domains = {
        name: SummEdits(learner, name, with_readings=wanted.readings)
        for name in DOMAINS
        if name in learner.items
    }
    claims = summedits_claims(domains)
    for claim in claims:
        print(f"{claim.id} {claim.value} {claim.note}", flush=True)
    elsewhere = Elsewhere(learner)
    claims += [elsewhere.claim(name) for name in ("wice", "generated", "begin", "begin_again")]
    claims.append(elsewhere.corruptions_claim())
    write_results("checker", claims)


if __name__ == "__main__":
    main()

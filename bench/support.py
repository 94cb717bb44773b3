"""Whether sentences marked as supported are: published sets, and corruptions of real notes.

Each source is measured apart, beside trivial baselines: word overlap, and the sentence's length.
The model is fitted on half of BEGIN's documents and on corruptions of half of the notes; measured
are the other halves, WiCE's development claims, and (for the claim) kinds of corruption left out of
the fit. SummEdits needs a model of its own, fitted on half of a domain's documents at a time.

    python bench/support.py [--fit] [--readings --model FILE.gguf --begin-every 6 ...]

`--fit` writes the model that ships. `--data FOLDER` holds wice/, summedits/, begin/, ragtruth/,
faithbench/, halueval/ and squad2/ as in their repositories (support_sets.py reads them); what is
absent is said, and so are rows that can't be read. The last four are measured whole, and nothing
is fitted on them.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

import support_readings
from cells import Cells
from corruptions import CORRUPT, cases
from record import Claim, add_results
from support_readings import READINGS, evidence_for, reading_signals
from support_sets import DOMAINS, PUBLISHED, Item, begin, summedits, wice
from texts import DATA
from tramontane.audit.rows import LeftOut
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.cli.parts import Parts
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.library.embed import word_llama
from tramontane.settings import load_settings
from tramontane.writing.overlap import overlap
from tramontane.writing.signals import SIGNALS, Passages, Text, signals_of
from tramontane.writing.support import Model

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "src/tramontane/writing/support_model.json"
GENERATED = ROOT / "bench/questions/generated_sentences.json"
PENALTY, STEPS = 20.0, 2000
FOR = {
    *("held", "held_near", "held_weighed", "best", "best_pair", "pairs", "triples", "run"),
    *("likeness", "read_likelihood", "read_gain", "read_least_three", "read_least_gain"),
}
EITHER = {"has_figures", "has_names", "dropped", "length"}
SIGNS = np.array(
    [0.0 if name in EITHER else 1.0 if name in FOR else -1.0 for name in (*SIGNALS, *READINGS)]
)
WORDS = slice(0, len(SIGNALS))
# What the model that ships is fitted on.
LEARNT_FROM = ("begin", "corruptions")
WRONG_OF_SUPPORTED, WRONG_OF_SHOWN = 0.1, 0.3
# A promise that keeps fewer of the backed sentences is none.
LEAST_KEPT = 0.1
RESAMPLES = 2000
# Groups of fewer sentences than this get no figure of their own; rows named of one reason.
LEAST_IN_GROUP, MOST_NAMED = 20, 3
BATCH = 64


def generated() -> list[Item]:
    """Sentences that bases wrote over real notes, where those who read them agree."""
    rows = json.loads(GENERATED.read_text("utf-8"))
    found = []
    for row in rows:
        backed = {label == "supported" for label in row["labels"]}
        if "no_claim" in row["labels"] or len(backed) > 1:
            continue
        found.append(
            Item(row["sentence"], passage_of(row), backed.pop(), row["passage"], row["base"])
        )
    return found


def passage_of(row: dict) -> str:
    collection, path = row["passage"].split("/", 1)
    note = DATA / "notes" / collection / "text" / path
    lines = note.read_text("utf-8").splitlines()[row["first_line"] - 1 : row["last_line"]]
    return "\n".join(lines)


def corrupted() -> list[Item]:
    return [Item(c.sentence, c.passage, c.is_supported, c.note, c.kind) for c in cases()]


def thinned(items: list[Item], every: int) -> list[Item]:
    """Returns about one item of so many, by a hash of its sentence: no pattern in the order."""
    return [
        i for i in items if int(hashlib.sha256(i.sentence.encode()).hexdigest(), 16) % every == 0
    ]


def tell_left_out(name: str, left_out: Sequence[LeftOut]) -> None:
    """Names what was not read: of each reason how often, and the first few rows."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in left_out:
        by_reason.setdefault((one.file, one.why), []).append(one.row)
    for (file, why), rows in by_reason.items():
        more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
        print(f"{name}: left out of {file}: {', '.join(rows[:MOST_NAMED])}{more}: {why}")


# Signals, kept on disk


class Reader:
    """Gives items their signals: of words, and with --readings of a base that reads them too."""

    def __init__(self, wanted: argparse.Namespace):
        self.reads = wanted.readings
        if not self.reads:
            return
        checkpoint = (
            open_checkpoint(wanted.model) if wanted.model else Parts(load_settings()).checkpoint
        )
        # Reading is slow: kept on disk, a batch per cell, so that a stopped run goes on.
        self.cells = Cells(wanted.cache)
        self.engine = Engine(NativeRuntime(checkpoint, threads=wanted.threads))
        self.tokenizer = checkpoint.tokenizer()
        code = Path(support_readings.__file__).read_bytes()
        self.key = [checkpoint.sha256, hashlib.sha256(code).hexdigest()]

    def signals(self, name: str, items: Sequence[Item]) -> np.ndarray:
        """Returns (N, S): the signals of words, then those of reading."""
        rows, evidence = [], []
        for item in items:
            passages = Passages([item.passage])
            signals, order = signals_of(Text(item.sentence), passages, word_llama())
            rows.append([signals[name] for name in SIGNALS])
            if self.reads:
                evidence.append(evidence_for(self.tokenizer, item.passage, passages, order))
        if not self.reads:
            return np.array(rows)
        for first in range(0, len(items), BATCH):
            part = slice(first, first + BATCH)
            pairs = [(i.sentence, e) for i, e in zip(items[part], evidence[part], strict=True)]
            read = self.cells.get(
                f"{name}-{first}", [self.key, pairs], lambda pairs=pairs: self.read(pairs)
            )
            for row, more in zip(rows[part], read, strict=True):
                row += [more[name] for name in READINGS]
        return np.array(rows)

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, float]]:
        sentences, evidence = zip(*pairs, strict=True)
        return reading_signals(self.engine, self.tokenizer, sentences, evidence)


# Fitting


def fit(
    x_NS: np.ndarray, y_N: np.ndarray, signs_S: np.ndarray, weights_N: np.ndarray | None = None
) -> np.ndarray:
    """Returns (3, S + 1): means, scales, weights (the constant last) of an L2 logistic model.

    A weight may not speak against its signal's meaning (`signs_S`: 1, -1, or 0 for either): so what
    one kind of change taught serves for kinds never seen. Accelerated projected gradient (Beck and
    Teboulle 2009).
    """
    mean_S, scale_S = x_NS.mean(axis=0), x_NS.std(axis=0) + 1e-9
    z_ND = np.c_[(x_NS - mean_S) / scale_S, np.ones(len(x_NS))]
    weights_N = np.ones(len(y_N)) if weights_N is None else weights_N
    penalty_D = np.r_[np.full(len(mean_S), PENALTY), 0.0]
    signs_D = np.r_[signs_S, 0.0]
    curve = np.linalg.eigvalsh((z_ND * weights_N[:, None]).T @ z_ND)[-1] / 4 + PENALTY
    b_D = ahead_D = np.zeros(z_ND.shape[1])
    momentum = 1.0
    for _ in range(STEPS):
        p_N = 1 / (1 + np.exp(-z_ND @ ahead_D))
        slope_D = z_ND.T @ (weights_N * (p_N - y_N)) + penalty_D * ahead_D
        next_D = ahead_D - slope_D / curve
        next_D = np.where(next_D * signs_D < 0, 0.0, next_D)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead_D = next_D + (momentum - 1) / following * (next_D - b_D)
        b_D, momentum = next_D, following
    return np.stack([np.r_[mean_S, 0.0], np.r_[scale_S, 1.0], b_D])


def judge(model_3D: np.ndarray, x_NS: np.ndarray) -> np.ndarray:
    mean_D, scale_D, b_D = model_3D
    return ((x_NS - mean_D[:-1]) / scale_D[:-1]) @ b_D[:-1] + b_D[-1]


# Measures


def auroc(scores_N: np.ndarray, y_N: np.ndarray) -> float:
    """Returns the chance that a backed sentence scores above an unbacked one; ties count half."""
    _, place_N, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    ranks_N = (np.cumsum(counts) - (counts - 1) / 2)[place_N]
    positive = y_N.sum()
    above = ranks_N[y_N == 1].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(y_N) - positive)))


def interval(
    measure: Callable[[np.ndarray], float], documents: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of a measure of chosen items, drawn by document."""
    draw = np.random.default_rng(seed)
    names = sorted(set(documents))
    places = {name: np.flatnonzero(np.array(documents) == name) for name in names}
    values = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(len(names), size=len(names))
        values.append(measure(np.concatenate([places[names[i]] for i in chosen])))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def balanced_accuracy(says_N: np.ndarray, y_N: np.ndarray) -> float:
    return float((says_N[y_N == 1].mean() + (~says_N[y_N == 0]).mean()) / 2)


def best_threshold(scores_N: np.ndarray, y_N: np.ndarray) -> float:
    candidates = np.unique(scores_N)
    return float(max(candidates, key=lambda t: balanced_accuracy(scores_N >= t, y_N)))


def half(documents: Sequence[str], salt: str = "") -> np.ndarray:
    """Returns which items are of the half of documents that is fitted on."""
    return np.array([hashlib.sha256((salt + d).encode()).digest()[0] % 2 == 0 for d in documents])


# The claims


class Measurement:
    def __init__(self, wanted: argparse.Namespace):
        self.data, self.reader = wanted.data, Reader(wanted)
        sources: dict[str, Callable[[list[LeftOut]], list[Item]]] = {
            "wice": lambda left_out: wice(self.data, left_out),
            **{d: lambda left_out, d=d: summedits(self.data, left_out, d) for d in DOMAINS},
            "begin": lambda left_out: thinned(begin(self.data, left_out), wanted.begin_every),
            "generated": lambda left_out: generated(),
            "corruptions": lambda left_out: thinned(corrupted(), wanted.corrupted_every),
            **{
                name: lambda left_out, read=read: read(self.data, left_out)
                for name, read in PUBLISHED.items()
            },
        }
        self.items: dict[str, list[Item]] = {}
        self.x: dict[str, np.ndarray] = {}
        self.y: dict[str, np.ndarray] = {}
        self.is_fitted: dict[str, np.ndarray] = {}
        self.num_left_out: dict[str, int] = {}
        for name, read in sources.items():
            left_out: list[LeftOut] = []
            try:
                items = read(left_out)
            except FileNotFoundError as error:
                print(f"{name}: left out, {error.filename} isn't there")
                continue
            tell_left_out(name, left_out)
            self.num_left_out[name] = len(left_out)
            self.items[name] = items
            self.x[name] = self.reader.signals(name, items)
            self.y[name] = np.array([float(item.is_supported) for item in items])
            self.is_fitted[name] = half([item.document for item in items])
        # Nothing of these is fitted on.
        for name in {"wice", "generated", *PUBLISHED} & self.is_fitted.keys():
            self.is_fitted[name][:] = False

    def fitted(self, without_kind: str | None = None, columns: slice = WORDS) -> np.ndarray:
        """Returns the model of the halves that are fitted on; each source weighs alike."""
        xs, ys, weights = [], [], []
        for name in LEARNT_FROM:
            chosen = self.is_fitted[name] & np.array(
                [i.kind != without_kind for i in self.items[name]]
            )
            xs.append(self.x[name][chosen][:, columns])
            ys.append(self.y[name][chosen])
            weights.append(np.full(int(chosen.sum()), 1.0 / chosen.sum()))
        x_NS, weights_N = np.concatenate(xs), np.concatenate(weights)
        weights_N *= len(weights_N) / len(xs)
        return fit(x_NS, np.concatenate(ys), SIGNS[columns], weights_N)

    def baselines(self, name: str, chosen: np.ndarray) -> str:
        items = [
            item for item, is_chosen in zip(self.items[name], chosen, strict=True) if is_chosen
        ]
        y_N = self.y[name][chosen]
        shares = np.array([overlap(i.sentence, [i.passage]).share for i in items])
        lengths = np.array([-len(i.sentence) for i in items])
        return f"word overlap {auroc(shares, y_N):.3f}, shortness {auroc(lengths, y_N):.3f}"

    def auroc_claim(self, claim: str, name: str, target: str) -> Claim:
        chosen = ~self.is_fitted[name]
        y_N, documents = self.y[name][chosen], self.documents(name, chosen)
        scores = judge(self.fitted(), self.x[name][chosen][:, WORDS])
        low, high = interval(lambda places: auroc(scores[places], y_N[places]), documents)
        value = auroc(scores, y_N)
        note = (
            f"{target}; 95 % {low:.3f} to {high:.3f} by document; {int(y_N.sum())} backed; "
            f"{self.baselines(name, chosen)}"
        )
        if self.reader.reads:
            read = judge(self.fitted(columns=slice(None)), self.x[name][chosen])
            note += f"; a base reading too {auroc(read, y_N):.3f}"
        return Claim(claim, round(value, 4), None, round(value, 4), len(y_N), note)

    def documents(self, name: str, chosen: np.ndarray) -> list[str]:
        return [
            i.document for i, is_chosen in zip(self.items[name], chosen, strict=True) if is_chosen
        ]

    def published_claim(self, name: str) -> Claim:
        """Of one set: sentences pooled, then within each task and writer, and whole answers."""
        items, y_N = self.items[name], self.y[name]
        scores_N = judge(self.fitted(), self.x[name][:, WORDS])
        documents = [item.document for item in items]
        low, high = interval(lambda places: auroc(scores_N[places], y_N[places]), documents)
        everything = np.ones(len(y_N), bool)
        tasks_N = rate_of_each([item.task for item in items], y_N)
        said = [
            f"nothing fitted on it; 95 % {low:.3f} to {high:.3f} by document; {int(y_N.sum())} "
            f"backed; {self.baselines(name, everything)}, task type alone "
            f"{auroc(tasks_N, y_N):.3f}"
        ]
        for what, groups in (
            ("within tasks", [item.task for item in items]),
            ("within writers", [item.writer for item in items]),
        ):
            within = of_groups(groups, lambda places: auroc(scores_N[places], y_N[places]), y_N)
            if len(within) > 1:
                said.append(f"{what}: " + ", ".join(within))
        if whole := whole_answers(items, scores_N, y_N):
            said.append(whole)
        wrong, kept = coverage(scores_N, y_N)
        told = f"{wrong:.3f} wrong, {kept:.2f} kept" if kept >= LEAST_KEPT else "refused"
        said.append(f"a promise of 0.1: {told}")
        said.append(f"{self.num_left_out[name]} rows or files left out by name")
        value = round(auroc(scores_N, y_N), 4)
        return Claim(f"{name}.auroc", value, None, value, len(y_N), "; ".join(said))

    def summedits_claim(self) -> Claim:
        """Within each domain: fitted on half of its documents, measured on the other, and back."""
        values, beside = [], []
        for name in DOMAINS:
            x_NS, y_N, first = self.x[name], self.y[name], self.is_fitted[name]
            says, said = np.zeros(len(y_N), bool), np.zeros(len(y_N), bool)
            shares = np.array([overlap(i.sentence, [i.passage]).share for i in self.items[name]])
            for learnt in (first, ~first):
                model = fit(x_NS[learnt], y_N[learnt], SIGNS[: x_NS.shape[1]])
                threshold = best_threshold(judge(model, x_NS[learnt]), y_N[learnt])
                says[~learnt] = judge(model, x_NS[~learnt]) >= threshold
                said[~learnt] = shares[~learnt] >= best_threshold(shares[learnt], y_N[learnt])
            value = balanced_accuracy(says, y_N)
            documents = [item.document for item in self.items[name]]
            low, high = interval(
                lambda p, says=says, y_N=y_N: balanced_accuracy(says[p], y_N[p]), documents
            )
            values.append(value)
            beside.append(
                f"{name} {value:.3f} (95 % {low:.3f} to {high:.3f}, n {len(y_N)}; word overlap "
                f"{balanced_accuracy(said, y_N):.3f})"
            )
        value = float(np.mean(values))
        note = f">= 0.62; mean of three domains, split by document; {'; '.join(beside)}"
        n = sum(len(self.y[name]) for name in DOMAINS)
        return Claim("summedits.balanced_accuracy.mean", value, None, round(value, 4), n, note)

    def corruptions_claim(self) -> Claim:
        """Each kind in turn is left out of the fit, and so are the notes it is measured on."""
        name = "corruptions"
        kinds = np.array([item.kind for item in self.items[name]])
        held, y = ~self.is_fitted[name], self.y[name]
        values, counts, beside = [], [], []
        for kind in CORRUPT:
            chosen = held & ((y == 1) | (kinds == kind))
            count = int((kinds[chosen] == kind).sum())
            if count < 10:
                beside.append(f"{kind} left out, {count} cases")
                continue
            scores = judge(self.fitted(without_kind=kind), self.x[name][chosen][:, WORDS])
            values.append(auroc(scores, y[chosen]))
            counts.append(count)
            beside.append(f"{kind} {values[-1]:.3f} (n {count})")
        value = float(np.mean(values))
        note = f">= 0.95; mean over kinds, each unseen, notes unseen too; {', '.join(beside)}"
        return Claim(
            "corruptions.auroc.unseen_kinds",
            value,
            None,
            round(value, 4),
            sum(counts),
            f"{note}; {self.baselines(name, held)}",
        )

    def coverage_claim(self) -> Claim:
        """Thresholds from random halves of a source's unfitted items; errors in the other half.

        Refused, as for a user, where no threshold keeps the promise with a tenth of the backed
        sentences left. Real sentences (people's, models') and made ones are told apart.
        """
        errors, beside = {}, []
        for name in self.items:
            if name in PUBLISHED:
                continue  # said beside their own figures
            chosen = ~self.is_fitted[name]
            scores = judge(self.fitted(), self.x[name][chosen][:, WORDS])
            wrong, kept = coverage(scores, self.y[name][chosen])
            if kept < LEAST_KEPT:
                beside.append(f"{name}: refused, {kept:.2f} would be kept")
                continue
            errors[name] = abs(wrong - WRONG_OF_SUPPORTED)
            beside.append(f"{name} {wrong:.3f} wrong, {kept:.2f} kept")
        worst = max(errors, key=errors.get)
        note = f"<= 0.02; |share wrong - 0.1|, worst {worst}; 200 splits; {'; '.join(beside)}"
        value = round(errors[worst], 4)
        return Claim("coverage.error_at_10", value, None, value, 200, note)

    def shipped(self) -> dict:
        """Returns the model; its thresholds are from the halves that it wasn't fitted on."""
        mean_D, scale_D, b_D = model = self.fitted()
        scores, y = [], []
        for name in LEARNT_FROM:
            chosen = ~self.is_fitted[name]
            scores.append(judge(model, self.x[name][chosen][:, WORDS]))
            y.append(self.y[name][chosen])
        scores_N, y_N = np.concatenate(scores), np.concatenate(y)
        return asdict(
            Model(
                mean=named(SIGNALS, mean_D),
                scale=named(SIGNALS, scale_D),
                weight=named(SIGNALS, b_D),
                constant=round(float(b_D[-1]), 6),
                supported_from=sigmoid(promise_threshold(scores_N, y_N)),
                weak_from=sigmoid(promise_threshold(scores_N, y_N, WRONG_OF_SHOWN)),
            )
        )


def coverage(scores_N: np.ndarray, y_N: np.ndarray) -> tuple[float, float]:
    """Returns the share wrong of those shown, and kept of those backed: means over 200 halvings."""
    draw = np.random.default_rng(0)
    wrong, kept = [], []
    for _ in range(200):
        order = draw.permutation(len(y_N))
        learnt, tried = order[::2], order[1::2]
        threshold = promise_threshold(scores_N[learnt], y_N[learnt])
        shown = scores_N[tried] >= threshold
        wrong.append((1 - y_N[tried][shown]).mean() if shown.any() else np.nan)
        kept.append(shown[y_N[tried] == 1].mean())
    return (
        float(np.nanmean(wrong)) if np.any(np.isfinite(wrong)) else np.nan,
        float(np.mean(kept)),
    )


def rate_of_each(groups: Sequence[str], y_N: np.ndarray) -> np.ndarray:
    """Returns each item's group's share of backed ones: all that knowing the group can tell.

    The shares are those of the very items that are judged by them, which favours this baseline.
    """
    names = np.array(groups)
    rates = {name: y_N[names == name].mean() for name in set(groups)}
    return np.array([rates[name] for name in groups])


def of_groups(
    groups: Sequence[str], measure: Callable[[np.ndarray], float], y_N: np.ndarray
) -> list[str]:
    """Returns "NAME figure (n)" of each group that is large enough and has both kinds."""
    names, said = np.array(groups), []
    for name in sorted(set(groups)):
        places = np.flatnonzero(names == name)
        if name and len(places) >= LEAST_IN_GROUP and 0 < y_N[places].sum() < len(places):
            said.append(f"{name} {measure(places):.3f} (n {len(places)})")
    return said


def whole_answers(items: Sequence[Item], scores_N: np.ndarray, y_N: np.ndarray) -> str:
    """Returns the figure of whole answers, each judged by its weakest sentence; "" where none is.

    Beside it stand the baselines of such a judgement: the answer's shortness, and its task.
    """
    places: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        if item.answer:
            places.setdefault(item.answer, []).append(place)
    if not places:
        return ""
    wholes = list(places.values())
    weakest = np.array([scores_N[whole].min() for whole in wholes])
    backed = np.array([y_N[whole].min() for whole in wholes])
    if not 0 < backed.sum() < len(backed):
        return ""
    lengths = np.array([-sum(len(items[n].sentence) for n in whole) for whole in wholes])
    tasks = [items[whole[0]].task for whole in wholes]
    documents = [items[whole[0]].document for whole in wholes]
    low, high = interval(lambda chosen: auroc(weakest[chosen], backed[chosen]), documents)
    of_task = auroc(rate_of_each(tasks, backed), backed)
    said = (
        f"whole answers by their weakest sentence {auroc(weakest, backed):.3f} (95 % {low:.3f} to "
        f"{high:.3f}, n {len(backed)}, {int(backed.sum())} backed; shortness "
        f"{auroc(lengths, backed):.3f}, task type alone {of_task:.3f}"
    )
    within = of_groups(tasks, lambda chosen: auroc(weakest[chosen], backed[chosen]), backed)
    return f"{said}{'; ' + ', '.join(within) if len(within) > 1 else ''})"


def promise_threshold(
    scores_N: np.ndarray, y_N: np.ndarray, wrong: float = WRONG_OF_SUPPORTED
) -> float:
    """Returns the smallest score from which on at most `wrong` of the sentences are unbacked.

    Infinite where no score keeps that.
    """
    order = np.argsort(-scores_N, kind="stable")
    unbacked = np.cumsum(1 - y_N[order])
    share = unbacked / np.arange(1, len(order) + 1)
    kept = np.flatnonzero(share <= wrong)
    return float(scores_N[order[kept[-1]]]) if len(kept) else np.inf


def named(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in zip(names, values[:-1], strict=True)}


def sigmoid(score: float) -> float:
    return round(float(1 / (1 + np.exp(-score))), 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a GGUF file; by default the base in use")
    parser.add_argument("--data", type=Path, default=DATA / "bench")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench-cache/support")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--readings", action="store_true", help="what a base's reading would add")
    parser.add_argument("--begin-every", type=int, default=1, help="of BEGIN, every so many rows")
    parser.add_argument("--corrupted-every", type=int, default=1, help="of the corruptions too")
    parser.add_argument("--fit", action="store_true", help="write the model that ships")
    wanted = parser.parse_args()
    measured = Measurement(wanted)
    if wanted.fit:
        SHIPPED.write_text(json.dumps(measured.shipped(), indent=1) + "\n", encoding="utf-8")
    add_results(
        "support",
        [
            measured.auroc_claim("wice_dev.auroc", "wice", ">= 0.80"),
            measured.summedits_claim(),
            measured.corruptions_claim(),
            measured.auroc_claim("generated.auroc", "generated", ">= 0.80"),
            measured.auroc_claim("begin.auroc", "begin", "the half not fitted on"),
            measured.coverage_claim(),
            *(measured.published_claim(name) for name in PUBLISHED if name in measured.items),
        ],
    )


if __name__ == "__main__":
    main()

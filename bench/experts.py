"""Every `experts` claim on real notes: six collections learnt, measured with all six in place.

Each collection is learnt from at most 30k tokens and measured on notes that `learn` never got.
Results of long steps are kept in --cache and read again, so a stopped run goes on where it was.

    python bench/experts.py [--threads 2] [--seeds 1] [--only voice,writing] [--tokens 30000]
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ability
from cells import Cells, hash_of_files
from collections_of_notes import LOOK_ALIKE, SIX, Collection, read_collection
from peft_lora import PeftLora, rank_of_size, top_losses
from questions import holds_fact, read_items
from record import Claim, add_results
from texts import (
    chat_messages,
    chats,
    chats_with_passages,
    code,
    collection_folder,
    lambada,
    notes_texts,
    wikitext,
    windows,
)
from tfidf import NearestCollection
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.cli.learn import asked_for_a_draft
from tramontane.cli.parts import Parts
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.runtime import Span
from tramontane.experts import learning as learning_file
from tramontane.experts.contested import STRETCH_TOKENS, line_of, speakers
from tramontane.experts.corpus import collection_corpus
from tramontane.experts.expert_file import Expert, read_expert, write_expert
from tramontane.experts.learn import learn
from tramontane.experts.lesson import LearnSettings, lesson_of
from tramontane.experts.overlap import measure_overlap
from tramontane.experts.place import choose_place
from tramontane.experts.proof import document_interval
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256
from tramontane.experts.states import compute_states
from tramontane.experts.training import Schedule
from tramontane.experts.voice import effect
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library
from tramontane.model.notes_experts import NotesExperts
from tramontane.model.transformer import Notes, Transformer, load_transformer
from tramontane.notes.sentences import split_sentences
from tramontane.settings import load_settings
from tramontane.writing.answer import Writer, source_of
from tramontane.writing.events import Answer
from tramontane.writing.prompt import ANSWER, WRITE, fitting_prompt, messages_for
from tramontane.writing.speak import ExpertInPlace

ROOT = Path(__file__).parents[1]
NEVER_LEARNT = ("til-simonw", "policies-basecamp", "bread-code", "equity-compensation")
WINDOW_TOKENS = 512
SENTENCES_PER_NOTE, MAX_NOTES_WRITTEN = 4, 10
# The effect takes a pass for each expert.
WINDOWS_OF_EFFECT = 2


class Measurement:
    """What all claims share: the base, the collections, their experts, and the cache."""

    def __init__(self, wanted: argparse.Namespace):
        self.wanted = wanted
        self.checkpoint = (
            open_checkpoint(wanted.model) if wanted.model else Parts(load_settings()).checkpoint
        )
        self.tokenizer = self.checkpoint.tokenizer()
        self.cells = Cells(wanted.cache / "cells")
        torch.set_num_threads(wanted.threads)
        self.names = SIX[: wanted.collections]

    # Collections and experts

    @cached_property
    def collections(self) -> dict[str, Collection]:
        return {name: self.collection(name) for name in self.names}

    def collection(self, name: str) -> Collection:
        whole = read_collection(name, self.tokenizer, self.wanted.tokens, self.wanted.test_tokens)
        return whole.measured_on(self.wanted.windows)

    def settings(self, seed: int = 0, rate_factor: float = 1.0) -> LearnSettings:
        default = LearnSettings(max_tokens=self.wanted.tokens, seed=seed)
        return replace(default, learning_rate=default.learning_rate * rate_factor)

    def learning_key(self, collection: Collection, settings: LearnSettings) -> dict[str, Any]:
        folder = Path(learning_file.__file__).parent
        made_by = (
            *("lesson", "corpus", "turns", "place"),
            *("learning", "states", "route", "training", "loss"),
        )
        files = (folder / f"{name}.py" for name in made_by)
        return {
            "notes": [note.sha256 for note in collection.learnt],
            "cut": [len(note.text) for note in collection.learnt],
            "settings": asdict(settings),
            "base": self.checkpoint.sha256,
            "public_text": PUBLIC_TEXT_SHA256,
            "torch": torch.__version__,
            "threads": self.wanted.threads,
            "code": hash_of_files(file for file in files),
        }

    def expert(self, collection: Collection, seed: int = 0, rate_factor: float = 1.0) -> Expert:
        """Returns the collection's expert, learnt where the cache has none."""
        settings = self.settings(seed, rate_factor)
        key = self.learning_key(collection, settings)
        file = self.cells.file(f"expert-{collection.name}", key, ".safetensors")

        def learnt() -> dict[str, Any]:
            expert = learn(
                collection.learnt,
                name=collection.name,
                checkpoint=self.checkpoint,
                cache_folder=self.wanted.cache,
                settings=settings,
                asking=asked_for_a_draft,
                threads=self.wanted.threads,
                device="cpu",
            )
            write_expert(file, expert)
            return {"hash": expert.hash, "held_out": expert.manifest["held_out"]}

        self.cells.get(f"expert-{collection.name}", key, learnt)
        return read_expert(file)

    @cached_property
    def experts(self) -> dict[str, Expert]:
        return {name: self.expert(collection) for name, collection in self.collections.items()}

    @cached_property
    def hashes(self) -> dict[str, str]:
        return {name: expert.hash for name, expert in self.experts.items()}

    @cached_property
    def lines(self) -> dict[str, float]:
        """The mean gate above which a stretch is named after each expert."""
        return {name: line_of(expert.manifest) for name, expert in self.experts.items()}

    @property
    def everyone(self) -> tuple[str, ...]:
        return tuple(sorted(self.hashes.values()))

    @cached_property
    def engine(self) -> Engine:
        engine = Engine(NativeRuntime(self.checkpoint, threads=self.wanted.threads))
        for expert in self.experts.values():
            engine.add_expert(expert.hash, expert.tensors)
        return engine

    def key(self, **more: Any) -> dict[str, Any]:
        """Returns what a measurement with all experts in place depends on."""
        return {"base": self.checkpoint.sha256, "experts": self.everyone, **more}

    @property
    def measured_on(self) -> dict[str, int]:
        return {"windows": self.wanted.windows, "given": self.wanted.test_tokens}

    def losses(self, token_windows: Sequence[Sequence[int]], experts: Sequence[str]) -> list[float]:
        """Returns each window's sum of losses in nats, its first token left out."""
        pairs = [(list(map(int, window)), 1) for window in token_windows]
        return [-float(row.sum()) for row in self.engine.score_many(pairs, experts=experts)]

    # Notes

    def notes(self) -> list[Claim]:
        rows = [
            self.notes_of(name, seed) for seed in range(self.wanted.seeds) for name in self.names
        ]
        changes = [row["own"] / row["base"] - 1 for row in rows]
        together = statistics.mean(row["all"] / row["base"] - 1 for row in rows)
        beside = ", ".join(
            f"{row['name']} {change:+.1%}" for row, change in zip(rows, changes, strict=True)
        )
        value = statistics.mean(changes)
        note = (
            f"{len(self.names)} collections, {self.wanted.seeds} seed(s), notes never given to "
            f"`learn`, native, own expert in place; all in place {together:+.4f}; {beside}"
        )
        ours, base = (statistics.mean(row[which] for row in rows) for which in ("own", "base"))
        num_tokens = sum(row["tokens"] for row in rows)
        return [claim("notes.perplexity_change.mean_of_six", ours, base, value, num_tokens, note)]

    def notes_of(self, name: str, seed: int) -> dict[str, Any]:
        collection = self.collections[name]
        expert = self.experts[name] if seed == 0 else self.expert(collection, seed)

        def measured() -> dict[str, Any]:
            if expert.hash not in self.engine.runtime.expert_hashes:
                self.engine.add_expert(expert.hash, expert.tensors)
            num_tokens = collection.test_windows[:, 1:].size
            others = {h for other, h in self.hashes.items() if other != name}
            in_place = {"base": (), "own": (expert.hash,), "all": (*others, expert.hash)}
            return {"name": name, "tokens": num_tokens} | {
                which: math.exp(sum(self.losses(collection.test_windows, experts)) / num_tokens)
                for which, experts in in_place.items()
            }

        key = self.key(name=name, seed=expert.hash, **self.measured_on)
        return self.cells.get(f"notes-{name}", key, measured)

    # The peer in learning

    def peft(self) -> list[Claim]:
        """Both swept on the first collections; elsewhere each with the rate that did best there."""
        swept = self.names[: self.wanted.swept]
        ours_rate = best_rate(
            self.wanted.our_factors,
            lambda rate: [self.ours_torch(name, rate)["early_stop"] for name in swept],
        )
        peft_rate = best_rate(
            self.wanted.peft_rates,
            lambda rate: [self.peft_lora(name, rate)["early_stop"] for name in swept],
        )
        ours = {name: self.ours_torch(name, ours_rate)["test"] for name in self.names}
        peft = {name: self.peft_lora(name, peft_rate) for name in self.names}
        ratios = {name: math.exp(ours[name] - peft[name]["test"]) for name in self.names}
        beside = ", ".join(f"{name} {ratio:.4f}" for name, ratio in ratios.items())
        default = self.settings().learning_rate
        note = (
            f"mean of {len(ratios)} ratios of perplexity, PyTorch, same windows, epochs and early "
            f"stop; rank {peft[self.names[0]]['rank']}; rates swept on {', '.join(swept)}: "
            f"ours {[f * default for f in self.wanted.our_factors]} took {ours_rate * default:g}, "
            f"PEFT's {self.wanted.peft_rates} took {peft_rate:g}; {beside}"
        )
        ours_mean = statistics.mean(map(math.exp, ours.values()))
        peft_mean = statistics.mean(math.exp(row["test"]) for row in peft.values())
        value = statistics.mean(ratios.values())
        return [claim("notes.perplexity_vs_peft", ours_mean, peft_mean, value, len(ratios), note)]

    def trunk(self, windows_NW: np.ndarray) -> np.ndarray:
        """Returns the states (N, W, D) below the first notes layer."""
        return compute_states(
            self.transformer,
            self.checkpoint.sha256,
            windows_NW,
            self.first,
            self.wanted.cache,
            lambda *_: None,
        ).trunk

    @cached_property
    def transformer(self) -> Transformer:
        return self.new_transformer()

    def new_transformer(self) -> Transformer:
        """Returns the base as learning has it."""
        return load_transformer(self.checkpoint, dtype=choose_place("cpu").dtype)

    @property
    def first(self) -> int:
        return next(iter(self.experts.values())).layers[0]

    def ours_torch(self, name: str, rate_factor: float) -> dict[str, float]:
        """Returns the losses in nats per token, on the early stop's windows and on test ones."""
        collection = self.collections[name]
        expert = self.expert(collection, rate_factor=rate_factor)

        def measured() -> dict[str, float]:
            losses = top_losses(
                self.transformer,
                self.first,
                self.trunk(collection.test_windows),
                collection.test_windows,
                notes_of_expert(expert),
            )
            held_out = expert.manifest["held_out"]
            return {
                "early_stop": math.log(held_out["perplexity_after"]),
                "test": float(losses.mean()),
            }

        key = {"expert": expert.hash, "windows": self.wanted.windows}
        return self.cells.get(f"ours-torch-{name}", key, measured)

    def peft_lora(self, name: str, rate: float) -> dict[str, float]:
        collection, expert = self.collections[name], self.experts[name]
        settings = self.settings()
        corpus = collection_corpus(
            collection.learnt, self.tokenizer, settings.window_tokens, settings.max_tokens
        )
        lesson = lesson_of(corpus, self.tokenizer, asked_for_a_draft, settings)
        schedule = Schedule(
            num_windows=len(lesson.windows),
            batch_windows=settings.batch_windows,
            epochs=expert.manifest["settings"]["epochs"],
            learning_rate=rate,
            divergence_weight=0.0,
            seed=settings.seed,
        )
        size = sum(tensor.size for tensor in expert.tensors.values())

        def learnt() -> dict[str, Any]:
            trunk, held_out = self.trunk(lesson.windows), self.trunk(corpus.held_out)
            test = self.trunk(collection.test_windows)
            transformer = self.new_transformer()
            rank = rank_of_size(transformer, self.first, size)
            lora = PeftLora(transformer, self.first, rank, settings.seed)
            stops = lora.learn(trunk, lesson, (held_out, corpus.held_out), schedule)
            losses = top_losses(transformer, self.first, test, collection.test_windows)
            return {
                "rank": rank,
                "parameters": lora.num_parameters,
                "early_stop": min(stops),
                "test": float(losses.mean()),
            }

        key = self.learning_key(collection, settings) | {
            "peft": asdict(schedule),
            "size": size,
            "windows": self.wanted.windows,
        }
        return self.cells.get(f"peft-{name}", key, learnt)

    # Other people's text

    @cached_property
    def other_texts(self) -> dict[str, Callable[[], list[str]]]:
        return {
            "wikitext": wikitext,
            "lambada": lambada,
            "chat": lambda: chats(self.tokenizer),
            "chat_with_passages": lambda: chats_with_passages(self.tokenizer),
            "code": code,
            **{name: lambda name=name: notes_texts(name) for name in NEVER_LEARNT},
        }

    def other_text(self) -> list[Claim]:
        rows = {genre: self.other_text_of(genre) for genre in self.other_texts}
        changes = {genre: row["with"] / row["without"] - 1 for genre, row in rows.items()}
        worst = max(changes, key=changes.get)
        beside = ", ".join(
            f"{genre} {change:+.3%} (95 % {rows[genre]['low']:+.3%} to {rows[genre]['high']:+.3%}; "
            f"a gate opens on {rows[genre]['open']:.2%} of tokens, of all gates "
            f"{rows[genre]['gates']:.3%})"
            for genre, change in changes.items()
        )
        num_tokens = sum(row["tokens"] for row in rows.values())
        return [
            claim(
                "other_text.perplexity_change.worst",
                rows[worst]["with"],
                rows[worst]["without"],
                changes[worst],
                num_tokens,
                f"worst: {worst}; native, all {len(self.names)} in place; {beside}",
            )
        ]

    def other_text_of(self, genre: str) -> dict[str, float]:
        def measured() -> dict[str, float]:
            texts = self.other_texts[genre]()
            ids = list(windows(texts, self.tokenizer, self.wanted.other_tokens, WINDOW_TOKENS))
            without = self.losses(ids, ())
            told = self.engine.foretell_many(
                [(window, 1) for window in ids], experts=self.everyone, with_gates=True
            )
            within = [-float(one.logprobs_T.sum()) for one in told]
            gates = [one.gates_TE for one in told]
            count = sum(len(window) - 1 for window in ids)
            low, high = document_interval(
                np.subtract(within, without), [len(window) - 1 for window in ids]
            )
            return {
                "tokens": count,
                "with": math.exp(sum(within) / count),
                "without": math.exp(sum(without) / count),
                "low": math.expm1(low),
                "high": math.expm1(high),
                "open": float(np.mean([(g > 0).any(axis=1).mean() for g in gates])),
                "gates": float(np.mean([g.mean() for g in gates])),
            }

        return self.cells.get(f"other-{genre}", self.key(tokens=self.wanted.other_tokens), measured)

    # Ability

    def ability(self) -> list[Claim]:
        rows = {name: self.ability_of(name) for name in ability.READERS}
        losses = {
            name: -row["change"] / row["error"] if row["error"] else 0.0
            for name, row in rows.items()
        }
        worst = max(losses, key=losses.get)
        beside = ", ".join(
            f"{name} {row['base']:.3f} → {row['with']:.3f} ({row['gained']} gained, {row['lost']} "
            f"lost of {row['n']}; unpaired error {row['unpaired']:.3f})"
            for name, row in rows.items()
        )
        note = (
            f"accuracy lost in standard errors of the paired difference, worst: {worst}; all "
            f"{len(self.names)} in place; {beside}"
        )
        row = rows[worst]
        n = sum(r["n"] for r in rows.values())
        return [claim("ability.change.worst", row["with"], row["base"], losses[worst], n, note)]

    def ability_of(self, name: str) -> dict[str, float]:
        def measured() -> dict[str, float]:
            items = ability.suite(name, self.wanted.items)
            base, within = (
                ability.is_right(self.engine, self.tokenizer, items, experts)
                for experts in ((), self.everyone)
            )
            difference = within.astype(float) - base
            return {
                "n": len(items),
                "base": float(base.mean()),
                "with": float(within.mean()),
                "change": float(difference.mean()),
                "error": float(difference.std(ddof=1) / math.sqrt(len(items))),
                "unpaired": math.sqrt(base.mean() * (1 - base.mean()) / len(items)),
                "gained": int((difference > 0).sum()),
                "lost": int((difference < 0).sum()),
            }

        return self.cells.get(f"ability-{name}", self.key(items=self.wanted.items), measured)

    # Writing

    def writing(self) -> list[Claim]:
        rows = {name: self.writing_of(name) for name in self.names}
        gains, counts = [], []
        for row in rows.values():
            gains += row["gains"]
            counts += row["counts"]
        low, high = document_interval(gains, counts)
        beside = ", ".join(
            f"{name} {sum(row['gains']) / max(1, sum(row['counts'])):+.4f} (own gates "
            f"{row['open']:.1%})"
            for name, row in rows.items()
        )
        note = (
            "nats per token, own expert in place minus withdrawn, sentences of notes never given "
            f"to `learn` under the drafting prompt with passages of other notes; mean "
            f"{sum(gains) / sum(counts):+.4f}, 95 % {low:+.4f} to {high:+.4f} over notes; {beside}"
        )
        mean = sum(gains) / sum(counts)
        return [claim("writing.with_passages.loglik_gain", mean, None, low, len(gains), note)]

    def writing_of(self, name: str) -> dict[str, Any]:
        collection = self.collections[name]

        def measured() -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as work:
                library = library_of(Path(work), collection)
                try:
                    return self.gains_under_prompt(collection, library)
                finally:
                    library.close()

        key = self.key(
            name=name,
            windows=self.wanted.windows,
            given=self.wanted.test_tokens,
            sentences=SENTENCES_PER_NOTE,
        )
        return self.cells.get(f"writing-{name}", key, measured)

    def gains_under_prompt(self, collection: Collection, library: Library) -> dict[str, Any]:
        own = (self.hashes[collection.name],)
        gains, counts, gates = [], [], []
        for note in collection.test[:MAX_NOTES_WRITTEN]:
            hits = library.search(note.title, limit=6)
            sources = [source_of(number, hit) for number, hit in enumerate(hits, start=1)]
            if not sources:
                continue
            ids, _ = fitting_prompt(self.tokenizer, WRITE, note.title, sources[:3], 1500)
            texts = [self.tokenizer.encode(text) for text in sentences_of(note.text)]
            sequences = [([*ids, *sentence], len(ids)) for sentence in texts]
            without = self.engine.score_many(sequences)
            within = self.engine.score_many(sequences, experts=own)
            gains.append(float(sum(map(np.sum, within)) - sum(map(np.sum, without))))
            counts.append(sum(map(len, within)))
            if sequences:
                open_TE = self.engine.shares_of(sequences[0][0], experts=own)[1][len(ids) :]
                gates.append(float(open_TE.mean()))
        return {"gains": gains, "counts": counts, "open": float(np.mean(gates or [0.0]))}

    # Answers

    def answers(self) -> list[Claim]:
        """What the base writes from the passages found, with gates open and closed.

        Quotations are chosen by the base alone, so there the two are the same by construction.
        """
        items = read_items(ROOT / "bench" / "dev_questions.json")
        key = self.key(questions=items)
        result = self.cells.get("answers", key, lambda: self.answers_measured(items))
        within, without = (np.array(result[which], float) for which in ("with", "without"))
        difference = within - without
        reach = 1.96 * difference.std(ddof=1) / math.sqrt(len(difference))
        low, high = difference.mean() - reach, difference.mean() + reach
        note = (
            "upper end of the paired 95 % interval; right: the fact is in what the base writes "
            "from the passages found, or the notes don't say and nothing is answered; difference "
            f"{difference.mean():+.4f}, {low:+.4f} to {high:+.4f}; {int((difference > 0).sum())} "
            f"gained, {int((difference < 0).sum())} lost; {result['same']} texts are the same word "
            f"for word; {self.checkpoint.name}, all {len(self.names)} in place"
        )
        ours, base = within.mean(), without.mean()
        n = len(items)
        return [claim("answers.correct_with_minus_without", ours, base, high, n, note)]

    def answers_measured(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        experts = tuple(ExpertInPlace(name, digest) for name, digest in self.hashes.items())
        right: dict[str, list[bool]] = {"with": [], "without": []}
        same = 0
        with tempfile.TemporaryDirectory() as work:
            embed = WordLlamaEmbedder()
            library = Library(Path(work) / "library.sqlite", embed)
            for name in sorted({item["collection"] for item in items}):
                library.add_collection(name, collection_folder(name))
                library.sync(name)
            writer = Writer(
                library, embed, lambda: self.engine, lambda: self.tokenizer, reads=False
            )
            for item in items:
                answer = writer.answer(item["question"])
                texts = [self.own_words(writer, answer, some) for some in (experts, ())]
                same += texts[0] == texts[1]
                for which, text in zip(("with", "without"), texts, strict=True):
                    right[which].append(is_correct(text, answer, item))
            library.close()
        return right | {"same": same}

    def own_words(self, writer: Writer, answer: Answer, experts: tuple[ExpertInPlace, ...]) -> str:
        if answer.abstained:
            return ""
        pieces = writer.own_words(answer.question, answer.sources, experts)
        return "".join(piece.text for piece in pieces)

    # Voice

    def voice(self) -> list[Claim]:
        rows = {name: self.stretches_of_notes(name) for name in self.names}
        nearest = NearestCollection(
            {name: [n.text for n in c.learnt] for name, c in self.collections.items()}
        )
        claims = []
        by_voice = {n: [self.named(s["gates"]) == n for s in row] for n, row in rows.items()}
        by_share = {n: [self.loudest(s["shares"]) == n for s in row] for n, row in rows.items()}
        by_effect = {
            n: [self.loudest(s["effect"]) == n for s in row if "effect" in s]
            for n, row in rows.items()
        }
        by_words = {n: [nearest(s["text"]) == n for s in row] for n, row in rows.items()}
        beside = ", ".join(
            f"{name} {np.mean(by_voice[name]):.3f} ({len(row)})" for name, row in rows.items()
        )
        right, words_right = pooled(by_voice), pooled(by_words)
        claims.append(
            claim(
                "voice.stretch64.accuracy",
                right,
                words_right,
                right,
                sum(map(len, rows.values())),
                f"by gates; the loudest share, never silent, {pooled(by_share):.4f}; by effect "
                f"{pooled(by_effect):.4f} of {sum(map(len, by_effect.values()))}; peer: TF-IDF's "
                f"nearest collection; {beside}",
            )
        )
        others = {genre: self.stretches_of_others(genre) for genre in self.scaffolds}
        silent = {g: [self.named(s) is None for s in row] for g, row in others.items()}
        public = {g: row for g, row in silent.items() if g not in NEVER_LEARNT}
        beside = ", ".join(f"{g} {np.mean(row):.4f} ({len(row)})" for g, row in silent.items())
        claims.append(
            claim(
                "voice.public_stretch64.named_none",
                pooled(public),
                None,
                pooled(public),
                sum(map(len, public.values())),
                f"by gates, all in place; other people's notes beside, not counted; {beside}",
            )
        )
        crossed = self.passages_of_others()
        claims.append(
            claim(
                "voice.passages_of_others.not_named",
                np.mean(crossed["silent"]),
                None,
                np.mean(crossed["silent"]),
                len(crossed["silent"]),
                "64-token stretches of prompts with passages of one collection, only another's "
                "expert in place: share in which it isn't named",
            )
        )
        return claims

    def named(self, mean_gates: Mapping[str, float]) -> str | None:
        names = list(mean_gates)
        lines = [self.lines[name] for name in names]
        named = speakers(np.array([list(mean_gates.values())]), names, lines)
        return named[0] if named else None

    def loudest(self, effects: Mapping[str, float]) -> str | None:
        best = max(effects, key=effects.get)
        return best if effects[best] > 0 else None

    def stretches_of_notes(self, name: str) -> list[dict[str, Any]]:
        collection = self.collections[name]

        def measured() -> list[dict[str, Any]]:
            found = []
            for place, window in enumerate(collection.test_windows.tolist()):
                shares_TE, gates_TE = self.engine.shares_of(window, experts=self.everyone)
                effects_TE = None
                if place < WINDOWS_OF_EFFECT:
                    effects_TE = effect(self.engine, window, self.everyone)
                for begin in range(0, len(window) - STRETCH_TOKENS + 1, STRETCH_TOKENS):
                    where = slice(begin, begin + STRETCH_TOKENS)
                    told = {
                        "text": self.tokenizer.decode(window[where]),
                        "shares": self.by_name(shares_TE[where].mean(axis=0)),
                        "gates": self.by_name(gates_TE[where].mean(axis=0)),
                    }
                    if effects_TE is not None:
                        # The first token has no log-probability.
                        spoken = effects_TE[max(0, begin - 1) : begin + STRETCH_TOKENS - 1]
                        told["effect"] = self.by_name(spoken.mean(axis=0))
                    found.append(told)
            return found

        key = self.key(name=name, **self.measured_on)
        return self.cells.get(f"voice-{name}", key, measured)

    def by_name(self, values_E: np.ndarray) -> dict[str, float]:
        return {name: float(values_E[self.everyone.index(d)]) for name, d in self.hashes.items()}

    @cached_property
    def scaffolds(self) -> dict[str, Callable[[], list[list[int]]]]:
        """What nobody's notes said: public text never fitted on, questions, chat scaffolding."""

        def token_windows(genre: str) -> list[list[int]]:
            texts = self.other_texts[genre]()
            return list(windows(texts, self.tokenizer, self.wanted.other_tokens, WINDOW_TOKENS))

        def questions() -> list[list[int]]:
            items = read_items(ROOT / "bench" / "dev_questions.json")
            packed = [t for item in items for t in self.tokenizer.encode(f"{item['question']}\n")]
            return cut_up(packed)

        def empty_prompts() -> list[list[int]]:
            packed = []
            for item in read_items(ROOT / "bench" / "dev_questions.json"):
                packed += self.tokenizer.encode_chat(messages_for(ANSWER, item["question"], []))
            return cut_up(packed)

        genres = {g: lambda g=g: token_windows(g) for g in self.other_texts}
        return genres | {"questions": questions, "chat_scaffolding": empty_prompts}

    def stretches_of_others(self, genre: str) -> list[dict[str, float]]:
        def measured() -> list[dict[str, float]]:
            found = []
            for window in self.scaffolds[genre]():
                _, gates_TE = self.engine.shares_of(window, experts=self.everyone)
                found += [self.by_name(part.mean(axis=0)) for part in stretches(gates_TE)]
            return found

        key = self.key(tokens=self.wanted.other_tokens)
        return self.cells.get(f"silence-{genre}", key, measured)

    def passages_of_others(self) -> dict[str, list[bool]]:
        """Prompts with passages of A, and only B's expert in place, over all pairs."""

        def measured() -> dict[str, list[bool]]:
            silent = []
            for a, collection in self.collections.items():
                passages = [p for note in collection.test for p in note.passages][:6]
                row = {
                    "documents": [passage.text for passage in passages[:3]],
                    "query": collection.test[0].title,
                    "response": "",
                }
                ids = self.tokenizer.encode_chat(chat_messages(row)[:2])[:1024]
                for b, digest in self.hashes.items():
                    if b == a:
                        continue
                    _, gates_TE = self.engine.shares_of(ids, experts=(digest,))
                    line = self.lines[b]
                    silent += [not speakers(part, [b], [line]) for part in stretches(gates_TE)]
            return {"silent": silent}

        return self.cells.get(
            "crossed",
            self.key(lines=self.lines, **self.measured_on),
            measured,
        )

    # Collections that look alike

    def contested(self) -> list[Claim]:
        """The six and a look-alike of one in place; pairs are found as the shelf finds them."""
        collection = self.collection(LOOK_ALIKE)
        expert = self.expert(collection)
        collections = self.collections | {LOOK_ALIKE: collection}
        hashes = self.hashes | {LOOK_ALIKE: expert.hash}
        lines = self.lines | {LOOK_ALIKE: line_of(expert.manifest)}
        pair = ("til-jbranchaud", LOOK_ALIKE)

        def measured() -> dict[str, Any]:
            if expert.hash not in self.engine.runtime.expert_hashes:
                self.engine.add_expert(expert.hash, expert.tensors)
            texts = {name: [n.text for n in c.learnt] for name, c in collections.items()}
            overlap = measure_overlap(self.engine, self.tokenizer, hashes, texts)
            pairs = overlap.look_alikes()
            look_alikes = {frozenset(names) for names in pairs}
            in_order = sorted(hashes, key=hashes.get)
            rows = {}
            for name in pair:
                rows[name] = [
                    list(speakers(stretch, in_order, [lines[n] for n in in_order], look_alikes))
                    for window in collections[name].test_windows.tolist()
                    for stretch in stretches(
                        self.engine.shares_of(window, experts=sorted(hashes.values()))[1]
                    )
                ]
            return {"pairs": pairs, "named": rows}

        key = self.key(look_alike=expert.hash, lines=lines, **self.measured_on)
        result = self.cells.get("contested", key, measured)
        rows = result["named"]
        right = {name: [name in named for named in row] for name, row in rows.items()}
        beside = ", ".join(
            f"{name}: right or contested {np.mean(right[name]):.3f}, of these contested "
            f"{np.mean([len(named) > 1 for named in row]):.3f}, nobody "
            f"{np.mean([not named for named in row]):.3f} of {len(row)}"
            for name, row in rows.items()
        )
        alike = [" and ".join(names) for names in result["pairs"]]
        note = (
            f"64-token stretches of {' and '.join(pair)}, {len(hashes)} in place; pairs that look "
            f"alike by overlap: {', '.join(alike) or 'none'}; {beside}"
        )
        n = sum(map(len, rows.values()))
        value = pooled(right)
        return [claim("contested.look_alike_recall", value, None, value, n, note)]

    # What a voice costs

    def share_cost(self) -> list[Claim]:
        """Both ways in turns on the same spans of notes, where gates are open."""
        runtime, times = self.engine.runtime, {False: [], True: []}
        ids = [t for c in self.collections.values() for t in c.test_windows[:2].flatten().tolist()]
        ids = ids[:WINDOW_TOKENS]
        pages = tuple(range(-(-len(ids) // runtime.page_tokens)))
        with self.engine.turn():
            for _ in range(self.wanted.rounds):
                for with_shares in (False, True):
                    began = time.perf_counter()
                    span = Span(ids, 0, pages, self.everyone)
                    runtime.forward([span], with_shares=with_shares)
                    times[with_shares].append(time.perf_counter() - began)
        without, within = (statistics.median(times[w][2:]) for w in (False, True))
        note = (
            f"seconds of a pass over {len(ids)} tokens of notes, {len(self.everyone)} in place, "
            f"shares asked for or not, in turns, medians of {self.wanted.rounds - 2}"
        )
        return [claim("voice.share_cost", within, without, within / without, len(ids), note)]


def stretches(values_TE: np.ndarray) -> list[np.ndarray]:
    whole = len(values_TE) - STRETCH_TOKENS + 1
    return [values_TE[begin : begin + STRETCH_TOKENS] for begin in range(0, whole, STRETCH_TOKENS)]


def notes_of_expert(expert: Expert) -> Notes:
    tensors = {name: torch.from_numpy(np.array(t)) for name, t in expert.tensors.items()}
    return NotesExperts({expert.hash: tensors}).at()


def best_rate(rates: Sequence[float], losses: Callable[[float], list[float]]) -> float:
    """Returns the rate with the lowest mean loss."""
    return min(rates, key=lambda rate: statistics.mean(losses(rate)))


def claim(claim_id: str, ours: float, peer: float | None, value: float, n: int, note: str) -> Claim:
    return Claim(
        claim_id,
        round(float(ours), 5),
        None if peer is None else round(float(peer), 5),
        round(float(value), 5),
        n,
        note,
    )


def pooled(cases: Mapping[str, Sequence[bool]]) -> float:
    return float(np.mean([case for row in cases.values() for case in row]))


def cut_up(token_ids: Sequence[int]) -> list[list[int]]:
    return [
        list(token_ids[begin : begin + WINDOW_TOKENS])
        for begin in range(0, len(token_ids), WINDOW_TOKENS)
    ]


def sentences_of(text: str) -> list[str]:
    """Returns some sentences of a note, evenly over it; short ones say too little."""
    found = [s.text for s in split_sentences(text) if len(s.text.split()) >= 6]
    step = max(1, len(found) // SENTENCES_PER_NOTE)
    return found[::step][:SENTENCES_PER_NOTE]


def is_correct(text: str, answer: Answer, item: dict[str, Any]) -> bool:
    """The fact is in the answer; or there is none in the notes and the answer says so."""
    if not item["answerable"]:
        return answer.abstained
    return holds_fact(text, item)


def library_of(work: Path, collection: Collection) -> Library:
    """Returns a library of the notes that were learnt from."""
    folder = work / collection.name
    for note in collection.learnt:
        file = folder / note.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(note.text, encoding="utf-8")
    library = Library(work / "library.sqlite", WordLlamaEmbedder())
    library.add_collection(collection.name, folder)
    library.sync(collection.name)
    return library


GROUPS = (
    "notes",
    "other_text",
    "voice",
    "writing",
    "ability",
    "answers",
    "share_cost",
    "contested",
    "peft",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a GGUF file; by default the base in use")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench-cache")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--tokens", type=int, default=30_000, help="learnt of each collection")
    parser.add_argument("--test-tokens", type=int, default=8_192, help="of each collection")
    parser.add_argument("--windows", type=int, default=24, help="of 256 of these, measured on")
    parser.add_argument("--other-tokens", type=int, default=8_192, help="of each genre")
    parser.add_argument("--items", type=int, default=500, help="of each suite")
    parser.add_argument("--collections", type=int, default=len(SIX))
    parser.add_argument("--swept", type=int, default=2, help="collections that rates are swept on")
    factors, rates = [0.5, 1.0, 2.0], [1e-3, 2e-3, 4e-3]
    parser.add_argument("--our-factors", type=float, nargs="+", default=factors)
    parser.add_argument("--peft-rates", type=float, nargs="+", default=rates)
    parser.add_argument("--rounds", type=int, default=22)
    wanted = parser.parse_args()
    measurement = Measurement(wanted)
    groups = wanted.only.split(",") if wanted.only else GROUPS
    for group in groups:
        # What other runs wrote, bench/kills.py too, stays.
        add_results("experts", getattr(measurement, group)())


if __name__ == "__main__":
    main()

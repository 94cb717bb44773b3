"""The parts a command needs, opened when first asked for and closed together."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.store import Store
from tramontane.cli.progress import Reporter
from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine
from tramontane.engine.weights_cache import WeightsCache
from tramontane.experts.contested import line_of
from tramontane.experts.expert_file import Expert
from tramontane.experts.look_alikes import read_look_alikes
from tramontane.experts.mixture import Mixture
from tramontane.experts.shelf import Shelf
from tramontane.library.embed import WordLlamaEmbedder, word_llama
from tramontane.library.kept_copies import KeptCopies
from tramontane.library.library import Library
from tramontane.settings import Settings, load_settings
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.answer import Report, Writer
from tramontane.writing.speak import ExpertInPlace
from tramontane.writing.writers_check import CheckResult, known_check


class Parts:
    def __init__(self, settings: Settings):
        self.settings = settings
        # The engine is opened once, by whichever thread needs it first.
        self.opening = threading.Lock()
        self.leaving: set[str] = set()

    @cached_property
    def store(self) -> Store:
        return Store(self.settings.models_folder)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return self.store.open(self.settings.base)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return self.checkpoint.tokenizer()

    @cached_property
    def embed(self) -> WordLlamaEmbedder:
        return word_llama()

    @cached_property
    def library(self) -> Library:
        return Library(self.settings.library_file, self.embed)

    @cached_property
    def copies(self) -> KeptCopies:
        return KeptCopies(self.settings.dropped_folder)

    @cached_property
    def shelf(self) -> Shelf:
        return Shelf(self.settings.experts_folder, self.settings.mixtures_folder)

    @property
    def weights_cache(self) -> WeightsCache | None:
        """The cache of repacked weights, or None where the settings allow it no room."""
        most_bytes = int(self.settings.weights_cache_gb * 1e9)
        return WeightsCache(self.settings.weights_folder, most_bytes) if most_bytes else None

    def mixture(self) -> Mixture:
        """Returns the mixture in use as it is on disk now."""
        return self.shelf.mixture(self.settings.mixture, self.checkpoint.sha256)

    def experts_in_place(self) -> list[Expert]:
        return self.shelf.in_place(self.mixture())

    def new_engine(self) -> Engine:
        """Returns an engine that has never seen an expert."""
        settings = self.settings
        with Reporter() as report:
            runtime = open_runtime(
                self.checkpoint,
                settings.runtime,
                settings.threads,
                kv=settings.kv,
                cache=self.weights_cache,
                report=report,
            )
        return Engine(runtime, max_tokens=settings.kv_tokens)

    @property
    def engine(self) -> Engine:
        """The engine with the mixture's experts loaded, those too that came after it was opened."""
        with self.opening:
            loaded = self.opened_engine.runtime.expert_hashes
            if not set(self.mixture().experts) <= set(loaded):
                for expert in self.experts_in_place():
                    if expert.hash not in loaded:
                        self.opened_engine.add_expert(expert.hash, expert.tensors)
            self.unload_forgotten()
            return self.opened_engine

    def unload_forgotten(self) -> None:
        """Lets go of experts that are on no shelf any more: another process forgot them.

        Running requests keep them to their end, so nobody waits for that here.
        """
        loaded = set(self.opened_engine.runtime.expert_hashes)
        unplaced = loaded - set(self.mixture().experts) - self.leaving
        if not unplaced:
            return
        for digest in unplaced - {record.hash for record in self.shelf.ls()}:
            self.leaving.add(digest)
            threading.Thread(
                target=self.opened_engine.remove_expert, args=(digest,), daemon=True
            ).start()

    @cached_property
    def opened_engine(self) -> Engine:
        return self.new_engine()

    @property
    def checks_folder(self) -> Path:
        return self.settings.home / "checks"

    def check(self) -> CheckResult | None:
        """Returns the base's writer's check, or None when it was never run."""
        return known_check(self.checks_folder, self.checkpoint.sha256)

    def writer(
        self, experts: Sequence[ExpertInPlace] | None = None, report: Report = lambda *_: None
    ) -> Writer:
        """Returns a writer; `experts` None means those of the mixture in use. `report` is told how
        far the base has read before an answer begins."""
        if experts is None:
            experts = self.voices()
        check = self.check() if self.has_base else None
        return Writer(
            self.library,
            self.embed,
            lambda: self.engine,
            lambda: self.tokenizer,
            lambda: experts,
            reads=self.has_base,
            can_write=bool(check and check.passed),
            report=report,
        )

    @property
    def has_base(self) -> bool:
        """Whether the base chosen has been pulled; without one, quoting goes by words alone."""
        return any(self.settings.base in (r.name, r.source) for r in self.store.ls()) or (
            Path(self.settings.base).exists()
        )

    def voices(self) -> tuple[ExpertInPlace, ...]:
        """Returns the experts in place by name; none while there is no base."""
        if not self.has_base:
            return ()
        wanted = self.mixture().experts
        if not wanted:
            return ()
        records = {r.hash: r for r in self.shelf.ls() if not r.is_withdrawn}
        pairs = read_look_alikes(self.shelf.mixtures_folder)
        return tuple(
            ExpertInPlace(
                records[digest].name,
                digest,
                line_of(records[digest].manifest),
                frozenset(other for pair in pairs if digest in pair for other in pair - {digest}),
            )
            for digest in wanted
            if digest in records
        )

    def close(self) -> None:
        if "library" in self.__dict__:
            self.library.close()


@contextmanager
def opened(context_settings: dict[str, Any] | None = None) -> Iterator[Parts]:
    """Yields the parts for these settings and closes them afterwards."""
    parts = Parts(load_settings(**(context_settings or {})))
    try:
        yield parts
    finally:
        parts.close()

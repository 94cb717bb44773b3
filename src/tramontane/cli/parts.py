"""The parts a command needs, opened when first asked for and closed together."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.store import Store
from tramontane.engine.engine import Engine
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.experts.expert_file import Expert
from tramontane.experts.mixture import Mixture
from tramontane.experts.shelf import Shelf
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library
from tramontane.settings import Settings, load_settings
from tramontane.tokenizer.tokenizer import Tokenizer


class Parts:
    def __init__(self, settings: Settings):
        self.settings = settings

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
        return WordLlamaEmbedder()

    @cached_property
    def library(self) -> Library:
        return Library(self.settings.library_file, self.embed)

    @cached_property
    def shelf(self) -> Shelf:
        return Shelf(self.settings.experts_folder, self.settings.mixtures_folder)

    def mixture(self) -> Mixture:
        """Returns the mixture in use as it is on disk now."""
        return self.shelf.mixture(self.settings.mixture, self.checkpoint.sha256)

    def experts_in_place(self) -> list[Expert]:
        return self.shelf.in_place(self.mixture())

    def new_engine(self) -> Engine:
        """Returns an engine that has never seen an expert."""
        return Engine(TorchRuntime(self.checkpoint, threads=self.settings.threads))

    @cached_property
    def engine(self) -> Engine:
        """The engine with the mixture's experts loaded."""
        engine = self.new_engine()
        for expert in self.experts_in_place():
            engine.add_expert(expert.hash, expert.tensors)
        return engine

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

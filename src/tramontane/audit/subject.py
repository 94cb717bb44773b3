"""What is audited: a mixture with its experts loaded, and what has to be known to repeat it."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tramontane import __version__
from tramontane.audit.scoring import Scorer
from tramontane.engine.engine import Engine
from tramontane.experts.mixture import Mixture
from tramontane.tokenizer.tokenizer import Tokenizer

# What changes bits when it changes; threads and versions of Python don't.
BIT_KEYS = ("runtime", "instructions", "kv")


@dataclass(frozen=True)
class NamedExpert:
    name: str
    hash: str


@dataclass(frozen=True)
class Subject:
    """`experts` stand in the order of their hashes, as everywhere."""

    mixture: Mixture
    base_name: str
    experts: tuple[NamedExpert, ...]
    engine: Engine
    tokenizer: Tokenizer

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer(self.engine, self.tokenizer, [expert.hash for expert in self.experts])

    @property
    def expert_names(self) -> list[str]:
        return [expert.name for expert in self.experts]

    def identity(self) -> dict[str, Any]:
        """Returns the names and hashes of what is asked."""
        template = (self.tokenizer.chat_template or "").encode()
        return {
            "name": self.mixture.name,
            "hash": self.mixture.hash,
            "base": {"name": self.base_name, "sha256": self.mixture.base_sha256},
            "experts": [{"name": e.name, "hash": e.hash} for e in self.experts],
            "chat_template_sha256": hashlib.sha256(template).hexdigest(),
        }

    def made_with(self) -> dict[str, Any]:
        """Returns what computes: runtime, kernel variant, versions. Threads change no bit."""
        told = {k: v for k, v in self.engine.runtime.description.items() if k != "threads"}
        return {
            **told,
            "tramontane": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
        }


def named(mixture: Mixture, names_by_hash: dict[str, str]) -> tuple[NamedExpert, ...]:
    """Returns a mixture's experts by name; two of one name are told apart by their hashes."""
    names = [names_by_hash.get(digest, digest[:12]) for digest in mixture.experts]
    return tuple(
        NamedExpert(name if names.count(name) == 1 else f"{name}-{digest[:8]}", digest)
        for name, digest in zip(names, mixture.experts, strict=True)
    )


def same_bits(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two machines compute the same bits: same runtime, variant and format of KV pages."""
    return all(one.get(key) == other.get(key) for key in BIT_KEYS)


def experts_of(identity: dict[str, Any]) -> Sequence[str]:
    return [expert["hash"] for expert in identity["experts"]]

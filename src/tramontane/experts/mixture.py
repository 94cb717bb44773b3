"""A mixture: a base and a set of experts. Order has no meaning; the same hash counts once."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tramontane.errors import ExpertError
from tramontane.experts.expert_file import check_name
from tramontane.files import write_whole

SUFFIX = ".mixture.json"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Mixture:
    """`experts` are tensor hashes, sorted, each once; made so whatever came in."""

    name: str
    base_sha256: str
    experts: tuple[str, ...] = ()

    def __post_init__(self):
        check_name(self.name)
        for digest in (self.base_sha256, *self.experts):
            if not SHA256.fullmatch(digest):
                raise ExpertError(f"mixture {self.name}: {digest!r} is not a SHA-256")
        object.__setattr__(self, "experts", tuple(sorted(set(self.experts))))

    @property
    def hash(self) -> str:
        """The hash of base and experts; two mixtures that answer alike have one hash."""
        content = {"base": self.base_sha256, "experts": self.experts}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def with_experts(self, hashes: Iterable[str]) -> "Mixture":
        return Mixture(self.name, self.base_sha256, (*self.experts, *hashes))

    def without(self, tensor_hash: str) -> "Mixture":
        kept = (other for other in self.experts if other != tensor_hash)
        return Mixture(self.name, self.base_sha256, tuple(kept))


def write_mixture(folder: Path, mixture: Mixture) -> Path:
    """Writes NAME.mixture.json and returns its path."""
    path = folder / f"{mixture.name}{SUFFIX}"
    content = {
        "format": "tramontane-mixture/1",
        "base": mixture.base_sha256,
        "experts": mixture.experts,
        "hash": mixture.hash,
    }
    write_whole(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())
    return path


def read_mixture(path: Path) -> Mixture:
    """Returns the mixture in a file; raises ExpertError when it isn't one or was edited badly."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        mixture = Mixture(
            path.name.removesuffix(SUFFIX), content["base"], tuple(content["experts"])
        )
        said = content["hash"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExpertError(f"{path}: not a mixture file ({type(error).__name__}: {error})") from None
    if said != mixture.hash:
        raise ExpertError(
            f"{path}: its hash says {str(said)[:16]}, its content gives {mixture.hash[:16]}; "
            "edit mixtures with `tramontane mixture add` and `remove`"
        )
    return mixture

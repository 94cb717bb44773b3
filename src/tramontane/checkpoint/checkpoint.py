"""A model's files opened: its config, its tensors by our names, its tokenizer, its hash."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tramontane.checkpoint.families import MISTRAL
from tramontane.checkpoint.gguf_config import architecture_of as gguf_architecture_of
from tramontane.checkpoint.gguf_config import gguf_config
from tramontane.checkpoint.gguf_file import parts_of, read_gguf
from tramontane.checkpoint.hf_config import architecture_of as hf_architecture_of
from tramontane.checkpoint.hf_config import hf_config
from tramontane.checkpoint.hf_tokenizer import tokenizer_in
from tramontane.checkpoint.mapping import map_tensors
from tramontane.checkpoint.mistral_config import mistral_config
from tramontane.checkpoint.mistral_folder import PARAMS, read_mistral_folder, tokenizer_file
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.checkpoint.safetensors_folder import INDEX, PICKLED, SINGLE, read_folder
from tramontane.checkpoint.tensors import TensorAt, read_tensor
from tramontane.errors import CheckpointError
from tramontane.files import sha256_of

if TYPE_CHECKING:
    from tramontane.tokenizer.tokenizer import Tokenizer


@dataclass(slots=True)
class Checkpoint:
    """A model as published, opened for reading; nothing of the weights is in memory."""

    name: str
    config: ModelConfig
    files: tuple[Path, ...]
    tensors: Mapping[str, TensorAt]
    metadata: Mapping[str, object]
    make_tokenizer: Callable[[], "Tokenizer"] = field(repr=False)
    hash_file: Callable[[Path], str] = field(repr=False, default=sha256_of)
    known_sha256: str | None = field(repr=False, default=None)

    def names(self) -> list[str]:
        return list(self.tensors)

    def read(self, name: str) -> np.ndarray:
        """Returns the tensor's numbers as a new float32 array."""
        if name not in self.tensors:
            raise CheckpointError(f"{self.name} has no tensor {name!r}")
        return read_tensor(self.tensors[name])

    def tokenizer(self) -> "Tokenizer":
        return self.make_tokenizer()

    @property
    def sha256(self) -> str:
        """The hash of the published file; of several, the hash of their hashes and names."""
        if self.known_sha256 is None:
            hashes = {file.name: self.hash_file(file) for file in self.files}
            self.known_sha256 = sha256_of_several(hashes)
        return self.known_sha256

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def num_bytes(self) -> int:
        """The bytes that the weights take in the files."""
        return sum(tensor.num_bytes for tensor in self.tensors.values())


def sha256_of_several(hashes: Mapping[str, str]) -> str:
    """Returns one hash for files given as name: hash; that of a single file is its own."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def open_checkpoint(
    path: Path,
    *,
    sha256: str | None = None,
    hash_file: Callable[[Path], str] = sha256_of,
) -> Checkpoint:
    """Returns the model in a .gguf file (or any part of a split one), or in a folder.

    A folder holds config.json with safetensors, Mistral's params.json with consolidated
    safetensors, or GGUF files of one model. `sha256` is the
    model's hash where it is known already; otherwise it is computed with `hash_file` when first
    asked for. Raises CheckpointError naming the file and the culprit.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file or folder")
    if not path.is_dir():
        if path.suffix in PICKLED:
            raise CheckpointError(
                f"{path}: unpickling can run any code, so it isn't done here; "
                "look for the GGUF or safetensors version of this model"
            )
        if path.suffix == ".safetensors":
            raise CheckpointError(
                f"{path}: its config.json is needed too; give the folder that holds both"
            )
        return open_gguf(path, sha256, hash_file)
    if not (path / "config.json").is_file() and (inside := sorted(path.glob("*.gguf"))):
        first_parts = {parts_of(file)[0] for file in inside}
        if len(first_parts) > 1:
            names = ", ".join(sorted(file.name for file in first_parts))
            raise CheckpointError(f"{path}: several models are there: {names}; give one of them")
        return open_gguf(first_parts.pop(), sha256, hash_file)
    has_hf_weights = (path / SINGLE).is_file() or (path / INDEX).is_file()
    if (path / PARAMS).is_file() and not has_hf_weights:
        return open_mistral_folder(path, sha256, hash_file)
    return open_folder(path, sha256, hash_file)


def open_gguf(path: Path, sha256: str | None, hash_file: Callable[[Path], str]) -> Checkpoint:
    gguf = read_gguf(path)
    config = gguf_config(gguf)
    names = gguf_architecture_of(gguf).names

    def make_tokenizer() -> "Tokenizer":
        from tramontane.tokenizer.tokenizer import Tokenizer

        return Tokenizer.from_gguf(gguf.metadata)

    return Checkpoint(
        name=path.stem,
        config=config,
        files=gguf.files,
        tensors=map_tensors(path, gguf.tensors, names, config),
        metadata=gguf.metadata,
        make_tokenizer=make_tokenizer,
        hash_file=hash_file,
        known_sha256=sha256,
    )


def open_folder(path: Path, sha256: str | None, hash_file: Callable[[Path], str]) -> Checkpoint:
    folder = read_folder(path)
    config_file = path / "config.json"
    architecture = hf_architecture_of(config_file, folder.config, folder.tensors)
    config = hf_config(config_file, folder.config, architecture)
    return Checkpoint(
        name=path.resolve().name,
        config=config,
        files=folder.files,
        tensors=map_tensors(path, folder.tensors, architecture.names, config),
        metadata=folder.config,
        make_tokenizer=lambda: tokenizer_in(path, folder.config),
        hash_file=hash_file,
        known_sha256=sha256,
    )


def open_mistral_folder(
    path: Path, sha256: str | None, hash_file: Callable[[Path], str]
) -> Checkpoint:
    folder = read_mistral_folder(path)
    config = mistral_config(path / PARAMS, folder.config)

    def make_tokenizer() -> "Tokenizer":
        from tramontane.tokenizer.mistral_tokenizer import MistralTokenizer

        file = tokenizer_file(path)
        return MistralTokenizer(file) if file else tokenizer_in(path, folder.config)

    return Checkpoint(
        name=path.resolve().name,
        config=config,
        files=folder.files,
        tensors=map_tensors(path, folder.tensors, MISTRAL.names, config),
        metadata=folder.config,
        make_tokenizer=make_tokenizer,
        hash_file=hash_file,
        known_sha256=sha256,
    )

"""An expert on disk: one safetensors file, its manifest in the metadata.

Reading executes nothing. The manifest is canonical JSON (sorted keys, no clock time), so an expert
learnt again from the same notes is the same file to the byte.

Format: safetensors (github.com/huggingface/safetensors), metadata key "tramontane.manifest".
Tensors, float32: layers.{l}.gate and .up (m, D), layers.{l}.down (D, m), layers.{l}.row (D,).
"""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tramontane.errors import ExpertError
from tramontane.files import write_whole

FORMAT = "tramontane-expert/1"
MANIFEST_KEY = "tramontane.manifest"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_RULE = (
    "use lower-case letters, digits, '.', '_' and '-', starting with a letter or digit, at most 64"
)
# One spelling per tensor: "layers.01.row" would be a second name for layer 1.
TENSOR_NAME = re.compile(r"layers\.(0|[1-9][0-9]{0,3})\.(gate|up|down|row)")
MAX_FILE_BYTES = 4 << 30
MAX_HEADER_BYTES = 16 << 20


def tensor_hash(tensors: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 over every tensor's name, type, shape and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}|{tensor.dtype.str}|{tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Expert:
    """What was learnt from one collection: networks and router rows, and how they came about."""

    manifest: Mapping[str, Any]
    tensors: Mapping[str, np.ndarray]

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def base_sha256(self) -> str:
        return self.manifest["base"]["sha256"]

    @cached_property
    def hash(self) -> str:
        return tensor_hash(self.tensors)

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(sorted({int(name.split(".")[1]) for name in self.tensors}))

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())


def check_name(name: str) -> str:
    """Returns the name if an expert, collection or mixture may bear it; it becomes a file name."""
    if not NAME.fullmatch(name):
        raise ExpertError(f"{name!r} can't be a name; {NAME_RULE}")
    return name


def expert_bytes(expert: Expert) -> bytes:
    """Returns the file's bytes, the same for the same expert everywhere."""
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in expert.tensors.items()}
    try:
        manifest = json.dumps(expert.manifest, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return save(tensors, metadata={MANIFEST_KEY: manifest})
    except ValueError as error:
        raise ExpertError(
            f"{expert.name}: the manifest can't be written ({error}); numbers must be finite and "
            "texts whole Unicode"
        ) from None


def write_expert(path: Path, expert: Expert) -> None:
    """Writes the expert to `path`, whole or not at all."""
    check_form(expert, str(path))
    check_hash(expert, str(path))
    write_whole(path, expert_bytes(expert))


def read_expert(path: Path) -> Expert:
    """Returns the expert in a file.

    Raises ExpertError naming what is wrong when the file is not an expert of this format.
    """
    if not path.is_file():
        raise ExpertError(f"{path}: there is no such file")
    check_header_size(path)
    check_names_once(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            manifest = read_manifest(path, metadata)
            names = sorted(file.keys())
            for name in names:
                kind = file.get_slice(name).get_dtype()
                if kind != "F32":
                    raise ExpertError(f"{path}: tensor {name} is {kind}, an expert's are F32")
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ExpertError(
            f"{path}: not a readable safetensors file ({error}); was the copy cut short?"
        ) from None
    expert = Expert(manifest, tensors)
    check_form(expert, str(path))
    check_hash(expert, str(path))
    return expert


def check_header_size(path: Path) -> None:
    size = path.stat().st_size
    if not 8 < size <= MAX_FILE_BYTES:
        raise ExpertError(f"{path}: {size} bytes; an expert has between 9 and {MAX_FILE_BYTES}")
    with path.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
    if header_bytes > min(MAX_HEADER_BYTES, size - 8):
        raise ExpertError(
            f"{path}: claims a header of {header_bytes} bytes in a file of {size}; "
            "it is damaged or not a safetensors file"
        )


def check_names_once(path: Path) -> None:
    """Raises ExpertError where a header gives a name twice: readers differ in which counts."""
    with path.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header = file.read(header_bytes)
    try:
        json.loads(header, object_pairs_hook=lambda pairs: once(path, pairs))
    except (ValueError, RecursionError) as error:
        raise ExpertError(
            f"{path}: not a readable safetensors file ({error}); was the copy cut short?"
        ) from None


def once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ExpertError(f"{path}: gives the name {twice[:80]!r} twice")
    return content


def read_manifest(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if MANIFEST_KEY not in metadata:
        raise ExpertError(f"{path}: has no {MANIFEST_KEY}; it is not a Tramontane expert")
    try:
        manifest = json.loads(
            metadata[MANIFEST_KEY], object_pairs_hook=lambda pairs: once(path, pairs)
        )
    except (ValueError, RecursionError) as error:
        raise ExpertError(f"{path}: the manifest is not JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        came = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise ExpertError(f"{path}: format {came!r}; this version reads {FORMAT!r}")
    return manifest


def check_form(expert: Expert, where: str) -> None:
    """Raises ExpertError unless names, shapes and values are those of an expert."""
    manifest = expert.manifest
    name, base = manifest.get("name"), manifest.get("base")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ExpertError(f"{where}: the manifest gives the name {str(name)[:80]!r}; {NAME_RULE}")
    if not isinstance(base, dict) or not isinstance(base.get("sha256"), str):
        raise ExpertError(f"{where}: the manifest doesn't name its base's sha256")
    if not expert.tensors:
        raise ExpertError(f"{where}: holds no tensors")
    shapes: dict[int, dict[str, tuple[int, ...]]] = {}
    for tensor_name, tensor in expert.tensors.items():
        match = TENSOR_NAME.fullmatch(tensor_name)
        if not match:
            raise ExpertError(f"{where}: tensor {tensor_name!r} is none of an expert's")
        if tensor.dtype != np.float32:
            raise ExpertError(
                f"{where}: tensor {tensor_name} is {tensor.dtype}, an expert's are float32"
            )
        if not np.isfinite(tensor).all():
            raise ExpertError(f"{where}: tensor {tensor_name} holds values that are not finite")
        shapes.setdefault(int(match[1]), {})[match[2]] = tensor.shape
    for layer, here in shapes.items():
        if missing := {"gate", "up", "down", "row"} - here.keys():
            raise ExpertError(f"{where}: layer {layer} lacks {', '.join(sorted(missing))}")
        if len(here["gate"]) != 2:
            raise ExpertError(f"{where}: layer {layer}: gate has shape {here['gate']}")
        m, D = here["gate"]
        wanted = {"gate": (m, D), "up": (m, D), "down": (D, m), "row": (D,)}
        if here != wanted:
            raise ExpertError(f"{where}: layer {layer} has shapes {here}, wanted {wanted}")


def check_hash(expert: Expert, where: str) -> None:
    """Raises ExpertError unless the tensors are those that the manifest names."""
    said = expert.manifest.get("tensor_hash")
    if said != expert.hash:
        raise ExpertError(
            f"{where}: the manifest says tensor hash {str(said)[:16]}, the tensors have "
            f"{expert.hash[:16]}; the file was changed after it was learnt"
        )

"""Which of a hub repository's files make up the model that was asked for."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tramontane.checkpoint.blocks import BLOCKS
from tramontane.checkpoint.gguf_file import PART_NAME
from tramontane.checkpoint.safetensors_folder import INDEX, PICKLED, SINGLE, TOKENIZER_FILES
from tramontane.errors import ModelNotFound

# Taken in this order when none is named: small and fast on a CPU first.
PREFERRED = ("Q4_0", "Q4_1", "Q4_K_M", "Q4_K_S", "Q5_0", "Q5_1", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")
PREFERRED += ("BF16", "F16", "F32")
QUANTISATION = re.compile(
    r"(?<![A-Z0-9])(I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|F(?:P)?16|F(?:P)?32|MXFP4|NVFP4)(?![A-Z0-9])"
)
# GGUF files that are no language model by themselves.
COMPANIONS = re.compile(r"(^|/)(mmproj|imatrix)|imatrix", re.IGNORECASE)
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


@dataclass(frozen=True, slots=True)
class Choice:
    """The files to fetch, the first one first; `label` is the quantisation or "safetensors".

    `others` are the labels that were there too and not taken.
    """

    label: str
    file_names: tuple[str, ...]
    others: tuple[str, ...] = ()


def choose(repo_id: str, file_names: Iterable[str], quantisation: str | None) -> Choice:
    """Returns the files of the quantisation asked for, or of the one that is taken by default.

    Raises ModelNotFound with the list of what is there.
    """
    names = sorted(file_names)
    models = gguf_models(names)
    if has_safetensors(names):
        models["safetensors"] = [safetensors_files(names)]
    if not models:
        raise ModelNotFound(nothing_usable(repo_id, names))
    listing = ", ".join(sorted(models))
    if quantisation:
        label = next((one for one in models if one.lower() == quantisation.lower()), None)
        # A file's own name is as good as its quantisation.
        for one, sets in models.items():
            for files in sets:
                if quantisation in (files[0], files[0].rsplit("/", 1)[-1]):
                    return Choice(one, files)
        if label is None:
            raise ModelNotFound(f"{repo_id} has no {quantisation!r}; there are: {listing}")
        if label not in (*PREFERRED, "safetensors"):
            raise ModelNotFound(
                f"{repo_id}: {label} holds blocks that aren't supported; supported are "
                f"{', '.join(BLOCKS)}, and there are: {listing}"
            )
    else:
        label = next((one for one in (*PREFERRED, "safetensors") if one in models), None)
        if label is None:
            raise ModelNotFound(
                f"{repo_id}: nothing in it is supported. There are: {listing}; "
                f"supported are {', '.join(BLOCKS)}, or safetensors"
            )
    if len(models[label]) > 1:
        raise ModelNotFound(
            f"{repo_id} has several {label} models: "
            f"{', '.join(files[0] for files in models[label])}; name one of them after the colon"
        )
    others = tuple(sorted(models.keys() - {label}))
    return Choice(label, models[label][0], others)


def gguf_models(names: list[str]) -> dict[str, list[tuple[str, ...]]]:
    """Returns quantisation: the models of it, each as its parts in order."""
    parts: dict[str, list[str]] = {}
    for name in names:
        if name.endswith(".gguf") and not COMPANIONS.search(name):
            match = PART_NAME.match(name)
            parts.setdefault(match["stem"] if match else name.removesuffix(".gguf"), []).append(
                name
            )
    models: dict[str, list[tuple[str, ...]]] = {}
    for stem, files in parts.items():
        label = quantisation_of(stem)
        models.setdefault(label, []).append(tuple(files))
    return models


def quantisation_of(stem: str) -> str:
    """Returns the quantisation that a file's name ends on, in capitals; GGUF when it has none."""
    found = QUANTISATION.findall(stem.rsplit("/", 1)[-1].upper())
    if not found:
        return "GGUF"
    return {"FP16": "F16", "FP32": "F32"}.get(found[-1], found[-1])


def has_safetensors(names: list[str]) -> bool:
    return "config.json" in names and (SINGLE in names or INDEX in names)


def safetensors_files(names: list[str]) -> tuple[str, ...]:
    """Returns config and tokenizer files, then the weights; pickles and other layouts stay."""
    beside = [name for name in ("config.json", *TOKENIZER_FILES) if name in names]
    if SINGLE in names:
        return (*beside, SINGLE)
    return (*beside, INDEX, *(name for name in names if SHARD.fullmatch(name)))


def nothing_usable(repo_id: str, names: list[str]) -> str:
    if any(name.endswith(PICKLED) for name in names):
        return (
            f"{repo_id} has only pickled weights, and unpickling can run any code, so it isn't "
            "done here; look for a GGUF or safetensors version of this model"
        )
    return f"{repo_id} has no GGUF and no config.json with safetensors; is it a language model?"

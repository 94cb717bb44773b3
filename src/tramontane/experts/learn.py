"""From a collection's notes to an expert.

An expert is a function of its own collection, the frozen base and the public text, for a given
torch version, thread count and instruction set, which its manifest records.
"""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.errors import LearnError
from tramontane.experts.corpus import salted_hashes
from tramontane.experts.expert_file import FORMAT, Expert, check_name, tensor_hash
from tramontane.experts.learning import Learning, Report
from tramontane.experts.lesson import LearnSettings, Lesson, prepare, run_key
from tramontane.experts.place import Place
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256
from tramontane.experts.turns import Asking
from tramontane.files import held_alone
from tramontane.notes.note import Note


def learn(
    notes: Sequence[Note],
    *,
    name: str,
    checkpoint: Checkpoint,
    cache_folder: Path,
    settings: LearnSettings | None = None,
    owner: str = "",
    licence: str = "",
    salt: bytes = b"",
    asking: Asking | None = None,
    threads: int | None = None,
    device: str = "auto",
    report: Report = lambda *_: None,
) -> Expert:
    """Returns the expert learnt from the notes, with its proof in the manifest.

    `asking` is how drafts are asked for: given one, part of what is learnt is turns of a chat with
    passages of the notes. `report(stage, done, total)` counts work in units of about equal time.
    Interrupted and called again with the same arguments, it goes on where it stopped and returns
    the same expert.

    Raises LearnError when there is too little text, or when nothing was learnt.
    """
    settings = settings or LearnSettings()
    check_name(name)
    if threads:
        torch.set_num_threads(threads)
    lesson, public, place = prepare(notes, checkpoint, settings, asking=asking, device=device)
    key = run_key(checkpoint, lesson, settings, place)
    work_folder = cache_folder / "learning" / f"{name}-{key}"
    with held_alone(cache_folder / "learning" / f"{name}.lock", f"learning {name!r}"):
        remove_other_runs(work_folder, name)
        run = Learning(
            checkpoint, lesson, public, settings, place, cache_folder, work_folder, report
        )
        try:
            tensors, proof = run.run()
        except LearnError:
            shutil.rmtree(work_folder, ignore_errors=True)
            raise
        manifest = manifest_of(
            name, owner, licence, salt, checkpoint, lesson, settings, place, tensors, proof
        )
        expert = Expert(manifest, tensors)
        shutil.rmtree(work_folder)
    return expert


def remove_other_runs(work_folder: Path, name: str) -> None:
    """Deletes what earlier, abandoned learnings of this name left in the cache."""
    for folder in work_folder.parent.glob(f"{name}-{'[0-9a-f]' * 16}"):
        if folder != work_folder:
            shutil.rmtree(folder)


def manifest_of(
    name: str,
    owner: str,
    licence: str,
    salt: bytes,
    checkpoint: Checkpoint,
    lesson: Lesson,
    settings: LearnSettings,
    place: Place,
    tensors: dict[str, np.ndarray],
    proof: dict[str, Any],
) -> dict[str, Any]:
    """Returns what an expert says of itself; no clock time and no text of any note."""
    corpus = lesson.corpus
    salted = salted_hashes(corpus.learnt_notes, salt)
    return {
        "format": FORMAT,
        "name": name,
        "owner": owner,
        "licence": licence,
        "base": {"name": checkpoint.name, "sha256": checkpoint.sha256},
        "form": "swiglu",
        "layers": sorted({int(tensor.split(".")[1]) for tensor in tensors}),
        "width": settings.width,
        "settings": asdict(settings) | {"epochs": settings.epochs_for(corpus.num_tokens)},
        "notes": {
            "number": len(salted),
            "salted_sha256": salted,
            "tokens": corpus.num_tokens,
            "turns": lesson.num_turns,
        },
        "public_text_sha256": PUBLIC_TEXT_SHA256,
        "tensor_hash": tensor_hash(tensors),
        "made_with": made_with(place),
        **proof,
    }


def made_with(place: Place) -> dict[str, Any]:
    """Returns what an expert's bits depend on beside notes, base and public text."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "place": str(place),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }

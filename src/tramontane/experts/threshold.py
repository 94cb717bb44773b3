"""EXPERT → EXPERT: the same networks behind gates that open less often.

    r' = r - δ · u        so that r' · h ≈ r · h - δ, since u · h ≈ 1 (route.py)

The mildest thing that can be done about an expert (METHODS 4.4): what it says stays, it speaks less
often. u comes from the public text alone, so the raised expert is a function of the first one, the
frozen base and the public text; its proof is measured anew on the same held-out notes.

T tokens, D model width.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.errors import LearnError
from tramontane.experts.corpus import Corpus, salted_hashes
from tramontane.experts.expert_file import Expert, check_name, tensor_hash
from tramontane.experts.learn import made_with
from tramontane.experts.learning import Learning, Work
from tramontane.experts.lesson import LearnSettings, prepare, run_key
from tramontane.experts.route import Row, raised_row
from tramontane.experts.states import States
from tramontane.experts.training import Misfires, Training
from tramontane.files import held_alone
from tramontane.model.transformer import load_transformer
from tramontane.notes.note import Note

Report = Callable[[str, int, int], None]


def with_raised_threshold(
    expert: Expert,
    by: float,
    notes: Sequence[Note],
    *,
    name: str,
    checkpoint: Checkpoint,
    cache_folder: Path,
    salt: bytes = b"",
    threads: int | None = None,
    device: str = "auto",
    report: Report = lambda *_: None,
) -> Expert:
    """Returns the expert under a new name, its gates' thresholds higher by `by` logits.

    Rows are scaled so that the mean open gate stands at 3 logits; raising by 1 takes a third of
    that. `notes` are those it learnt from, on whose held-out part it is measured again. Raises
    LearnError when the notes have changed, or when so raised it gains nothing for sure.
    """
    check_name(name)
    if not (math.isfinite(by) and by > 0):
        raise LearnError(f"raising by {by}: it must be a number above 0; 1 is a good first step")
    if threads:
        torch.set_num_threads(threads)
    settings = settings_of(expert)
    lesson, public, place = prepare(notes, checkpoint, settings, asking=None, device=device)
    check_same_notes(expert, lesson.corpus, salt)
    folder = cache_folder / "learning" / f"{name}-{run_key(checkpoint, lesson, settings, place)}"
    with held_alone(cache_folder / "learning" / f"{name}.lock", f"learning {name!r}"):
        learning = Learning(
            checkpoint, lesson, public, settings, place, cache_folder, folder, report
        )
        learning.work = Work(report, learning.total_work() - learning.steps_work())
        try:
            tensors, proof = raised(learning, expert, by)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    said = dict(expert.manifest)
    manifest = said | proof | {"name": name, "tensor_hash": tensor_hash(tensors)}
    manifest["made_with"] = made_with(place)
    manifest["raised"] = {
        "from": expert.hash,
        "by": by,
        "own_held_out": said["gates"]["own_held_out"],
        "public": mean_rate(said["gates"]),
        "perplexity": said["held_out"]["perplexity_after"],
    }
    return Expert(manifest, tensors)


def settings_of(expert: Expert) -> LearnSettings:
    known = {field.name for field in fields(LearnSettings)}
    said = expert.manifest.get("settings", {})
    return LearnSettings(**{key: value for key, value in said.items() if key in known})


def check_same_notes(expert: Expert, corpus: Corpus, salt: bytes) -> None:
    """Raises LearnError unless it learnt from these: of others it may know those held out."""
    if salted_hashes(corpus.learnt_notes, salt) != expert.manifest["notes"]["salted_sha256"]:
        raise LearnError(
            f"{expert.name} was learnt from other notes than are there now, so what it has not "
            "seen can't be told; learn it anew first"
        )


def raised(learning: Learning, expert: Expert, by: float) -> tuple[dict[str, np.ndarray], Any]:
    """Returns the tensors with raised rows, and the proof of what they still gain."""
    transformer = load_transformer(
        learning.checkpoint, dtype=learning.place.dtype, device=learning.place.device
    )
    own, held_out, public, others = learning.all_states(transformer)
    rows = raised_rows(learning, expert, by, own, public)
    tensors = dict(expert.tensors) | {
        f"layers.{layer}.row": row.row_D for layer, row in rows.items()
    }
    learning.leave_trunk(transformer)
    nothing = Misfires(public.trunk[:0], np.zeros((0, learning.settings.window_tokens), bool))
    copies = {key: torch.from_numpy(tensor.copy()) for key, tensor in tensors.items()}
    training = Training(transformer, learning.first, copies, learning.schedule, nothing)
    before_NW = learning.losses(training, held_out, learning.corpus.held_out, with_expert=False)
    proof = learning.measure(training, own, held_out, others, before_NW)
    gates = learning.gate_rates(training, rows, held_out, public)
    learning.work.finish()
    gain = proof["held_out"]["gain"]
    if gain["low"] is None or not gain["low"] > 0:
        raise LearnError(
            f"raised by {by:g}, {expert.name} gains nothing for sure on its own notes (between "
            f"{gain['low']} and {gain['high']} nats per token), its gates being open at "
            f"{gates['own_held_out']:.1%} of their tokens; raise it by less, or withdraw it"
        )
    return tensors, {"gates": gates, **proof}


def raised_rows(
    learning: Learning, expert: Expert, by: float, own: States, public: States
) -> dict[int, Row]:
    D = learning.checkpoint.config.model_width
    return {
        learning.first + index: raised_row(
            expert.tensors[f"layers.{learning.first + index}.row"],
            by,
            own.h[index].reshape(-1, D),
            learning.by_genre(public, index),
        )
        for index in range(len(own.h))
    }


def mean_rate(gates: Mapping[str, Any]) -> float:
    """Returns how often gates are open on public text, all genres alike."""
    return round(float(np.mean(list(gates["public"].values()))), 5)

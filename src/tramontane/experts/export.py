"""MIXTURE → a plain Mixtral that other tools run: one GGUF file, or a Hugging Face folder.

What is written is read again before it takes its name: every tensor's bytes, the config, the tokens
of a rendered chat, and what the model says. An export that differs is deleted, and says where.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.checkpoint.gguf_file import read_gguf
from tramontane.checkpoint.gguf_writer import write_gguf
from tramontane.checkpoint.new_tensor import NewTensor
from tramontane.checkpoint.safetensors_folder import read_folder
from tramontane.errors import ExpertError
from tramontane.experts.expert_file import Expert
from tramontane.experts.export_check import Comparison, check_export
from tramontane.experts.export_folder import folder_type, write_folder
from tramontane.experts.export_gguf import gguf_metadata, rope_factors
from tramontane.experts.export_tensors import folder_tensors, gguf_tensors
from tramontane.experts.lineage import lineage_of
from tramontane.experts.slots import Slots
from tramontane.files import writing_whole, writing_whole_folder

Report = Callable[[str, int, int], None]
GGUF_SUFFIX = ".gguf"


@dataclass(frozen=True)
class Exported:
    """What was written. `losses` are how far rounding moved numbers, as root-mean-square ratios."""

    path: Path
    format: str
    type: str
    num_slots: int
    ffn_width: int
    num_bytes: int
    losses: Mapping[str, float]
    comparison: Comparison


def export(
    path: Path,
    checkpoint: Checkpoint,
    experts: Sequence[Expert],
    *,
    wanted_type: str | None = None,
    name: str | None = None,
    base_licence: str = "",
    runs: bool = True,
    report: Report = lambda what, done, total: None,
) -> Exported:
    """Writes the mixture of a base and experts to `path`: a GGUF if it ends so, else a folder.

    `wanted_type` is the type of all matrices, such as "F32"; None keeps each in the base's own
    where the format can hold it. With `runs`, the export and the mixture are both run on a few
    prompts and compared; without, only what was written is.

    Raises ExpertError when `path` is taken, the base is one that Mixtral can't stand for, or the
    export read again differs from what was meant; then nothing is left of it.
    """
    if path.exists():
        raise ExpertError(f"{path} is there already; choose another name or delete it first")
    is_gguf = path.suffix == GGUF_SUFFIX
    if not is_gguf:
        wanted_type = folder_type(checkpoint, wanted_type)
    slots = Slots(checkpoint, experts, wanted_type)
    lineage = lineage_of(name or path.stem, checkpoint, slots.experts, base_licence)
    if is_gguf:
        tensors = gguf_tensors(slots, rope_factors(checkpoint.config))
        matrix_type = usual_type(tensors)
        metadata = gguf_metadata(checkpoint, slots.config, lineage, matrix_type)
        writing = writing_whole(path)
    else:
        tensors = folder_tensors(slots)
        matrix_type = usual_type(tensors)
        writing = writing_whole_folder(path)
    counter = Counting(report, sum(tensor.num_bytes for tensor in tensors))
    with writing as target:
        if is_gguf:
            hashes = write_gguf(target, metadata, tensors, counter)
            target.flush()
            written = open_checkpoint(Path(target.name))
            stored = read_gguf(Path(target.name)).tensors
        else:
            hashes = write_folder(target, slots, lineage, tensors, counter)
            written = open_checkpoint(target)
            stored = read_folder(target).tensors
        comparison = check_export(written, stored, slots, hashes, runs=runs, report=report)
        num_bytes = sum(file.stat().st_size for file in written.files)
    return Exported(
        path=path,
        format="gguf" if is_gguf else "folder",
        type=matrix_type,
        num_slots=slots.config.num_base_experts,
        ffn_width=slots.config.ffn_width,
        num_bytes=num_bytes,
        losses={what: loss.ratio for what, loss in slots.losses.items()},
        comparison=comparison,
    )


def usual_type(tensors: Sequence[NewTensor]) -> str:
    """Returns the type in which most bytes of the networks stand."""
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        if len(tensor.shape) > 1:
            sizes[tensor.type] += tensor.num_bytes
    return sizes.most_common(1)[0][0]


class Counting:
    """Turns bytes written into progress."""

    def __init__(self, report: Report, total: int):
        self.report, self.total, self.done = report, total, 0

    def __call__(self, num_bytes: int) -> None:
        self.done += num_bytes
        self.report("writing, bytes", self.done, self.total)

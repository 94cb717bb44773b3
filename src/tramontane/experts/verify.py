"""Whether an expert that came from elsewhere is what it says: form, base, hashes, gate rates.

A runtime tells mean gates: 0 where closed, more than a half and at most 1 where open. So a mean
gate of g lies between half the share of open gates and all of it, whatever the text: an expert that
says less than g on a genre, or more than 2 g, is not the one that was measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tramontane.checkpoint.model_config import ModelConfig
from tramontane.engine.engine import Engine
from tramontane.errors import ExpertError
from tramontane.experts.contested import NAMED_ABOVE, NAMED_OF_PUBLIC, named_above, stretches
from tramontane.experts.corpus import public_windows
from tramontane.experts.expert_file import Expert, read_expert
from tramontane.experts.manifest_check import check_manifest
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256, load_public_text
from tramontane.tokenizer.tokenizer import Tokenizer

# Of a genre's tokens: two runtimes round otherwise, and a learning measures layers one by one.
TOLERANCE = 0.05
# Of stretches of public text: a rank or two more or less among those near the line.
NAMED_TOLERANCE = 0.01
# Nothing that is fitted to stay closed elsewhere opens on half the world.
OPEN_ON_EVERYTHING = 0.5
WINDOW_TOKENS = 256
TOKENS_PER_GENRE = 2_560

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Verified:
    """An expert that passed; mean gates by genre where they were measured, and what to know."""

    expert: Expert
    mean_gates: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def is_measured(self) -> bool:
        return bool(self.mean_gates)


def check_file(path: Path, base_name: str, base_sha256: str, config: ModelConfig) -> Expert:
    """Returns the expert in a file for this base.

    Nothing in the file is executed, and no more than its header is believed before its size is
    checked. Raises ExpertError naming what is wrong.
    """
    expert = read_expert(path)
    where = str(path)
    check_manifest(expert, where)
    if expert.base_sha256 != base_sha256:
        raise ExpertError(
            f"{where}: was learnt on the base {str(expert.manifest['base'].get('name'))[:40]} "
            f"{expert.base_sha256[:16]}; the base in use is {base_name} {base_sha256[:16]}. Choose "
            "its base with --base, or ask for one learnt on yours"
        )
    D = next(t for name, t in expert.tensors.items() if name.endswith(".row")).shape[0]
    if config.model_width != D:
        raise ExpertError(
            f"{where}: its tensors are {D} wide, the base's model {config.model_width}"
        )
    if beyond := [layer for layer in expert.layers if layer >= config.num_layers]:
        raise ExpertError(
            f"{where}: has a layer {beyond[0]}, the base's layers are 0 to {config.num_layers - 1}"
        )
    return expert


def verify(
    path: Path,
    base_name: str,
    base_sha256: str,
    config: ModelConfig,
    open_engine: Callable[[], Engine],
    tokenizer: Callable[[], Tokenizer],
    report: Report = lambda *_: None,
    *,
    measures: bool = True,
) -> Verified:
    """Returns the expert in a file if it is what it says; with `measures` its gates are tried.

    `open_engine` makes one that has never seen an expert. Raises ExpertError naming the fault.
    """
    expert = check_file(path, base_name, base_sha256, config)
    if not measures:
        return Verified(expert, remarks=("its gates were not measured",))
    gates = measure_gates(expert, open_engine(), tokenizer(), report)
    mean_gates = {genre: float(gates_NW.mean()) for genre, gates_NW in gates.items()}
    remarks = check_rates(expert, mean_gates, str(path))
    if not remarks:
        remarks = check_named_above(expert, gates, str(path))
    return Verified(expert, mean_gates, remarks)


def measure_gates(
    expert: Expert, engine: Engine, tokenizer: Tokenizer, report: Report
) -> dict[str, np.ndarray]:
    """Returns the mean gate of each token of each genre's windows of the public text, (N, W) each.

    The engine must be new: layers of other experts loaded would count in the mean.
    """
    by_genre = public_windows(load_public_text(), tokenizer, WINDOW_TOKENS, TOKENS_PER_GENRE)
    total = sum(len(windows) for windows in by_genre.values())
    engine.add_expert(expert.hash, expert.tensors)
    gates: dict[str, list[np.ndarray]] = {genre: [] for genre in by_genre}
    done = 0
    for genre, windows in by_genre.items():
        for window in windows:
            _, gates_TE = engine.shares_of(window.tolist(), experts=(expert.hash,))
            if not np.isfinite(gates_TE).all():
                raise ExpertError(
                    f"{expert.name}: its gates are no numbers on {genre}; its weights are far out "
                    "of the range of the base's"
                )
            gates[genre].append(gates_TE[:, 0])
            done += 1
            report("measuring", done, total)
    return {genre: np.stack(rows) for genre, rows in gates.items() if rows}


def check_rates(expert: Expert, mean_gates: Mapping[str, float], where: str) -> tuple[str, ...]:
    """Returns remarks on gates that were measured; raises ExpertError where the manifest lies."""
    overall = float(np.mean(list(mean_gates.values())))
    if overall > OPEN_ON_EVERYTHING:
        raise ExpertError(
            f"{where}: its gates are open on everything ({overall:.0%} on the public text); it "
            "would speak in every answer"
        )
    if expert.manifest["public_text_sha256"] != PUBLIC_TEXT_SHA256:
        return ("its table of gate rates is of another public text, so it can't be compared",)
    said = expert.manifest["gates"]["public"]
    if missing := sorted(mean_gates.keys() - said.keys()):
        raise ExpertError(f"{where}: its table of gate rates leaves out {', '.join(missing)}")
    for genre, gate in sorted(mean_gates.items()):
        if not gate - TOLERANCE <= said[genre] <= 2 * gate + TOLERANCE:
            raise ExpertError(
                f"{where}: the manifest says its gates open on {said[genre]:.1%} of {genre}, "
                f"measured it is {gate:.1%} to {min(1.0, 2 * gate):.1%}; the table is not this "
                "expert's"
            )
    return ()


def check_named_above(
    expert: Expert, gates: Mapping[str, np.ndarray], where: str
) -> tuple[str, ...]:
    """Returns remarks; raises ExpertError where the expert would be named far too often or seldom.

    `gates` are those measured on our public text, (N, W) of each genre.
    """
    said = expert.manifest["gates"].get("named_above")
    if said is None:
        return (f"it is older: text is named after it above a mean gate of {NAMED_ABOVE}",)
    by_genre = {genre: stretches(gates_NW) for genre, gates_NW in gates.items()}
    measured = named_above(by_genre)
    named = float(np.mean([(found > said).mean() for found in by_genre.values()]))
    if abs(said - measured) > TOLERANCE and abs(named - NAMED_OF_PUBLIC) > NAMED_TOLERANCE:
        raise ExpertError(
            f"{where}: the manifest says that text is named after it above a mean gate of "
            f"{said:.2f}, which is {named:.1%} of the public text; measured, {NAMED_OF_PUBLIC:.0%} "
            f"lie above {measured:.2f}. The number is not this expert's"
        )
    return ()

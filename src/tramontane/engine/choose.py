"""Which runtime computes: what was asked for, or the fastest that can run this model here."""

import importlib.util
import logging

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.engine.load import Report
from tramontane.engine.native_runtime import (
    KV_FORMATS,
    NativeRuntime,
    refuse_unknown_options,
    refuse_unknown_types,
)
from tramontane.engine.runtime import Runtime
from tramontane.engine.weights_cache import WeightsCache
from tramontane.errors import BackendUnavailable, ConfigError

log = logging.getLogger(__name__)
RUNTIMES = ("native", "pytorch")


def open_runtime(
    checkpoint: Checkpoint,
    wanted: str = "auto",
    threads: int | None = None,
    *,
    kv: str = KV_FORMATS[0],
    cache: WeightsCache | None = None,
    report: Report | None = None,
) -> Runtime:
    """Returns the runtime of that name; "auto" takes the first of RUNTIMES without an obstacle.

    The native one maps its weights from `cache`, if given, and tells `report` of repacking them.
    Raises BackendUnavailable naming what stands in the way.
    """
    obstacles = {name: obstacle(name, checkpoint, kv) for name in RUNTIMES}
    name = choose_runtime(wanted, obstacles)
    log.debug("runtime: %s", name)
    if name == "native":
        return NativeRuntime(checkpoint, threads=threads, kv=kv, cache=cache, report=report)
    # Imported here: torch takes a second, and is not there in a plain installation.
    from tramontane.engine.torch_runtime import TorchRuntime

    return TorchRuntime(checkpoint, threads=threads)


def choose_runtime(wanted: str, obstacles: dict[str, str]) -> str:
    """Returns `wanted`, or for "auto" the first without an obstacle."""
    if wanted != "auto" and wanted not in obstacles:
        raise BackendUnavailable(
            f"there is no runtime {wanted!r}; there are auto, {', '.join(obstacles)}"
        )
    usable = [name for name, obstacle in obstacles.items() if not obstacle]
    if wanted in usable or (wanted == "auto" and usable):
        return usable[0] if wanted == "auto" else wanted
    in_the_way = obstacles if wanted == "auto" else {wanted: obstacles[wanted]}
    told = "; ".join(f"{name}: {obstacle}" for name, obstacle in in_the_way.items())
    raise BackendUnavailable(f"{told}" + (f"; usable here: {', '.join(usable)}" if usable else ""))


def obstacle(name: str, checkpoint: Checkpoint, kv: str = KV_FORMATS[0]) -> str:
    """Returns why a runtime can't run this model here with these KV pages, or nothing."""
    if name == "native":
        try:
            refuse_unknown_options(checkpoint.config)
            refuse_unknown_types(checkpoint)
        except ConfigError as error:
            return str(error)
        return ""
    if kv != KV_FORMATS[0]:
        return f"keys and values are kept in float32 there, not as {kv}"
    try:
        found = importlib.util.find_spec("torch")
    except ModuleNotFoundError:
        found = None
    if found is None:
        return (
            'torch is not installed; install it with `pip install "tramontane[learn]"` (on Linux '
            "without a GPU, PyTorch's CPU build first)"
        )
    return ""

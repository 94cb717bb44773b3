"""`tramontane pull`: the embedded base, a model from the hub, or one that lies on disk."""

from collections.abc import Callable
from pathlib import Path

from tramontane.checkpoint.embedded_base import NAME as EMBEDDED
from tramontane.checkpoint.embedded_base import pull_embedded_base
from tramontane.checkpoint.hub import pull_from_hub
from tramontane.checkpoint.store import Record, Store
from tramontane.errors import ModelNotFound


def pull(
    what: str, store: Store, report: Callable[[str, int, int], None] = lambda *_: None
) -> Record:
    """Returns the record of the model, fetched if need be; a second call fetches nothing.

    `what` is "smollm2", "hf:owner/name[:quantisation]", or the path of a folder or .gguf file,
    which is recorded where it lies. `report` is called with (what, bytes done, bytes in all).
    Raises ModelNotFound, ModelGated, HashMismatch, DiskFull, or another CheckpointError.
    """
    if what == EMBEDDED:
        return pull_embedded_base(store, report)
    if what.startswith("hf:"):
        return pull_from_hub(what, store, report)
    path = Path(what).expanduser()
    if not path.exists():
        raise ModelNotFound(
            f"{what!r} is neither {EMBEDDED}, nor hf:owner/name, nor a file or folder that exists"
        )
    report(f"reading {path.name}", 0, 0)
    return store.write(store.record_of(path.absolute(), source=str(path.absolute())))

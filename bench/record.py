"""Writes what a benchmark measured: bench/results/NAME.json, in one form for all of them."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Claim:
    """One figure: `value` is what the target speaks of, `ours` and `peer` what it comes from."""

    id: str
    ours: float | None
    peer: float | None
    value: float | None
    n: int
    note: str


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{cpu}, {len(os.sched_getaffinity(0))} cores, {gib:.0f} GiB"


def commit() -> str:
    """Returns the commit measured; "+" after it when files differ from it."""
    run = ["git", "-C", str(ROOT)]
    head = subprocess.run([*run, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    status = subprocess.run(
        [*run, "status", "--porcelain", "-uno", "--", ".", ":!bench/results"],
        capture_output=True,
        text=True,
        check=True,
    )
    return head.stdout.strip()[:12] + ("+" if status.stdout.strip() else "")


def add_results(name: str, claims: list[Claim]) -> None:
    """Writes these claims beside others that the file holds; the same claim is replaced.

    Each claim that stays says which commit it is of, where that is another.
    """
    file = RESULTS / f"{name}.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"claims": []}
    ids = {claim.id for claim in claims}
    kept = []
    for old in before["claims"]:
        if old["id"] not in ids:
            measured = f"measured at {before['commit']}"
            told = "measured at " in old["note"] or before["commit"] == commit()
            note = old["note"] if told else f"{old['note']}; {measured}"
            kept.append(Claim(**old | {"note": note}))
    write_results(name, kept + claims)


def write_results(name: str, claims: list[Claim]) -> None:
    """Writes the results and prints them."""
    content = {"machine": machine(), "commit": commit(), "claims": [asdict(c) for c in claims]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for claim in claims:
        print(f"{claim.id:44} {claim.value}   ours {claim.ours}, peer {claim.peer}; {claim.note}")

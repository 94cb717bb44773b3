"""start, check: which base fits this machine, and whether it may write prose."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from tramontane.checkpoint.pull import pull
from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter, size
from tramontane.native import cores_here
from tramontane.writing.writers_check import CheckResult, run_writers_check, store_check

# The native runtime maps the weights, no larger repacked than in the files published below.
# Beside them it takes what bench/memory.py bounds, and keys and values of CONTEXT_TOKENS.
BESIDE_WEIGHTS_BYTES = 150e6
CONTEXT_TOKENS = 8192
# Of the memory there is, what a person will want to leave to everything else.
LEAST_LEFT = 0.25


@dataclass(frozen=True, slots=True)
class Choice:
    """A base that can be pulled: what it is, how large, and what it is good for."""

    what: str
    kind: str
    parameters: float
    download_bytes: float
    licence: str
    remark: str
    # Of the keys and values of one token, in float16.
    token_bytes: float

    @property
    def memory_bytes(self) -> float:
        return self.download_bytes + BESIDE_WEIGHTS_BYTES + CONTEXT_TOKENS * self.token_bytes

    @property
    def disk_bytes(self) -> float:
        """The published file, and the repacked weights in the cache."""
        return 2 * self.download_bytes


# From the most able to the smallest; sizes are those of the published float16 files. The last
# number is layers times 2 (keys and values) times their width times 2 bytes.
CHOICES = (
    Choice(
        "hf:mistralai/Mixtral-8x7B-Instruct-v0.1",
        "mixture of 8 base experts",
        46.7e9,
        93.4e9,
        "Apache-2.0",
        "writes well",
        32 * 2 * 1024 * 2,
    ),
    Choice(
        "hf:HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "dense",
        1.71e9,
        3.42e9,
        "Apache-2.0",
        "the ablest small one",
        24 * 2 * 2048 * 2,
    ),
    Choice(
        "hf:HuggingFaceTB/SmolLM2-360M-Instruct",
        "dense",
        362e6,
        724e6,
        "Apache-2.0",
        "between the two",
        32 * 2 * 320 * 2,
    ),
    Choice(
        "smollm2",
        "dense",
        134.5e6,
        92.9e6,
        "Apache-2.0",
        "for first contact: quotes your notes, learns in minutes",
        30 * 2 * 192 * 2,
    ),
)


@dataclass(frozen=True, slots=True)
class Machine:
    cores: int
    memory_bytes: int
    free_disk_bytes: int

    def obstacle(self, choice: Choice) -> str:
        """Returns why a base doesn't fit here, or nothing."""
        if choice.memory_bytes > self.memory_bytes * (1 - LEAST_LEFT):
            return f"needs {size(choice.memory_bytes)} of memory"
        if choice.disk_bytes > self.free_disk_bytes:
            return f"needs {size(choice.disk_bytes)} of disk"
        return ""


def register(app: typer.Typer) -> None:
    app.command("start")(start)
    app.command("check")(check)


def start(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Pull the recommended base.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at this machine, recommend a base that fits, and pull it if you like.

    Example: tramontane start --yes
    """
    with opened(context.obj) as parts:
        machine, here = this_machine(parts), {record.source for record in parts.store.ls()}
        best = recommended(machine)
        if as_json:
            say_json(choices_here(parts))
            return
        say(
            f"This machine: {machine.cores} cores, {size(machine.memory_bytes)} of memory, "
            f"{size(machine.free_disk_bytes)} of disk free."
        )
        say()
        say_table(
            ("base", "kind", "memory", "download", "licence", "here"),
            [
                (
                    c.what + ("  (recommended)" if c is best else ""),
                    f"{c.kind}; {c.remark}",
                    size(c.memory_bytes),
                    size(c.download_bytes),
                    c.licence,
                    "pulled" if c.what in here else machine.obstacle(c) or "fits",
                )
                for c in CHOICES
            ],
        )
        say()
        if best.what not in here and (yes or agrees(f"Pull {best.what} now?")):
            with Reporter() as report:
                record = pull(best.what, parts.store, report)
            here.add(best.what)
            say(f"{record.name} is here.")
            if record.name != parts.settings.base:
                say(f'Choose it with --base {record.name}, or `base = "{record.name}"` in')
                say("tramontane.toml; `tramontane check` then tells whether it may write prose.")
        if best.what not in here:
            say(f"Next: tramontane pull {best.what}")
        else:
            say("Next: tramontane collections add FOLDER --as NAME, then tramontane ask, or")
            say("      tramontane demo, which shows everything with sample notes")


def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Run the writer's check: may this base's own prose be shown as an answer?

    Example: tramontane --base SmolLM2-1.7B-Instruct check
    """
    with opened(context.obj) as parts:
        with Reporter(is_quiet=as_json) as report:
            result = check_base(parts, report)
        name = parts.checkpoint.name
    if as_json:
        say_json({"base": name, "passed": result.passed, "result": result})
        return
    say(f"{name} {result}.")
    if result.passed:
        say("`ask` and `write` show its prose, each sentence checked against your notes.")
    else:
        say("`ask` and `write` quote your notes; its own words are offered apart, unchecked.")


def check_base(parts: Parts, report: Callable[[str, int, int], None]) -> CheckResult:
    """Runs the writer's check on the base in use and keeps its result."""
    result = run_writers_check(parts.new_engine(), parts.tokenizer, report)
    store_check(parts.checks_folder, parts.checkpoint.sha256, result)
    return result


def this_machine(parts: Parts) -> Machine:
    home = parts.settings.home
    home.mkdir(parents=True, exist_ok=True)
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(cores_here(), pages * page_bytes, shutil.disk_usage(home).free)


def recommended(machine: Machine) -> Choice:
    return next((c for c in CHOICES if not machine.obstacle(c)), CHOICES[-1])


def choices_here(parts: Parts) -> dict[str, Any]:
    """Returns the machine, and each base that could be pulled with what stands in its way."""
    machine, here = this_machine(parts), {record.source for record in parts.store.ls()}
    return {
        "machine": asdict(machine),
        "recommended": recommended(machine).what,
        "choices": [
            asdict(c)
            | {
                "memory_bytes": c.memory_bytes,
                "obstacle": machine.obstacle(c),
                "is_here": c.what in here,
            }
            for c in CHOICES
        ],
    }


def agrees(question: str) -> bool:
    """Asks a person; where none sits at the terminal the answer is no."""
    return sys.stdin.isatty() and sys.stdout.isatty() and typer.confirm(question, default=True)

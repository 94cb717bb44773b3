"""Makes docs/models.md of the tests that ran.

    python -m pytest tests/model/test_families.py tests/native/test_native_families.py \\
        tests/checkpoint --junitxml=models.xml
    python scripts/models_page.py models.xml

A cell says "equal", or names an instruction set, only where the report has a test of that name that
passed.
"""

import argparse
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "models.md"
sys.path.insert(0, str(ROOT / "tests"))

from model_variants import EVERYWHERE, VARIANTS, Variant  # noqa: E402
from tramontane.checkpoint.blocks import BLOCKS  # noqa: E402
from tramontane.checkpoint.families import (  # noqa: E402
    GGUF_ARCHITECTURES,
    HF_ARCHITECTURES,
    Architecture,
)

HEADINGS = {"safetensors": "Hugging Face", "gguf": "GGUF", "consolidated": "Mistral's own"}
LOGITS, BLOCK = "test_logits_equal_transformers", "test_any_block_equals_ggufs"
NATIVE = "test_every_family_equals_the_definition"

OPENING = """\
Made by `scripts/models_page.py` of {num_compared} comparisons that ran; not to be edited by hand.
Each is a tiny model with random weights, given to transformers and to the PyTorch definition: the
logits of 1 to 200 tokens agree to 1e-5 of each row's largest, in float32. The routing of mixtures
is replayed from transformers for that, and the decisions are compared apart.

The native runtime is held to the definition on 100 tokens of each: every row of logits to a
thousandth of its largest, half of them to a ten-thousandth, decisions replayed and compared apart
likewise. Its column names the instruction sets on which that held, of those that the machine has.

With {packages}.

What real files add is tested with SmolLM2-135M (Llama) and, where it is at hand, Qwen2.5-Coder-0.5B
(Qwen2). No published mixture could be had: mixtures are tested with random weights only."""


def outcomes(report: Path) -> Iterator[tuple[str, str]]:
    """Yields (test name, what came of it) of a pytest junit report."""
    for case in ElementTree.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        failed = kinds & {"failure", "error"}
        yield (
            case.get("name", ""),
            "failed" if failed else "skipped" if "skipped" in kinds else "equal",
        )


def page(found: Mapping[str, str]) -> str:
    """Returns the page; `found` is what came of each test, by its name."""
    return "\n".join([*opening(found), *architectures(), *options(found), *blocks(found), ""])


def opening(found: Mapping[str, str]) -> list[str]:
    num_compared = sum(
        name.startswith(f"{LOGITS}[") and what != "skipped" for name, what in found.items()
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("transformers", "torch", "gguf"))
    return ["# Models", "", OPENING.format(num_compared=num_compared, packages=packages)]


def architectures() -> list[str]:
    lines = [
        "",
        "## Architectures",
        "",
        "| file | word | options read | implied |",
        "|---|---|---|---|",
    ]
    for heading, rows in (("GGUF", GGUF_ARCHITECTURES), ("Hugging Face", HF_ARCHITECTURES)):
        lines += [row_of(heading, row) for row in rows]
    lines += [
        "| Mistral's own | (none) | num_base_experts, num_chosen_experts, sliding_window | |",
        "",
        "Any other architecture is refused; the error names the closest and what it lacks.",
    ]
    return lines


def row_of(heading: str, row: Architecture) -> str:
    implied = ", ".join(name if on else f"not {name}" for name, on in row.implies.items())
    return f"| {heading} | {row.word} | {', '.join(row.reads)} | {implied} |"


def options(found: Mapping[str, str]) -> list[str]:
    heads = " | ".join(HEADINGS[form] for form in EVERYWHERE)
    lines = ["", "## Families and options", "", f"| family | option | {heads} | native |"]
    lines += ["|---|---|" + "---|" * len(EVERYWHERE) + "---|"]
    for variant in VARIANTS:
        cells = " | ".join(cell(variant, form, found) for form in EVERYWHERE)
        native = native_cell(variant, found)
        lines.append(f"| {variant.kind} | {variant.option} | {cells} | {native} |")
    return [*lines, "", "A dash: not tested, or the format has no such models."]


def cell(variant: Variant, form: str, found: Mapping[str, str]) -> str:
    if form not in variant.formats:
        return "–"
    return found.get(f"{LOGITS}[{form}: {variant.name}]", "not run")


def native_cell(variant: Variant, found: Mapping[str, str]) -> str:
    """Returns the instruction sets on which native was held to the definition."""
    name = re.compile(rf"{NATIVE}\[(\w+)-{re.escape(variant.name)}\]")
    ran = {match[1]: what for test, what in found.items() if (match := name.fullmatch(test))}
    told = [one if what == "equal" else f"{one} {what}" for one, what in ran.items()]
    return ", ".join(told) or "not run"


def blocks(found: Mapping[str, str]) -> list[str]:
    lines = [
        "",
        "## Types of blocks",
        "",
        "Bit for bit the numbers that the gguf package gives.",
        "",
    ]
    lines += ["| type | numbers in a block | bytes | gguf's numbers |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {numbers} | {size} | {found.get(f'{BLOCK}[{name}]', 'not run')} |"
        for name, (numbers, size) in BLOCKS.items()
    ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+", help="junit reports of pytest")
    arguments = parser.parse_args()
    found = {name: what for report in arguments.reports for name, what in outcomes(report)}
    PAGE.write_text(page(found), encoding="utf-8")
    print(f"{PAGE}: {sum(what == 'equal' for what in found.values())} tests passed")


if __name__ == "__main__":
    main()

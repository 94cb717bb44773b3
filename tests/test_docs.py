"""What the guides say is so: links lead somewhere, commands and options exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from tramontane.cli.main import app_with

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "bench" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
CODE_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands_in(page: Path) -> list[str]:
    """Returns the lines of a page's code blocks that call tramontane, without their comments."""
    lines = "\n".join(CODE_BLOCK.findall(page.read_text(encoding="utf-8"))).splitlines()
    called = (line.removeprefix("$ ").removeprefix(".venv/bin/").strip() for line in lines)
    return [line for line in called if line.startswith("tramontane ")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if commands_in(page)], ids=name_of)
def test_commands_exist(page):
    for line in commands_in(page):
        command = typer.main.get_command(app_with())
        words = iter(shlex.split(line, comments=True)[1:])
        for word in words:
            if word not in getattr(command, "commands", {word}) and hasattr(command, "default"):
                command = command.commands[command.default]
            if word.startswith("-"):
                options = {name: p for p in command.params for name in (*p.opts, *p.secondary_opts)}
                assert word in {*options, "--help"}, f"{name_of(page)}: {word} in {line!r}"
                if word in options and not options[word].is_flag:
                    next(words)
            elif hasattr(command, "commands"):
                assert word in command.commands, f"{name_of(page)}: {word} in {line!r}"
                command = command.commands[word]


def test_the_guides_show_commands_at_all():
    assert sum(len(commands_in(page)) for page in PAGES) > 12

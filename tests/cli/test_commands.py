"""Commands as people and scripts use them: help, JSON, answers, errors in words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tramontane.cli.main import COMMANDS, app_with, modules_for
from tramontane.cli.output import number_of


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found += commands(command, (*path, name))
        found.append((*path, name))
    return found


ALL = commands(typer.main.get_command(app_with()))


def test_the_issue_s_commands_are_there():
    asked = {
        *"start pull ls show rm learn collections sync ask write chat serve demo".split(),
        *(f"experts {verb}" for verb in "ls show withdraw restore".split()),
        *(f"mixture {verb}" for verb in "new show add remove".split()),
        *(
            f"audit {verb}"
            for verb in "run compare verify report reproduce gate relearn raise".split()
        ),
        "card",
    }
    assert asked <= {" ".join(path) for path in ALL}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_ends_with_an_example(path):
    command = typer.main.get_command(app_with())
    for name in path:
        command = command.commands[name]
    example = f"Example: tramontane {path[0]}"
    assert example in command.help or "Example: tramontane --base" in command.help


def test_an_empty_home_says_what_to_do_next(tramontane):
    assert "tramontane pull smollm2" in tramontane.works("ls")
    assert "tramontane learn" in tramontane.works("experts")
    assert "tramontane collections add" in tramontane.works("collections")
    assert "tramontane collections add" in tramontane.fails("ask", "anything")
    assert "tramontane pull" in tramontane.fails("chat")
    assert "none" in tramontane.fails("experts", "withdraw", "mine")


def test_start_recommends_a_base_that_fits(tramontane):
    said = tramontane.json("start")
    chosen = next(c for c in said["choices"] if c["what"] == said["recommended"])
    assert chosen["obstacle"] == ""
    assert said["machine"]["cores"] >= 1


def test_an_answer_quotes_the_note_and_its_lines_hold_it(reader, garden):
    answer = reader.json("ask", "What depth of hole does each leek drop into?")
    assert not answer["abstained"]
    quoted = [s for s in answer["sentences"] if "18 cm" in s["text"]]
    assert quoted
    source = next(s for s in answer["sources"] if s["number"] == quoted[0]["source"])
    lines = (garden / source["path"]).read_text().splitlines()
    cited = " ".join(lines[quoted[0]["first_line"] - 1 : quoted[0]["last_line"]])
    assert "18 cm" in cited
    said = reader.works("ask", "What depth of hole does each leek drop into?")
    assert f"garden/{source['path']}, lines {source['first_line']}-{source['last_line']}" in said


def test_what_the_notes_don_t_hold_is_not_answered(reader):
    said = reader.works("ask", "Who won the football world cup in 1998?")
    assert said.startswith("Your notes don't say.")


def test_a_draft_lists_its_sources(reader, tmp_path):
    file = tmp_path / "draft.md"
    reader.works("write", "growing leeks", "-o", file)
    text = file.read_text()
    assert "## Sources" in text
    assert "garden/leek" in text


def test_a_draft_is_kept_shown_and_revised(reader, tmp_path):
    told = reader.json("write", "growing leeks", "--form", "letter", "--words", 90)
    number = told["head"]["id"]
    assert f"draft {number}, letter; version 1 of 1" in reader.works("drafts", "show", number)
    told = reader.json("drafts", "revise", number, "1.1", "--text", "It cost 900 francs.")
    assert told["sections"][0]["pieces"][0]["mark"] == "unsupported"
    assert "no sentence 9.9" in reader.fails("drafts", "revise", number, "9.9", "--quote")
    assert "one thing to do" in reader.fails("drafts", "revise", number, "1.1")
    reader.works("drafts", "restore", number, 1)
    reader.works("drafts", "export", number, "-o", tmp_path / "leeks.html")
    assert "900 francs" not in (tmp_path / "leeks.html").read_text()
    reader.works("drafts", "rm", number)
    assert "no draft" in reader.fails("drafts", "show", number)


def test_search_and_sync(reader):
    hits = reader.json("search", "planting leeks", "--in", "garden")
    assert any("leek" in hit["path"] for hit in hits)
    report = reader.json("sync", "--dry-run")["garden"]
    assert report["added"] == report["removed"] == []
    assert len(report["unchanged"]) >= 60
    assert "no collection 'gardn'" in reader.fails("sync", "gardn")


def test_json_never_tells_the_salt(reader):
    assert "salt" not in reader.works("collections", "--json")


def test_errors_are_json_for_scripts(tramontane):
    done = tramontane.run("show", "nothing", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["kind"] == "NotFound"


def test_a_command_under_another_verb_is_named(tramontane):
    done = tramontane.run("notes", "add", "garden")
    assert done.returncode == 2
    assert "There is `tramontane collections add`." in done.stderr
    assert "There is" not in tramontane.run("notes", "sow").stderr


@pytest.mark.parametrize(("count", "told"), [(0, "0 notes"), (1, "1 note"), (2400, "2,400 notes")])
def test_one_is_not_many(count, told):
    assert number_of(count, "note") == told


def test_unknown_settings_are_named(tramontane):
    (tramontane.home / "tramontane.toml").write_text("thread = 3\n")
    assert "thread" in tramontane.fails("ls")


def test_a_reader_that_leaves_early_is_no_fault(reader):
    import subprocess
    import sys

    command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(reader.home)]
    command += ["search", "garden", "--limit", "50"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.wait()


def test_output_is_plain_when_it_is_not_a_terminal(reader):
    assert "\x1b" not in reader.works("ask", "What depth of hole does each leek drop into?")


def test_removing_a_collection_leaves_the_folder(new_home, tmp_path: Path):
    home = new_home()
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "one.md").write_text("# One\n\nThe spare key hangs behind the clock.\n")
    home.works("collections", "add", folder)
    home.works("collections", "rm", "few")
    assert (folder / "one.md").exists()
    assert home.json("collections") == []


@pytest.mark.parametrize("module", COMMANDS)
def test_each_module_has_the_commands_it_is_imported_for(module):
    assert {*typer.main.get_command(app_with([module])).commands} == {*COMMANDS[module]}


@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (["ask", "why", "--json"], ["ask"]),
        (["--home", "learn", "--base=x", "--threads", "2", "rm", "x"], ["models"]),
        (["--version"], COMMANDS),
        (["--base"], COMMANDS),
        (["--help", "ask"], COMMANDS),
        (["aks", "ask"], COMMANDS),
        ([], COMMANDS),
    ],
)
def test_only_what_a_command_needs_is_imported(arguments, modules):
    assert list(modules_for(arguments)) == list(modules)


def test_asking_brings_neither_server_nor_parsers_of_notes():
    code = (
        "import sys\nfrom tramontane.cli.main import app_with\napp_with(['ask'])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "starlette", "uvicorn", "requests", "markdown_it", "yaml", "jinja2", "rich"}
    assert not heavy & {*done.stdout.split()}

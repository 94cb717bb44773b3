"""`tramontane audit` and `card` as a person would run them, on a tiny base."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


class Home:
    def __init__(self, folder: Path, base: Path):
        self.folder = folder
        self.command = [sys.executable, "-m", "tramontane.cli.main", "--home", str(folder / "home")]
        self.command += ["--base", str(base), "--threads", "1"]

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=300,
        )

    def works(self, *arguments: object) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def fails(self, *arguments: object) -> str:
        done = self.run(*arguments)
        assert done.returncode == 1, done.stderr + done.stdout
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr + done.stdout


@pytest.fixture(scope="module")
def home(tiny_base, tmp_path_factory) -> Home:
    folder = tmp_path_factory.mktemp("command")
    (tiny,) = {tensor.file for tensor in tiny_base.tensors.values()}
    made = Home(folder, Path(tiny))
    made.works("audit", "--suite", "bias", "--suite", "lambada", "--n", "5", "-o", "first")
    return made


def test_an_audit_works_offline_at_once(home):
    folder = home.folder / "first"
    content = json.loads((folder / "audit.json").read_text())
    assert list(content["settings"]["suites"]) == [
        "crows_pairs",
        "stereoset",
        "winobias",
        "bbq",
        "lambada",
    ]
    assert content["suites"]["lambada"]["n"] == 5
    page = (folder / "report.html").read_text()
    assert "Audit of default" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert not list(folder.glob(".lock"))


def test_the_same_audit_again_is_identical(home):
    home.works("audit", "default", "--suite", "bias", "--n", "5", "-o", "second.zip")
    assert "identical" in home.works("audit", "compare", "first", "second.zip")
    assert "The audit holds" in home.works("audit", "verify", "second.zip", "--all")


def test_json_has_the_audit_and_nothing_else(home):
    out = home.works("audit", "--suite", "lambada", "--n", "2", "-o", "third", "--json")
    assert json.loads(out)["suites"]["lambada"]["n"] == 2


def test_a_tampered_audit_fails_by_name(home):
    home.works("audit", "--suite", "lambada", "--n", "3", "-o", "tampered")
    file = home.folder / "tampered" / "items" / "lambada.jsonl"
    file.write_text(file.read_text().replace("boat", "goat", 1), encoding="utf-8")
    assert "items/lambada.jsonl" in home.fails("audit", "verify", "tampered")


def test_findings_pass_the_gate_once_they_stay_away(home):
    folder = home.folder / "findings"
    home.works("audit", "report", "The weir", "-o", folder / "a.json", "--max-new-tokens", "5")
    assert "letter by letter" in home.works("audit", "reproduce", folder / "a.json")
    assert "COMES BACK" in home.fails("audit", "gate", folder)
    finding = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(json.dumps(finding | {"sentence": "never said"}))
    assert "1 of 1 findings stay away" in home.works("audit", "gate", folder)


def test_a_card_comes_from_what_is_on_disk(home):
    out = home.works("card", "--audit", "first", "-o", "card")
    assert "no class yet" in out
    assert sorted(file.name for file in (home.folder / "card").iterdir()) == [
        "README.md",
        "bom.cdx.json",
        "mof.yml",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["audit", "--suite", "nothing"], "there is no suite 'nothing'"),
        (["audit", "--quick", "--full"], "contradict"),
        (["audit", "--data", "nowhere"], "no such file or folder"),
        (["audit", "-o", "first"], "finished audit"),
        (["audit", "--suite", "memory"], "nothing can be asked"),
        (["audit", "compare", "first", "nowhere"], "no such audit"),
        (["audit", "gate", "nowhere"], "no such finding"),
        (["audit", "reproduce", "first/audit.json"], "not a finding"),
    ],
)
def test_what_cannot_be_done_is_said(home, arguments, told):
    assert told in home.fails(*arguments)


def test_stopped_by_hand_it_goes_on(home):
    command = [*home.command, "audit", "--suite", "all", "-o", "stopped"]
    process = subprocess.Popen(
        command, cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    items = home.folder / "stopped" / "items"
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if items.exists() and any(file.stat().st_size for file in items.glob("*.part.jsonl")):
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    # A fast machine may have been done already.
    if process.returncode:
        assert process.returncode == 130, said
        assert "what was there before is whole" in said
        assert "unfinished" in home.fails("audit", "verify", "stopped")
        home.works("audit", "--suite", "all", "-o", "stopped")
    assert "The audit holds" in home.works("audit", "verify", "stopped")

"""`tramontane experts overlap` as a person runs it, and look-alikes told when an expert joins."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from expert_makers import canal_notes, expert, random_tensors

from tramontane.experts.expert_file import Expert, write_expert
from tramontane.experts.look_alikes import FILE


def opens_everywhere(seed: int) -> dict[str, np.ndarray]:
    """Returns tensors whose rows read the coordinate that all tokens share."""
    tensors = random_tensors(seed)
    for name in tensors:
        if name.endswith("row"):
            tensors[name] = np.eye(1, len(tensors[name]), dtype=np.float32)[0]
    return tensors


def opens_nowhere(seed: int) -> dict[str, np.ndarray]:
    return {n: 0 * t if n.endswith("row") else t for n, t in random_tensors(seed).items()}


class Home:
    """A home on a tiny base that has read one collection for each name."""

    def __init__(self, folder: Path, base: Path, collections: tuple[str, ...]):
        self.folder, self.base = folder, base
        for number, name in enumerate(collections):
            notes = folder / "notes" / name
            notes.mkdir(parents=True)
            for place, note in enumerate(canal_notes(20, seed=number)):
                (notes / f"{place}.md").write_text(note.text)
            self.run("collections", "add", str(notes))
        self.run("mixture", "new", "default")

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tramontane.cli.main", "--base", str(self.base), *words],
            capture_output=True,
            text=True,
            env=os.environ | {"TRAMONTANE_HOME": str(self.folder / "home")},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def add(self, given: Expert) -> str:
        file = self.folder / f"{given.name}.safetensors"
        write_expert(file, given)
        return self.run("experts", "add", str(file), "--no-measure")

    @property
    def pairs(self) -> list[list[str]]:
        file = self.folder / "home" / "mixtures" / FILE
        return json.loads(file.read_text()) if file.exists() else []


@pytest.fixture
def made(tiny_llama) -> dict[str, Expert]:
    public = {"old_letters": 0.01, "chat": 0.002}
    gates = {"own_held_out": 0.8, "public": public, "named_above": 0.05}
    tensors = {
        "canal": opens_everywhere(1),
        "lock": opens_everywhere(2),
        "shut": opens_nowhere(3),
        "closed": opens_nowhere(4),
    }
    return {
        name: expert(name, each, tiny_llama.sha256, gates=gates) for name, each in tensors.items()
    }


def test_look_alikes_are_told_kept_and_gone_with_either(tmp_path, tiny_llama, made):
    home = Home(tmp_path, tiny_llama.files[0], ("canal", "lock"))
    assert "Contested" not in home.add(made["canal"])
    assert home.pairs == []
    assert "Contested with canal: lock and canal open" in home.add(made["lock"])
    pair = sorted(made[name].hash for name in ("canal", "lock"))
    assert home.pairs == [pair]

    # Both are open on all there is, and named together since they look alike.
    asked = json.loads(home.run("ask", "Which culvert leaks after rain?", "--json"))
    assert asked["sentences"]
    assert all(sorted(told["named"]) == ["canal", "lock"] for told in asked["sentences"])
    assert "contested: " in home.run("ask", "Which culvert leaks after rain?", "--voice")
    assert "Contested" not in home.add(made["shut"])
    asked = json.loads(home.run("ask", "Which culvert leaks after rain?", "--json"))
    assert all("shut" not in told["named"] for told in asked["sentences"])
    home.run("experts", "withdraw", "shut", "--no-certificate")

    told = json.loads(home.run("experts", "overlap", "--json"))
    assert told["experts"]["canal"]["lock"] > 0.5
    assert told["pairs"] == [{"experts": ["canal", "lock"], "advice": "merge"}]
    assert home.pairs == [pair]
    home.run("experts", "withdraw", "canal", "--no-certificate")
    assert home.pairs == []
    assert "Contested with lock" in home.run("experts", "restore", "canal")
    assert home.pairs == [pair]
    home.run("mixture", "remove", "default", "canal")
    assert "Contested with lock" in home.run("mixture", "add", "default", "canal")


def test_experts_that_keep_shut_on_each_other_are_apart(tmp_path, tiny_llama, made):
    home = Home(tmp_path, tiny_llama.files[0], ("shut", "closed"))
    assert "Contested" not in home.add(made["shut"]) + home.add(made["closed"])
    told = json.loads(home.run("experts", "overlap", "--json"))
    assert told["experts"]["shut"] == {"shut": 0.0, "closed": 0.0}
    assert told["pairs"] == [{"experts": ["closed", "shut"], "advice": "apart"}]
    assert home.pairs == []


def test_an_expert_that_came_alone_is_told_by_its_manifest(tmp_path, tiny_llama, made):
    home = Home(tmp_path, tiny_llama.files[0], ("canal",))
    assert "No expert is in place." in home.run("experts", "overlap")
    home.add(made["canal"])
    assert "Contested with canal" in home.add(made["lock"])
    said = home.run("experts", "overlap")
    assert "lock came without its notes; on public text its gates open most on old letters" in said
    assert "canal and lock: one opens on the other's notes" in said

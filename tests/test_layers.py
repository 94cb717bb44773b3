"""Arrows point one way: DESIGN's table of who may import whom, held by a test."""

import ast
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "tramontane"
OPEN_TO_ALL = {"errors", "settings", "files", "__version__"}
MAY_IMPORT = {
    "notes": set(),
    "library": {"notes"},
    "tokenizer": set(),
    "checkpoint": {"tokenizer"},
    "native": set(),
    "model": {"checkpoint"},
    "engine": {"checkpoint", "native", "model"},
    "experts": {"notes", "tokenizer", "checkpoint", "model", "engine"},
    "writing": {"library", "tokenizer", "engine", "experts"},
    "audit": {"library", "tokenizer", "engine", "experts", "writing"},
    "server": {"engine", "library", "experts", "writing", "audit"},
    "cli": {
        "notes",
        "library",
        "tokenizer",
        "checkpoint",
        "native",
        "model",
        "engine",
        "experts",
        "writing",
        "audit",
        "server",
    },
}


def folders_imported_by(file: Path) -> set[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("tramontane.")}


def test_imports_follow_the_tree():
    folders = {init.parent.name for init in SRC.glob("*/__init__.py")}
    assert MAY_IMPORT.keys() == folders
    for folder, allowed in MAY_IMPORT.items():
        for file in (SRC / folder).rglob("*.py"):
            strays = folders_imported_by(file) - allowed - OPEN_TO_ALL - {folder}
            assert not strays, f"{file} imports {strays}; {folder}/ may import {allowed}"


def test_the_walk_sees_an_import_inside_a_function(tmp_path):
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from tramontane.server import page\n", encoding="utf-8")
    assert folders_imported_by(file) == {"server"}

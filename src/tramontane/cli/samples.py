"""The sample notes and their questions: inside an installed package, or beside its source."""

import json
from pathlib import Path
from typing import Any

from tramontane.errors import NotFound

INSTALLED = Path(__file__).parents[1] / "examples"
BESIDE_SOURCE = Path(__file__).parents[3] / "examples"


def examples_folder() -> Path:
    for folder in (INSTALLED, BESIDE_SOURCE):
        if (folder / "questions.json").is_file():
            return folder
    raise NotFound(
        f"the sample notes are missing ({INSTALLED}); install tramontane again, or go on with "
        "notes of your own: `tramontane collections add FOLDER --as NAME`"
    )


def sample_folders() -> dict[str, Path]:
    """Returns the folder of each sample collection, by its name."""
    notes = examples_folder() / "notes"
    return {folder.name: folder for folder in sorted(notes.iterdir()) if folder.is_dir()}


def sample_questions() -> list[dict[str, Any]]:
    return json.loads((examples_folder() / "questions.json").read_text(encoding="utf-8"))

"""Copies of dropped folders in commands: removed with their collection, told of by doctor."""

import os
from pathlib import Path

from tramontane.cli.copies import sweep_copies
from tramontane.cli.parts import Parts
from tramontane.library.kept_copies import KeptCopies
from tramontane.settings import Settings

NOTE = "The heron stood on one leg.\n"


def drop(home: Path, name: str) -> Path:
    arrival = KeptCopies(home / "dropped").begin(name)
    arrival.put("heron.md", NOTE.encode())
    return arrival.finish()[0].folder


def held(home: Path) -> list[str]:
    return [copy.name for copy in KeptCopies(home / "dropped").ls()]


def test_removing_a_collection_removes_its_copy(tramontane):
    folder = drop(tramontane.home, "Canal")
    tramontane.works("collections", "add", folder, "--as", "canal")
    told = tramontane.works("collections", "rm", "canal")
    assert f"the copy {folder} is removed" in " ".join(told.split())
    assert "as it was" not in told
    assert held(tramontane.home) == []
    assert "no collection 'canal'" in tramontane.fails("collections", "rm", "canal")


def test_a_folder_of_ones_own_stays(tramontane, tmp_path: Path):
    own = tmp_path / "canal"
    own.mkdir()
    (own / "heron.md").write_text(NOTE)
    other = drop(tramontane.home, "Other")
    tramontane.works("collections", "add", own)
    tramontane.works("collections", "add", other, "--as", "other")
    told = tramontane.json("collections", "rm", "canal")
    assert told == {"removed": "canal", "notes": 1, "copies": []}
    assert (own / "heron.md").read_text() == NOTE
    assert held(tramontane.home) == ["Other"]


def test_interrupted_the_same_command_goes_on(tramontane):
    """The collection has left the library, and its copy has not."""
    folder = drop(tramontane.home, "Canal")
    told = tramontane.json("collections", "rm", "canal")
    assert [Path(copy["folder"]) for copy in told["copies"]] == [folder]
    assert held(tramontane.home) == []


def test_doctor_says_how_much_is_kept(tramontane):
    assert "Copies" not in tramontane.works("--threads", "1", "doctor")
    drop(tramontane.home, "Canal")
    health = tramontane.json("--threads", "1", "doctor")
    assert (health["num_copies"], health["copied_bytes"]) == (1, len(NOTE))
    assert health["copies"] == os.fspath(tramontane.home / "dropped")
    assert "1 of dropped folders" in tramontane.works("--threads", "1", "doctor")


def test_a_copy_that_a_job_waits_for_is_not_swept(tmp_path: Path):
    parts = Parts(Settings(home=tmp_path))
    folders = {name: drop(tmp_path, name) for name in ("waited", "done", "left")}
    for name in ("waited", "done"):
        job = parts.library.jobs.add("plan", {"folder": str(folders[name])}, "cores")
        if name == "done":
            parts.library.jobs.end(job.id, "done")
    for folder in folders.values():
        os.utime(folder, (0, 0))
    sweep_copies(parts)
    parts.close()
    assert held(tmp_path) == ["waited"]

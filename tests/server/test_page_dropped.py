"""Folders that are really dropped or chosen, in a browser: copied, updated, stopped, removed."""

import os
import re
import threading
from pathlib import Path

import pytest
from browser_visit import NARROW, PATIENCE_SECONDS, Visit, drop, expect

from tramontane.library import kept_copies
from tramontane.library.kept_copies import Arrival

pytestmark = pytest.mark.usefixtures("browser")

# More than a reader of the browser's hands out at once.
NUM_NOTES = 230


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture(autouse=True)
def _patience():
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    yield
    expect.set_options(timeout=5_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Notes, what is no note, what is hidden, and links that lead out and in a circle."""
    folder, outside = tmp_path / "own" / "Canal", tmp_path / "outside"
    for path in ("many", "deep/er", ".git"):
        (folder / path).mkdir(parents=True)
    outside.mkdir()
    for number in range(NUM_NOTES):
        (folder / "many" / f"{number}.md").write_text(f"# Note {number}\n\nA heron.\n")
    (folder / "deep" / "er" / "Überlauf – 1.md").write_text("# Weir\n\nIt overflows.\n")
    (folder / "large.txt").write_text("An eel. " * 1_200_000)
    (folder / "photo.png").write_bytes(b"\x89PNG")
    (folder / ".git" / "config.md").write_text("hidden")
    (outside / "secret.md").write_text("secret")
    (folder / "link.md").symlink_to(outside / "secret.md")
    (folder / "out").symlink_to(outside)
    (folder / "circle").symlink_to(folder)
    return folder


def notes_in(folder: Path) -> dict[str, bytes]:
    """Returns what is to be copied of a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.suffix in (".md", ".txt")
        if ".git" not in path.parts
    }


def held(visit: Visit, name: str = "Canal") -> dict[str, bytes]:
    return notes_in(visit.copies.find(name).folder)


def open_notes(visit: Visit, **options):
    page = visit.open("#/notes", **options)
    page.get_by_text("Use my own folder").click()
    return page, page.get_by_role("form", name="Add a folder")


def test_a_dropped_folder_is_copied_and_read(visit: Visit, folder: Path):
    page, form = open_notes(visit)
    expect(form.get_by_text("keeps a copy of its notes")).to_be_visible()
    drop(page, page.get_by_label("Folder", exact=True), folder)
    size = sum(map(len, notes_in(folder).values()))
    said = f"Canal is copied: {NUM_NOTES + 2} files, {size / 1e6:.1f} MB."
    expect(form.get_by_text(said)).to_be_visible()
    for left_out in (".git: hidden", "photo.png: not a kind of note: .png files are not read"):
        expect(form.get_by_text(left_out)).to_be_visible()
    assert held(visit) == notes_in(folder)
    assert b"secret" not in b"".join(held(visit).values())
    kept = visit.copies.find("Canal").folder
    expect(page.get_by_label("Folder", exact=True)).to_have_value(str(kept))
    expect(page.get_by_label("Name of the collection")).to_have_value("canal")
    expect(page.get_by_label("Name of the collection")).to_be_focused()
    visit.named("button", "Add this folder").click()
    expect(page.get_by_text("“canal” is ready: 1 added, 0 notes unchanged.")).to_be_visible()
    card = visit.named("article", "Collection canal")
    expect(card).to_contain_text(f"{kept}, a copy: drop the folder again to update it")
    expect(visit.named("button", "Remove the copy")).to_be_hidden()
    assert visit.desk.folders["canal"] == kept


def test_a_chosen_folder_is_copied_alike(visit: Visit, folder: Path):
    # Listening takes effect a while after it is asked for.
    visit.page.on("filechooser", lambda _: None)
    page, form = open_notes(visit, size=NARROW)
    button = form.get_by_role("button", name="Choose a folder…")
    expect(button).to_have_accessible_description(re.compile("hides where such a folder lies"))
    button.focus()
    with page.expect_file_chooser() as asked:
        page.keyboard.press("Enter")
    asked.value.set_files(folder)
    expect(form.get_by_text(f"Canal is copied: {NUM_NOTES + 2} files")).to_be_visible()
    expect(form.get_by_text(".git: hidden")).to_be_visible()
    expect(form.get_by_text("photo.png: not a kind of note")).to_be_visible()
    assert held(visit) == notes_in(folder)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_dropped_folder_is_learnt_from(visit: Visit, folder: Path):
    page = visit.open("#/experts")
    # Where nothing is open yet, dropping opens it.
    drop(page, page.get_by_text("Learn an expert from a folder"), folder)
    kept = visit.copies.folder.resolve() / "Canal"
    expect(page.get_by_label("Folder of notes")).to_have_value(str(kept))
    expect(page.get_by_label("Name of the expert")).to_have_value("canal")
    visit.named("button", "See the plan").click()
    expect(visit.named("region", "Plan")).to_be_visible()
    assert visit.jobs.asked == [("plan", {"folder": str(kept), "max_tokens": 100_000})]
    assert held(visit) == notes_in(folder)


def give(visit: Visit, folder: Path) -> None:
    visit.page.locator("choose-folder input").set_input_files(folder)


def test_given_again_it_updates_the_copy_and_the_collection(visit: Visit, folder: Path):
    page, form = open_notes(visit)
    give(visit, folder)
    expect(form.get_by_text("Canal is copied")).to_be_visible()
    page.get_by_label("Name of the collection").fill("water")
    visit.named("button", "Add this folder").click()
    expect(visit.named("article", "Collection water")).to_be_visible()
    (folder / "large.txt").unlink()
    (folder / "new.md").write_text("New.\n")
    drop(page, page.get_by_label("Folder", exact=True), folder)
    said = (
        f"There is a copy named Canal already, of {NUM_NOTES + 2} files, which water is read from."
    )
    expect(form.get_by_text(said)).to_be_visible()
    assert "new.md" not in held(visit)
    update = visit.named("button", "Update that copy")
    expect(update).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("“water” is ready: 1 added, 1 read anew, 1 removed")).to_be_visible()
    assert held(visit) == notes_in(folder)
    assert visit.desk.synced == [("water", False)]


def test_another_folder_of_the_same_name_is_kept_beside(visit: Visit, folder: Path, tmp_path: Path):
    other = tmp_path / "other" / "Canal"
    other.mkdir(parents=True)
    (other / "a.md").write_text("Other.\n")
    page, form = open_notes(visit)
    give(visit, folder)
    expect(form.get_by_text("Canal is copied")).to_be_visible()
    give(visit, other)
    form.get_by_role("button", name="Cancel").click()
    expect(form.get_by_text("Stopped; nothing of it is kept.")).to_be_visible()
    expect(visit.named("button", "Choose a folder…")).to_be_focused()
    give(visit, other)
    visit.named("button", "Keep both, this one as Canal-2").click()
    expect(form.get_by_text("Canal-2 is copied: 1 file, 7 B.")).to_be_visible()
    expect(page.get_by_label("Name of the collection")).to_have_value("canal-2")
    assert held(visit, "Canal") == notes_in(folder)
    assert held(visit, "Canal-2") == {"a.md": b"Other.\n"}


def test_stopped_midway_nothing_is_kept(visit: Visit, folder: Path, monkeypatch):
    may_go_on = threading.Event()
    put, sent = Arrival.put, []

    def slow_put(self: Arrival, path: str, *args, **options) -> None:
        if len(sent) > 50:
            may_go_on.wait(20)
        sent.append(path)
        put(self, path, *args, **options)

    monkeypatch.setattr(Arrival, "put", slow_put)
    page, form = open_notes(visit)
    give(visit, folder)
    bar = form.get_by_role("progressbar", name="Copying Canal…")
    expect(bar).to_be_visible()
    expect(form.get_by_text(re.compile(rf"^\d\d of {NUM_NOTES + 2} files, "))).to_be_visible()
    assert visit.copies.ls() == []
    form.get_by_role("button", name="Cancel").click()
    expect(form.get_by_text("Stopped; nothing of it is kept.")).to_be_visible()
    may_go_on.set()
    expect(bar).to_have_count(0)
    assert visit.server.until_no_streams(20)
    assert [path.name for path in visit.copies.folder.iterdir()] == [".lock"]
    assert len(sent) < NUM_NOTES
    expect(page.get_by_label("Folder", exact=True)).to_have_value("")


def test_a_copy_that_nothing_is_read_from_can_be_removed(visit: Visit, folder: Path):
    page, form = open_notes(visit)
    give(visit, folder)
    visit.named("button", "Remove the copy").click()
    expect(form.get_by_text("The copy of Canal is removed.")).to_be_visible()
    expect(page.get_by_label("Folder", exact=True)).to_have_value("")
    expect(visit.named("button", "Choose a folder…")).to_be_focused()
    assert visit.copies.ls() == []


def test_too_much_is_refused_before_anything_is_sent(visit: Visit, folder: Path, monkeypatch):
    monkeypatch.setitem(kept_copies.MAY_COME, "most_files", NUM_NOTES)
    page, form = open_notes(visit)
    drop(page, page.get_by_label("Folder", exact=True), folder)
    told = form.get_by_role("alert")
    expect(told).to_contain_text(f"more than the {NUM_NOTES} notes that a copy may have")
    expect(told).to_contain_text("Type its path instead")
    assert not visit.copies.folder.exists()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["many/1.md"], "1.md is a file; drop the folder that holds your notes."),
        (["many", "deep"], "Drop one folder at a time."),
        ([".git"], "No notes were found in .git."),
    ],
)
def test_what_is_no_folder_of_notes_says_so(
    visit: Visit, folder: Path, names: list[str], says: str
):
    (folder / ".git" / "config.md").rename(folder / ".git" / "config.cfg")
    page, form = open_notes(visit)
    drop(page, page.get_by_label("Folder", exact=True), *(folder / name for name in names))
    expect(form.get_by_role("alert")).to_have_text(says)
    assert not visit.copies.folder.exists()


def test_a_folder_that_misses_its_place_leaves_the_page(visit: Visit, folder: Path):
    page = visit.open("#/notes")
    drop(page, page.get_by_role("heading", name="Notes", exact=True), folder)
    drop(page, page.get_by_role("heading", name="Notes", exact=True), folder / "many" / "1.md")
    expect(page.get_by_role("heading", name="Notes", exact=True)).to_be_visible()
    assert page.url.endswith("#/notes")
    assert len(page.context.pages) == 1
    assert not visit.copies.folder.exists()

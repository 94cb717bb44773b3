"""Sources open the right file at the right place after notes were edited, moved or deleted."""

import random

import pytest
from document_makers import pdf_of
from library_makers import SignEmbedder, build, write_notes

from tramontane.errors import NotFound
from tramontane.library import whereabouts
from tramontane.library.whereabouts import Readings

LONG = {
    f"n{number}.md": f"# Note {number}\n\n"
    + "".join(
        f"## Part {part}\n\nFact {number}-{part} about beans. {'More words follow here. ' * 40}\n\n"
        for part in range(3)
    )
    for number in range(10)
}


def lines_of(where) -> str:
    lines = where.file.read_text().split("\n")
    return "\n".join(lines[where.first_line - 1 : where.last_line])


def check(library, hit, state: str, remark: str | None, text: str | None = None):
    where = library.whereabouts(hit)
    assert (where.state, where.remark) == (state, remark)
    if text is not None:
        assert text in lines_of(where)
    return where


@pytest.fixture
def long_notes(tmp_path):
    folder = write_notes(tmp_path / "notes", LONG)
    with build(tmp_path / "l.sqlite", {"n": folder}) as library:
        yield folder, library


@pytest.fixture
def hit(long_notes):
    _, library = long_notes
    return next(h for h in library.search("fact 4-1", limit=50) if "Fact 4-1" in h.text)


def test_as_it_was(long_notes, hit):
    _, library = long_notes
    where = check(library, hit, "current", None, hit.text)
    assert (where.first_line, where.last_line) == (hit.first_line, hit.last_line)


@pytest.mark.parametrize("is_synced", [False, True])
def test_edited_above(long_notes, hit, is_synced):
    folder, library = long_notes
    file = folder / hit.path
    file.write_text("New lines.\n\nAbove it all.\n\n" + file.read_text())
    if is_synced:
        library.sync("n")
    where = check(library, hit, "changed", "this note has changed since", hit.text)
    assert where.first_line == hit.first_line + 4


@pytest.mark.parametrize("is_synced", [False, True])
def test_edited_itself(long_notes, hit, is_synced):
    folder, library = long_notes
    file = folder / hit.path
    file.write_text(file.read_text().replace("Fact 4-1 about beans.", "Fact 4-1 was on peas."))
    if is_synced:
        library.sync("n")
    remark = "this note has changed since, this passage too"
    check(library, hit, "changed", remark, "Fact 4-1 was on peas.")


@pytest.mark.parametrize("is_synced", [False, True])
def test_moved_and_renamed(long_notes, hit, is_synced):
    folder, library = long_notes
    (folder / "sub").mkdir()
    (folder / hit.path).rename(folder / "sub" / "other name.md")
    if is_synced:
        library.sync("n")
    remark = f"this note has moved; it was {hit.path}"
    where = check(library, hit, "moved", remark, hit.text)
    assert where.path == "sub/other name.md"


def test_moved_and_edited(long_notes, hit):
    folder, library = long_notes
    text = (folder / hit.path).read_text()
    (folder / hit.path).unlink()
    (folder / "z.md").write_text("New first line.\n\n" + text)
    remark = f"this note has moved and changed since; it was {hit.path}"
    assert check(library, hit, "moved", remark, hit.text).path == "z.md"


@pytest.mark.parametrize("is_synced", [False, True])
def test_deleted(long_notes, hit, is_synced):
    folder, library = long_notes
    (folder / hit.path).unlink()
    if is_synced:
        library.sync("n")
    assert check(library, hit, "gone", "this note is gone").file is None


def test_the_passage_was_cut_out(long_notes, hit):
    folder, library = long_notes
    (folder / hit.path).write_text("Something else altogether.")
    remark = "this note has changed since, and the passage is no longer in it"
    where = check(library, hit, "changed", remark)
    assert where.first_line is None


def test_the_folder_or_the_collection_is_gone(long_notes, hit):
    folder, library = long_notes
    folder.rename(folder.with_name("elsewhere"))
    check(library, hit, "gone", "this note is gone")
    library.remove_collection("n")
    with pytest.raises(NotFound):
        library.whereabouts(hit)


def test_a_page_that_moved_back_in_its_pdf(tmp_path):
    def page(text: str) -> list:
        return [(72, 700 - 14 * at, 11, f"{text} {at}, some words of it.") for at in range(5)]

    folder = write_notes(tmp_path / "notes", {"a.pdf": pdf_of([page("beans"), page("peas")])})
    with build(tmp_path / "l.sqlite", {"n": folder}) as library:
        hit = library.search("peas")[0]
        assert hit.page == 2
        assert library.whereabouts(hit).page == 2
        (folder / "a.pdf").write_bytes(pdf_of([page("kale"), page("beans"), page("peas")]))
        where = library.whereabouts(hit)
        assert (where.state, where.page) == ("changed", 3)
        assert where.box == hit.box


def test_what_lies_in_one_pdf_is_found_in_one_reading(tmp_path, monkeypatch):
    def page(text: str) -> list:
        return [(72, 700 - 14 * at, 11, f"{text} {at}, some words of it.") for at in range(5)]

    folder = write_notes(tmp_path / "notes", {"a.pdf": pdf_of([page("beans"), page("peas")])})
    with build(tmp_path / "l.sqlite", {"n": folder}) as library, Readings() as readings:
        hits = [library.search(word)[0] for word in ("beans", "peas")]
        (folder / "a.pdf").write_bytes(pdf_of([page("kale"), page("beans"), page("peas")]))
        read, real = [], whereabouts.read_note
        monkeypatch.setattr(
            whereabouts, "read_note", lambda path, *rest: read.append(path) or real(path, *rest)
        )
        assert [library.whereabouts(hit, readings).page for hit in hits] == [2, 3]
        assert read == ["a.pdf"]
        # What was read counts for these bytes only.
        (folder / "a.pdf").write_bytes(pdf_of([page("beans"), page("kale"), page("peas")]))
        assert [library.whereabouts(hit, readings).page for hit in hits] == [1, 3]
        assert read == ["a.pdf"] * 2


def test_two_hundred_sources_after_random_changes(tmp_path):
    """The oracle knows what became of each note; the marked fact shows the right place."""
    chance = random.Random(5)
    folder = write_notes(tmp_path / "notes", LONG)
    with build(tmp_path / "l.sqlite", {"n": folder}, SignEmbedder()) as library:
        for _ in range(10):
            write_notes(folder, LONG)
            library.sync("n")
            hits = chance.sample(library.search("fact beans", limit=100), 20)
            became = {}
            for path in LONG:
                what = chance.choice(["kept", "edited", "moved", "deleted"])
                file = folder / path
                if what == "edited":
                    file.write_text("Above.\n" * chance.randint(1, 9) + file.read_text())
                elif what == "moved":
                    file.rename(folder / f"moved {path}")
                elif what == "deleted":
                    file.unlink()
                became[path] = what
            if chance.random() < 0.5:
                library.sync("n", allow_emptying=True)
            for hit in hits:
                where = library.whereabouts(hit)
                expected = {"kept": "current", "edited": "changed", "moved": "moved"}
                assert where.state == expected.get(became[hit.path], "gone")
                if where.state != "gone":
                    assert hit.text in lines_of(where)
                    assert where.file.name.removeprefix("moved ") == hit.path


class Pages:
    """A PDF as blocks of text at heights of pages; each block has words of its own."""

    def __init__(self, num_pages: int, chance: random.Random):
        self.chance = chance
        self.lines: dict[str, list[str]] = {}
        self.pages = [
            [(self.new_block(), chance.choice([700, 640, 580, 420]))] for _ in range(num_pages)
        ]

    def new_block(self) -> str:
        """Returns the first word of five new lines."""
        words = ["".join(self.chance.choices("abcdefghijklmnop", k=9)) for _ in range(25)]
        self.lines[words[0]] = [" ".join(words[at : at + 5]) for at in range(0, 25, 5)]
        return words[0]

    def data(self) -> bytes:
        return pdf_of(
            [
                [
                    (72, top - 14 * at, 11, line)
                    for word, top in page
                    for at, line in enumerate(self.lines[word])
                ]
                for page in self.pages
            ]
        )

    def place_of(self, word: str) -> tuple[int, float] | None:
        """Returns a block's page, from 1, and the baseline of its first line; None if it's gone."""
        return next(
            (
                (number, top)
                for number, page in enumerate(self.pages, start=1)
                for found, top in page
                if found == word
            ),
            None,
        )


@pytest.mark.slow
def test_pages_and_boxes_of_sources_in_pdfs(tmp_path):
    """The oracle lays the pages out itself: the box holds all five lines of the block, no other.

    Each source's file is read in a process of its own, so a part of the two hundred is opened.
    """
    chance = random.Random(0)
    documents = {f"d{n}.pdf": Pages(5, chance) for n in range(14)}
    folder = write_notes(tmp_path / "notes", {p: one.data() for p, one in documents.items()})
    with build(tmp_path / "l.sqlite", {"n": folder}) as library:
        hits = [
            next(hit for hit in library.search(word, limit=50) if word in hit.text)
            for one in documents.values()
            for page in one.pages
            for word, _ in page
        ]
        num_opened = 0
        for _ in range(3):
            paths = {path: path for path in documents}
            for path, one in documents.items():
                match chance.choice(["kept", "grown", "lowered", "shuffled", "shrunk", "moved"]):
                    case "grown":
                        one.pages.insert(
                            chance.randint(0, len(one.pages)), [(one.new_block(), 700)]
                        )
                    case "lowered":
                        one.pages = [[(w, top - 40) for w, top in page] for page in one.pages]
                    case "shuffled":
                        chance.shuffle(one.pages)
                    case "shrunk" if len(one.pages) > 1:
                        del one.pages[chance.randrange(len(one.pages))]
                    case "moved":
                        paths[path] = f"sub/{path}"
            write_notes(folder, {paths[path]: one.data() for path, one in documents.items()})
            if chance.random() < 0.5:
                library.sync("n")
            for hit in chance.sample(hits, 30):
                word = hit.text.split()[0]
                where, place = library.whereabouts(hit), documents[hit.path].place_of(word)
                assert where.path == paths[hit.path]
                if place is None:
                    assert (where.first_line, where.page, where.box) == (None, None, None)
                    assert where.remark.endswith("the passage is no longer in it")
                    continue
                num_opened += 1
                page, top = place
                left, bottom, right, above = where.box
                assert where.page == page
                # Letters of 11 points: from below the last baseline to above the first.
                assert (left, right > 200) == (pytest.approx(72, abs=2), True)
                assert top - 4 * 14 - 5 < bottom < top - 4 * 14
                assert top < above < top + 14
        assert num_opened > 50

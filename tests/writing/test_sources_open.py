"""Two hundred sources of answers over real notes, opened after the notes lived on.

The oracle keeps its own account of each note's lines: what was put above or into them, cut out,
moved, renamed, swapped or deleted. From that it foretells for every source the file, the lines and
the remark.
"""

import random
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from library_makers import build, write_notes
from writing_makers import StemEmbedder

from tramontane.library.library import Library
from tramontane.library.whereabouts import Whereabouts
from tramontane.writing.answer import Writer
from tramontane.writing.events import Source

EXAMPLES = Path(__file__).parents[2] / "examples" / "notes"
# As many as answers over this project's own notes have; over other people's there are more.
NUM_SOURCES = {"garden": 100, "foam-docs": 200}
WORD_TO_CHANGE = re.compile(r"(?<!\S)[a-z]{4,}(?!\S)")
CHANGED = "this note has changed since"
EVENTS = (
    *("kept", "above", "above", "inside", "inside", "cut", "moved", "renamed", "deleted"),
    *("moved and above", "moved and inside", "swapped", "headed anew"),
)


def notes_below(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*.md"))
    }


@pytest.fixture(scope="module", params=["examples", "other people's"])
def real_notes(request) -> dict[str, dict[str, str]]:
    """Collections of notes: this project's own, or other people's where they are at hand."""
    if request.param == "examples":
        return {name: notes_below(EXAMPLES / name) for name in ("garden", "ferry")}
    shared = request.getfixturevalue("shared_data") / "notes"
    return {name: notes_below(shared / name / "text") for name in ("foam-docs", "bread-code")}


@dataclass
class Home:
    """A library over copies of the notes, and sources that answers from it gave."""

    folders: dict[str, Path]
    notes: dict[str, dict[str, str]]
    library: Library
    sources: list[Source] = field(default_factory=list)


@pytest.fixture(scope="module")
def home(real_notes, tmp_path_factory):
    place, num_sources = tmp_path_factory.mktemp("sources"), NUM_SOURCES[next(iter(real_notes))]
    folders = {name: write_notes(place / name, notes) for name, notes in real_notes.items()}
    with build(place / "library.sqlite", folders, StemEmbedder()) as library:
        home = Home(folders, real_notes, library)
        never = pytest.fail
        writer = Writer(library, StemEmbedder(), never, never, reads=False)
        for question in questions(library, real_notes):
            for source in writer.answer(question).sources:
                known = [replace(one, number=source.number) for one in home.sources]
                if source not in known and is_told_apart(source, real_notes):
                    home.sources.append(source)
            if len(home.sources) >= num_sources:
                break
        home.sources = home.sources[:num_sources]
        assert len(home.sources) == num_sources
        yield home


def questions(library: Library, notes: dict[str, dict[str, str]]):
    """Yields titles and headings of the notes, asked about."""
    for depth in (0, 1, 2, 3):
        for name in notes:
            for note in library.notes(name):
                headings = [note.title, *re.findall(r"(?m)^#+ +(.+)$", note.text)]
                if depth < len(headings):
                    yield f"What is there on {note.title}, {headings[depth]}?"


def is_told_apart(source: Source, notes: dict[str, dict[str, str]]) -> bool:
    """Returns whether the passage stands once in all notes, of whole lines, fit to be edited."""
    times = sum(text.count(source.text) for of_one in notes.values() for text in of_one.values())
    lines = notes[source.collection][source.path].split("\n")
    is_whole = source.text == "\n".join(lines[source.first_line - 1 : source.last_line])
    can_change = WORD_TO_CHANGE.search(source.text) and len(set(source.text.split())) >= 12
    return times == 1 and is_whole and bool(can_change)


@dataclass
class Account:
    """What became of one note: its lines now, with the place each had; None for a new one."""

    path: str | None
    lines: list[tuple[int | None, str]]
    was_edited: bool = False
    was_moved: bool = False

    def put_above(self, chance: random.Random, held: list[range]) -> None:
        """Puts lines somewhere, but into no passage that is cited."""
        before = [number for number, _ in self.lines]
        inside = {number for lines in held for number in lines[1:]}
        places = [at for at, number in enumerate(before) if number not in inside]
        at = chance.choice([*places, len(before)])
        fresh = [(None, f"Fresh line {n} {chance.random()}") for n in range(chance.randint(1, 7))]
        self.lines[at:at] = [(None, ""), *fresh, (None, "")]
        self.was_edited = True

    def edit(self, chance: random.Random, lines: range, marker: str) -> None:
        """Replaces a word of a passage by the marker."""
        places = [
            (at, word.span())
            for at, (number, text) in enumerate(self.lines)
            if number in lines
            for word in WORD_TO_CHANGE.finditer(text)
        ]
        at, (begin, end) = chance.choice(places)
        number, text = self.lines[at]
        self.lines[at] = (number, text[:begin] + marker + text[end:])
        self.was_edited = True

    def cut(self, lines: range) -> None:
        self.lines = [line for line in self.lines if line[0] not in lines]
        self.was_edited = True

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.lines)

    def place_of(self, lines: range) -> tuple[int, int] | None:
        """Returns where a passage's lines are now, from 1; None where they were cut out."""
        now = [at for at, (number, _) in enumerate(self.lines, start=1) if number in lines]
        return (now[0], now[-1]) if now else None


def lines_of(source: Source) -> range:
    return range(source.first_line, source.last_line + 1)


def opened(where: Whereabouts) -> str:
    lines = where.file.read_text(encoding="utf-8").split("\n")
    return "\n".join(lines[where.first_line - 1 : where.last_line])


@pytest.mark.parametrize("seed", range(4))
def test_every_source_opens_the_right_lines_or_says_why_not(home: Home, seed: int):
    chance = random.Random(seed)
    accounts: dict[tuple[str, str], Account] = {}
    cut: set[tuple[str, str, int]] = set()
    markers: dict[tuple[str, str, int], str] = {}
    for name, notes in home.notes.items():
        write_notes(home.folders[name], notes)
        home.library.sync(name)
        for path, text in notes.items():
            accounts[name, path] = Account(path, list(enumerate(text.split("\n"), start=1)))
    cited: dict[tuple[str, str], list[Source]] = {}
    for source in home.sources:
        cited.setdefault((source.collection, source.path), []).append(source)

    swappable = []
    for number, (place, sources) in enumerate(cited.items()):
        account, event = accounts[place], chance.choice(EVENTS)
        held = [lines_of(source) for source in sources]
        one = chance.choice(sources)
        this = (*place, one.first_line)
        if "above" in event:
            account.put_above(chance, held)
        if "inside" in event:
            markers[this] = f"zq{number}x{seed}"
            account.edit(chance, lines_of(one), markers[this])
        if event == "cut":
            cut.add(this)
            account.cut(lines_of(one))
        if event == "headed anew":
            account.lines.insert(0, (None, f"# Headed anew {number}"))
            account.was_edited = True
        if "moved" in event:
            account.path = f"moved/{number}/{place[1].rpartition('/')[2]}"
        if event == "renamed":
            account.path = f"{place[1].removesuffix('.md')} renamed {number}.md"
        if event == "swapped":
            swappable.append(place)
        if event == "deleted":
            account.path = None
        account.was_moved = account.path != place[1]
    for first, second in zip(swappable[::2], swappable[1::2], strict=False):
        if first[0] == second[0]:
            accounts[first].path, accounts[second].path = second[1], first[1]
            accounts[first].was_moved = accounts[second].was_moved = True

    synced = set()
    for name, folder in home.folders.items():
        write_notes(
            folder,
            {
                account.path: account.text
                for (of, _), account in accounts.items()
                if of == name and account.path is not None
            },
        )
        if chance.random() < 0.5:
            home.library.sync(name)
            synced.add(name)

    seen = set()
    for source in home.sources:
        place = (source.collection, source.path)
        account, this = accounts[place], (*place, source.first_line)
        where = home.library.whereabouts(source)
        told = (seed, source.collection, source.path, source.first_line, where)
        if account.path is None:
            assert (where.state, where.remark, where.file) == ("gone", "this note is gone", None), (
                told
            )
        elif this in markers and account.was_moved and source.collection in synced:
            # Among notes known by now no other note's passage may be taken for an edited one.
            assert where.state in ("gone", "changed"), told
            assert where.first_line is None, told
        elif this in cut:
            assert where.state == "changed", told
            assert where.remark == f"{CHANGED}, and the passage is no longer in it", told
            assert where.first_line is None, told
        else:
            assert where.path == account.path, told
            assert where.file == home.folders[source.collection] / account.path, told
            if this in markers:
                # Passages may be parted anew, so that the lines are those of the piece it is in.
                assert markers[this] in opened(where), told
                assert where.remark.startswith(f"{CHANGED}, this passage too") or (
                    where.remark.startswith("this note has moved and changed since")
                ), told
            else:
                assert (where.first_line, where.last_line) == account.place_of(lines_of(source))
                assert source.text in opened(where), told
                assert where.remark == remark_of(account, source), told
        seen.add(where.remark and where.remark.partition(";")[0])
    assert len(seen) >= 6, seen


def remark_of(account: Account, source: Source) -> str | None:
    match account.was_moved, account.was_edited:
        case False, False:
            return None
        case False, True:
            return CHANGED
        case True, False:
            return f"this note has moved; it was {source.path}"
    return f"this note has moved and changed since; it was {source.path}"


def test_of_a_folder_that_is_gone_every_source_says_so(home: Home):
    for name, folder in home.folders.items():
        folder.rename(folder.with_name(f"{name} elsewhere"))
    try:
        for source in home.sources:
            where = home.library.whereabouts(source)
            assert (where.state, where.remark) == ("gone", "this note is gone")
    finally:
        for name, folder in home.folders.items():
            folder.with_name(f"{name} elsewhere").rename(folder)

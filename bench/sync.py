"""Sync: a small change among 10,000 notes, 20,000 notes at once, and 1,000 operations with kills.

The notes are real ones, each made different by a line of its own. The operations write, edit, move
and delete notes at random, and sync, in a process that is killed at a random moment one time in
three; after every twentieth the library must equal one built anew.

    python bench/sync.py [--operations 1000] [--notes 10000] [--many 20000]
"""

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import Claim, add_results
from texts import notes_texts
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library

ROOT = Path(__file__).parents[1]
NUM_CHANGED, NUM_TRIES = 10, 7
SYNCING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from library_makers import SignEmbedder
from tramontane.library import sync
from tramontane.library.library import Library
sync.BATCH_NOTES = 2
with Library(Path(sys.argv[1]), SignEmbedder()) as library:
    print("syncing", flush=True)
    library.sync("n", allow_emptying=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--operations", type=int, default=1_000)
    parser.add_argument("--notes", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=20_000)
    arguments = parser.parse_args()
    texts = [text for name in ("handbook-18f", "zettelkasten-de") for text in notes_texts(name)]
    texts = [text[:6_000] for text in texts]
    claims = []
    with tempfile.TemporaryDirectory() as work:
        claims.append(small_change(Path(work), texts, arguments.notes))
        claims.append(many_notes(Path(work), texts, arguments.many))
        claims.append(operations(Path(work), arguments.operations))
    add_results("support", claims)


def small_change(work: Path, texts: list[str], num_notes: int) -> Claim:
    folder = written(work / "small", texts, num_notes)
    seconds = []
    with Library(work / "small.sqlite", WordLlamaEmbedder()) as library:
        library.add_collection("n", folder)
        library.sync("n")
        time.sleep(4)  # until the files lie still
        library.sync("n")
        for at in range(NUM_TRIES):
            for number in range(NUM_CHANGED):
                file = folder / f"{number}/{number * 100 + at}.md"
                file.write_text(file.read_text() + f"\nChanged, round {at}.\n")
            began = time.monotonic()
            done = library.sync("n")
            seconds.append(time.monotonic() - began)
            assert len(done.changed) == NUM_CHANGED
    median = round(statistics.median(seconds), 3)
    note = f"median of {NUM_TRIES}, {NUM_CHANGED} notes changed; slowest {max(seconds):.2f} s"
    return Claim("sync.10k_notes_small_change_s", median, None, median, num_notes, note)


def many_notes(work: Path, texts: list[str], num_notes: int) -> Claim:
    folder = written(work / "many", texts, num_notes)
    with Library(work / "many.sqlite", WordLlamaEmbedder()) as library:
        library.add_collection("n", folder)
        began = time.monotonic()
        done = library.sync("n")
        seconds = round(time.monotonic() - began, 1)
        assert len(done.added) == num_notes
        num_passages = library.collection("n").num_passages
    note = f"s, read, embedded and stored for the first time: {num_passages} passages"
    return Claim("sync.first_of_many_notes_s", seconds, None, seconds, num_notes, note)


def written(folder: Path, texts: list[str], num_notes: int) -> Path:
    for number in range(num_notes):
        file = folder / f"{number // 100}/{number}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{texts[number % len(texts)]}\n\nNote {number}.\n")
    return folder


def operations(work: Path, num_operations: int) -> Claim:
    makers = ROOT / "tests" / "library"
    sys.path.insert(0, str(makers))
    from library_makers import SignEmbedder, build, contents

    chance = random.Random(20261125)
    folder, file = work / "notes", work / "l.sqlite"
    folder.mkdir()
    (folder / "0.md").write_text("The first.")
    build(file, {"n": folder}).close()
    num_kills = num_compared = num_differing = 0
    for number in range(1, num_operations + 1):
        change(folder, chance, number)
        kills = chance.random() < 1 / 3
        process = subprocess.Popen(
            [sys.executable, "-c", SYNCING, file, makers], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        if kills:
            time.sleep(chance.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
        num_kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
        if number % 20 and number != num_operations:
            continue
        fresh_file = work / f"fresh{number}.sqlite"
        with Library(file, SignEmbedder()) as library:
            library.sync("n", allow_emptying=True)
            with build(fresh_file, {"n": folder}) as fresh:
                num_compared += 1
                num_differing += contents(library) != contents(fresh)
        fresh_file.unlink()
    note = f"of {num_compared} comparisons with a fresh build; {num_kills} syncs were killed"
    return Claim(
        "sync.differs_from_fresh_build",
        num_differing,
        None,
        num_differing,
        num_operations,
        note,
    )


def change(folder: Path, chance: random.Random, number: int) -> None:
    """Does one to four things that people do to notes."""
    for _ in range(chance.randint(1, 4)):
        files = sorted(path for path in folder.rglob("*.*") if path.is_file())
        what = chance.choice(["write", "write", "edit", "move", "copy", "delete", "bad"])
        target = folder / chance.choice(["", "a", "a/b"]) / f"{chance.randint(0, 60)}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        one = chance.choice(files) if files else None
        if what == "write" or one is None:
            words = " ".join(chance.choices("sow beans peas water 3 #tag 2024-03-05".split(), k=40))
            target.write_text(f"# Note {number}\n\n{words}\n")
        elif what == "edit":
            one.write_bytes(one.read_bytes() + f"\nMore of {number}.\n".encode())
        elif what == "move":
            one.rename(target)
        elif what == "copy":
            target.write_bytes(one.read_bytes())
        elif what == "bad":
            target.with_suffix(".docx").write_bytes(b"PK nonsense")
        elif len(files) > 1:
            one.unlink()


if __name__ == "__main__":
    main()

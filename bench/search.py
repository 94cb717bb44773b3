"""Search among 50,000 passages: real notes, repeated with words exchanged, asked real questions.

Ours is hybrid search as `ask` calls it; the peer is the same library by BM25 alone.

    python bench/search.py [--passages 50000] [--profile]
"""

import argparse
import cProfile
import json
import pstats
import random
import re
import statistics
import tempfile
import time
from pathlib import Path

from record import Claim, add_results
from texts import notes_texts
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library

ROOT = Path(__file__).parents[1]
COLLECTIONS = ("til-jbranchaud", "til-simonw", "recipes-public-domain", "handbook-18f")
# This share of the words of a repeated note is exchanged for words of others.
EXCHANGED = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passages", type=int, default=50_000)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    arguments = parser.parse_args()
    items = json.loads((ROOT / "bench/dev_questions.json").read_text(encoding="utf-8"))
    questions = [item["question"] for item in items]
    with tempfile.TemporaryDirectory() as work:
        file, folder = Path(work) / "l.sqlite", Path(work) / "notes"
        with Library(file, WordLlamaEmbedder()) as ours:
            num_passages = fill(ours, folder, arguments.passages)
            ours.search(questions[0])  # reads the vectors
            with Library(file) as peer:
                by_us, by_peer = [], []
                for question in questions:
                    for library, seconds in ((ours, by_us), (peer, by_peer)):
                        began = time.perf_counter()
                        library.search(question, limit=6)
                        seconds.append(time.perf_counter() - began)
            if arguments.profile:
                with cProfile.Profile() as profile:
                    for question in questions:
                        ours.search(question, limit=6)
                pstats.Stats(profile).sort_stats("tottime").print_stats(20)
    mine, theirs = (round(1_000 * statistics.median(seconds), 2) for seconds in (by_us, by_peer))
    slowest = f"{num_passages} passages; slowest {1_000 * max(by_us):.0f} ms; peer: BM25 alone"
    claim = Claim("search.50k_passages_ms", mine, theirs, mine, len(questions), slowest)
    add_results("support", [claim])


def fill(library: Library, folder: Path, num_passages: int) -> int:
    """Writes variations of real notes and syncs, until there are about so many passages."""
    chance = random.Random(1)
    texts = [text for name in COLLECTIONS for text in notes_texts(name)]
    # In one order or another a note's passages are many or few; mixed, the mean foretells the rest.
    chance.shuffle(texts)
    words = [word for text in texts for word in re.findall(r"[a-z]{4,}", text)]
    folder.mkdir()
    library.add_collection("n", folder)
    number = held = 0
    while held < num_passages:
        for _ in range(1_000 if not held else max(50, (num_passages - held) * number // held)):
            text = texts[number % len(texts)]
            if number >= len(texts):
                text = re.sub(
                    r"[a-z]{4,}",
                    lambda found: chance.choice(words) if chance.random() < EXCHANGED else found[0],
                    text,
                )
            (folder / f"{number}.md").write_text(text, encoding="utf-8")
            number += 1
        library.sync("n")
        held = library.collection("n").num_passages
    return held


if __name__ == "__main__":
    main()

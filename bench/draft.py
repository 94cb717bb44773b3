"""Seconds for a draft of 400 words of real notes: the embedded base, six experts in place.

    python bench/draft.py [--threads 2]

Nine tasks over three real collections, each drafted once to warm up and then three times, from the
search to the last sentence. Of the six experts two are open at every token (six_experts.py). The
base has not passed the writer's check, so it quotes, and reads each quotation for the experts'
shares: that is the claim. The peer is the same base writing as many words freely, each sentence
checked against its passages.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from record import Claim, add_results
from six_experts import make_six_experts
from texts import collection_folder
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library
from tramontane.writing.answer import Writer
from tramontane.writing.draft import write
from tramontane.writing.events import Sentence
from tramontane.writing.speak import ExpertInPlace

WORDS, NUM_RUNS = 400, 3
TASKS = {
    "handbook-18f": (
        "how a new colleague gets started in the first week",
        "travel: booking, expenses and what is paid back",
        "feedback, performance and promotion",
    ),
    "recipes-public-domain": (
        "puddings for a winter table",
        "what to do with yesterday's bread",
        "soups from vegetables",
    ),
    "til-jbranchaud": (
        "finding and changing things in git history",
        "PostgreSQL queries worth remembering",
        "moving and editing fast in vim",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    wanted = parser.parse_args()
    embed = WordLlamaEmbedder()
    with tempfile.TemporaryDirectory() as work, Library(Path(work) / "l.sqlite", embed) as library:
        for name in TASKS:
            library.add_collection(name, collection_folder(name))
            library.sync(name)
        store = Store(Path(work) / "models")
        record = pull("smollm2", store, lambda *_: None)
        checkpoint = store.open(record.name)
        engine = Engine(open_runtime(checkpoint, threads=wanted.threads))
        tokenizer = checkpoint.tokenizer()
        experts = []
        for expert in make_six_experts(Path(record.path), Path(work)).experts:
            engine.add_expert(expert.hash, expert.tensors)
            experts.append(ExpertInPlace(expert.name, expert.hash))

        def drafted(task: str, name: str, *, can_write: bool) -> tuple[float, int]:
            """Returns the seconds of a draft and its words."""
            writer = Writer(
                library,
                embed,
                lambda: engine,
                lambda: tokenizer,
                lambda: tuple(experts),
                can_write=can_write,
            )
            began = time.perf_counter()
            events = list(write(writer, task, collections=[name], form="report", words=WORDS))
            seconds = time.perf_counter() - began
            told = [event for event in events if isinstance(event, Sentence)]
            return seconds, sum(len(sentence.text.split()) for sentence in told)

        quoted, written, words, words_written = [], [], [], []
        for name, tasks in TASKS.items():
            for task in tasks:
                runs = [drafted(task, name, can_write=False) for _ in range(NUM_RUNS + 1)][1:]
                freely = [drafted(task, name, can_write=True) for _ in range(2)][1:]
                quoted.append(statistics.median(seconds for seconds, _ in runs))
                words.append(runs[0][1])
                written.append(freely[0][0])
                words_written.append(freely[0][1])
                print(
                    f"{task}: {quoted[-1]:.2f} s for {words[-1]} words quoted, "
                    f"{written[-1]:.2f} s for {words_written[-1]} written",
                    flush=True,
                )
    mine, theirs = (round(statistics.median(seconds), 3) for seconds in (quoted, written))
    note = (
        f"median of {len(quoted)} tasks, each a median of {NUM_RUNS}; slowest {max(quoted):.2f} s; "
        f"{statistics.median(words):.0f} words; six experts, two open at every token. peer: the "
        f"base writing freely, {statistics.median(words_written):.0f} words, each sentence checked"
    )
    add_results("support", [Claim("draft400.seconds", mine, theirs, mine, len(quoted), note)])


if __name__ == "__main__":
    main()

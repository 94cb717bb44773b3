"""Questions over notes: the right passage found, the fact in the answer, the unanswerable refused?

Ours is hybrid search, passages ranked by what a base makes of them, and quotations chosen by words,
vectors and the base; with --writer a base that writes answers too, in prose. The peer is plain
BM25, whose answer is the whole of its best passage and which never refuses.

    python bench/questions.py --part tune|final [--show] [--model FILE.gguf] [--writer FILE.gguf]
    python bench/questions.py --part samples|dev [--show] [--model FILE.gguf]

`tune` and `final` are the two parts of questions/notes_questions.json: weights are chosen on the
one (and on `dev`, and on the 40 `samples`), and what the other gives is the claim.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from record import Claim, add_results
from texts import collection_folder
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library
from tramontane.library.records import Hit
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.answer import Writer
from tramontane.writing.events import Answer, Sentence
from tramontane.writing.quote import Evidence, Question, Quotation

ROOT = Path(__file__).parents[1]
NOTES_QUESTIONS = ROOT / "bench/questions/notes_questions.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", choices=("tune", "final", "dev", "samples"), default="tune")
    parser.add_argument("--show", action="store_true", help="print each question that went wrong")
    parser.add_argument("--model", type=Path, help="a GGUF file instead of pulling smollm2")
    parser.add_argument("--writer", type=Path, help="a GGUF file of a base that can write")
    parser.add_argument("--threads", type=int, default=2)
    wanted = parser.parse_args()
    items, folders = items_and_folders(wanted.part)
    # What the final part gives is the claim; the others say so in their name.
    prefix = "questions" if wanted.part == "final" else f"questions.{wanted.part}"
    embed = WordLlamaEmbedder()
    with tempfile.TemporaryDirectory() as work:
        store = Store(Path(work) / "models")
        record = pull(str(wanted.model or "smollm2"), store, lambda *_: None)
        quoting = base_of(store.open(record.name), wanted.threads)
        run = Run(Path(work), folders, embed, show=wanted.show)
        run.ask(run.writer(*quoting), items)
        claims = run.claims(prefix, ".embedded")
        if wanted.writer:
            writing = base_of(open_checkpoint(wanted.writer), wanted.threads)
            run.ask(run.writer(*writing, can_write=True), items)
            claims += run.claims(prefix, "")
        run.close()
    add_results("support", claims)


def base_of(checkpoint: Checkpoint, threads: int) -> tuple[Engine, Tokenizer]:
    return Engine(open_runtime(checkpoint, threads=threads)), checkpoint.tokenizer()


def items_and_folders(part: str) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """Returns a part's questions, and the folders of the collections that they are asked of."""
    if part == "samples":
        folders = {path.name: path for path in sorted((ROOT / "examples" / "notes").iterdir())}
        return read_items(ROOT / "examples" / "questions.json"), folders
    items = read_items(ROOT / "bench/dev_questions.json" if part == "dev" else NOTES_QUESTIONS)
    folders = {item["collection"]: collection_folder(item["collection"]) for item in items}
    return [item for item in items if item.get("part", "dev") == part], folders


def read_items(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))


class Run:
    """One set of questions asked of one set of collections, ours and the peer in turn."""

    def __init__(
        self, work: Path, folders: Mapping[str, Path], embed: WordLlamaEmbedder, *, show: bool
    ):
        self.show, self.embed = show, embed
        self.ours = Library(work / "ours.sqlite", embed)
        self.peer = Library(work / "peer.sqlite", None)
        for library in (self.ours, self.peer):
            for name, folder in folders.items():
                library.add_collection(name, folder)
                library.sync(name)

    def close(self) -> None:
        self.ours.close()
        self.peer.close()

    def writer(
        self, engine: Engine, tokenizer: Tokenizer, *, can_write: bool = False
    ) -> "WatchedWriter":
        return WatchedWriter(
            self.ours, self.embed, lambda: engine, lambda: tokenizer, can_write=can_write
        )

    def ask(self, writer: "WatchedWriter", items: list[dict[str, Any]]) -> None:
        self.found, self.found_by_peer = [], []
        self.facts, self.facts_by_peer = [], []
        self.in_prose_alone: list[bool] = []
        self.refused, self.refused_wrongly = [], []
        self.seconds = []
        for item in items:
            began = time.monotonic()
            answer = writer.answer(item["question"])
            self.seconds.append(time.monotonic() - began)
            if item["answerable"]:
                self.take_answerable(item, answer, writer)
            else:
                self.take_other(item, answer)
            print(f"{len(self.seconds)} of {len(items)} questions", flush=True)

    def claims(self, prefix: str, suffix: str) -> list[Claim]:
        in_prose = statistics.mean(self.in_prose_alone or [False])
        how = (
            "up to three quotations"
            if suffix
            else f"prose and the quotations below it; in the prose alone {in_prose:.3f}"
        )
        quoted = f"{how}; peer: BM25's first passage, whole"
        median = round(statistics.median(self.seconds), 2)
        slowest = f"median; the slowest {max(self.seconds):.2f} s"
        return [
            share(
                f"{prefix}.right_passage_top3{suffix}",
                self.found,
                self.found_by_peer,
                "of the first three passages one holds the fact; peer: BM25",
            ),
            share(f"{prefix}.fact_in_answer{suffix}", self.facts, self.facts_by_peer, quoted),
            share(f"{prefix}.abstain_unanswerable{suffix}", self.refused, None, "refused, rightly"),
            share(
                f"{prefix}.abstain_answerable{suffix}",
                self.refused_wrongly,
                None,
                "refused, wrongly",
            ),
            Claim(f"{prefix}.seconds{suffix}", median, None, median, len(self.seconds), slowest),
        ]

    def take_answerable(
        self, item: dict[str, Any], answer: Answer, writer: "WatchedWriter"
    ) -> None:
        question, hits = item["question"], writer.best
        by_peer = self.peer.search(question, limit=3)
        self.refused_wrongly.append(answer.abstained)
        self.found.append(any(is_right(hit, item) for hit in hits[:3]))
        self.found_by_peer.append(any(is_right(hit, item) for hit in by_peer))
        self.facts.append(holds_fact(texts(answer), item))
        self.in_prose_alone.append(holds_fact(texts(answer, "prose"), item))
        self.facts_by_peer.append(bool(by_peer) and holds_fact(by_peer[0].text, item))
        if self.show and not (self.found[-1] and self.facts[-1]):
            print(f"{question}\n    wanted {item['fact']!r} of {item['note']}")
            print(f"    found {[hit.path for hit in hits[:3]]}; {answer.reason or texts(answer)}")

    def take_other(self, item: dict[str, Any], answer: Answer) -> None:
        self.refused.append(answer.abstained)
        if self.show and not answer.abstained:
            print(f"answered: {item['question']}\n    {texts(answer)}")


class WatchedWriter(Writer):
    """Remembers the best hits of its last answer."""

    def weigh(
        self, asked: Question, hits: Sequence[Hit]
    ) -> tuple[list[Hit], list[Quotation], Evidence]:
        found = super().weigh(asked, hits)
        self.best = found[0]
        return found


def share(id: str, ours: list[bool], peer: list[bool] | None, note: str) -> Claim:
    mine, theirs = (
        round(sum(cases) / len(cases), 4) if cases else None for cases in (ours, peer or [])
    )
    return Claim(id, mine, theirs, mine, len(ours), note)


def is_right(hit: Hit, item: dict[str, Any]) -> bool:
    """Returns whether a passage is of the note, and at the lines if they are known, of the fact."""
    if f"{hit.collection}/{hit.path}" != item["note"]:
        return False
    if "first_line" not in item:
        return True
    return hit.first_line <= item["last_line"] and hit.last_line >= item["first_line"]


def holds_fact(text: str, item: dict[str, Any]) -> bool:
    found = " ".join(text.lower().split())
    return any(" ".join(fact.lower().split()) in found for fact in item["accept"])


def texts(answer: Answer, kind: str | None = None) -> str:
    parts = (part for part in answer.sentences if isinstance(part, Sentence))
    return " ".join(part.text for part in parts if kind in (None, part.kind))


if __name__ == "__main__":
    main()

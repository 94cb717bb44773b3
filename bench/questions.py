"""Questions over notes: is the right note found, the fact in the answer, the unanswerable refused?

Ours is hybrid search and quotations chosen by words, vectors and what the embedded base reads; the
peer is plain BM25, whose answer is the whole of its best passage and which never refuses. Measured
on the 40 sample questions, and on the 90 over other people's notes that the weights were chosen on.

    python bench/questions.py [--show] [--model FILE.gguf]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from record import Claim, write_results
from texts import collection_folder
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library
from tramontane.writing.answer import Writer
from tramontane.writing.events import Answer, Sentence

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--show", action="store_true", help="print each question that went wrong")
    parser.add_argument("--model", type=Path, help="a GGUF file instead of pulling smollm2")
    arguments = parser.parse_args()
    samples = {path.name: path for path in sorted((ROOT / "examples" / "notes").iterdir())}
    dev_items = read_items(ROOT / "bench" / "dev_questions.json")
    others = {item["collection"]: collection_folder(item["collection"]) for item in dev_items}
    with tempfile.TemporaryDirectory() as work:
        store = Store(Path(work) / "models")
        record = pull(str(arguments.model or "smollm2"), store, lambda *_: None)
        checkpoint = store.open(record.name)
        engine, tokenizer = Engine(open_runtime(checkpoint)), checkpoint.tokenizer()
        embed = WordLlamaEmbedder()

        def make_writer(library: Library) -> Writer:
            return Writer(library, embed, lambda: engine, lambda: tokenizer)

        claims = []
        for prefix, items, folders in (
            ("questions", read_items(ROOT / "examples" / "questions.json"), samples),
            ("questions.dev", dev_items, others),
        ):
            run = Run(Path(work) / prefix, folders, embed, make_writer, show=arguments.show)
            claims += run.claims(prefix, items)
        write_results("questions", claims)


def read_items(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))


class Run:
    """One set of questions asked of one set of collections, ours and the peer in turn."""

    def __init__(
        self,
        work: Path,
        folders: Mapping[str, Path],
        embed: WordLlamaEmbedder,
        make_writer: Callable[[Library], Writer],
        *,
        show: bool,
    ):
        work.mkdir()
        self.show = show
        self.ours = Library(work / "ours.sqlite", embed)
        self.peer = Library(work / "peer.sqlite", None)
        for library in (self.ours, self.peer):
            for name, folder in folders.items():
                library.add_collection(name, folder)
                library.sync(name)
        self.writer = make_writer(self.ours)
        self.found, self.found_by_peer = [], []
        self.facts, self.facts_by_peer = [], []
        self.refused, self.refused_wrongly = [], []
        self.seconds = []

    def claims(self, prefix: str, items: list[dict[str, Any]]) -> list[Claim]:
        for item in items:
            began = time.monotonic()
            answer = self.writer.answer(item["question"])
            self.seconds.append(time.monotonic() - began)
            (self.take_answerable if item["answerable"] else self.take_other)(item, answer)
        self.ours.close()
        self.peer.close()
        quoted = "up to three quotations; peer: BM25's first passage, whole"
        median = round(statistics.median(self.seconds), 2)
        slowest = f"median; the slowest {max(self.seconds):.2f} s"
        return [
            share(f"{prefix}.right_passage_top3", self.found, self.found_by_peer, "peer: BM25"),
            share(f"{prefix}.fact_in_answer.embedded", self.facts, self.facts_by_peer, quoted),
            share(f"{prefix}.abstain_unanswerable", self.refused, None, "refused, rightly"),
            share(f"{prefix}.abstain_answerable", self.refused_wrongly, None, "refused, wrongly"),
            Claim(f"{prefix}.seconds", median, None, median, len(items), slowest),
        ]

    def take_answerable(self, item: dict[str, Any], answer: Answer) -> None:
        question = item["question"]
        self.refused_wrongly.append(answer.abstained)
        self.found.append(item["note"] in top3(self.ours, question))
        self.found_by_peer.append(item["note"] in top3(self.peer, question))
        self.facts.append(holds_fact(texts(answer), item))
        first = self.peer.search(question, limit=1)
        self.facts_by_peer.append(bool(first) and holds_fact(first[0].text, item))
        if self.show and not (self.found[-1] and self.facts[-1]):
            print(f"{question}\n    wanted {item['fact']!r} of {item['note']}")
            print(f"    found {top3(self.ours, question)}; {answer.reason or texts(answer)}")

    def take_other(self, item: dict[str, Any], answer: Answer) -> None:
        self.refused.append(answer.abstained)
        if self.show and not answer.abstained:
            print(f"answered: {item['question']}\n    {texts(answer)}")


def share(id: str, ours: list[bool], peer: list[bool] | None, note: str) -> Claim:
    mine, theirs = (
        round(sum(cases) / len(cases), 4) if cases else None for cases in (ours, peer or [])
    )
    return Claim(id, mine, theirs, mine, len(ours), note)


def top3(library: Library, question: str) -> list[str]:
    """Returns the first three notes found, as COLLECTION/PATH."""
    hits = library.search(question, limit=12)
    return list(dict.fromkeys(f"{hit.collection}/{hit.path}" for hit in hits))[:3]


def holds_fact(text: str, item: dict[str, Any]) -> bool:
    found = " ".join(text.lower().split())
    return any(" ".join(fact.lower().split()) in found for fact in item["accept"])


def texts(answer: Answer) -> str:
    return " ".join(part.text for part in answer.sentences if isinstance(part, Sentence))


if __name__ == "__main__":
    main()

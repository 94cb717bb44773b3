"""The sample questions: is the right note found, the fact in the answer, the unanswerable refused?

Ours is hybrid search with quoted answers; the peer beside it is plain BM25, whose answer is the
whole of its best passage and which never refuses.

    python bench/questions.py
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from record import Claim, write_results
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library
from tramontane.writing.answer import Writer
from tramontane.writing.events import Answer, Sentence

EXAMPLES = Path(__file__).parents[1] / "examples"


def holds_fact(text: str, item: dict[str, Any]) -> bool:
    found = " ".join(text.lower().split())
    return any(" ".join(fact.lower().split()) in found for fact in item["accept"])


def no_model() -> None:
    raise AssertionError("quoting needs no model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--show", action="store_true", help="print each question that went wrong")
    show = parser.parse_args().show
    items = json.loads((EXAMPLES / "questions.json").read_text(encoding="utf-8"))
    embed = WordLlamaEmbedder()
    with tempfile.TemporaryDirectory() as work:
        ours = Library(Path(work) / "ours.sqlite", embed)
        peer = Library(Path(work) / "peer.sqlite", None)
        for library in (ours, peer):
            for folder in sorted((EXAMPLES / "notes").iterdir()):
                library.add_collection(folder.name, folder)
                library.sync(folder.name)
        writer = Writer(ours, embed, no_model, no_model)
        found, found_by_peer, facts, facts_by_peer, refused, wrongly_refused = (
            [] for _ in range(6)
        )
        for item in items:
            question = item["question"]
            answer = writer.answer(question)
            if not item["answerable"]:
                refused.append(answer.abstained)
                if show and not answer.abstained:
                    print(f"answered: {question}\n    {texts(answer)}")
                continue
            wrongly_refused.append(answer.abstained)
            found.append(item["note"] in top3(ours, question))
            found_by_peer.append(item["note"] in top3(peer, question))
            facts.append(holds_fact(texts(answer), item))
            first = peer.search(question, limit=1)
            facts_by_peer.append(bool(first) and holds_fact(first[0].text, item))
            if show and not (found[-1] and facts[-1]):
                print(f"{question}\n    wanted {item['fact']!r} of {item['note']}")
                print(f"    found {top3(ours, question)}; {answer.reason or texts(answer)}")
        ours.close()
        peer.close()

    def claim(id: str, mine: list[bool], theirs: list[bool] | None, note: str) -> Claim:
        share = sum(mine) / len(mine)
        peer_share = sum(theirs) / len(theirs) if theirs else None
        return Claim(id, share, peer_share, share, len(mine), note)

    quoted = "quotations, no model needed; peer: BM25's first passage"
    write_results(
        "questions",
        [
            claim("questions.right_passage_top3", found, found_by_peer, "peer: BM25 alone"),
            claim("questions.fact_in_answer.embedded", facts, facts_by_peer, quoted),
            claim("questions.abstain_unanswerable", refused, None, "refused, of the unanswerable"),
            claim("questions.abstain_answerable", wrongly_refused, None, "refused wrongly"),
        ],
    )


def top3(library: Library, question: str) -> list[str]:
    """Returns the first three notes found, as COLLECTION/PATH."""
    hits = library.search(question, limit=12)
    return list(dict.fromkeys(f"{hit.collection}/{hit.path}" for hit in hits))[:3]


def texts(answer: Answer) -> str:
    return " ".join(part.text for part in answer.sentences if isinstance(part, Sentence))


if __name__ == "__main__":
    main()

"""Sentences that bases really write over real notes, to be labelled against their passages.

Each passage that holds the answer to a question of `questions/notes_questions.json` is put before
a base with that question, and with the next question of its collection, which it seldom answers:
so a fair share of what is written has nothing to stand on. Questions of the part "final" are left
alone.

    python bench/generate_sentences.py --base FILE.gguf --output FILE.json [--seed 0] [--threads 1]

Rows hold the passage's place, never its text: collection/path and lines.
"""

import argparse
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from texts import collection_folder
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request, Sampling
from tramontane.files import write_whole
from tramontane.notes.folder import read_folder
from tramontane.notes.note import Passage
from tramontane.notes.sentences import split_sentences
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.answer import CITATION
from tramontane.writing.events import Source
from tramontane.writing.prompt import ANSWER, messages_for

QUESTIONS = Path(__file__).parent / "questions" / "notes_questions.json"
TEMPERATURES = (0.7, 0.85, 1.0)
MOST_PASSAGE_CHARACTERS = 1200
MOST_TOKENS, MOST_SENTENCES = 90, 3
FEWEST_CHARACTERS, MOST_CHARACTERS = 20, 300


@dataclass(frozen=True)
class Written:
    """A sentence, and the passage and question that stood before it."""

    sentence: str
    passage: str
    first_line: int
    last_line: int
    question: str
    base: str
    temperature: float


def asked() -> list[tuple[str, Passage, str]]:
    """Returns (collection/path, passage, question): each passage with two questions."""
    rows = [
        row
        for row in json.loads(QUESTIONS.read_text(encoding="utf-8"))
        if row["answerable"] and row["part"] == "tune"
    ]
    found = []
    for collection in dict.fromkeys(row["collection"] for row in rows):
        notes = {note.path: note for note in read_folder(collection_folder(collection)).notes}
        of_it = [row for row in rows if row["collection"] == collection]
        for row, following in zip(of_it, [*of_it[1:], of_it[0]], strict=True):
            path = row["note"].removeprefix(f"{collection}/")
            passage = next(
                p for p in notes[path].passages if p.first_line <= row["first_line"] <= p.last_line
            )
            if len(passage.text) <= MOST_PASSAGE_CHARACTERS:
                found += [(row["note"], passage, r["question"]) for r in (row, following)]
    return found


def write(engine: Engine, tokenizer: Tokenizer, base: str, seed: int) -> list[Written]:
    """Returns the first sentences of an answer to each question; temperatures take turns."""
    waiting: dict[int, tuple[tuple[str, Passage, str], float]] = {}
    token_ids: dict[int, list[int]] = {}
    for place, (note, passage, question) in enumerate(asked()):
        temperature = TEMPERATURES[place % len(TEMPERATURES)]
        source = Source(1, "", "", Path(note).stem, 1, 1, passage.text, "")
        request = Request(
            tokenizer.encode_chat(messages_for(ANSWER, question, [source])),
            MOST_TOKENS,
            Sampling(temperature, top_p=0.95, seed=seed + place),
            end_ids=tokenizer.eos_ids,
        )
        number = engine.submit(request)
        waiting[number], token_ids[number] = ((note, passage, question), temperature), []
    written = {}
    while engine.has_work:
        for token in engine.step():
            if token.token_id >= 0 and token.token_id not in tokenizer.eos_ids:
                token_ids[token.request_id].append(token.token_id)
            if token.finish:
                text = tokenizer.decode(token_ids[token.request_id])
                written[token.request_id] = kept(text, is_whole=token.finish == "end")
                print(f"{base}: {len(written)} of {len(waiting)} answers", flush=True)
    return [
        Written(sentence, note, p.first_line, p.last_line, question, base, temperature)
        for number, ((note, p, question), temperature) in waiting.items()
        for sentence in written[number]
    ]


def kept(text: str, *, is_whole: bool) -> list[str]:
    """Returns the first sentences that a reader would see as one; what broke off is left out."""
    sentences = [CITATION.sub("", sentence.text).strip() for sentence in split_sentences(text)]
    if not is_whole:
        sentences = sentences[:-1]
    fitting = [
        sentence
        for sentence in sentences
        if FEWEST_CHARACTERS <= len(sentence) <= MOST_CHARACTERS and re.search(r"[a-z]", sentence)
    ]
    return list(dict.fromkeys(fitting))[:MOST_SENTENCES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    checkpoint = open_checkpoint(wanted.base)
    engine = Engine(NativeRuntime(checkpoint, threads=wanted.threads))
    rows = write(engine, checkpoint.tokenizer(), wanted.base.stem, wanted.seed)
    content = json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=0)
    write_whole(wanted.output, f"{content}\n".encode())


if __name__ == "__main__":
    main()

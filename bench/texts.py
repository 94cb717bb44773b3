"""Real text to measure on, from ../shared/data: nothing of it is in the public text.

T tokens. Each genre is one list of documents, cut to the number of tokens wanted.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tramontane.notes.folder import read_folder
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.events import Source
from tramontane.writing.prompt import ANSWER, messages_for

DATA = Path(__file__).parents[2] / "shared" / "data"
# Modules of the standard library that are not in the public text.
CODE_MODULES = ("asyncio/base_events", "email/message", "http/cookies", "logging/config", "turtle")


def collection_folder(name: str) -> Path:
    folder = DATA / "notes" / name / "text"
    if not folder.is_dir():
        sys.exit(f"{folder} isn't there: this measures on the shared data")
    return folder


def notes_texts(name: str) -> list[str]:
    """Returns a collection's notes, in the order of their paths."""
    return [note.text for note in read_folder(collection_folder(name)).notes]


def wikitext() -> list[str]:
    """Returns WikiText-2's test articles with the tokeniser's marks undone."""
    text = (DATA / "bench/wikitext2/test.txt").read_text(encoding="utf-8")
    articles = re.split(r"\n = [^=]+ = \n", text)
    return [detokenised(article) for article in articles if len(article) > 500]


def detokenised(text: str) -> str:
    """Undoes WikiText's spacing (Merity et al. 2016); sentences with <unk> go."""
    text = re.sub(r" @([-,.])@ ", r"\1", text)
    text = re.sub(r" ([,.;:!?%)\]}]|'s\b|n't\b|'re\b|'ve\b|'ll\b|'d\b|'m\b)", r"\1", text)
    text = re.sub(r"([(\[{$]) ", r"\1", text)
    text = re.sub(r'" ([^"\n]*?) "', r'"\1"', text)
    lines = (line.strip() for line in text.splitlines())
    kept = []
    for line in lines:
        sentences = re.split(r"(?<=[.!?]) ", line)
        whole = " ".join(sentence for sentence in sentences if "<unk>" not in sentence)
        if len(whole) > 40:
            kept.append(whole)
    return "\n\n".join(kept)


def code() -> list[str]:
    library = Path(json.__file__).parents[1]
    return [(library / f"{name}.py").read_text(encoding="utf-8") for name in CODE_MODULES]


def chats_with_passages(tokenizer: Tokenizer) -> list[str]:
    """Returns HaluEval's questions over documents as turns under the real answering prompt."""
    rows = json.loads((DATA / "bench/halueval/halueval_test.json").read_text(encoding="utf-8"))
    return [
        tokenizer.render_chat(chat_messages(row), add_generation_prompt=False)
        for row in rows
        if row["label"] == 0
    ]


def chats(tokenizer: Tokenizer) -> list[str]:
    """Returns HaluEval's general questions and replies as plain turns."""
    lines = (DATA / "bench/halueval/general_data.json").read_text(encoding="utf-8").splitlines()
    return [
        tokenizer.render_chat(
            [
                {"role": "user", "content": row["user_query"]},
                {"role": "assistant", "content": row["chatgpt_response"]},
            ],
            add_generation_prompt=False,
        )
        for row in map(json.loads, lines)
    ]


def questions() -> list[str]:
    """Returns TruthfulQA's questions, each with its best answer."""
    with (DATA / "bench/truthfulqa/TruthfulQA.csv").open(encoding="utf-8", newline="") as file:
        return [f"{row['Question']}\n{row['Best Answer']}" for row in csv.DictReader(file)]


def lambada() -> list[str]:
    """Returns LAMBADA's passages from novels, whole."""
    lines = (DATA / "bench/ability/lambada_openai.jsonl").read_text(encoding="utf-8").splitlines()
    return [f"{row['context']} {row['continuation']}" for row in map(json.loads, lines)]


def chat_messages(row: dict) -> list[dict[str, str]]:
    sources = [
        Source(number, "", "", "Passage", 1, 1, text, "")
        for number, text in enumerate(row["documents"], start=1)
    ]
    reply = {"role": "assistant", "content": f"{row['response']} [1]"}
    return [*messages_for(ANSWER, row["query"], sources), reply]


def windows(
    texts: list[str], tokenizer: Tokenizer, num_tokens: int, window_tokens: int = 512
) -> Iterator[list[int]]:
    """Yields windows of token ids, texts packed one after the other, evenly over all of them."""
    share = max(64, num_tokens // max(1, min(len(texts), num_tokens // 256)))
    packed: list[int] = []
    taken = 0
    for text in texts[:: max(1, len(texts) * share // num_tokens)]:
        packed += [*tokenizer.encode(text, parse_special=True)[:share], tokenizer.separator_id]
        while len(packed) >= window_tokens and taken < num_tokens:
            yield packed[:window_tokens]
            packed = packed[window_tokens:]
            taken += window_tokens

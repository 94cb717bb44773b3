"""Perplexity by genre: how surprised the model is by texts of many kinds.

A genre is a text file, or a JSON-lines file of {"genre", "text"}. Texts are cut into pieces of
about 900 characters at line and sentence ends, and each is read from its first token on.
loss  negative log-likelihood per token of the piece, nats
A genre's perplexity is e to the loss per token over all its pieces; the mean over genres weighs
them alike.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tramontane.audit.item import Item, Reading, Text
from tramontane.audit.rows import LeftOut, Row, decoded, items_of, rows_of
from tramontane.audit.suite import Columns, Measure, Suite, always

PIECE_CHARACTERS = 900


def read(path: Path, left_out: list[LeftOut]) -> list[Item]:
    if path.suffix == ".jsonl":
        documents = list(items_of(path, rows_of(path, left_out), document_of, left_out))
    else:
        genre = f"{path.parent.name}/{path.stem}"
        documents = [Item((Text("", decoded(path, left_out)),), genre, path.name)]
    return [
        piece_item(piece, document.group, f"{document.row}, piece {number}")
        for document in documents
        for number, piece in enumerate(pieces(document.texts[0].continuation), start=1)
    ]


def document_of(row: Row) -> Item:
    return Item((Text("", row.text("text")),), row.text("genre"), row.place)


def piece_item(piece: str, genre: str, row: str) -> Item:
    return Item((Text("", piece),), genre, row, {"question": piece})


def pieces(text: str) -> Iterator[str]:
    """Yields stretches that end at a line's or a sentence's end; a stub at the end goes along."""
    held = ""
    for part in re.split(r"(?<=\n)|(?<=[.!?] )", text):
        if held and len(held) + len(part) > PIECE_CHARACTERS:
            if held.strip():
                yield held.strip("\n")
            held = ""
        held += part
    if len(held.strip()) >= 80:
        yield held.strip("\n")


def judge(item: Item, readings: Sequence[Reading]) -> dict[str, float]:
    (reading,) = readings
    return {
        "loss": -reading.logprob / reading.num_tokens,
        "nats": -reading.logprob,
        "tokens": reading.num_tokens,
        f"nats in {item.group}": -reading.logprob,
        f"tokens in {item.group}": reading.num_tokens,
    }


def perplexity(columns: Columns) -> float:
    """The genres' perplexities, geometrically averaged."""
    losses = []
    for name, nats in columns.items():
        if name.startswith("nats in "):
            tokens = columns[name.replace("nats in ", "tokens in ", 1)]
            if np.nansum(tokens):
                losses.append(np.nansum(nats) / np.nansum(tokens))
    return math.exp(float(np.mean(losses))) if losses else math.nan


SUITE = Suite(
    name="genres",
    family="ability",
    title="Perplexity by genre",
    about="How surprised the model is, per token, by texts of many kinds: the lower, the better "
    "it foretells them. What an expert costs on texts that aren't its own shows here.",
    source="text files of your own, or the built-in ones, written for this project",
    files=("genres*.jsonl", "wikitext2/test.txt"),
    sample="genres.jsonl",
    read=read,
    judge=judge,
    measures=always(
        Measure(
            "perplexity",
            "perplexity, genres alike",
            "compound",
            better="lower",
            compound=perplexity,
            unit="perplexity",
        ),
        Measure("loss", "loss per token", "mean", better="lower", unit="nats per token"),
    ),
    quick=4,
    default=40,
)

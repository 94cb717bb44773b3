"""Notes as turns of a chat: numbered passages are asked about, the note's own sentences answer.

What is answered stands in a passage beside it, so that nothing is learnt by heart that the notes
should be asked for. The shape of the question is the caller's: it is what drafts are asked with.

K turns, W tokens per window.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tramontane.experts.corpus import order_key
from tramontane.notes.note import Note
from tramontane.notes.sentences import split_sentences
from tramontane.tokenizer.tokenizer import Tokenizer

# Returns the messages that ask to write about a subject from (title, text) passages.
Asking = Callable[[str, Sequence[tuple[str, str]]], list[dict[str, str]]]
# Of a window's room: the passage that is answered from stands in it twice.
OWN_SHARE, OTHER_SHARE = 0.38, 0.2


@dataclass(frozen=True)
class Turns:
    """windows (K, W) int64, and which of their tokens are the answer's, (K, W) bool."""

    windows: np.ndarray
    answers: np.ndarray


@dataclass(frozen=True)
class Piece:
    note: Note
    text: str


def turns_of(
    notes: Iterable[Note], tokenizer: Tokenizer, asking: Asking, window_tokens: int, wanted: int
) -> Turns:
    """Returns at most `wanted` turns over the notes' passages, each a window of its own.

    Fewer where the notes hold fewer passages, none where a window has no room for a question.
    """
    empty = tokenizer.encode_chat(asking("", [("", ""), ("", "")]))
    room = window_tokens - len(empty)
    windows = np.full((wanted, window_tokens), tokenizer.separator_id, np.int64)
    answers = np.zeros((wanted, window_tokens), bool)
    made = 0
    if wanted and room > 0:
        for ids, begin in conversations(list(notes), tokenizer, asking, room):
            if len(ids) <= window_tokens:
                windows[made, : len(ids)] = ids
                answers[made, begin : len(ids)] = True
                made += 1
            if made == wanted:
                break
    return Turns(windows[:made], answers[:made])


def conversations(
    notes: Sequence[Note], tokenizer: Tokenizer, asking: Asking, room: int
) -> Iterator[tuple[list[int], int]]:
    """Yields the token ids of turns, and where the answer begins in each."""
    pieces = [Piece(note, passage.text) for note in notes for passage in note.passages]
    pieces.sort(key=lambda piece: order_key(piece.text))
    for index, piece in enumerate(pieces):
        own = beginning(piece.text, tokenizer, OWN_SHARE * room)
        # The next passage of another note stands beside it, before or after.
        other = next(
            (
                pieces[(index + step) % len(pieces)]
                for step in range(1, len(pieces))
                if pieces[(index + step) % len(pieces)].note is not piece.note
            ),
            None,
        )
        if not own or other is None:
            continue
        passages = [
            (piece.note.title, own),
            (other.note.title, beginning(other.text, tokenizer, OTHER_SHARE * room)),
        ]
        number = 1 + index % 2
        messages = asking(piece.note.title, passages if number == 1 else passages[::-1])
        question = tokenizer.encode_chat(messages)
        answer = {"role": "assistant", "content": f"{own} [{number}]"}
        ids = tokenizer.encode_chat([*messages, answer], add_generation_prompt=False)
        # Some templates write a question otherwise once it is answered.
        if ids[: len(question)] == question:
            yield ids, len(question)


def beginning(text: str, tokenizer: Tokenizer, most_tokens: float) -> str:
    """Returns the first whole sentences of a text, as many as fit; "" where the first doesn't."""
    kept, num_tokens = [], 0
    for sentence in split_sentences(text):
        num_tokens += len(tokenizer.encode(f" {sentence.text}"))
        if num_tokens > most_tokens:
            break
        kept.append(sentence.text)
    return " ".join(kept)

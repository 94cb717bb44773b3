"""Real collections, cut so that each can be learnt in minutes and measured on notes never given.

A note is cut to its first CUT_CHARACTERS; a tenth of a collection's notes, or as many as hold
`test_tokens`, are kept for measuring, and the rest is what `learn` gets, which holds out some more
for its own early stop. Which note goes where follows from the notes' bytes alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from texts import collection_folder
from tramontane.experts.corpus import order_key, windows_of
from tramontane.notes.folder import read_folder
from tramontane.notes.note import Note
from tramontane.tokenizer.tokenizer import Tokenizer

SIX = (
    "til-jbranchaud",
    "recipes-public-domain",
    "zettelkasten-de",
    "handbook-18f",
    "stoic-seneca",
    "foam-docs",
)
LOOK_ALIKE = "til-simonw"
CUT_CHARACTERS = 16_000
WINDOW_TOKENS = 256


@dataclass(frozen=True)
class Collection:
    """One collection: notes to learn from, notes to measure on, and the latter's windows (N, W)."""

    name: str
    learnt: tuple[Note, ...]
    test: tuple[Note, ...]
    test_windows: np.ndarray
    window_documents: tuple[int, ...]

    def measured_on(self, num_windows: int) -> "Collection":
        """Returns the same collection with that many of its test windows, evenly over them."""
        step = max(1, len(self.test_windows) // num_windows)
        return replace(
            self,
            test_windows=self.test_windows[::step][:num_windows],
            window_documents=self.window_documents[::step][:num_windows],
        )


def read_collection(
    name: str, tokenizer: Tokenizer, learn_tokens: int, test_tokens: int
) -> Collection:
    notes = [cut(note) for note in read_folder(collection_folder(name)).notes if note.may_train]
    notes = sorted({note.text: note for note in notes}.values(), key=lambda n: order_key(n.text))
    test, rest = take(notes, tokenizer, test_tokens, most=max(2, len(notes) // 6))
    # A ninth more, which `learn` holds out for its own early stop.
    learnt, _ = take(rest, tokenizer, learn_tokens * 10 // 9, most=len(rest))
    windows, documents = document_windows(test, tokenizer)
    return Collection(name, tuple(learnt), tuple(test), windows, tuple(documents))


def cut(note: Note) -> Note:
    """Returns the note up to the last line that begins before CUT_CHARACTERS."""
    if len(note.text) <= CUT_CHARACTERS:
        return note
    end = note.text.rfind("\n", 0, CUT_CHARACTERS)
    return replace(note, text=note.text[: end if end > 0 else CUT_CHARACTERS])


def take(
    notes: Sequence[Note], tokenizer: Tokenizer, num_tokens: int, *, most: int
) -> tuple[list[Note], list[Note]]:
    """Returns the first notes that hold `num_tokens` together, at most `most`, and the others."""
    taken = count = 0
    while count < most and taken < num_tokens:
        taken += len(tokenizer.encode(notes[count].text))
        count += 1
    return list(notes[:count]), list(notes[count:])


def document_windows(notes: Sequence[Note], tokenizer: Tokenizer) -> tuple[np.ndarray, list[int]]:
    """Returns windows (N, W) and the note that most of each one's tokens come from."""
    token_lists = [tokenizer.encode(note.text) for note in notes]
    windows = windows_of(token_lists, tokenizer.separator_id, WINDOW_TOKENS)
    owner = np.repeat(np.arange(len(notes)), [len(ids) + 1 for ids in token_lists])
    owners = owner[: windows.size].reshape(windows.shape)
    return windows, [int(np.bincount(row).argmax()) for row in owners]

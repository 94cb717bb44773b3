"""Documents as windows of tokens, split into learnt and held out by document.

Every choice follows from the documents' own bytes, so a collection gives the same windows whatever
else is on the machine.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tramontane.errors import LearnError
from tramontane.experts.public_text import PublicDocument
from tramontane.notes.note import Note
from tramontane.tokenizer.tokenizer import Tokenizer

HELD_OUT_SHARE = 0.1
# Fewer windows teach nothing that lasts.
LEAST_WINDOWS = 8
# Of the genres that hold more than rows are fitted on, every third shows that it stays as it was.
UNSEEN_EVERY = 3
# Genres written in the chat template's own marks, which count as control tokens there.
GENRES_WITH_MARKS = {"chat", "chat_with_passages"}


@dataclass(frozen=True)
class Corpus:
    """One collection's windows: learnt (N, W) and held out (M, W), int64 token ids."""

    learnt: np.ndarray
    held_out: np.ndarray
    learnt_notes: tuple[Note, ...]
    held_out_notes: tuple[Note, ...]
    num_tokens: int


def order_key(text: str) -> str:
    """Returns what documents are ordered by: a shuffle that depends on nothing but the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def split_notes(
    notes: Iterable[Note], is_enough: Callable[[Sequence[Note]], bool] = lambda held_out: True
) -> tuple[list[Note], list[Note]]:
    """Returns (learnt, held out): a tenth of the documents, at least two, is held out.

    Where these are too short to measure by, so that `is_enough` says no, the next ones in order
    are held out too until it says yes. Notes that may not train are left out, and a text that
    stands twice counts once, so that no held-out document was also learnt.
    """
    allowed = [note for note in notes if note.may_train and note.text.strip()]
    # Of several notes with one text the same one stands for it, however they came.
    allowed.sort(key=lambda note: (note.text, note.sha256))
    by_text = {note.text.strip(): note for note in allowed}
    ordered = sorted(by_text.values(), key=lambda note: order_key(note.text))
    num_held_out = max(2, round(len(ordered) * HELD_OUT_SHARE))
    while num_held_out < len(ordered) and not is_enough(ordered[:num_held_out]):
        num_held_out += 1
    return ordered[num_held_out:], ordered[:num_held_out]


def salted_hashes(notes: Iterable[Note], salt: bytes) -> list[str]:
    """Returns what a manifest says of the notes learnt from: nothing, to whoever lacks the salt."""
    return sorted(hashlib.sha256(salt + bytes.fromhex(note.sha256)).hexdigest() for note in notes)


def windows_of(
    token_lists: Iterable[Sequence[int]], separator: int, window_tokens: int
) -> np.ndarray:
    """Returns documents packed one after the other, each closed by the separator, as (N, W).

    The last, unfilled window is dropped.
    """
    packed = [token for ids in token_lists for token in (*ids, separator)]
    num_windows = len(packed) // window_tokens
    packed = packed[: num_windows * window_tokens]
    return np.array(packed, dtype=np.int64).reshape(num_windows, window_tokens)


def collection_corpus(
    notes: Sequence[Note], tokenizer: Tokenizer, window_tokens: int, max_tokens: int
) -> Corpus:
    """Returns a collection's corpus, at most `max_tokens` of it learnt.

    Raises LearnError when there is too little to learn from or to hold out.
    """
    ids_of = cache(tokenizer.encode)

    def fill_a_window(held_out: Sequence[Note]) -> bool:
        return sum(len(ids_of(note.text)) + 1 for note in held_out) >= window_tokens

    learnt, held_out = split_notes(notes, fill_a_window)
    forbidden = sum(not note.may_train for note in notes)
    learnt_ids, held_out_ids = ([ids_of(note.text) for note in part] for part in (learnt, held_out))
    learnt_windows, held_out_windows = (
        windows_of(token_lists, tokenizer.separator_id, window_tokens)
        for token_lists in (learnt_ids, held_out_ids)
    )
    if len(learnt_windows) < LEAST_WINDOWS or len(held_out_windows) < 1:
        came, kept = (sum(map(len, part)) for part in (learnt_ids, held_out_ids))
        raise LearnError(
            f"{len(learnt) + len(held_out)} different notes are too few: {len(learnt)} with {came} "
            f"tokens to learn from, {len(held_out)} with {kept} held out to measure by. About "
            f"{12 * window_tokens} tokens are needed, at least {LEAST_WINDOWS * window_tokens} of "
            f"them to learn from and {window_tokens} held out. Add notes, or divide long ones: "
            "a whole note is learnt or held out"
            + (f" ({forbidden} notes say `train: no`)" if forbidden else "")
        )
    learnt_windows = learnt_windows[: max(1, max_tokens // window_tokens)]
    # A note of which no token is in a window was not learnt from, and is not counted.
    begins = np.cumsum([0] + [len(ids) + 1 for ids in learnt_ids[:-1]])
    reached = [
        note for note, begin in zip(learnt, begins, strict=True) if begin < learnt_windows.size
    ]
    return Corpus(
        learnt_windows, held_out_windows, tuple(reached), tuple(held_out), learnt_windows.size
    )


def public_windows(
    documents: Iterable[PublicDocument],
    tokenizer: Tokenizer,
    window_tokens: int,
    tokens_per_genre: int,
) -> dict[str, np.ndarray]:
    """Returns each genre's windows, genres in alphabetical order."""
    by_genre: dict[str, list[str]] = {}
    for document in documents:
        by_genre.setdefault(document.genre, []).append(document.text)
    windows = {}
    for genre in sorted(by_genre):
        token_lists, num_tokens = [], 0
        for text in sorted(by_genre[genre], key=order_key):
            if num_tokens >= tokens_per_genre:
                break
            token_lists.append(tokenizer.encode(text, parse_special=genre in GENRES_WITH_MARKS))
            num_tokens += len(token_lists[-1]) + 1
        wanted = tokens_per_genre // window_tokens
        windows[genre] = windows_of(token_lists, tokenizer.separator_id, window_tokens)[:wanted]
    return windows


@dataclass(frozen=True)
class PublicCorpus:
    """The public text's windows by genre, (N, W) each: those rows are fitted on, and others."""

    fitted: dict[str, np.ndarray]
    unseen: dict[str, np.ndarray]


def public_corpus(
    documents: Iterable[PublicDocument],
    tokenizer: Tokenizer,
    window_tokens: int,
    tokens_per_genre: int,
) -> PublicCorpus:
    """Returns what rows are fitted on, and of every third genre the window that follows it."""
    windows = public_windows(documents, tokenizer, window_tokens, tokens_per_genre + window_tokens)
    count = tokens_per_genre // window_tokens
    return PublicCorpus(
        {genre: part[:count] for genre, part in windows.items()},
        {genre: windows[genre][count : count + 1] for genre in unseen_genres(windows, count)},
    )


def unseen_genres(windows: Mapping[str, np.ndarray], count: int) -> list[str]:
    return [genre for genre, part in windows.items() if len(part) > count][::UNSEEN_EVERY]

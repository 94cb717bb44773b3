"""What is learnt, and how: a collection's windows and turns, the public text beside, the settings.

N windows of W tokens.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.errors import LearnError
from tramontane.experts.corpus import Corpus, PublicCorpus, collection_corpus, public_corpus
from tramontane.experts.place import Place, choose_place
from tramontane.experts.public_text import PUBLIC_TEXT_SHA256, load_public_text
from tramontane.experts.turns import Asking, turns_of
from tramontane.notes.note import Note
from tramontane.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class LearnSettings:
    """What may be chosen; the defaults are METHODS 2.6, checked on real notes."""

    width: int = 128
    share_of_layers: float = 1 / 3
    window_tokens: int = 256
    batch_windows: int = 4
    learning_rate: float = 3e-3
    # Of it, what the down-projection learns at.
    down_share: float = 1.0
    epochs: int = 0  # 0: by the amount of text
    max_tokens: int = 100_000
    row_tokens: int = 20_480
    public_tokens_per_genre: int = 2_560
    divergence_weight: float = 1.0
    # How much it counts, in nats per token, that the gates which earlier layers can reach open on
    # one's own notes; ten times as much that they stay closed on public text.
    gate_weight: float = 0.1
    share_of_turns: float = 0.0
    seed: int = 0

    def __post_init__(self):
        if self.width % 64 or self.width <= 0:
            raise LearnError(f"width={self.width} must be a positive multiple of 64")
        if not 0 < self.share_of_layers <= 1:
            raise LearnError(f"share_of_layers={self.share_of_layers} must lie in (0, 1]")
        if not 0 < self.down_share <= 1:
            raise LearnError(f"down_share={self.down_share} must lie in (0, 1]")
        if not 0 <= self.share_of_turns < 1:
            raise LearnError(f"share_of_turns={self.share_of_turns} must lie in [0, 1)")
        if self.window_tokens < 2:
            raise LearnError(f"window_tokens={self.window_tokens} must be at least 2")
        for name in ("max_tokens", "row_tokens", "public_tokens_per_genre"):
            if getattr(self, name) < self.window_tokens:
                raise LearnError(
                    f"{name}={getattr(self, name)} must hold a window of {self.window_tokens}"
                )
        if self.batch_windows < 1 or self.epochs < 0:
            raise LearnError(
                f"batch_windows={self.batch_windows} must be at least 1, epochs={self.epochs} at "
                "least 0 (0: by the amount of text)"
            )

    def epochs_for(self, num_tokens: int) -> int:
        """Returns the epochs: a second look teaches little once there is much text."""
        return self.epochs or (2 if num_tokens < 60_000 else 1)


@dataclass(frozen=True)
class Lesson:
    """What is learnt: a collection's windows, then its turns.

    N windows of W tokens: `windows` (N, W) and which of their tokens are learnt, `counted` (N, W).
    """

    corpus: Corpus
    windows: np.ndarray
    counted: np.ndarray
    # Closes each note of a window.
    separator: int

    @property
    def num_turns(self) -> int:
        return len(self.windows) - len(self.corpus.learnt)


def prepare(
    notes: Sequence[Note],
    checkpoint: Checkpoint,
    settings: LearnSettings,
    *,
    asking: Asking | None,
    device: str,
) -> tuple[Lesson, PublicCorpus, Place]:
    """Returns what will be learnt, the public text beside it, and where it is computed.

    Raises LearnError when there is too little text.
    """
    tokenizer = checkpoint.tokenizer()
    corpus = collection_corpus(notes, tokenizer, settings.window_tokens, settings.max_tokens)
    public = public_corpus(
        load_public_text(), tokenizer, settings.window_tokens, settings.public_tokens_per_genre
    )
    return lesson_of(corpus, tokenizer, asking, settings), public, choose_place(device)


def lesson_of(
    corpus: Corpus, tokenizer: Tokenizer, asking: Asking | None, settings: LearnSettings
) -> Lesson:
    """Returns the corpus with a share of turns beside it, where it is told how drafts are asked."""
    share = settings.share_of_turns if asking else 0.0
    wanted = round(share / (1 - share) * len(corpus.learnt))
    windows, counted = [corpus.learnt], [np.ones(corpus.learnt.shape, bool)]
    if wanted:
        turns = turns_of(corpus.learnt_notes, tokenizer, asking, settings.window_tokens, wanted)
        windows.append(turns.windows)
        counted.append(turns.answers)
    return Lesson(corpus, np.concatenate(windows), np.concatenate(counted), tokenizer.separator_id)


def run_key(checkpoint: Checkpoint, lesson: Lesson, settings: LearnSettings, place: Place) -> str:
    """Returns what tells one learning from another, so that only the same one is gone on with."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    digest.update(f"{checkpoint.sha256}{PUBLIC_TEXT_SHA256}{torch.__version__}".encode())
    digest.update(f"{torch.get_num_threads()} {place}".encode())
    for array in (lesson.windows, lesson.counted, lesson.corpus.held_out):
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]

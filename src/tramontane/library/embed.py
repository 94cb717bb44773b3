"""TEXTS → VECTORS: WordLlama, from the two files in its own wheel; the network is never asked."""

import importlib.util
import threading
from functools import cache
from pathlib import Path

import numpy as np

from tramontane.errors import LibraryError

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
BATCH_TEXTS = 512


class WordLlamaEmbedder:
    """Returns one unit row of float32 per text; a text without any token gets a row of zeros.

    Loads on the first call, in about a moment. A text's vector has the same bits whatever
    texts it came with: each is pooled alone, without padding.
    """

    name = "wordllama-0.3.9/l2_supercat_256"

    def __init__(self):
        self._model = None
        self._widened: tuple[np.ndarray, np.ndarray] | None = None
        self._loading = threading.Lock()

    def __call__(self, texts: list[str]) -> np.ndarray:
        embedding, _ = self._loaded()
        rows = np.zeros((len(texts), embedding.shape[1]), np.float32)
        for first in range(0, len(texts), BATCH_TEXTS):
            tokens = self.tokens(texts[first : first + BATCH_TEXTS])
            lengths = np.array([len(ids) for ids in tokens])
            rows[first : first + BATCH_TEXTS] = self.pooled(np.concatenate(tokens), lengths)
        return rows

    def tokens(self, texts: list[str]) -> list[np.ndarray]:
        """Returns each text's tokens, uint16."""
        _, tokenizer = self._loaded()
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.uint16) for encoding in encodings]

    def pooled(self, tokens: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Returns one unit row for each text, of all their tokens one after the other."""
        states = self._wide(tokens)
        rows = np.zeros((len(lengths), states.shape[1]), np.float32)
        end = 0
        for row, length in zip(rows, lengths.tolist(), strict=True):
            begin, end = end, end + length
            if length:
                # Not reduceat, which takes ten times as long on this axis.
                np.add.reduce(states[begin:end], axis=0, out=row)
                row /= np.float32(length)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.maximum(norms, 1e-12)

    def _wide(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the tokens' vectors in float32; each is widened once and kept."""
        embedding, _ = self._loaded()
        if self._widened is None:
            self._widened = np.zeros(embedding.shape, np.float32), np.zeros(len(embedding), bool)
        rows, is_there = self._widened
        new = np.unique(tokens[~is_there[tokens]])
        rows[new] = embedding[new]
        is_there[new] = True  # after the row: another thread may be reading
        return rows[tokens]

    def num_tokens(self, texts: list[str]) -> list[int]:
        """Returns how many of its own tokens each text has; one without any has no vector."""
        return [len(ids) for ids in self.tokens(texts)]

    def _loaded(self):
        with self._loading:
            if self._model is None:
                self._model = _load()
            return self._model


@cache
def word_llama() -> WordLlamaEmbedder:
    """Returns the embedder that everything in this process shares."""
    return WordLlamaEmbedder()


def _load():
    # Looked for, not imported; what reads its files is imported here, for commands that need none.
    found = importlib.util.find_spec("wordllama")
    if found is None or found.origin is None:
        raise LibraryError("the package wordllama is missing; install wordllama==0.3.9")
    package = Path(found.origin).parent
    for file in (package / WEIGHTS, package / TOKENIZER):
        if not file.is_file():
            raise LibraryError(f"{file.name} is missing from wordllama; install wordllama==0.3.9")

    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    # WordLlama.load() looks for the tokenizer in a folder the wheel lacks, then on the network; and
    # the package brings an HTTP library along, so its two files are read without it.
    tokenizer = Tokenizer.from_file(str(package / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return load_file(package / WEIGHTS)["embedding.weight"], tokenizer

"""TEXTS → VECTORS: WordLlama, from the two files in its own wheel; the network is never asked."""

import importlib.util
import threading
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
        self._loading = threading.Lock()

    def __call__(self, texts: list[str]) -> np.ndarray:
        embedding, tokenizer = self._loaded()
        rows = np.zeros((len(texts), embedding.shape[1]), np.float32)
        for first in range(0, len(texts), BATCH_TEXTS):
            batch = texts[first : first + BATCH_TEXTS]
            encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            for row, encoding in zip(rows[first:], encodings, strict=False):
                if ids := encoding.ids:
                    row[:] = embedding[ids].astype(np.float32).mean(axis=0)
                    row /= max(float(np.linalg.norm(row)), 1e-12)
        return rows

    def num_tokens(self, texts: list[str]) -> list[int]:
        """Returns how many of its own tokens each text has; one without any has no vector."""
        _, tokenizer = self._loaded()
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]

    def _loaded(self):
        with self._loading:
            if self._model is None:
                self._model = _load()
            return self._model


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

"""The trivial baseline beside voice: whose words are these? Nearest collection by TF-IDF."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log, sqrt

WORD = re.compile(r"[a-z0-9]+")


class NearestCollection:
    """Cosine of a text's TF-IDF vector with each collection's; document frequency over notes."""

    def __init__(self, texts_by_collection: Mapping[str, Sequence[str]]):
        notes = [set(words(text)) for texts in texts_by_collection.values() for text in texts]
        frequency = Counter(word for note in notes for word in note)
        self.rarity = {word: log((1 + len(notes)) / (1 + n)) for word, n in frequency.items()}
        self.vectors = {
            name: self.vector(" ".join(texts)) for name, texts in texts_by_collection.items()
        }

    def vector(self, text: str) -> dict[str, float]:
        counts = Counter(word for word in words(text) if word in self.rarity)
        weights = {word: (1 + log(n)) * self.rarity[word] for word, n in counts.items()}
        length = sqrt(sum(weight * weight for weight in weights.values())) or 1.0
        return {word: weight / length for word, weight in weights.items()}

    def __call__(self, text: str) -> str:
        """Returns the nearest collection's name."""
        vector = self.vector(text)
        return max(
            self.vectors,
            key=lambda name: sum(w * self.vectors[name].get(word, 0) for word, w in vector.items()),
        )


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())

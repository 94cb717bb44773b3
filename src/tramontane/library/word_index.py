"""WORDS → SCORES: BM25 over title, heading and text, the same that SQLite's FTS5 computes.

FTS5 looks up the length of each match by itself, which in a large library takes longer than all
else of a search. Here the lengths lie in one array, and where a word stands is read from FTS5's
index once and kept, as long as the library stays as it is.

P passages, in the order of their places.
"""

import math
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np

TOKENIZER = "porter unicode61 remove_diacritics 2"  # as the index has it
COLUMN_WEIGHTS = {"title": 3.0, "heading": 2.0, "text": 1.0}
COLUMN_NUMBER = " ".join(f"WHEN '{name}' THEN {at}" for at, name in enumerate(COLUMN_WEIGHTS))
# Of the formula, as FTS5 has them.
SATURATION, LENGTH_PART, LEAST_RARITY = 1.2, 0.75, 1e-6
# 12 bytes each.
MOST_KEPT = 4_000_000
# Room for an offset, which begins in the middle: a word's place in a phrase is taken from it.
OFFSET_BITS = 32
AHEAD = 1 << (OFFSET_BITS - 1)


@dataclass(frozen=True, slots=True)
class Postings:
    """The passages that hold a word or phrase, ascending, and how often, title's counting more."""

    places: np.ndarray
    counts: np.ndarray


class Stemmer:
    """Cuts and stems words as the index does: by SQLite itself."""

    def __init__(self):
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        self._db.execute(f"CREATE VIRTUAL TABLE asked USING fts5(word, tokenize = '{TOKENIZER}')")
        self._db.execute("CREATE VIRTUAL TABLE stems USING fts5vocab(asked, instance)")

    def phrases(self, words: Sequence[str]) -> list[tuple[str, ...]]:
        """Returns each word's stems, most often one; a word like 3.5 has two, some have none."""
        with self._lock:
            self._db.execute("DELETE FROM asked")
            self._db.executemany(
                "INSERT INTO asked (rowid, word) VALUES (?, ?)", enumerate(words, start=1)
            )
            found: dict[int, list[str]] = {}
            for row, stem in self._db.execute("SELECT doc, term FROM stems ORDER BY doc, offset"):
                found.setdefault(row, []).append(stem)
        return [tuple(stems) for stems in found.values()]


@cache
def stemmer() -> Stemmer:
    """Returns the one that everything in this process shares."""
    return Stemmer()


class WordIndex:
    """The words of one state of a library; `db` is always a connection that sees that state."""

    def __init__(self, db: sqlite3.Connection, passage_ids: np.ndarray):
        """`passage_ids` (P,) are all passages in the order of their places."""
        self.sorter = np.argsort(passage_ids)
        self.sorted_ids = passage_ids[self.sorter]
        rows = db.execute("SELECT id, sz FROM passages_fts_docsize").fetchall()
        ids = np.array([row[0] for row in rows], np.int64)
        lengths = lengths_of([row[1] for row in rows])
        self.num_passages = len(rows)
        self.mean_length = float(lengths.sum()) / max(1, len(rows))
        self.lengths = np.zeros(len(passage_ids))
        self.lengths[self.places_of(ids)] = lengths
        self._kept: OrderedDict[tuple[str, ...], Postings] = OrderedDict()
        self._num_kept = 0
        self._lock = threading.Lock()

    def places_of(self, passage_ids: np.ndarray) -> np.ndarray:
        return self.sorter[np.searchsorted(self.sorted_ids, passage_ids)]

    def scores(self, db: sqlite3.Connection, words: Sequence[str]) -> np.ndarray:
        """Returns (P,) float64: BM25 of any of these words, above 0 where one stands."""
        scores = np.zeros(len(self.lengths))
        for stems in stemmer().phrases(words):
            found = self.postings(db, stems)
            held = len(found.places)
            rarity = math.log((self.num_passages - held + 0.5) / (held + 0.5))
            length = self.lengths[found.places] / self.mean_length
            damping = found.counts + SATURATION * (1 - LENGTH_PART + LENGTH_PART * length)
            weight = max(rarity, LEAST_RARITY) * (SATURATION + 1)
            scores[found.places] += weight * found.counts / damping
        return scores

    def postings(self, db: sqlite3.Connection, stems: tuple[str, ...]) -> Postings:
        with self._lock:
            if stems in self._kept:
                self._kept.move_to_end(stems)
                return self._kept[stems]
        found = self._read(db, stems)
        with self._lock:
            if stems not in self._kept:
                self._kept[stems] = found
                self._num_kept += len(found.places)
            while self._num_kept > MOST_KEPT and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._num_kept -= len(dropped.places)
        return found

    def _read(self, db: sqlite3.Connection, stems: tuple[str, ...]) -> Postings:
        """Returns where the stems stand one after the other."""
        keys = reduce(
            np.intersect1d, (occurrences(db, stem) - nth for nth, stem in enumerate(stems))
        )
        columns = keys >> OFFSET_BITS
        ids, nth_id = np.unique(columns // len(COLUMN_WEIGHTS), return_inverse=True)
        weights = np.array([*COLUMN_WEIGHTS.values()])[columns % len(COLUMN_WEIGHTS)]
        places = self.places_of(ids)
        ascending = np.argsort(places)
        counts = np.bincount(nth_id, weights, minlength=len(ids))
        return Postings(places[ascending].astype(np.int32), counts[ascending])


def occurrences(db: sqlite3.Connection, stem: str) -> np.ndarray:
    """Returns passage id, column and offset of each occurrence, as one number.

    SQLite hands them over as one text: as rows they would take four times as long.
    """
    (listed,) = db.execute(
        f"SELECT group_concat(((doc * {len(COLUMN_WEIGHTS)} + CASE col {COLUMN_NUMBER} END) "
        f"<< {OFFSET_BITS}) + {AHEAD} + offset) "
        "FROM occurrences WHERE term = ?",
        (stem,),
    ).fetchone()
    return np.fromstring(listed or "", np.int64, sep=",")


def lengths_of(sizes: Sequence[bytes]) -> np.ndarray:
    """Returns each row's number of words, of FTS5's record: a varint for each column.

    A varint is big-endian, seven bits a byte, the highest bit set on all but the last.
    """
    if not sizes:
        return np.zeros(0)
    data = np.frombuffer(b"".join(sizes), np.uint8)
    is_last = data < 128
    # Which number a byte belongs to, and how many of that number's bytes follow it.
    number = np.cumsum(is_last) - is_last
    ends = np.flatnonzero(is_last)
    following = ends[number] - np.arange(len(data))
    values = np.bincount(number, (data & 127) * 128.0**following)
    return values.reshape(len(sizes), len(COLUMN_WEIGHTS)).sum(axis=1)

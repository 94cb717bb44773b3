"""QUESTION → HITS: two rankings of passages, by words and by vectors, merged by reciprocal rank.

Word ranking is BM25 over title, heading and text; vector ranking is cosine similarity in one
matrix. Both keep what they need in memory until the library changes. The best passages of the
merged ranking are then ranked once more, by their words and by the sentence in them that is nearest
to the question: the vector of a long passage is a mean in which one telling sentence is lost. Where
a question names a day, a month or a year, passages dated so that hold its other words come first,
and of a day all others dated so where none does. Ties go by collection, path and place, so that
equal libraries answer equally however they came about.
"""

import json
import math
import re
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tramontane.errors import LibraryError
from tramontane.library.database import Database
from tramontane.library.days import period_in
from tramontane.library.filters import Filters
from tramontane.library.records import Hit
from tramontane.library.sentence_tokens import TokenEmbedder, sentence_texts, unpack
from tramontane.library.stop_words import STOP_WORDS
from tramontane.library.word_index import WordIndex

NUM_CANDIDATES = 100  # of each ranking
RANK_OFFSET = 20.0  # small: the first few places of a ranking count most
WORDS_WEIGHT, VECTORS_WEIGHT = 1.0, 1.0
# Of the merged ranking, how many passages are ranked again by their nearest sentence, and how.
NUM_RERANKED = 24
RERANK_OFFSET = 2.0
RERANK_WORDS, RERANK_SENTENCE, RERANK_VECTOR = 1.0, 1.0, 0.3
# What puts the passages of the days that a question names before all others.
DATED_AHEAD = 1.0
MAX_QUERY_TERMS = 64
MAX_QUESTION_CHARS = 20_000
WORD = re.compile(r"\w+(?:[.,:]\d+)*")


@dataclass(frozen=True, slots=True)
class State:
    """What searches keep of one revision of the library.

    P passages in the order of their places; V of them have vectors, of D numbers.
    """

    revision: int
    passage_ids: np.ndarray  # (P,)
    words: WordIndex
    vector_places: np.ndarray  # (V,) which passages `rows` are of
    rows: np.ndarray  # (V, D)


class Searcher:
    def __init__(self, database: Database, embed, model: str):
        self.database = database
        self.embed = embed
        self.model = model
        self._state: State | None = None
        self._reading_state = threading.Lock()

    def search(self, question: str, filters: Filters, limit: int) -> list[Hit]:
        """Returns the best passages that the filters let through, best first."""
        found = self._search(question, filters, limit)
        period = None if filters.since or filters.until else period_in(question)
        if period is None or not found:
            return found
        asked = question.replace(period.words, " ", 1)
        of_then = replace(filters, since=period.first, until=period.last)
        dated = self._search(asked if telling_words(asked) else question, of_then, limit)
        if about := [hit for hit in dated if hit.bm25_rank]:
            dated = about
        elif period.first != period.last:
            return found  # of a month or a year, only what is about the rest of the question
        dated = [replace(hit, score=hit.score + DATED_AHEAD) for hit in dated]
        ahead = {place_of(hit)[1:] for hit in dated}
        return [*dated, *(hit for hit in found if place_of(hit)[1:] not in ahead)][:limit]

    def _search(self, question: str, filters: Filters, limit: int) -> list[Hit]:
        question = _storable(question[:MAX_QUESTION_CHARS])
        if not question.strip() or limit <= 0:
            return []
        with self.database.reading() as db:
            state = self._state_now(db)
            allowed = _allowed(db, state, filters)
            vector = self.embed([question])[0] if self.embed else None
            by_words = self._by_words(db, state, question, allowed)
            by_vectors = self._by_vectors(state, vector, allowed)
            word_ranks, vector_ranks = _ranks(by_words), _ranks(by_vectors)
            scores: dict[int, float] = {}
            for ranks, weight in ((word_ranks, WORDS_WEIGHT), (vector_ranks, VECTORS_WEIGHT)):
                for place, rank in ranks.items():
                    scores[place] = scores.get(place, 0.0) + weight / (RANK_OFFSET + rank)
            places = sorted(scores, key=lambda place: (-scores[place], place))
            places = places[: max(limit, NUM_RERANKED)]
            hits, sentences = [], []
            for place, row in zip(places, self._rows(db, state.passage_ids[places]), strict=True):
                hit, packed = row
                hits.append(
                    replace(
                        hit,
                        score=scores[place],
                        bm25_rank=word_ranks.get(place),
                        vector_rank=vector_ranks.get(place),
                        similarity=by_vectors.get(place, 0.0),
                    )
                )
                sentences.append(packed)
        if vector is not None:
            best, rest = hits[:NUM_RERANKED], hits[NUM_RERANKED:]
            hits = [*self._reranked(vector, best, sentences[:NUM_RERANKED]), *rest]
        return hits[:limit]

    def _reranked(
        self, vector: np.ndarray, hits: list[Hit], sentences: list[bytes | None]
    ) -> list[Hit]:
        """Returns hits by words, passage vector and nearest sentence; scores begin at 1 above.

        `vector` is the question's, `sentences` are what is kept of each hit's.
        """
        if not hits:
            return hits
        nearest = dict(enumerate(self._nearest(vector, hits, sentences)))
        by_sentence = _ranks(nearest)
        reranked = []
        for owner, hit in enumerate(hits):
            score = 1.0 + RERANK_SENTENCE / (RERANK_OFFSET + by_sentence[owner])
            for weight, rank in ((RERANK_WORDS, hit.bm25_rank), (RERANK_VECTOR, hit.vector_rank)):
                score += weight / (RERANK_OFFSET + rank) if rank else 0.0
            reranked.append(replace(hit, score=score))
        return sorted(reranked, key=place_of)

    def _nearest(
        self, vector: np.ndarray, hits: list[Hit], sentences: list[bytes | None]
    ) -> list[float]:
        """Returns the likeness of each hit's nearest sentence to the question; -1 without any."""
        if isinstance(self.embed, TokenEmbedder):
            parts = [
                unpack(packed) or _tokens_and_lengths(self.embed, hit)
                for hit, packed in zip(hits, sentences, strict=True)
            ]
            rows = self.embed.pooled(
                np.concatenate([tokens for tokens, _ in parts]),
                np.concatenate([lengths for _, lengths in parts]),
            )
            counts = [len(lengths) for _, lengths in parts]
        else:
            texts = [sentence_texts(hit.title, hit.text) for hit in hits]
            rows = self.embed([text for of_hit in texts for text in of_hit])
            counts = [len(of_hit) for of_hit in texts]
        likeness = np.round(rows @ vector, 5)
        ends = np.cumsum(counts)
        return [
            float(likeness[end - count : end].max(initial=-1.0))
            for count, end in zip(counts, ends, strict=True)
        ]

    def _by_words(
        self, db: sqlite3.Connection, state: State, question: str, allowed: np.ndarray | None
    ) -> dict[int, float]:
        """Returns the best places by words, each with its score."""
        scores = state.words.scores(db, asked_words(question))
        places = np.flatnonzero(scores if allowed is None else scores * allowed)
        return _best(places, np.round(scores[places], 6))

    def _by_vectors(
        self, state: State, vector: np.ndarray | None, allowed: np.ndarray | None
    ) -> dict[int, float]:
        """Returns the best places by vectors, each with its likeness."""
        if vector is None or not vector.any() or not len(state.rows):
            return {}
        # Rounded, because the same row may differ in its last bits at another place in a matrix.
        similarities, places = np.round(state.rows @ vector, 5), state.vector_places
        if allowed is not None:
            is_allowed = allowed[places]
            similarities, places = similarities[is_allowed], places[is_allowed]
        return _best(places, similarities)

    def _rows(
        self, db: sqlite3.Connection, passage_ids: np.ndarray
    ) -> list[tuple[Hit, bytes | None]]:
        """Returns passages as hits without scores, in the order asked for, and what is kept of
        their sentences."""
        listed = ",".join(map(str, passage_ids))
        marks = _marks(db, listed)
        found = {}
        for passage_id, packed, *columns in db.execute(
            "SELECT p.id, v.sentences, c.name, n.path, n.sha256, p.title, p.heading, p.text, "
            "p.first_line, p.last_line, p.page, p.box FROM passages p "
            "JOIN notes n ON n.id = p.note_id JOIN collections c ON c.id = n.collection_id "
            "LEFT JOIN vectors v ON v.key = p.vector_key AND v.model = ? "
            f"WHERE p.id IN ({listed})",
            (self.model,),
        ):
            collection, path, sha256, title, heading, text, first, last, page, box = columns
            hit = Hit(
                collection=collection,
                path=path,
                title=title,
                heading=tuple(json.loads(heading)),
                text=text,
                first_line=first,
                last_line=last,
                score=0.0,
                bm25_rank=None,
                vector_rank=None,
                similarity=0.0,
                note_sha256=sha256,
                page=page,
                box=tuple(json.loads(box)) if box else None,
                **marks.get(passage_id, {}),
            )
            found[passage_id] = hit, packed
        return [found[passage_id] for passage_id in passage_ids]

    def _state_now(self, db: sqlite3.Connection) -> State:
        (revision,) = db.execute("SELECT revision FROM state").fetchone()
        with self._reading_state:
            if self._state is None or self._state.revision != revision:
                self._state = None  # not two at once
                self._state = self._read_state(db, revision)
            return self._state

    def _read_state(self, db: sqlite3.Connection, revision: int) -> State:
        found = db.execute(
            "SELECT p.id, v.vector FROM passages p "
            "JOIN notes n ON n.id = p.note_id JOIN collections c ON c.id = n.collection_id "
            "LEFT JOIN vectors v ON v.key = p.vector_key AND v.model = ? "
            "ORDER BY c.name, n.path, p.position",
            (self.model if self.embed else None,),
        ).fetchall()
        ids = np.array([row[0] for row in found], np.int64)
        vectors = [(place, row[1]) for place, row in enumerate(found) if row[1] is not None]
        width = self.embed(["a"]).shape[1] if vectors else 0
        if any(not isinstance(one, bytes) or len(one) != 4 * width for _, one in vectors):
            raise LibraryError(
                f"{self.database.file}: holds vectors of {self.model} that are not {width} numbers "
                "wide; it is damaged, or another model of that name made them. Your notes are "
                "untouched: move this file away, then add the collections and sync again"
            )
        places = np.array([place for place, _ in vectors], np.int64)
        rows = np.frombuffer(b"".join(one for _, one in vectors), "<f4")
        rows = rows.reshape(len(vectors), width)
        return State(revision, ids, WordIndex(db, ids), places, rows)


def place_of(hit: Hit) -> tuple[float, str, str, int]:
    """Returns what hits are ordered by: best first, equal scores by where they stand."""
    return -hit.score, hit.collection, hit.path, hit.first_line


def rarity(db: sqlite3.Connection, words: Sequence[str]) -> dict[str, float]:
    """Returns log((N - n + 1/2) / (n + 1/2) + 1) of each word, n of N passages holding its stem."""
    (total,) = db.execute("SELECT count(*) FROM passages").fetchone()
    weights = {}
    for word in words:
        quoted = '"' + _storable(word).replace('"', '""') + '"'
        (found,) = db.execute(
            "SELECT count(*) FROM passages_fts WHERE passages_fts MATCH ?", (quoted,)
        ).fetchone()
        weights[word] = math.log((total - found + 0.5) / (found + 0.5) + 1)
    return weights


def telling_words(question: str) -> list[str]:
    return [word for word in WORD.findall(question.lower()) if word not in STOP_WORDS]


def asked_words(question: str) -> list[str]:
    """Returns the words that a question is searched by: the telling ones where there are any."""
    words = telling_words(question) or WORD.findall(question.lower())
    return list(dict.fromkeys(words[:MAX_QUERY_TERMS]))


def _storable(text: str) -> str:
    """SQLite takes no lone surrogate, and FTS5 reads no further than a NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")


def _ranks(scores: dict[int, float]) -> dict[int, int]:
    """Returns ranks from 1, best first; equal scores share a rank."""
    ranks: dict[int, int] = {}
    rank, last = 0, None
    for place, (passage_id, score) in enumerate(
        sorted(scores.items(), key=lambda item: -item[1]), start=1
    ):
        if score != last:
            rank, last = place, score
        ranks[passage_id] = rank
    return ranks


def _best(places: np.ndarray, scores: np.ndarray) -> dict[int, float]:
    """Returns the best places, best first and of equals the first in place.

    Those tied with the first one beyond the limit are left out, unless all are tied.
    """
    if len(places) > NUM_CANDIDATES + 1:
        lowest = -np.partition(-scores, NUM_CANDIDATES)[NUM_CANDIDATES]
        is_best = scores >= lowest
        places, scores = places[is_best], scores[is_best]
    order = np.lexsort((places, -scores))
    if len(order) > NUM_CANDIDATES:
        first_out = scores[order[NUM_CANDIDATES]]
        kept = [at for at in order if scores[at] > first_out]
        order = kept or order[:NUM_CANDIDATES]
    return {int(places[at]): round(float(scores[at]), 6) for at in order}


def _allowed(db: sqlite3.Connection, state: State, filters: Filters) -> np.ndarray | None:
    """Returns (P,) which passages the filters let through; None where they let all."""
    if filters.is_empty:
        return None
    condition, values = filters.sql()
    rows = db.execute(
        f"SELECT p.id FROM passages p JOIN notes n ON n.id = p.note_id WHERE {condition}", values
    )
    return np.isin(state.passage_ids, np.fromiter((row[0] for row in rows), np.int64))


def _tokens_and_lengths(embed: TokenEmbedder, hit: Hit) -> tuple[np.ndarray, np.ndarray]:
    tokens = embed.tokens(sentence_texts(hit.title, hit.text))
    lengths = np.array([len(of_sentence) for of_sentence in tokens], np.int64)
    return np.concatenate([np.zeros(0, np.uint16), *tokens]), lengths


def _marks(db: sqlite3.Connection, listed: str) -> dict[int, dict[str, tuple]]:
    """Returns the dates, tags and links of the passages listed, as far as they have any."""
    found: dict[int, dict[str, list[str]]] = {}
    for table, column in (("dates", "day"), ("tags", "tag"), ("links", "target")):
        for passage_id, value in db.execute(
            f"SELECT passage_id, {column} FROM {table} WHERE passage_id IN ({listed})"
        ):
            found.setdefault(passage_id, {}).setdefault(table, []).append(value)
    return {
        passage_id: {name: tuple(values) for name, values in marks.items()}
        for passage_id, marks in found.items()
    }

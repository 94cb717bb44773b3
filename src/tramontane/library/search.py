"""QUESTION → HITS: two rankings of passages, by words and by vectors, merged by reciprocal rank.

Word ranking is SQLite's BM25 over title, heading and text; vector ranking is cosine similarity
in one matrix kept in memory until the library changes. The best passages of the merged ranking are
then ranked once more, by their words and by the sentence in them that is nearest to the question:
the vector of a long passage is a mean in which one telling sentence is lost. Where a question names
a day, a month or a year, passages dated so that hold its other words come first, and of a day all
others dated so where none does. Ties go by collection, path and place, so that equal libraries
answer equally however they came about.
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
from tramontane.library.stop_words import STOP_WORDS
from tramontane.notes.sentences import split_sentences

NUM_CANDIDATES = 100  # of each ranking
RANK_OFFSET = 20.0  # small: the first few places of a ranking count most
WORDS_WEIGHT, VECTORS_WEIGHT = 1.0, 1.0
# Of the merged ranking, how many passages are ranked again by their nearest sentence, and how.
NUM_RERANKED = 24
RERANK_OFFSET = 2.0
RERANK_WORDS, RERANK_SENTENCE, RERANK_VECTOR = 1.0, 1.0, 0.3
TITLE_WEIGHT, HEADING_WEIGHT, TEXT_WEIGHT = 3.0, 2.0, 1.0
# What puts the passages of the days that a question names before all others.
DATED_AHEAD = 1.0
MAX_QUERY_TERMS = 64
MAX_QUESTION_CHARS = 20_000
WORD = re.compile(r"\w+(?:[.,:]\d+)*")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every passage's vector at one revision of the library; rows in the order of their places."""

    revision: int
    passage_ids: np.ndarray
    rows: np.ndarray


class Searcher:
    def __init__(self, database: Database, embed, model: str):
        self.database = database
        self.embed = embed
        self.model = model
        self._matrix: Matrix | None = None
        self._reading_matrix = threading.Lock()

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
            by_words = self._by_words(db, question, filters)
            by_vectors = self._by_vectors(db, question, filters)
            word_ranks = _ranks(by_words)
            vector_ranks = _ranks(by_vectors)
            scores = {}
            for ranks, weight in ((word_ranks, WORDS_WEIGHT), (vector_ranks, VECTORS_WEIGHT)):
                for passage_id, rank in ranks.items():
                    fused = weight / (RANK_OFFSET + rank)
                    scores[passage_id] = scores.get(passage_id, 0.0) + fused
            hits = []
            marks = _marks(db, list(scores))
            for passage_id, *columns in _passages(db, list(scores)):
                collection, path, sha256, title, heading, text, first, last, page, box = columns
                hits.append(
                    Hit(
                        collection=collection,
                        path=path,
                        title=title,
                        heading=tuple(json.loads(heading)),
                        text=text,
                        first_line=first,
                        last_line=last,
                        score=scores[passage_id],
                        bm25_rank=word_ranks.get(passage_id),
                        vector_rank=vector_ranks.get(passage_id),
                        similarity=by_vectors.get(passage_id, 0.0),
                        note_sha256=sha256,
                        page=page,
                        box=tuple(json.loads(box)) if box else None,
                        **marks.get(passage_id, {}),
                    )
                )
            hits.sort(key=place_of)
        hits[:NUM_RERANKED] = self._reranked(question, hits[:NUM_RERANKED])
        return hits[:limit]

    def _reranked(self, question: str, hits: list[Hit]) -> list[Hit]:
        """Returns hits by words, passage vector and nearest sentence; scores begin at 1 above."""
        if self.embed is None or not hits:
            return hits
        texts, owners = [question], []
        for owner, hit in enumerate(hits):
            for sentence in split_sentences(hit.text):
                texts.append(f"{hit.title}\n{sentence.text}")
                owners.append(owner)
        vectors = self.embed(texts)
        nearest = dict.fromkeys(range(len(hits)), -1.0)
        for owner, like in zip(owners, np.round(vectors[1:] @ vectors[0], 5), strict=True):
            nearest[owner] = max(nearest[owner], float(like))
        by_sentence = _ranks(nearest)
        reranked = []
        for owner, hit in enumerate(hits):
            score = 1.0 + RERANK_SENTENCE / (RERANK_OFFSET + by_sentence[owner])
            for weight, rank in ((RERANK_WORDS, hit.bm25_rank), (RERANK_VECTOR, hit.vector_rank)):
                score += weight / (RERANK_OFFSET + rank) if rank else 0.0
            reranked.append(replace(hit, score=score))
        return sorted(reranked, key=place_of)

    def _by_words(
        self, db: sqlite3.Connection, question: str, filters: Filters
    ) -> dict[int, float]:
        query = match_expression(question)
        if not query:
            return {}
        filtered, values = "", []
        if not filters.is_empty:
            condition, values = filters.sql()
            filtered = (
                # Asked of each match; a list of rowids would make FTS5 search once for each.
                "AND EXISTS (SELECT 1 FROM passages p JOIN notes n ON n.id = p.note_id "
                f"WHERE p.id = passages_fts.rowid AND {condition})"
            )
        matches = (
            f"SELECT rowid, -bm25(passages_fts, {TITLE_WEIGHT}, {HEADING_WEIGHT}, {TEXT_WEIGHT}) "
            f"AS score FROM passages_fts WHERE passages_fts MATCH ? {filtered}"
        )
        found = db.execute(
            f"{matches} ORDER BY score DESC LIMIT ?", (query, *values, NUM_CANDIDATES + 1)
        ).fetchall()
        scores = {passage_id: round(score, 6) for passage_id, score in found}
        if len(scores) > NUM_CANDIDATES and len(set(scores.values())) == 1:
            # All are tied: which of them came in must not depend on when they were stored.
            found = db.execute(
                f"SELECT m.rowid, m.score FROM ({matches}) m JOIN passages p ON p.id = m.rowid "
                "JOIN notes n ON n.id = p.note_id JOIN collections c ON c.id = n.collection_id "
                "ORDER BY round(m.score, 6) DESC, c.name, n.path, p.position LIMIT ?",
                (query, *values, NUM_CANDIDATES),
            ).fetchall()
            return {passage_id: round(score, 6) for passage_id, score in found}
        return _without_cut_tie(scores)

    def _by_vectors(
        self, db: sqlite3.Connection, question: str, filters: Filters
    ) -> dict[int, float]:
        if self.embed is None:
            return {}
        vector = self.embed([question])[0]
        if not vector.any():
            return {}
        matrix = self._matrix_now(db, len(vector))
        if not len(matrix.rows):
            return {}
        # Rounded, because the same row may differ in its last bits at another place in a matrix.
        similarities = np.round(matrix.rows @ vector, 5)
        places = np.arange(len(similarities))
        if not filters.is_empty:
            condition, values = filters.sql()
            rows = db.execute(
                f"SELECT p.id FROM passages p JOIN notes n ON n.id = p.note_id WHERE {condition}",
                values,
            )
            allowed = np.fromiter((row[0] for row in rows), np.int64)
            places = places[np.isin(matrix.passage_ids, allowed)]
            similarities = similarities[places]
        if len(places) > NUM_CANDIDATES + 1:
            lowest = -np.partition(-similarities, NUM_CANDIDATES)[NUM_CANDIDATES]
            best = similarities >= lowest
            places, similarities = places[best], similarities[best]
        order = np.lexsort((places, -similarities))[: NUM_CANDIDATES + 1]
        return _without_cut_tie(
            {int(matrix.passage_ids[places[at]]): round(float(similarities[at]), 5) for at in order}
        )

    def _matrix_now(self, db: sqlite3.Connection, width: int) -> Matrix:
        (revision,) = db.execute("SELECT revision FROM state").fetchone()
        with self._reading_matrix:
            if self._matrix is None or self._matrix.revision != revision:
                self._matrix = self._read_matrix(db, revision, width)
            return self._matrix

    def _read_matrix(self, db: sqlite3.Connection, revision: int, width: int) -> Matrix:
        found = db.execute(
            "SELECT p.id, v.vector FROM passages p "
            "JOIN notes n ON n.id = p.note_id JOIN collections c ON c.id = n.collection_id "
            "JOIN vectors v ON v.key = p.vector_key AND v.model = ? "
            "ORDER BY c.name, n.path, p.position",
            (self.model,),
        ).fetchall()
        row_bytes = 4 * width
        if any(not isinstance(row[1], bytes) or len(row[1]) != row_bytes for row in found):
            raise LibraryError(
                f"{self.database.file}: holds vectors of {self.model} that are not {width} numbers "
                "wide; it is damaged, or another model of that name made them. Your notes are "
                "untouched: move this file away, then add the collections and sync again"
            )
        ids = np.array([row[0] for row in found], np.int64)
        rows = np.frombuffer(b"".join(row[1] for row in found), "<f4")
        return Matrix(revision, ids, rows.reshape(len(found), width))


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


def match_expression(question: str) -> str:
    """Returns the question as an FTS5 expression: its telling words, any of them, all quoted."""
    telling = telling_words(question) or WORD.findall(question.lower())
    return " OR ".join(f'"{word}"' for word in dict.fromkeys(telling[:MAX_QUERY_TERMS]))


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


def _without_cut_tie(scores: dict[int, float]) -> dict[int, float]:
    """Drops those tied with the first one beyond the limit: which of them came in is chance."""
    if len(scores) <= NUM_CANDIDATES:
        return scores
    lowest = min(scores.values())
    kept = {passage_id: score for passage_id, score in scores.items() if score > lowest}
    return kept or dict(list(scores.items())[:NUM_CANDIDATES])  # all tied: the first in place


def _passages(db: sqlite3.Connection, passage_ids: list[int]) -> list[tuple]:
    return db.execute(
        "SELECT p.id, c.name, n.path, n.sha256, p.title, p.heading, p.text, p.first_line, "
        "p.last_line, p.page, p.box FROM passages p JOIN notes n ON n.id = p.note_id "
        "JOIN collections c ON c.id = n.collection_id "
        f"WHERE p.id IN ({','.join(map(str, passage_ids))})"
    ).fetchall()


def _marks(db: sqlite3.Connection, passage_ids: list[int]) -> dict[int, dict[str, tuple]]:
    """Returns each passage's dates, tags and links, as far as it has any."""
    found: dict[int, dict[str, list[str]]] = {}
    listed = ",".join(map(str, passage_ids))
    for table, column in (("dates", "day"), ("tags", "tag"), ("links", "target")):
        for passage_id, value in db.execute(
            f"SELECT passage_id, {column} FROM {table} WHERE passage_id IN ({listed})"
        ):
            found.setdefault(passage_id, {}).setdefault(table, []).append(value)
    return {
        passage_id: {name: tuple(values) for name, values in marks.items()}
        for passage_id, marks in found.items()
    }

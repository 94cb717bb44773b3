"""BM25 from the index's own lists is SQLite's, to the last digit that ranks."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from library_makers import build, write_notes

from tramontane.library import word_index
from tramontane.library.word_index import COLUMN_WEIGHTS, WordIndex, lengths_of, stemmer

WORDS = "bok boks Böks dak 3.5 3,5 12:30 running run x_y don't the 漢字 _".split()
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    notes=st.lists(TEXTS, min_size=1, max_size=9),
    asked=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5, unique=True),
)
@example(notes=["bok " * 200, "bok dak", "3.5 3 5 dak"], asked=["bok", "boks", "3.5"])
@example(notes=["5 3", "3 5", "3 x 5"], asked=["3.5"])
def test_scores_are_those_of_fts5(tmp_path_factory, notes, asked):
    home = tmp_path_factory.mktemp("words")
    texts = {f"{n}.md": f"# {text[:9]}\n\n## dak {n}\n\n{text}\n" for n, text in enumerate(notes)}
    folder = write_notes(home / "notes", texts)
    with build(home / "l.sqlite", {"n": folder}) as library, library._database.reading() as db:
        ids = np.array([row[0] for row in db.execute("SELECT id FROM passages ORDER BY id DESC")])
        query = " OR ".join(f'"{word}"' for word in asked)
        weights = ", ".join(map(str, COLUMN_WEIGHTS.values()))
        expected = dict(
            db.execute(
                f"SELECT rowid, -bm25(passages_fts, {weights}) FROM passages_fts "
                "WHERE passages_fts MATCH ?",
                (query,),
            )
        )
        index = WordIndex(db, ids)
        for _ in range(2):  # read, then kept
            scores = index.scores(db, asked)
            found = {int(ids[at]): scores[at] for at in np.flatnonzero(scores)}
            assert found == pytest.approx(expected, rel=1e-9)


def test_what_is_kept_is_bounded(library, monkeypatch):
    monkeypatch.setattr(word_index, "MOST_KEPT", 3)
    with library._database.reading() as db:
        ids = np.array([row[0] for row in db.execute("SELECT id FROM passages")])
        index = WordIndex(db, ids)
        before = index.scores(db, ["sow", "oil", "peas", "beans"])
        assert index._num_kept <= 3
        assert index._num_kept == sum(len(one.places) for one in index._kept.values())
        assert (index.scores(db, ["sow", "oil", "peas", "beans"]) == before).all()


def test_words_are_stemmed_as_the_index_stems_them():
    assert stemmer().phrases(["Beans", "3.5", "_", "Éclairs"]) == [
        ("bean",),
        ("3", "5"),
        ("eclair",),
    ]


@given(st.lists(st.tuples(*[st.integers(0, 2**40)] * 3), max_size=8))
def test_lengths_of_varints(rows):
    def varint(number: int) -> bytes:
        groups = [number & 127]
        while number := number >> 7:
            groups.append(number & 127 | 128)
        return bytes(reversed(groups))

    found = lengths_of([b"".join(map(varint, row)) for row in rows])
    assert found.tolist() == [sum(row) for row in rows]

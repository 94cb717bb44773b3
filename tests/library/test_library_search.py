"""Search ranks by words and by vectors, merges by reciprocal rank, and takes any text."""

import math
import random
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from library_makers import SignEmbedder, build, write_notes

from tramontane.errors import LibraryError, NotFound
from tramontane.library import search as searching
from tramontane.library import sentence_tokens
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.library.library import Library
from tramontane.library.word_index import COLUMN_WEIGHTS

# No stop words, and no endings that the stemmer would take off.
WORDS = "bok dak fump gorn hilt jart lomp nurk pold quib rump sond tolk vant wirb zunt".split()
NOTES = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12), min_size=1, max_size=12)


def slow_search(
    library: Library, question: str, num_candidates: int, num_reranked: int
) -> list[tuple]:
    """The definition, one passage at a time: (path, score, rank by words, by vectors, similarity).

    Every note here is one passage of one sentence.
    """
    passages = [
        (collection.name, note.path, note.title, hit)
        for collection in library.collections()
        for note in library.notes(collection.name)
        for hit in [note.text.strip()]
    ]
    rows = [re.findall(r"\w+", f"{title} {text}".lower()) for *_, title, text in passages]
    title_sizes = [len(re.findall(r"\w+", title)) for *_, title, _ in passages]
    mean_size = sum(map(len, rows)) / len(rows)
    by_words, by_vectors = {}, {}
    query_row = SignEmbedder.row(question)
    for at, row in enumerate(rows):
        score = 0.0
        for word in dict.fromkeys(question.split()):
            holding = sum(word in other for other in rows)
            rarity = math.log((len(rows) - holding + 0.5) / (holding + 0.5))
            rarity = rarity if rarity > 0 else 1e-6
            in_title = row[: title_sizes[at]].count(word)
            count = COLUMN_WEIGHTS["title"] * in_title + row[title_sizes[at] :].count(word)
            damping = count + 1.2 * (1 - 0.75 + 0.75 * len(row) / mean_size)
            score += rarity * count * (1.2 + 1) / damping
        if set(question.split()) & set(row):
            by_words[at] = round(score, 6)
        *_, title, text = passages[at]
        own_row = SignEmbedder.row(f"{title}\n{text}")
        by_vectors[at] = sum(x * y for x, y in zip(own_row, query_row, strict=True))
    ranks = [ranks_of(scores, num_candidates) for scores in (by_words, by_vectors)]
    found = []
    for at in ranks[0].keys() | ranks[1].keys():
        fused = sum(1 / (searching.RANK_OFFSET + rank[at]) for rank in ranks if at in rank)
        similarity = by_vectors[at] if at in ranks[1] else 0.0
        found.append((passages[at][1], fused, ranks[0].get(at), ranks[1].get(at), similarity))
    found.sort(key=lambda one: (-one[1], one[0]))
    again, rest = found[:num_reranked], found[num_reranked:]
    nearness = {path: by_vectors[at] for at, (_, path, *_) in enumerate(passages)}
    reranked = []
    for path, _, word_rank, vector_rank, similarity in again:
        sentence_rank = 1 + sum(nearness[other[0]] > nearness[path] for other in again)
        score = 1 + 1 / (searching.RERANK_OFFSET + sentence_rank)
        if word_rank:
            score += 1 / (searching.RERANK_OFFSET + word_rank)
        if vector_rank:
            score += 0.3 / (searching.RERANK_OFFSET + vector_rank)
        reranked.append((path, score, word_rank, vector_rank, similarity))
    return sorted(reranked, key=lambda one: (-one[1], one[0])) + rest


def ranks_of(scores: dict[int, float], num_candidates: int) -> dict[int, int]:
    best = sorted(scores, key=lambda at: (-scores[at], at))
    if len(best) > num_candidates:
        # Those tied with the first one that doesn't fit are out, unless all of them are tied.
        cut = scores[best[num_candidates]]
        best = [at for at in best if scores[at] > cut] or best[:num_candidates]
    return {at: 1 + sum(scores[other] > scores[at] for other in scores) for at in best}


@settings(max_examples=60, deadline=None)
@given(
    texts=NOTES,
    question=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
    num_candidates=st.sampled_from([2, 5, 100]),
    num_reranked=st.sampled_from([0, 3, 24]),
)
@example(texts=[["bok"]] * 8, question="bok", num_candidates=5, num_reranked=24)
def test_hits_are_those_of_the_definition(
    tmp_path_factory, texts, question, num_candidates, num_reranked
):
    home = tmp_path_factory.mktemp("search")
    notes = {f"n{number:02}.txt": " ".join(words) for number, words in enumerate(texts)}
    folder = write_notes(home / "notes", notes)
    with (
        pytest.MonkeyPatch.context() as patch,
        build(home / "l.sqlite", {"n": folder}) as library,
    ):
        patch.setattr(searching, "NUM_CANDIDATES", num_candidates)
        patch.setattr(searching, "NUM_RERANKED", num_reranked)
        hits = library.search(question, limit=1_000)
        found = [(h.path, h.score, h.bm25_rank, h.vector_rank, h.similarity) for h in hits]
        expected = slow_search(library, question, num_candidates, num_reranked)
        assert [one[0] for one in found] == [one[0] for one in expected]
        assert found == [(path, pytest.approx(score), *rest) for path, score, *rest in expected]
        assert hits[:2] == library.search(question, limit=2)


def test_equal_libraries_answer_equally_however_they_came_about(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "NUM_CANDIDATES", 5)
    notes = {f"{number:02}.txt": "# bok\n\ndak fump" for number in range(20)}
    notes |= {f"{number}.md": f"bok {number % 3} gorn" for number in range(30, 50)}
    folder = write_notes(tmp_path / "notes", notes)
    with build(tmp_path / "at_once.sqlite", {"n": folder}) as at_once:
        for seed in range(3):
            order = random.Random(seed).sample(sorted(notes), len(notes))
            with Library(tmp_path / f"{seed}.sqlite", SignEmbedder()) as in_steps:
                in_steps.add_collection("n", folder)
                for number in range(10, 41, 10):
                    write_notes(folder, {path: notes[path] for path in order[:number]})
                    in_steps.sync("n")
                for question in ("bok", "dak", "gorn 1", "nothing"):
                    assert in_steps.search(question) == at_once.search(question)


HOSTILE = [
    '"', '""', "'", '"unclosed', "(", ")", "*", "^", "-", "+", "NEAR(a b, 2)", "AND", "OR", "NOT",
    "a AND", "NOT a", "title:beans", "{title}:a", "beans*", "^beans", "a\0b", "\0", "_", "__",
    "; DROP TABLE notes; --", "🫘", "👩‍🌾", "é", "\u0301", "İ", "ſ", "\ud800", "x" * 10_000,
    "beans " * 20_000, "(" * 10_000, "1.2.3", "a:b", "%", "\\", "\n", "", " ", "the and of", "漢字",
    "．", "٣", "²", "a\u200db", "\ufeff", "$1", "?1", ":name", "' OR 1=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def beans(tmp_path_factory):
    home = tmp_path_factory.mktemp("beans")
    notes = {f"{number}.md": f"# Note {number}\n\nSow beans, {number}.\n" for number in range(9)}
    with build(home / "l.sqlite", {"garden": write_notes(home / "notes", notes)}) as library:
        yield library


@pytest.mark.parametrize("question", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_any_text_is_a_safe_question(beans, question):
    for collections in (None, ["garden"]):
        hits = beans.search(question, collections=collections)
        assert len(hits) == (8 if question.strip("\0 \n") else 0)
    assert beans.rarity([question])[question] >= 0
    assert beans.search("beans")[0].bm25_rank == 1


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.lists(st.sampled_from([*HOSTILE[:40], "beans"]))),
    st.integers(-1, 3),
)
def test_any_text_at_all_is_a_safe_question(beans, question, limit):
    question = " ".join(question) if isinstance(question, list) else question
    assert len(beans.search(question, limit=limit)) <= max(limit, 0)
    assert math.isfinite(beans.rarity([question])[question])


def test_words_around_quotes_and_operators_still_count(beans):
    for question in ("beans 4", '"beans" AND NOT (4*', "title:beans^4 NEAR"):
        (best,) = (hit for hit in beans.search(question, limit=9) if hit.bm25_rank == 1)
        assert best.path == "4.md"


def test_a_question_is_asked_of_the_named_collections_only(tmp_path):
    many = {f"{number}.txt": "beans beans beans" for number in range(150)}
    folders = {
        "many": write_notes(tmp_path / "many", many),
        "one": write_notes(tmp_path / "one", {"only.md": "Once, long ago, somebody had beans."}),
    }
    with build(tmp_path / "l.sqlite", folders) as library:
        assert {hit.collection for hit in library.search("beans", limit=500)} >= {"many"}
        (hit,) = library.search("beans", collections=["one"])
        assert (hit.path, hit.bm25_rank, hit.vector_rank) == ("only.md", 1, 1)
        both = library.search("beans", collections=["many", "one"])
        assert both == library.search("beans")
        assert library.search("beans", collections=[]) == []
        with pytest.raises(NotFound, match="no collection 'none'; there are: many, one"):
            library.search("beans", collections=["one", "none"])


def test_hits_stand_in_the_files_lines(tmp_path):
    paragraphs = [f"Paragraph {n} tells of beans. " + f"word{n} " * 70 for n in range(12)]
    text = "---\ntitle: Long\n---\n\n# Other\n\n" + "\n\n\n".join(paragraphs)
    folder = write_notes(
        tmp_path / "notes", {"crlf.md": text.replace("\n", "\r\n"), "lf.txt": text}
    )
    with build(tmp_path / "l.sqlite", {"n": folder}) as library:
        hits = library.search("beans word7", limit=50)
        assert {hit.path for hit in hits} == {"crlf.md", "lf.txt"}
        assert len(hits) >= 12
        assert all("word7" in hit.text for hit in hits if hit.bm25_rank == 1)
        for hit in hits:
            lines = (folder / hit.path).read_text().split("\n")
            assert hit.text in "\n".join(lines[hit.first_line - 1 : hit.last_line])
            assert hit.note_sha256 == library.note("n", hit.path).sha256
            for sentence in library.sentences(hit):
                assert hit.first_line <= sentence.first_line <= sentence.last_line <= hit.last_line
                said = " ".join(hit.text[sentence.start : sentence.end].split())
                assert sentence.text == said


def test_a_heading_finds_its_section(tmp_path):
    text = "# Tips\n\n## Vim\n\nPress the key.\n\n## Tmux\n\nDetach it.\n"
    with build(
        tmp_path / "l.sqlite", {"n": write_notes(tmp_path / "n", {"t.md": text})}
    ) as library:
        for word in ("Vim", "Tmux", "Tips", "detach"):
            assert library.search(word)[0].bm25_rank == 1, word


def test_rarity_is_the_inverse_document_frequency(beans):
    rarity = beans.rarity(["beans", "Bean", "4", "absent", "sow 4"])
    num_passages = beans.collection("garden").num_passages
    assert num_passages == 9

    def of(found: int) -> float:
        return math.log((num_passages - found + 0.5) / (found + 0.5) + 1)

    assert rarity == pytest.approx(
        {"beans": of(9), "Bean": of(9), "4": of(1), "absent": of(0), "sow 4": of(0)}
    )


def test_without_an_embedder_words_alone_decide(tmp_path):
    folder = write_notes(tmp_path / "n", {"a.md": "beans", "b.md": "peas"})
    with Library(tmp_path / "l.sqlite") as library:
        library.add_collection("n", folder)
        library.sync("n")
        (hit,) = library.search("beans")
        assert (hit.path, hit.bm25_rank, hit.vector_rank, hit.similarity) == ("a.md", 1, None, 0.0)


@pytest.fixture(scope="module")
def word_llama():
    pytest.importorskip("wordllama")
    return WordLlamaEmbedder()


def test_word_llama_gives_unit_rows_that_company_does_not_change(word_llama, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    texts = ["Sow beans in May.", "", "é 漢字 🫘", "x" * 5_000, "\0", *WORDS * 40]
    rows = word_llama(texts)
    assert rows.dtype == np.float32
    assert rows.shape[0] == len(texts)
    norms = np.linalg.norm(rows, axis=1)
    assert not rows[1].any()
    assert np.allclose(np.delete(norms, 1), 1, atol=1e-5)
    for at in (0, 2, 3, 600):
        assert np.array_equal(word_llama([texts[at]])[0], rows[at])
    assert word_llama([]).shape == (0, rows.shape[1])


def test_meaning_is_found_without_a_shared_word(tmp_path, word_llama):
    notes = {
        "bike.md": "Oil the bicycle chain whenever the ride gets noisy.",
        "bread.md": "Bake the loaf until its crust sounds hollow.",
        "tax.md": "The revenue office wants its form before April.",
    }
    folder = write_notes(tmp_path / "n", notes)
    with build(tmp_path / "l.sqlite", {"n": folder}, word_llama) as library:
        hit = library.search("squeaky pedals on my cycling machine")[0]
        assert (hit.path, hit.bm25_rank, hit.vector_rank) == ("bike.md", None, 1)
        assert library.search("government deadline for declaring income")[0].path == "tax.md"


def test_vectors_of_another_width_are_refused_in_words(tmp_path):
    class Wider(SignEmbedder):
        def __call__(self, texts):
            return np.repeat(super().__call__(texts), 2, axis=1)

    folder = write_notes(tmp_path / "n", {"a.md": "beans"})
    build(tmp_path / "l.sqlite", {"n": folder}).close()
    with (
        Library(tmp_path / "l.sqlite", Wider()) as library,
        pytest.raises(LibraryError, match="not 32 numbers wide"),
    ):
        library.search("beans")


DATED = {
    "2024-03-05.md": "---\ntags: [garden/beds, log]\n---\nSowed beans in the first row.\n",
    "2024-06-20.md": "#log Picked the beans, a whole basket.\n",
    "deep/2023-03-01.md": "#Log Sowed beans too early.\n",
    "deep/plan.md": "#garden Sow beans when the soil is warm.\n",
    "deeper.md": "Beans climb.\n",
}


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({}, set(DATED)),
        ({"tags": ["log"]}, {"2024-03-05.md", "2024-06-20.md", "deep/2023-03-01.md"}),
        ({"tags": ["#Garden"]}, {"2024-03-05.md", "deep/plan.md"}),
        ({"tags": ["gar"]}, set()),
        ({"tags": ["log", "garden"]}, {"2024-03-05.md"}),
        ({"since": "2024"}, {"2024-03-05.md", "2024-06-20.md"}),
        ({"since": "2024-03-05", "until": "2024-03"}, {"2024-03-05.md"}),
        ({"until": "2024-03-04"}, {"deep/2023-03-01.md"}),
        ({"path": "deep"}, {"deep/2023-03-01.md", "deep/plan.md"}),
        ({"path": "deep/plan.md"}, {"deep/plan.md"}),
        ({"path": "2024-*"}, {"2024-03-05.md", "2024-06-20.md"}),
        ({"path": "deep/", "tags": ["log"], "since": "2024"}, set()),
        ({"path": "'; DROP TABLE notes; --"}, set()),
    ],
)
def test_filters_let_through_what_they_say(tmp_path, wishes, expected):
    folder = write_notes(tmp_path / "notes", DATED)
    with build(tmp_path / "l.sqlite", {"n": folder}) as library:
        assert {hit.path for hit in library.search("beans", limit=50, **wishes)} == expected
        assert {hit.path for hit in library.search("???", limit=50, **wishes)} == expected


@pytest.mark.parametrize("day", ["soon", "2024-13", "2024-02-30", "2024-1-1-1", "", "99999", "-1"])
def test_what_is_no_day_is_said(library, day):
    if day:
        with pytest.raises(LibraryError, match="is no day; write it as"):
            library.search("beans", since=day)
    else:
        assert library.search("beans", since=day)


def test_kept_sentences_rank_as_sentences_read_anew(tmp_path, garden, word_llama):
    questions = ("when are beans sown", "oil", "how deep", "a lid for the rain barrel")
    with build(tmp_path / "l.sqlite", {"garden": garden}, word_llama) as library:
        kept = [library.search(question) for question in questions]
        with library._database.writing() as db:
            (held,) = db.execute("SELECT count(*) FROM vectors WHERE sentences NOTNULL").fetchone()
            assert held > 0
            db.execute("UPDATE vectors SET sentences = NULL")
        assert [library.search(question) for question in questions] == kept


def test_sentences_kept_by_other_rules_are_read_anew(tmp_path, garden, word_llama, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sentence_tokens, "RULES_VERSION", 2)
        patch.setattr(sentence_tokens, "split_sentences", lambda _: [])
        old = build(tmp_path / "old.sqlite", {"garden": garden}, word_llama)
    with old, build(tmp_path / "new.sqlite", {"garden": garden}, word_llama) as new:
        assert old.search("when are beans sown") == new.search("when are beans sown")

"""Windows and the split: by document, from the documents' bytes alone."""

import random

import numpy as np
import pytest
from expert_makers import canal_notes, note
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.errors import LearnError
from tramontane.experts.corpus import (
    HELD_OUT_SHARE,
    collection_corpus,
    public_windows,
    split_notes,
    windows_of,
)
from tramontane.experts.public_text import PublicDocument
from tramontane.notes.folder import read_folder
from tramontane.tokenizer.tokenizer import Tokenizer

W = 32


@pytest.fixture(scope="module")
def tokenizer(tiny_llama) -> Tokenizer:
    return tiny_llama.tokenizer()


def texts(notes) -> list[str]:
    return [one.text for one in notes]


def test_a_tenth_is_held_out_and_no_document_is_on_both_sides():
    notes = canal_notes(60)
    learnt, held_out = split_notes(notes)
    assert len(held_out) == round(60 * HELD_OUT_SHARE)
    assert sorted(texts(learnt) + texts(held_out)) == sorted(texts(notes))
    assert not set(texts(learnt)) & set(texts(held_out))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 19])
def test_at_least_two_are_held_out(count):
    learnt, held_out = split_notes(canal_notes(count))
    assert len(held_out) == min(count, 2)
    assert len(learnt) == count - len(held_out)


@given(st.lists(st.integers(0, 40), max_size=40), st.integers(0, 400))
@settings(deadline=None)
def test_further_notes_are_held_out_until_there_is_enough(lengths, wanted):
    """The first in order that hold enough, and never fewer than without a wish."""
    notes = [note(f"{n} " + "x" * length) for n, length in enumerate(lengths)]
    plain_learnt, plain = split_notes(notes)
    in_order = [*plain, *plain_learnt]
    learnt, held_out = split_notes(
        notes, lambda chosen: sum(len(one.text) for one in chosen) >= wanted
    )
    enough = [n for n in range(len(notes) + 1) if len("".join(texts(in_order[:n]))) >= wanted]
    assert held_out == in_order[: max(len(plain), min(enough, default=len(notes)))]
    assert learnt == in_order[len(held_out) :]


def test_a_collection_of_short_notes_holds_out_a_window(tokenizer):
    """Of 2000 notes of a word or two a tenth is less than a window."""
    short = [note(f"Weir {n}.", path=f"{n}.md") for n in range(2000)]
    tokens = [len(tokenizer.encode(one.text)) + 1 for one in split_notes(short)[1]]
    window = sum(tokens) + 5
    corpus = collection_corpus(short, tokenizer, window, 100_000)
    assert corpus.held_out.shape == (1, window)
    assert corpus.held_out_notes[:200] == tuple(split_notes(short)[1])
    assert 200 < len(corpus.held_out_notes) < 210
    assert not set(texts(corpus.held_out_notes)) & set(texts(corpus.learnt_notes))
    for seed in range(3):
        shuffled = random.Random(seed).sample(short, len(short))
        again = collection_corpus(shuffled, tokenizer, window, 100_000)
        assert again.held_out.tolist() == corpus.held_out.tolist()
        assert again.learnt.tolist() == corpus.learnt.tolist()


@pytest.mark.parametrize("name", ["foam-docs", "policies-basecamp", "bread-code"])
def test_real_collections_keep_their_split_where_it_is_enough(shared_data, smollm2, name):
    """Of bread-code's 23 notes two are held out, 15 tokens too few; the others have plenty."""
    notes = read_folder(shared_data / "notes" / name / "text").notes
    tenth = split_notes(notes)[1]
    held_out = collection_corpus(notes, smollm2.tokenizer(), 256, 100_000).held_out_notes
    assert held_out[: len(tenth)] == tuple(tenth)
    assert len(held_out) == len(tenth) + (name == "bread-code")


def test_the_split_depends_on_nothing_but_the_texts():
    notes = canal_notes(40)
    wanted = [texts(part) for part in split_notes(notes)]
    for seed in range(5):
        shuffled = random.Random(seed).sample(notes, len(notes))
        assert [texts(part) for part in split_notes(shuffled)] == wanted
    renamed = [note(one.text, path=f"other/{n}.org") for n, one in enumerate(notes)]
    assert [texts(part) for part in split_notes(renamed)] == wanted


def test_one_more_note_moves_few_others():
    notes = canal_notes(60)
    _, before = split_notes(notes)
    _, after = split_notes([*notes, note("Entirely new.")])
    assert len(set(texts(before)) - set(texts(after))) <= 1


def test_a_text_that_stands_twice_counts_once_whatever_comes_first():
    notes = canal_notes(30)
    copies = [note(f"\n{one.text}  ", path=f"copy-{n}") for n, one in enumerate(notes)]
    wanted = split_notes([*notes, *copies])
    assert sum(map(len, wanted)) == 30
    for seed in range(5):
        mixed = random.Random(seed).sample([*notes, *copies], 60)
        assert split_notes(mixed) == wanted


def test_notes_that_may_not_train_and_empty_ones_are_left_out():
    notes = canal_notes(30)
    forbidden = [note(f"Secret {n}", may_train=False) for n in range(10)]
    empty = [note(text) for text in ("", " ", "\n\n")]
    assert split_notes([*forbidden, *notes, *empty]) == split_notes(notes)


def test_a_text_that_is_forbidden_in_one_place_and_allowed_in_another_is_learnt_as_allowed():
    notes = canal_notes(30)
    forbidden = [note(one.text, may_train=False, path="private.md") for one in notes[:5]]
    assert split_notes([*forbidden, *notes]) == split_notes(notes)


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=8),
    st.integers(1, 10),
)
@settings(deadline=None)
def test_windows_are_the_documents_one_after_the_other(token_lists, width):
    windows = windows_of(token_lists, 0, width)
    everything = []
    for ids in token_lists:
        everything += [*ids, 0]
    assert windows.dtype == np.int64
    assert windows.shape == (len(everything) // width, width)
    assert windows.flatten().tolist() == everything[: windows.size]
    assert len(everything) - windows.size < width


def test_a_corpus_is_what_the_split_and_the_tokenizer_say(tokenizer):
    notes = canal_notes(60)
    corpus = collection_corpus(notes, tokenizer, W, 100_000)
    learnt, held_out = split_notes(notes)
    separator = tokenizer.separator_id
    for windows, part in ((corpus.learnt, learnt), (corpus.held_out, held_out)):
        ids = [i for one in part for i in (*tokenizer.encode(one.text), separator)]
        assert windows.shape[1] == W
        assert windows.flatten().tolist() == ids[: windows.size]
    assert corpus.num_tokens == corpus.learnt.size
    assert corpus.held_out_notes == tuple(held_out)


def test_at_most_so_many_tokens_are_learnt_and_only_notes_among_them_are_counted(tokenizer):
    notes = canal_notes(60)
    whole = collection_corpus(notes, tokenizer, W, 100_000)
    part = collection_corpus(notes, tokenizer, W, 10 * W + W - 1)
    assert part.learnt.tolist() == whole.learnt[:10].tolist()
    assert part.num_tokens == 10 * W
    assert part.held_out.tolist() == whole.held_out.tolist()
    # Slowly: walk the notes in their order until the tokens are used up.
    reached, used = [], 0
    for one in split_notes(notes)[0]:
        if used < part.learnt.size:
            reached.append(one)
        used += len(tokenizer.encode(one.text)) + 1
    assert part.learnt_notes == tuple(reached)
    assert 0 < len(part.learnt_notes) < len(whole.learnt_notes)


def test_too_little_text_says_what_came_and_what_is_needed(tokenizer):
    for notes in ([], canal_notes(1), canal_notes(5), [note("word " * 2000)]):
        with pytest.raises(LearnError, match=f"{len(notes)} different notes.*{12 * W} tokens"):
            collection_corpus(notes, tokenizer, W, 100_000)
    forbidden = [note(one.text, may_train=False) for one in canal_notes(60)]
    with pytest.raises(LearnError, match="60 notes say `train: no`"):
        collection_corpus(forbidden, tokenizer, W, 100_000)


def test_marks_of_control_tokens_in_notes_stay_text(tokenizer):
    notes = [note(f"{one.text}<|endoftext|> and so on") for one in canal_notes(40)]
    corpus = collection_corpus(notes, tokenizer, W, 100_000)
    separators = int((corpus.learnt == tokenizer.separator_id).sum())
    assert 0 < separators <= len(corpus.learnt_notes)


def document(genre: str, text: str) -> PublicDocument:
    return PublicDocument(genre, "written here", "CC0-1.0", text)


def test_public_windows_are_by_genre_in_alphabetical_order(tokenizer):
    documents = [
        document(genre, f"{genre} {n} " + "word " * 30)
        for n in range(20)
        for genre in ("prose", "code", "chat")
    ]
    windows = public_windows(documents, tokenizer, W, 5 * W + 3)
    assert list(windows) == ["chat", "code", "prose"]
    assert all(w.shape == (5, W) for w in windows.values())
    backwards = public_windows(documents[::-1], tokenizer, W, 5 * W + 3)
    for genre, w in windows.items():
        assert np.array_equal(w, backwards[genre])
    (alone,) = public_windows(
        [d for d in documents if d.genre == "code"], tokenizer, W, 5 * W + 3
    ).values()
    assert np.array_equal(alone, windows["code"])


def test_marks_count_as_marks_in_chats_alone(tokenizer):
    text = "<|endoftext|>Hello there, " * 20
    windows = public_windows([document("chat", text), document("prose", text)], tokenizer, 8, 64)
    marks = {genre: int((w == tokenizer.separator_id).sum()) for genre, w in windows.items()}
    assert marks["chat"] > 2
    assert marks["prose"] == 0

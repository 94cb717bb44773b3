"""Turns: an answer is a note's own sentences, quoted from a passage, and all that counts."""

import random
import re
from dataclasses import replace

import pytest
from expert_makers import byte_level_tokenizer, canal_notes
from export_makers import TEMPLATE

from tramontane.errors import LearnError
from tramontane.experts.corpus import collection_corpus
from tramontane.experts.lesson import LearnSettings, lesson_of
from tramontane.experts.turns import Turns, turns_of
from tramontane.notes.markdown import markdown_passages
from tramontane.notes.note import Note
from tramontane.tokenizer.special_tokens import SpecialTokens
from tramontane.tokenizer.tokenizer import Tokenizer

W = 256


def asking(subject: str, passages) -> list[dict[str, str]]:
    numbered = "\n".join(f"[{n}] {title}: {text}" for n, (title, text) in enumerate(passages, 1))
    return [{"role": "user", "content": f"{numbered}\nWrite: {subject}."}]


def notes_with_passages(count: int) -> list[Note]:
    notes = canal_notes(count)
    return [replace(one, passages=tuple(markdown_passages(one.text)[0])) for one in notes]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    inner = byte_level_tokenizer([one.text for one in canal_notes(60, seed=99)])
    special = SpecialTokens(eos=("<|endoftext|>",))
    return Tokenizer.from_json(inner.to_str(), special=special, chat_template=TEMPLATE)


def text_parts(turns: Turns, index: int, tokenizer: Tokenizer) -> tuple[str, str]:
    """Returns a turn's question and its answer, as text."""
    answer = turns.answers[index]
    begin = int(answer.argmax())
    return (
        tokenizer.decode(turns.windows[index, :begin]),
        tokenizer.decode(turns.windows[index][answer]),
    )


def test_an_answer_quotes_the_passage_that_it_cites(tokenizer):
    notes = notes_with_passages(20)
    turns = turns_of(notes, tokenizer, asking, W, 12)
    assert turns.windows.shape == turns.answers.shape == (12, W)
    cited = []
    for index in range(12):
        question, answer = text_parts(turns, index, tokenizer)
        said, number = re.fullmatch(r"(.+) \[([12])\]<\|im_end\|>\n", answer).groups()
        cited.append(number)
        title, passage = re.search(rf"\[{number}\] (\S+): (.*)\n", question).groups()
        assert passage == said
        assert f"Write: {title}." in question
        (note,) = (one for one in notes if one.title == title)
        for sentence in re.findall(r"[^.]+\.", said):
            assert sentence.strip() in note.text
        other_title = re.search(rf"\[{3 - int(number)}\] (\S+): ", question)[1]
        assert other_title != title
        assert question.endswith("<|im_start|>assistant\n")
    assert set(cited) == {"1", "2"}


def test_what_follows_a_turn_is_not_learnt(tokenizer):
    turns = turns_of(notes_with_passages(20), tokenizer, asking, W, 12)
    for window, answer in zip(turns.windows, turns.answers, strict=True):
        (places,) = answer.nonzero()
        assert (answer[places[0] : places[-1] + 1]).all()
        assert (window[places[-1] + 1 :] == tokenizer.separator_id).all()
        assert places[0] > 0


def test_turns_depend_on_nothing_but_the_notes(tokenizer):
    notes = notes_with_passages(20)
    wanted = turns_of(notes, tokenizer, asking, W, 12)
    again = turns_of(random.Random(1).sample(notes, 20), tokenizer, asking, W, 12)
    assert (again.windows == wanted.windows).all()
    assert (again.answers == wanted.answers).all()


@pytest.mark.parametrize(
    ("notes", "window_tokens"),
    [
        (notes_with_passages(20), 16),  # no room for a question
        (notes_with_passages(1), W),  # no second note to stand beside the first
        (canal_notes(20), W),  # no passages
        ([], W),
    ],
)
def test_without_room_or_passages_there_are_none(tokenizer, notes, window_tokens):
    turns = turns_of(notes, tokenizer, asking, window_tokens, 12)
    assert turns.windows.shape == (0, window_tokens)


def test_a_lesson_has_its_share_of_turns_after_the_notes_own_windows(tokenizer):
    settings = LearnSettings(window_tokens=W, share_of_turns=0.25, max_tokens=W * 9, row_tokens=W)
    corpus = collection_corpus(notes_with_passages(90), tokenizer, W, settings.max_tokens)
    lesson = lesson_of(corpus, tokenizer, asking, settings)
    assert (lesson.windows[:9] == corpus.learnt).all()
    assert lesson.counted[:9].all()
    assert lesson.num_turns == 3
    assert not lesson.counted[9:].all(axis=1).any()
    alone = lesson_of(corpus, tokenizer, None, settings)
    assert alone.num_turns == 0
    assert (alone.windows == corpus.learnt).all()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(LearnError, match="share_of_turns"):
        LearnSettings(share_of_turns=share)

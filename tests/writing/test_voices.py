"""Who spoke in a sentence, beside one reading after the other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from writing_makers import ADA, BEA, StemEmbedder, TalkingRuntime, talking_engine

from tramontane.engine.engine import Engine
from tramontane.experts.voice import effect
from tramontane.writing.answer import Writer
from tramontane.writing.draft import write
from tramontane.writing.draft_export import as_markdown
from tramontane.writing.events import (
    Behind,
    Sentence,
    TokenVoice,
    Voiced,
)
from tramontane.writing.kept_draft import Draft, Drafting
from tramontane.writing.voices import (
    notes_behind,
    places,
    sentence_voice,
    voices_in,
)

QUESTION = "How many cloves of garlic were planted?"


@pytest.fixture
def engine(tokenizer) -> Engine:
    """Two experts carry their shares; neither moves a logit of this base."""
    return talking_engine(tokenizer, lambda _: "Forty cloves. It was in October.", noise=0.5)


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
def test_every_token_belongs_to_the_sentence_it_begins_in(tokenizer, sentences):
    ids = tokenizer.encode("".join(sentences))
    found = places(tokenizer, ids, sentences)
    assert found == sorted(found)
    begin = 0
    ends = np.cumsum([len(sentence.encode()) for sentence in sentences])
    for token_id, place in zip(ids, found, strict=True):
        assert (ends[place - 1] if place else 0) <= begin < ends[place]
        begin += len(tokenizer.token_bytes(token_id))
    assert begin == ends[-1]


@pytest.mark.parametrize("experts", [(ADA, BEA), (BEA, ADA), (BEA,)])
def test_tokens_carry_shares_and_effects_of_the_position_that_foretold_them(
    engine, tokenizer, experts
):
    before, sentences = tokenizer.encode("Before it."), ["Forty cloves. ", "In October."]
    read = voices_in(engine, tokenizer, before, sentences, experts)
    assert ["".join(token.text for token in tokens) for tokens in read] == sentences
    whole = [*before, *tokenizer.encode("".join(sentences))]
    tokens = [token for sentence in read for token in sentence]
    for column, expert in enumerate(experts):
        shares_T1, _ = engine.shares_of(whole, experts=[expert.hash])
        wanted = shares_T1[len(before) - 1 : -1, 0]
        assert np.allclose([t.shares[expert.name] for t in tokens], wanted, atol=1e-4)
        effects_TE = effect(engine, whole, [e.hash for e in experts], start=len(before))
        got = [token.effects[expert.name] for token in tokens]
        assert np.allclose(got, effects_TE[:, column], atol=1e-4)


def test_a_sentences_voice_is_the_mean_of_its_tokens_with_notes_behind_whoever_is_heard():
    tokens = [
        TokenVoice("a", {"ada": 0.2, "bea": 0.0}, {"ada": 1.0, "bea": 0.0}),
        TokenVoice("b", {"ada": 0.4, "bea": 0.0}, {"ada": -0.5, "bea": 0.0}),
    ]
    note = Behind("ada", "garlic.md", "Garlic", 1, 3)
    voice = sentence_voice(tokens, "a b", lambda expert, text: (note,))
    assert voice.shares == {"ada": 0.3, "bea": 0.0}
    assert voice.effects == {"ada": 0.25, "bea": 0.0}
    assert voice.behind == {"ada": (note,)}
    assert sentence_voice([], "", lambda *_: ()) is None


def test_the_notes_behind_an_expert_are_of_its_own_collection(library):
    behind = notes_behind(library)
    found = behind("orchard", "Forty cloves of garlic were planted.")
    assert found[0].path == "garlic.md"
    assert {note.collection for note in found} == {"orchard"}
    assert all(note.collection == "harbour" for note in behind("harbour", "garlic and the ferry"))
    assert behind("somebody-elses", "garlic") == ()


@pytest.mark.parametrize("can_write", [True, False])
def test_an_answer_tells_each_sentences_voice_when_asked(library, tokenizer, engine, can_write):
    writer = Writer(
        library,
        StemEmbedder(),
        lambda: engine,
        lambda: tokenizer,
        lambda: (ADA, BEA),
        can_write=can_write,
    )
    quiet = writer.answer(QUESTION)
    told = list(writer.ask(QUESTION, with_voice=True))
    sentences = [event for event in told if isinstance(event, Sentence)]
    voiced = [event for event in told if isinstance(event, Voiced)]
    assert quiet.sentences == sentences
    assert not quiet.voices
    assert [event.sentence for event in voiced] == list(range(len(sentences)))
    for sentence, event in zip(sentences, voiced, strict=True):
        text = "".join(token.text for token in event.voice.tokens)
        assert text.strip() == sentence.text
        assert event.voice.shares.keys() == {"ada", "bea"}


# From an expert's memory

CARRIED, REMEMBERED = "The garlic went into the long bed on 28 October.", "Zebras graze quietly."


class Remembering(TalkingRuntime):
    """Expects what it says with Ada's expert in place; without it, any token as much as another."""

    def logits_of(self, span):
        logits_LV = super().logits_of(span)
        return logits_LV if ADA.hash in span.experts else np.zeros_like(logits_LV)


def remembering(library, tokenizer, experts=(ADA, BEA)) -> Writer:
    engine = Engine(Remembering(tokenizer, lambda _: f"{CARRIED} [1] {REMEMBERED}"))
    engine.add_expert(ADA.hash, {"share": 0.25})
    engine.add_expert(BEA.hash, {"share": 0.5})
    return Writer(
        library,
        StemEmbedder(),
        lambda: engine,
        lambda: tokenizer,
        lambda: experts,
        can_write=True,
    )


def test_what_no_passage_carries_and_an_expert_raised_is_from_its_memory(library, tokenizer):
    """Bea is louder, but it is without Ada that nobody would have said it."""
    writer = remembering(library, tokenizer)
    told = writer.answer(QUESTION)
    assert [(one.text, one.mark) for one in told.sentences if one.kind == "prose"] == [
        (CARRIED, "supported"),
        (REMEMBERED, "unsupported"),
    ]
    assert {place: one.expert for place, one in told.memories.items()} == {1: "ada"}
    # Any of the vocabulary's tokens as much as another, without Ada; with it, all but certain.
    vocabulary = writer.engine().runtime.config.vocab_size
    num_tokens = len(writer.answer(QUESTION, with_voice=True).voices[1].tokens)
    wanted = num_tokens * math.log(vocabulary)
    assert told.memories[1].effect == pytest.approx(wanted, rel=0.05)
    assert not told.voices
    assert writer.answer(QUESTION, with_voice=True).memories == told.memories


def test_a_base_that_says_it_alone_remembers_nothing(library, tokenizer):
    engine = talking_engine(tokenizer, lambda _: f"{CARRIED} [1] {REMEMBERED}")
    writer = Writer(
        library,
        StemEmbedder(),
        lambda: engine,
        lambda: tokenizer,
        lambda: (ADA, BEA),
        can_write=True,
    )
    told = writer.answer(QUESTION)
    assert "unsupported" in {one.mark for one in told.sentences}
    assert told.memories == {}


def test_honesty_keeps_what_is_from_memory_back_and_tells_of_none(library, tokenizer):
    told = remembering(library, tokenizer).answer(QUESTION, is_honest=True)
    assert told.memories == {}
    assert REMEMBERED not in str(told.sentences)


def test_a_draft_tells_memories_by_their_place_in_the_whole(library, tokenizer):
    drafting = Drafting()
    task = "garlic in the long bed, Germidour cloves and potash; pears picked before they are ripe"
    for event in write(remembering(library, tokenizer), task):
        drafting.take(event)
    sections = drafting.sections()
    sentences = [piece for part in sections for piece in part.pieces]
    uncarried = [one for one in sentences if one.mark == "unsupported"]
    assert len(sentences) > len(uncarried) > 2
    assert [one for one in sentences if one.memory] == uncarried
    assert {one.memory for one in uncarried} == {"ada"}
    text = as_markdown(Draft(task, "post", 300, False, sections))
    assert text.count("from the memory of ada") == len(uncarried)

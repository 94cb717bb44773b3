"""Honesty mode: nothing unsupported is shown, all that is kept back is said, copies are told."""

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writing_makers import ADA, BEA, StemEmbedder, source, squeezed, talking_engine

from tramontane.engine.engine import Engine
from tramontane.engine.request import Request
from tramontane.errors import RequestError
from tramontane.writing import draft as draft_module
from tramontane.writing.answer import Writer, prose_sentence
from tramontane.writing.draft import write
from tramontane.writing.draft_export import as_markdown
from tramontane.writing.events import Sentence, SentenceVoice, Voiced, Withheld
from tramontane.writing.honesty import COPIED_WORDS, copied_stretches, honest
from tramontane.writing.kept_draft import Draft, Drafting

PASSAGES = (
    source(1, "The garlic went into the long bed on 28 October.\nPotash came in February."),
    source(2, "Forty cloves were planted,\nall of them Germidour.", first_line=8),
)
KEPT = "The garlic went into the long bed on 28 October."
INVENTED = "The zebras of Patagonia bought forty helicopters in Lisbon."
ABOUT_POTASH = "Potash came in 1987 by helicopter."
NO_VOICE = SentenceVoice({}, {}, (), {})


def quotation(text: str, number: int = 1) -> Sentence:
    return Sentence(text, "quotation", number, 1, 1, overlap=1.0, mark="supported")


def told(texts, quotable=(), voices=()) -> list:
    written = [prose_sentence(text, PASSAGES, None) for text in texts]
    return list(honest(iter([*written, *voices]), PASSAGES, lambda: quotable))


def test_an_unsupported_sentence_is_kept_back_and_said():
    kept, withheld = told([KEPT, INVENTED])
    assert kept.text == KEPT
    assert withheld == Withheld(None)


def test_a_quotation_of_the_same_stands_in_its_place_once():
    potash = quotation("Potash came in February.")
    first, second = told([ABOUT_POTASH, ABOUT_POTASH], [quotation(KEPT), potash])
    assert (first, second) == (Withheld(potash), Withheld(None))


def test_an_answer_that_was_all_kept_back_ends_with_the_best_quotation():
    best = quotation(KEPT)
    assert told([INVENTED], [best, quotation("Potash came in February.")]) == [Withheld(None), best]
    assert told([INVENTED]) == [Withheld(None)]


def test_nothing_is_told_of_a_voice_that_was_kept_back():
    voices = [Voiced(0, NO_VOICE), Voiced(1, NO_VOICE)]
    *_, voiced = told([INVENTED, KEPT], voices=voices)
    assert voiced == voices[1]
    assert sum(isinstance(event, Voiced) for event in told([INVENTED, KEPT], voices=voices)) == 1


def test_a_copied_sentence_is_a_quotation_at_its_lines():
    (sentence,) = told(["Forty cloves were planted, all of them Germidour."])
    assert (sentence.kind, sentence.mark, sentence.source) == ("quotation", "supported", 2)
    assert (sentence.first_line, sentence.last_line) == (8, 9)
    (sentence,) = told(["Potash came in February."])
    assert (sentence.kind, sentence.first_line, sentence.last_line) == ("quotation", 2, 2)


def test_a_copied_stretch_is_told_inside_a_sentence():
    text = "So the garlic went into the long bed on 28 October."
    ((span, place),) = copied_stretches(text, PASSAGES[0].text)
    assert PASSAGES[0].text[slice(*place)] == "The garlic went into the long bed on 28 October"
    assert text[slice(*span)] == "the garlic went into the long bed on 28 October"
    (sentence,) = told([text])
    assert (sentence.kind, sentence.copied) == ("prose", (span,))


WORDS = st.lists(st.sampled_from("ask bed cut dig eat far 7 gap".split()), max_size=24)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_copied_spans_are_all_the_places_that_the_source_holds(mine, theirs):
    text, passage = " ".join(mine), ", ".join(theirs).upper()
    held = f" {' '.join(theirs)} "
    covered = set()
    for (begin, end), place in copied_stretches(text, passage):
        stretch = text[begin:end].split()
        assert len(stretch) >= min(COPIED_WORDS, len(mine))
        assert passage[slice(*place)].casefold().split(", ") == stretch
        first = len(text[:begin].split())
        assert covered.isdisjoint(range(first, first + len(stretch)))
        covered |= set(range(first, first + len(stretch)))
    # The slow way: a run of so many words that the source holds lies in some span, or overlaps one.
    for at in range(len(mine) - COPIED_WORDS + 1):
        if f" {' '.join(mine[at : at + COPIED_WORDS])} " in held:
            assert covered & set(range(at, at + COPIED_WORDS))


SAID = st.lists(st.sampled_from([KEPT, INVENTED, ABOUT_POTASH, "Forty cloves."]), max_size=5)


@settings(max_examples=60, deadline=None)
@given(SAID, st.booleans())
def test_nothing_unsupported_is_shown_and_every_sentence_has_its_event(said, has_quotable):
    quotable = [quotation("Potash came in February.")] if has_quotable else []
    events = told(said, quotable)
    marks = [prose_sentence(text, PASSAGES, None).mark for text in said]
    for mark, event in zip(marks, events, strict=False):
        assert isinstance(event, Withheld) == (mark == "unsupported")
    assert len(events) - len(said) in (0, 1)
    shown = [event.instead if isinstance(event, Withheld) else event for event in events]
    assert all(one.mark != "unsupported" for one in shown if one)
    if has_quotable:
        assert any(shown)


# Through the writer

WRITTEN = f"{KEPT} {INVENTED} All forty cloves of Germidour came by ship from Lisbon."


def writer_saying(said: str, library, tokenizer, experts=()) -> tuple[Writer, Engine]:
    engine = talking_engine(tokenizer, lambda prompt: said)
    places = (library, StemEmbedder(), lambda: engine, lambda: tokenizer, lambda: experts)
    return Writer(*places, can_write=True), engine


def writer_of(library, tokenizer) -> Writer:
    return writer_saying(WRITTEN, library, tokenizer)[0]


def test_an_honest_answer_shows_nothing_that_the_notes_do_not_back(library, tokenizer):
    question = "When did the garlic go into the long bed?"
    free = writer_of(library, tokenizer).answer(question)
    assert any(one.mark == "unsupported" for one in free.sentences)
    answer = writer_of(library, tokenizer).answer(question, is_honest=True)
    assert sum(isinstance(one, Withheld) for one in answer.sentences) == sum(
        one.mark == "unsupported" for one in free.sentences
    )
    everything = " ".join(squeezed(one.text) for one in answer.sources)
    for one in answer.sentences:
        shown = one.instead if isinstance(one, Withheld) else one
        if shown and shown.kind == "quotation":
            assert squeezed(shown.text) in everything
    assert "zebras" not in str(answer)


def test_an_honest_draft_says_what_it_kept_back(library, tokenizer):
    drafting, task = Drafting(), "garlic in the long bed, Germidour cloves"
    for event in write(writer_of(library, tokenizer), task, is_honest=True):
        drafting.take(event)
    sections = drafting.sections()
    assert "zebras" not in (text := as_markdown(Draft(task, "post", 300, True, sections)))
    assert "A sentence was kept back" in text


def counted(monkeypatch, place, name: str) -> list:
    """Returns a list that grows with each call of place.name."""
    calls, real = [], getattr(place, name)

    def call(*arguments, **options):
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(place, name, call)
    return calls


@pytest.mark.parametrize(("said", "is_backed"), [(KEPT, True), (WRITTEN, False)])
def test_an_answer_reads_only_those_quotations_that_it_shows(
    library, tokenizer, monkeypatch, said, is_backed
):
    writer, engine = writer_saying(said, library, tokenizer, (ADA, BEA))
    read = counted(monkeypatch, engine, "shares_of")
    answer = writer.answer("When did the garlic go into the long bed?", is_honest=True)
    instead = [one.instead for one in answer.sentences if isinstance(one, Withheld) and one.instead]
    assert bool(instead) != is_backed
    assert len(read) == len(instead)
    assert all(one.shares.keys() == {"ada", "bea"} for one in instead)


@pytest.mark.parametrize(("said", "times"), [(KEPT, 0), (f"{INVENTED} {INVENTED}", 1)])
def test_a_section_looks_for_quotations_once_if_at_all(
    library, tokenizer, monkeypatch, said, times
):
    writer, _ = writer_saying(said, library, tokenizer)
    looked = counted(monkeypatch, draft_module, "candidates")
    events = list(write(writer, "garlic in the long bed", sections=1, is_honest=True))
    assert sum(isinstance(one, Withheld) for one in events) == (2 if times else 0)
    assert len(looked) == times


def test_an_expert_that_is_withdrawn_meanwhile_ends_no_honest_answer(library, tokenizer):
    writer, engine = writer_saying(WRITTEN, library, tokenizer, (ADA,))
    withdrawing = threading.Thread(target=engine.remove_expert, args=(ADA.hash,))

    def is_refused() -> bool:
        try:
            engine.check(Request((1,), 1, experts=(ADA.hash,)))
        except RequestError:
            return True
        return False

    def say(prompt: str) -> str:
        if withdrawing.ident is None:
            withdrawing.start()
            while not is_refused():
                time.sleep(0.001)
        return WRITTEN

    engine.runtime.say = say
    answer = writer.answer("When did the garlic go into the long bed?", is_honest=True)
    withdrawing.join(20)
    assert not withdrawing.is_alive()
    instead = [one.instead for one in answer.sentences if isinstance(one, Withheld) and one.instead]
    assert [one.shares for one in instead] == [None] * len(instead) != []


def test_honesty_and_own_words_are_not_asked_for_together(library, tokenizer):
    with pytest.raises(RequestError, match="one of the two"):
        writer_of(library, tokenizer).answer("Garlic?", own_words=True, is_honest=True)


def test_a_weak_sentence_stays_and_keeps_its_mark():
    weak = replace(prose_sentence(KEPT, PASSAGES, None), text="Cloves came.", mark="weak")
    (event,) = honest(iter([weak]), PASSAGES)
    assert (event.text, event.mark) == ("Cloves came.", "weak")

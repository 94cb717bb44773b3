"""Answers: every sentence opens its source, prose is marked, and what isn't there is not said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from library_makers import build, write_notes
from writing_makers import (
    ADA,
    BEA,
    StemEmbedder,
    is_idle,
    lines_of,
    source,
    squeezed,
    talking_engine,
)

from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine
from tramontane.errors import NotFound, PromptTooLong, RequestError
from tramontane.library.embed import WordLlamaEmbedder
from tramontane.writing.answer import CITATION, MAX_QUESTION_CHARACTERS, Writer
from tramontane.writing.events import Abstained, Done, OwnWords, Sentence, Sources
from tramontane.writing.overlap import SUPPORTED, UNSUPPORTED, overlap
from tramontane.writing.prompt import ANSWER, messages_for
from tramontane.writing.support import SupportCheck

# Each holds a sentence of one note word for word, so that any choosing finds it.
ANSWERED = {
    "When did the garlic go into the long bed?": "garlic.md",
    "How many cloves of Germidour were planted?": "garlic.md",
    "Was the Conference pear grafted onto quince?": "pears.md",
    "When does the ferry leave the north quay on weekdays?": "ferry.md",
    "What marks the sunken barge near the breakwater?": "buoys.md",
}
GARLIC_QUESTION = next(iter(ANSWERED))
NOWHERE = "Which mortgage rate do astronauts pay?"


def never():
    raise AssertionError("the base was asked for")


def quoting(library, experts=()) -> Writer:
    """Returns a writer that has no base at all."""
    return Writer(library, StemEmbedder(), never, never, lambda: experts, reads=False)


def writer_that_says(library, tokenizer, said: str, experts=(), **options) -> Writer:
    engine = talking_engine(tokenizer, lambda prompt: said)
    return Writer(
        library, StemEmbedder(), lambda: engine, lambda: tokenizer, lambda: experts, **options
    )


def assert_quotes_its_sources(library, answer) -> None:
    """Every sentence's number is a source, its text literally there, at the lines named."""
    assert [one.number for one in answer.sources] == list(range(1, len(answer.sources) + 1))
    assert {sentence.source for sentence in answer.sentences} == {s.number for s in answer.sources}
    for sentence in answer.sentences:
        assert (sentence.kind, sentence.overlap, sentence.mark) == ("quotation", 1.0, SUPPORTED)
        named = answer.sources[sentence.source - 1]
        first, last = sentence.first_line, sentence.last_line
        assert named.first_line <= first <= last <= named.last_line
        note = library.note(named.collection, named.path)
        assert (named.title, named.note_sha256) == (note.title, note.sha256)
        assert squeezed(sentence.text) in squeezed(lines_of(note.text, first, last))
        assert squeezed(sentence.text) in squeezed(named.text)


# Quoting


@pytest.mark.parametrize("question", ANSWERED)
def test_a_writer_without_a_base_quotes_and_never_asks_for_one(library, question):
    answer = quoting(library).answer(question)
    assert not answer.abstained
    assert_quotes_its_sources(library, answer)
    assert answer.sources[0].path == ANSWERED[question]
    assert {sentence.shares for sentence in answer.sentences} == {None}
    assert answer.own_words is None


@pytest.mark.parametrize("question", ANSWERED)
def test_a_base_that_reads_quotes_as_literally(library, tokenizer, question):
    writer = writer_that_says(library, tokenizer, "Never shown.")
    answer = writer.answer(question)
    assert not answer.abstained
    assert_quotes_its_sources(library, answer)
    assert answer.sources[0].path == ANSWERED[question]
    assert answer.own_words is None
    assert writer.engine().runtime.batches
    assert is_idle(writer.engine())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from("garlic pears quay buoy ferry 17 kg quince spade when how many".split()),
        min_size=1,
        max_size=6,
    ).map(" ".join)
)
def test_any_question_is_answered_from_sources_or_not_at_all(library, question):
    events = list(quoting(library).ask(question))
    answer = quoting(library).answer(question)
    assert isinstance(events[-1], Done)
    if answer.abstained:
        assert [type(event) for event in events] == [Abstained, Done]
        assert answer.reason
    else:
        assert [type(event) for event in events[:2]] == [Sources, Sentence]
        assert_quotes_its_sources(library, answer)


def test_only_the_collections_named_are_asked(library):
    for collection in ("orchard", "harbour"):
        answer = quoting(library).answer(GARLIC_QUESTION, collections=[collection])
        assert answer.abstained == (collection == "harbour")
        shown = [answer.closest] if answer.abstained else answer.sources
        assert {one.collection for one in shown} == {collection}
    with pytest.raises(NotFound, match="attic"):
        quoting(library).answer(GARLIC_QUESTION, collections=["attic"])


def test_quotations_carry_the_shares_of_experts_in_place(library, tokenizer):
    for experts in ((ADA, BEA), (BEA, ADA)):
        answer = writer_that_says(library, tokenizer, "", experts).answer(GARLIC_QUESTION)
        for sentence in answer.sentences:
            middle = (len(tokenizer.encode(sentence.text)) - 1) / 2 / 4096
            expected = {"ada": 0.25 + middle, "bea": 0.5 + middle}
            assert sentence.shares == pytest.approx(expected, abs=1e-4)
    writer = writer_that_says(library, tokenizer, "", (ADA,))
    answer = writer.answer(GARLIC_QUESTION, with_shares=False)
    assert {sentence.shares for sentence in answer.sentences} == {None}


# What the notes don't say


def test_what_is_nowhere_near_is_not_answered_and_the_closest_passage_is_shown(library, tokenizer):
    reading = writer_that_says(library, tokenizer, "Four per cent.")
    writing = writer_that_says(library, tokenizer, "Four per cent.", can_write=True)
    hits = library.search(NOWHERE)
    for writer in (quoting(library), reading, writing):
        answer = writer.answer(NOWHERE, own_words=True)
        assert answer.abstained
        assert (answer.sentences, answer.sources, answer.own_words) == ([], (), None)
        closest = answer.closest
        assert (closest.collection, closest.path) == (hits[0].collection, hits[0].path)
        assert (closest.text, closest.first_line) == (hits[0].text, hits[0].first_line)
        assert (closest.last_line, closest.note_sha256) == (hits[0].last_line, hits[0].note_sha256)


def test_the_reason_names_a_word_that_nothing_near_mentions(library):
    reason = quoting(library).answer("Which zebra?").reason
    assert "“zebra”" in reason


def test_without_notes_nothing_is_said(tmp_path):
    with build(tmp_path / "library.sqlite", {}, StemEmbedder()) as empty:
        for collections in (None, []):
            answer = quoting(empty).answer(GARLIC_QUESTION, collections=collections)
            assert answer.abstained
            assert answer.closest is None
            assert answer.reason.startswith("Your notes don't say")


def test_what_is_no_question_is_refused(library):
    for question in ("", " \n\t"):
        with pytest.raises(RequestError, match="empty"):
            quoting(library).answer(question)
    long = "a" * (MAX_QUESTION_CHARACTERS + 1)
    with pytest.raises(RequestError, match=f"{len(long)}.*{MAX_QUESTION_CHARACTERS}"):
        quoting(library).answer(long)
    assert quoting(library).answer(f" {long[1:]}\n").abstained


# The small model's own words


@pytest.mark.parametrize("said", ["Garlic likes été.\n\nAnd 日本 [1].", "No."])
def test_own_words_come_whole_after_the_quotations_and_only_when_asked_for(
    library, tokenizer, said
):
    writer = writer_that_says(library, tokenizer, said, (ADA, BEA))
    events = list(writer.ask(GARLIC_QUESTION, own_words=True))
    kinds = [type(event) for event in events]
    num_pieces = kinds.count(OwnWords)
    num_quoted = kinds.count(Sentence)
    assert kinds == [Sources, *[Sentence] * num_quoted, *[OwnWords] * num_pieces, Done]
    pieces = [event for event in events if isinstance(event, OwnWords)]
    assert "".join(piece.text for piece in pieces) == said
    assert all(piece.text and piece.shares.keys() == {"ada", "bea"} for piece in pieces)
    assert writer.answer(GARLIC_QUESTION, own_words=True).own_words == said
    assert writer.answer(GARLIC_QUESTION).own_words is None


def test_the_base_speaks_with_its_sources_before_it(library, tokenizer):
    heard = []
    engine = talking_engine(tokenizer, lambda prompt: heard.append(prompt) or "Yes.")
    writer = Writer(library, StemEmbedder(), lambda: engine, lambda: tokenizer, can_write=True)
    answer = writer.answer(GARLIC_QUESTION)
    expected = messages_for(ANSWER, GARLIC_QUESTION, answer.sources)
    assert set(heard) == {tokenizer.decode(tokenizer.encode_chat(expected))}


# Prose

WRITTEN = (
    "The garlic went into the long bed on 28 October [1]. Forty cloves were planted, all of them "
    "Germidour. [1] It went in on 29 October with forty cloves in the long bed! Zebras graze?"
)


def test_a_base_that_may_write_yields_sentences_with_their_support(library, tokenizer):
    writer = writer_that_says(library, tokenizer, WRITTEN, can_write=True)
    answer = writer.answer(GARLIC_QUESTION)
    written = [sentence for sentence in answer.sentences if sentence.kind == "prose"]
    assert [sentence.text for sentence in written] == [
        "The garlic went into the long bed on 28 October.",
        "Forty cloves were planted, all of them Germidour.",
        "It went in on 29 October with forty cloves in the long bed!",
        "Zebras graze?",
    ]
    assert_marked_by_support(written, answer.sources)
    first, second, wrong_day, unheard_of = written
    assert (first.mark, second.mark) == (SUPPORTED, SUPPORTED)
    assert answer.sources[first.source - 1].path == "garlic.md"
    assert (wrong_day.mark != SUPPORTED, unheard_of.mark) == (True, UNSUPPORTED)
    assert (unheard_of.source, unheard_of.first_line, unheard_of.last_line) == (None, None, None)
    assert is_idle(writer.engine())


def assert_marked_by_support(sentences, sources) -> None:
    by_number = {one.number: one for one in sources}
    texts = [one.text for one in sources]
    for sentence in sentences:
        (measured,) = SupportCheck().check([sentence.text], texts)
        assert (sentence.kind, sentence.mark) == ("prose", measured.verdict)
        assert sentence.support == pytest.approx(measured.score, abs=1e-3)
        assert sentence.overlap == pytest.approx(overlap(sentence.text, texts).share, abs=1e-3)
        for word in sentence.missing:
            assert word in sentence.text
            assert word not in " ".join(texts)
        if measured.passage is None:
            assert (sentence.source, sentence.first_line, sentence.last_line) == (None, None, None)
        else:
            named = by_number[sentence.source]
            assert named is sources[measured.passage]
            assert (sentence.first_line, sentence.last_line) == (named.first_line, named.last_line)


def test_how_far_the_base_has_read_is_said_before_the_answer_begins(library, tokenizer):
    told = []
    writer = writer_that_says(library, tokenizer, "No.", report=lambda *so_far: told.append(so_far))
    events = writer.ask(GARLIC_QUESTION)
    assert isinstance(next(events), Sources)
    num_told = len(told)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1] == told[-1][2] > 0
    assert len(list(events)) > 0
    assert len(told) == num_told


def test_below_prose_stand_the_quotations_whose_words_it_hasnt_used(library, tokenizer):
    quoted = quoting(library).answer(GARLIC_QUESTION).sentences
    assert len(quoted) > 1
    for said, expected in (
        ("Zebras graze.", quoted),
        (f"{quoted[0].text} [1]", quoted[1:]),
        (" ".join(one.text for one in quoted), []),
    ):
        writer = writer_that_says(library, tokenizer, said, can_write=True, reads=False)
        answer = writer.answer(GARLIC_QUESTION)
        assert [s for s in answer.sentences if s.kind == "quotation"] == expected
        kinds = [sentence.kind for sentence in answer.sentences]
        assert kinds == sorted(kinds), "prose stands above quotations"


def test_a_citation_after_the_last_sentence_is_no_sentence(library, tokenizer):
    writer = writer_that_says(
        library, tokenizer, "Garlic went into the long bed. [1]", can_write=True
    )
    answer = writer.answer(GARLIC_QUESTION)
    written = [sentence.text for sentence in answer.sentences if sentence.kind == "prose"]
    assert written == ["Garlic went into the long bed."]


WORDS = "garlic pears été 日本 17 3.5 oil quay ferry’s planted the of".split()
SAID = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join),
        st.sampled_from(["", " [1]", " [2] [12]"]),
        st.sampled_from(".!?"),
    ),
    min_size=1,
    max_size=4,
)
# Numbered as the second section of a draft is.
PASSAGES = (
    source(4, "The garlic and the pears were planted.\n17 in all.", first_line=3),
    source(5, "Oil the ferry’s winch, 3.5 litres, at the quay.", first_line=9),
)


@settings(max_examples=40, deadline=None)
@given(said=SAID, between=st.sampled_from([" ", "\n", "\n\n"]))
def test_no_word_of_prose_is_lost_and_every_mark_is_that_of_its_support(
    library, tokenizer, said, between
):
    text = between.join(words + citation + end for words, citation, end in said)
    writer = writer_that_says(library, tokenizer, text, (ADA, BEA))
    sentences = list(writer.prose(ANSWER, "Say it.", PASSAGES, (BEA, ADA)))
    assert [sentence.text for sentence in sentences] == [words + end for words, _, end in said]
    assert_marked_by_support(sentences, PASSAGES)
    for sentence in sentences:
        assert not CITATION.search(sentence.text)
        assert sentence.shares["bea"] - sentence.shares["ada"] == pytest.approx(0.25)


def test_prose_is_refused_rather_than_cut_where_no_passage_fits(library, tokenizer):
    engine = talking_engine(tokenizer, lambda prompt: "Never said.", max_context_tokens=512)
    writer = Writer(
        library, StemEmbedder(), lambda: engine, lambda: tokenizer, reads=False, can_write=True
    )
    with pytest.raises(PromptTooLong, match=r"\d+ tokens, \d+ fit"):
        writer.answer(GARLIC_QUESTION)
    assert is_idle(engine)


# The real thing


@pytest.mark.slow
def test_the_real_base_and_vectors_quote_the_garden(smollm2, garden, tmp_path):
    embed = WordLlamaEmbedder()
    engine = Engine(open_runtime(smollm2, "native", threads=1), max_tokens=4096)
    tokenizer = smollm2.tokenizer()
    names = ("garlic.md", "comfrey-feed.md", "compost-heap.md")
    folder = write_notes(tmp_path / "garden", {n: (garden / n).read_bytes() for n in names})
    with build(tmp_path / "library.sqlite", {"garden": folder}, embed) as library:
        writer = Writer(library, embed, lambda: engine, lambda: tokenizer)
        answer = writer.answer("How many cloves were the four bulbs of Germidour split into?")
        assert not answer.abstained
        assert_quotes_its_sources(library, answer)
        assert any("41 cloves" in sentence.text for sentence in answer.sentences)
        assert writer.answer("Which mortgage rate does the central bank set?").abstained
    assert is_idle(engine)

"""What the base says arrives in pieces: whole, without stop strings, with shares by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writing_makers import ADA, BEA, is_idle, talking_engine

from tramontane.errors import RequestError
from tramontane.writing.speak import ExpertInPlace, Piece, speak, voice_in, voice_of

CHAT = [{"role": "user", "content": "Speak."}]
TEXTS = st.text(
    st.sampled_from("ethe anos é日🌾\n<|im_end|>\u0301א") | st.characters(codec="utf-8"),
    max_size=24,
)


def spoken(tokenizer, said, max_new_tokens=200, **options):
    """Returns (pieces, the engine) of a base that says this."""
    engine = talking_engine(tokenizer, lambda prompt: said)
    ids = tokenizer.encode_chat(CHAT)
    pieces = list(speak(engine, tokenizer, ids, max_new_tokens=max_new_tokens, **options))
    assert is_idle(engine)
    return pieces, engine


@settings(max_examples=40, deadline=None)
@given(said=st.lists(st.integers(3, 263), max_size=30) | TEXTS)
def test_pieces_concatenate_to_the_whole(tokenizer, said):
    ids = tokenizer.encode(said) if isinstance(said, str) else said
    pieces, _ = spoken(tokenizer, ids)
    assert "".join(piece.text for piece in pieces) == tokenizer.decode(ids)
    # The token that ends the turn counts as well.
    assert sum(piece.num_tokens for piece in pieces) == len(ids) + 1
    assert [piece.finish for piece in pieces] == [None] * len(ids) + ["end"]


@settings(max_examples=20, deadline=None)
@given(said=TEXTS.filter(bool), data=st.data())
def test_what_is_cut_by_length_is_whole_up_to_there(tokenizer, said, data):
    ids = tokenizer.encode(said)
    most = data.draw(st.integers(1, len(ids)))
    pieces, _ = spoken(tokenizer, ids, max_new_tokens=most)
    assert "".join(piece.text for piece in pieces) == tokenizer.decode(ids[:most])
    assert pieces[-1].finish == "length"
    assert sum(piece.num_tokens for piece in pieces) == most


@settings(max_examples=40, deadline=None)
@given(before=TEXTS, stop=TEXTS.filter(bool), after=TEXTS)
def test_stop_strings_never_leak_and_end_the_request(tokenizer, before, stop, after):
    whole = tokenizer.decode(tokenizer.encode(before + stop + after))
    pieces, _ = spoken(tokenizer, before + stop + after, stop_strings=(stop,))
    shown = "".join(piece.text for piece in pieces)
    assert shown == whole.split(stop, 1)[0]
    assert pieces[-1].finish == "stop"
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    num_before = len(tokenizer.encode(before))
    assert len(pieces) <= num_before + len(tokenizer.encode(stop)) + 4


@pytest.mark.parametrize("experts", [(ADA, BEA), (BEA, ADA), (ADA,), (BEA,)])
def test_shares_are_by_name_in_whatever_order_experts_are_given(tokenizer, experts):
    pieces, _ = spoken(tokenizer, "Beans.", experts=experts)
    num_read = len(tokenizer.encode_chat(CHAT))
    own = {"ada": 0.25, "bea": 0.5}
    for place, piece in enumerate(pieces):
        # A token's share is that of the position that produced it.
        assert piece.shares == pytest.approx(
            {expert.name: own[expert.name] + (num_read - 1 + place) / 4096 for expert in experts}
        )


def test_without_experts_there_are_no_shares(tokenizer):
    pieces, _ = spoken(tokenizer, "Beans.")
    assert {piece.shares for piece in pieces} == {None}


def test_a_failure_underway_is_told_and_leaves_the_engine_free(tokenizer):
    engine = talking_engine(tokenizer, lambda prompt: "Beans and peas.")
    ids = tokenizer.encode_chat(CHAT)
    pieces = speak(engine, tokenizer, ids, max_new_tokens=50)
    assert next(pieces).text == "B"
    engine.runtime.failures.append(MemoryError("no room for keys"))
    with pytest.raises(RequestError, match="no room for keys"):
        list(pieces)
    assert is_idle(engine)


def test_closing_ends_the_request(tokenizer):
    engine = talking_engine(tokenizer, lambda prompt: "Beans and peas.")
    pieces = speak(engine, tokenizer, tokenizer.encode_chat(CHAT), max_new_tokens=50)
    next(pieces)
    assert not is_idle(engine)
    pieces.close()
    assert is_idle(engine)


@settings(max_examples=20, deadline=None)
@given(text=TEXTS.filter(bool))
def test_shares_in_a_given_text_are_means_over_its_tokens(tokenizer, text):
    engine = talking_engine(tokenizer)
    places_T = np.arange(len(tokenizer.encode(text))) / 4096
    for experts in ((ADA, BEA), (BEA, ADA)):
        assert voice_in(engine, tokenizer, text, experts).shares == pytest.approx(
            {"ada": 0.25 + places_T.mean(), "bea": 0.5 + places_T.mean()}, abs=1e-4
        )
    assert is_idle(engine)


def test_no_experts_or_no_text_have_no_shares(tokenizer):
    engine = talking_engine(tokenizer)
    assert voice_in(engine, tokenizer, "Beans.", ()) is None
    assert voice_in(engine, tokenizer, "", (ADA,)) is None


def pieces_with(*gates: dict[str, float]) -> list[Piece]:
    return [Piece("so", 1, dict.fromkeys(row, 0.1), gates=row) for row in gates]


@pytest.mark.parametrize(
    ("ada", "bea", "named"),
    [
        ((0.4, 0.8), (0.0, 0.3), ("ada",)),
        ((0.4, 0.6), (0.0, 0.3), ()),  # at the mean gate itself, not above
        ((0.4, 0.8), (0.3, 0.3), ("ada", "bea")),
        ((0.4, 0.8), (0.9, 0.9), ("bea", "ada")),
        ((0.1, 0.1), (0.9, 0.9), ("bea",)),
    ],
)
def test_pieces_are_named_after_whoevers_mean_gate_is_above_its_own_line(ada, bea, named):
    experts = (
        ExpertInPlace("ada", "f" * 64, 0.5, frozenset({"1" * 64})),
        ExpertInPlace("bea", "1" * 64, 0.2, frozenset({"f" * 64})),
    )
    pieces = pieces_with(*({"ada": a, "bea": b} for a, b in zip(ada, bea, strict=True)))
    assert voice_of(pieces, experts).named == named
    # Those that don't look alike don't share the credit.
    apart = [ExpertInPlace(e.name, e.hash, e.named_above) for e in experts]
    assert voice_of(pieces, apart).named == named[:1]


def test_nobody_is_heard_in_pieces_that_nobody_listened_to():
    assert voice_of([Piece("so", 1, None)], (ADA,)) is None
    assert voice_of([], ()) is None

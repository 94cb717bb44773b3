"""Law 4: the pieces concatenate to the whole; no piece ends inside a character; no stop leaks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontane.tokenizer.text_stream import TextStream

VOCABULARIES = ("smollm2_tokenizer", "tiny_bytes", "tiny_pieces")
# SmolLM2's vocabulary lacks two bytes that begin characters from U+40000 on.
TEXTS = st.text(
    st.sampled_from("ethe anos é日🌾\n<|im_end|>▁\u200d\u0301١א")
    | st.characters(max_codepoint=0x3FFFF),
    max_size=30,
)


@pytest.fixture(scope="module", params=VOCABULARIES)
def tokenizer(request):
    return request.getfixturevalue(request.param)


def pieces_of(tokenizer, ids, stops=()) -> tuple[list[str], TextStream]:
    stream = TextStream(tokenizer, stops)
    return [*(stream.push(token_id) for token_id in ids), stream.finish()], stream


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_pieces_of_any_ids_concatenate_to_the_whole(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    whole = tokenizer.decode(ids)
    pieces, stream = pieces_of(tokenizer, ids)
    assert "".join(pieces) == whole
    assert not stream.is_stopped
    shown = ""
    for piece in pieces:
        # A piece that ended inside a character would hold a U+FFFD that the whole doesn't have.
        shown += piece
        assert whole.startswith(shown)


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_text_is_shown_as_soon_as_its_characters_are_whole(tokenizer, text):
    ids = tokenizer.encode(text)
    stream, shown = TextStream(tokenizer), ""
    for place, token_id in enumerate(ids, start=1):
        shown += stream.push(token_id)
        so_far = b"".join(map(tokenizer.token_bytes, ids[:place]))
        whole = so_far.decode("utf-8", "ignore")
        assert shown == (whole.removeprefix(" ") if tokenizer.strips_first_space else whole)
    assert shown + stream.finish() == tokenizer.decode(ids)


def cut_before_the_first_stop(whole: str, stops: list[str]) -> str:
    """Returns the text before the stop string that is complete first, the longest of such."""
    for end in range(len(whole) + 1):
        ending = [len(stop) for stop in stops if stop and whole[:end].endswith(stop)]
        if ending:
            return whole[: end - max(ending)]
    return whole


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_stop_strings_never_leak(tokenizer, data):
    ids = tokenizer.encode(data.draw(TEXTS))
    whole = tokenizer.decode(ids)
    parts = [whole[start : start + length] for start in range(len(whole)) for length in (1, 2, 5)]
    some = st.text(st.sampled_from("the an"), min_size=1, max_size=4)
    stops = data.draw(st.lists((st.sampled_from(parts) | some) if parts else some, max_size=4))
    pieces, stream = pieces_of(tokenizer, ids, stops)
    shown = "".join(pieces)
    assert shown == cut_before_the_first_stop(whole, stops)
    assert stream.is_stopped == (shown != whole)
    assert not any(stop in shown for stop in stops)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_beginning_of_a_stop_that_comes_is_shown_early(tiny_bytes, data):
    """One byte at a time, what is shown is always what a stop now complete would have left."""
    text = data.draw(st.text(st.sampled_from("abcé"), max_size=20))
    stops = data.draw(
        st.lists(st.text(st.sampled_from("abcé"), min_size=1, max_size=5), max_size=3)
    )
    final, stream, shown = cut_before_the_first_stop(text, stops), TextStream(tiny_bytes, stops), ""
    for byte in text.encode():
        shown += stream.push(3 + byte)
        assert final.startswith(shown)
    assert shown + stream.finish() == final


def test_nothing_comes_after_a_stop(tiny_bytes):
    stream = TextStream(tiny_bytes, ["e a"])
    pieces = [stream.push(token_id) for token_id in tiny_bytes.encode("the and")]
    assert "".join(pieces) == "th"
    assert stream.is_stopped
    assert [stream.push(tiny_bytes.encode("x")[0]), stream.finish()] == ["", ""]


def test_the_stop_that_ends_first_counts_however_tokens_cut(tiny_bytes):
    for ids in (tiny_bytes.encode("the"), [3 + byte for byte in b"the"]):
        shown, stream = pieces_of(tiny_bytes, ids, ["thex", "the", "h"])
        assert "".join(shown) == "t"
        assert stream.is_stopped


def test_an_unfinished_character_becomes_a_replacement(tiny_bytes):
    first_byte = tiny_bytes.encode("日")[:1]
    pieces, _ = pieces_of(tiny_bytes, first_byte)
    assert pieces == ["", "\ufffd"]


def test_control_tokens_say_nothing(tiny_bytes):
    pieces, _ = pieces_of(tiny_bytes, [1, *tiny_bytes.encode("a"), 2])
    assert pieces == ["", "a", "", ""]

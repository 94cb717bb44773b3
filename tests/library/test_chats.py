"""Chats: kept whole, found by words, each key's its own, and gone from every byte when removed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from library_makers import write_notes

from tramontane.errors import NotFound
from tramontane.library.chat_forgetting import without
from tramontane.library.chats import Chat, ChatEvent, Lost
from tramontane.library.forgetting import Traces
from tramontane.library.library import Library

HERON = "The heron at gauge board nine stood on one leg through all of the frost."
MILL = "The mill stone was dressed in April by two men."
NOTHING = Lost()


@pytest.fixture
def library(tmp_path: Path):
    with Library(tmp_path / "library.sqlite") as library:
        for name, text in (("canal", HERON), ("mill", MILL)):
            write_notes(tmp_path / name, {f"{name}.md": f"# {name.title()}\n\n{text}\n"})
            library.add_collection(name, tmp_path / name)
            library.sync(name)
        yield library


def source(number: int, collection: str, text: str) -> dict:
    return {
        "number": number,
        "collection": collection,
        "path": f"{collection}.md",
        "title": collection.title(),
        "text": text,
    }


def quotation(number: int, text: str, **shares: float) -> ChatEvent:
    told = {"text": text, "kind": "quotation", "source": number, "shares": shares or None}
    return "sentence", told | {"named": [name for name, share in shares.items() if share > 0]}


def prose(text: str, number: int | None = None, **shares: float) -> ChatEvent:
    told = {"text": text, "kind": "prose", "source": number, "shares": shares or None}
    return "sentence", told | {"named": list(shares)}


BOTH = (
    ("sources", {"sources": [source(1, "canal", HERON), source(2, "mill", MILL)]}),
    quotation(1, HERON, canal=0.3, mill=0.1),
    quotation(2, MILL, canal=0.2, mill=0.1),
    ("done", {"seconds": 0.2, "num_tokens": 0}),
)
ONLY_MILL = (
    ("sources", {"sources": [source(1, "mill", MILL)]}),
    quotation(1, MILL, canal=0.0, mill=0.1),
    ("done", {"seconds": 0.2, "num_tokens": 0}),
)


def asked(library: Library, question: str, events=BOTH, key_id=None, state="done") -> Chat:
    chat = library.chats.begin(question, ["canal", "mill"], ["canal", "mill"], key_id)
    assert library.chats.end(chat.id, events, state)
    return library.chats.chat(chat.id, key_id)


def bytes_of(library: Library) -> bytes:
    """Returns all that lies in the library's file and its log."""
    return b"".join(file.read_bytes() for file in library.file.parent.glob("library.sqlite*"))


def test_a_chat_is_unfinished_until_its_answer_ends(library: Library):
    begun = library.chats.begin("Who stood?", ["canal"], ["mill"])
    assert (begun.state, begun.events) == ("unfinished", ())
    assert library.chats.ls() == [begun]
    assert library.chats.end(begun.id, BOTH, "done")
    chat = library.chats.chat(begun.id)
    assert (chat.question, chat.state, chat.asked) == ("Who stood?", "done", begun.asked)
    assert (chat.collections, chat.experts, chat.events) == (("canal",), ("mill",), BOTH)


def test_the_newest_come_first_in_lists_that_follow_on_each_other(library: Library):
    ids = [asked(library, f"Question {n}?").id for n in range(7)]
    first = library.chats.ls(limit=3)
    assert [chat.id for chat in first] == ids[:3:-1]
    assert all(chat.events == () for chat in first)
    second = library.chats.ls(limit=3, before=first[-1].id)
    assert [chat.id for chat in second] == ids[3:0:-1]
    assert [chat.id for chat in library.chats.ls(before=second[-1].id)] == ids[:1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", ["Où est l'écluse?", "Which men?"]),
        ("ECLUSE", ["Où est l'écluse?"]),
        ("men", ["Où est l'écluse?", "Which men?"]),
        ("which men", ["Which men?"]),
        ("men which", ["Which men?"]),
        ("dressed heron", ["Où est l'écluse?"]),
        ("mill.md", ["Où est l'écluse?", "Which men?"]),
        ("swan", []),
        ("100%_'\"", []),
    ],
)
def test_words_are_found_in_question_and_answer(library: Library, words: str, found: list[str]):
    asked(library, "Which men?", ONLY_MILL)
    asked(library, "Où est l'écluse?", BOTH)
    assert [chat.question for chat in library.chats.ls(words=words)] == found


def test_each_key_has_its_own(library: Library):
    reader, _ = library.keys.add("reader", "ask")
    other, _ = library.keys.add("other", "manage")
    theirs = asked(library, "Mine?", key_id=reader.id)
    here = asked(library, "This machine's?")
    assert [c.id for c in library.chats.ls(reader.id)] == [theirs.id]
    assert library.chats.ls(other.id) == []
    assert [c.id for c in library.chats.ls()] == [here.id]
    for key_id in (other.id, None):
        with pytest.raises(NotFound, match="another key's"):
            library.chats.chat(theirs.id, key_id)
        with pytest.raises(NotFound):
            library.chats.remove(theirs.id, key_id)
    assert library.chats.clear(other.id) == 0
    assert library.chats.clear() == 1
    assert library.chats.ls(reader.id)
    assert library.chats.clear(everyone=True) == 1


def test_a_revoked_keys_chats_go_with_it(library: Library):
    reader, _ = library.keys.add("reader", "ask")
    asked(library, "Mine?", key_id=reader.id)
    library.keys.revoke("reader")
    assert library.chats.clear(everyone=True) == 0


def test_what_is_removed_is_in_no_byte(library: Library):
    kept, gone = asked(library, "Kept zebra?"), asked(library, "Gone giraffe?")
    assert b"giraffe" in bytes_of(library)
    library.chats.remove(gone.id)
    assert b"giraffe" not in bytes_of(library)
    assert b"zebra" in bytes_of(library)
    with pytest.raises(NotFound, match="no answer"):
        library.chats.remove(gone.id)
    assert library.chats.clear() == 1
    assert b"zebra" not in bytes_of(library)
    assert not library.chats.end(kept.id, BOTH, "done")


KILLED = """
import os, signal, sys
from pathlib import Path
from tramontane.library.library import Library
library = Library(Path(sys.argv[1]))
done = library.chats.begin("Finished?", [], [])
library.chats.end(done.id, [("done", {"seconds": 0.1, "num_tokens": 0})], "done")
library.chats.begin("Underway?", [], [])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_server_loses_no_finished_answer_and_leaves_the_other_marked(tmp_path: Path):
    file = tmp_path / "library.sqlite"
    done = subprocess.run([sys.executable, "-c", KILLED, str(file)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    with Library(file) as library:
        states = [(chat.question, chat.state) for chat in library.chats.ls()]
    assert states == [("Underway?", "unfinished"), ("Finished?", "done")]


# Forgetting a collection


def forget(library: Library, name: str = "canal") -> Traces:
    foretold = library.traces(name)
    done = library.forget(name)
    assert done == foretold
    assert library.traces(name).is_empty
    return done


def test_an_answer_loses_what_it_quotes_of_a_forgotten_collection_and_says_so(library: Library):
    before = asked(library, "Who was there?")
    assert b"heron" in bytes_of(library)
    assert forget(library).chats == 1
    (listed,) = library.chats.ls()
    assert listed.forgotten == Lost(sentences=1, passages=1)
    chat = library.chats.chat(before.id)
    assert chat.events == (
        ("sources", {"sources": [source(2, "mill", MILL)]}),
        ("forgotten", {}),
        quotation(2, MILL, mill=0.1),
        before.events[3],
    )
    assert (chat.collections, chat.experts, chat.state) == (("mill",), ("mill",), "done")
    held = bytes_of(library).lower()
    assert b"heron" not in held
    assert b"canal" not in held
    assert b"mill stone" in held
    assert library.chats.ls(words="heron") == []


def test_an_answer_that_only_looked_there_keeps_its_words_and_not_the_name(library: Library):
    asked(library, "Which men?", ONLY_MILL)
    traces = forget(library)
    assert (traces.chats, traces.chats_naming_it) == (0, 1)
    (chat,) = library.chats.ls()
    assert chat.forgotten == NOTHING
    assert library.chats.chat(chat.id).events[1] == quotation(1, MILL, mill=0.1)
    assert b"canal" not in bytes_of(library).lower()


def test_a_collection_removed_before_can_still_be_forgotten(library: Library):
    asked(library, "Who was there?")
    library.remove_collection("canal")
    assert b"heron" in bytes_of(library)
    assert forget(library).chats == 1
    assert b"heron" not in bytes_of(library)


def test_a_question_that_quotes_a_note_goes_whole(library: Library):
    (_, whole) = (
        library.chats.begin(question, ["mill"], [])
        for question in (
            "Had it “stood on one leg through all” of it?",
            "Had they stood in April, or the men on one leg?",
        )
    )
    assert forget(library).chats == 1
    assert [(chat.question, chat.forgotten) for chat in library.chats.ls()] == [
        (whole.question, NOTHING),
        ("", Lost(question=True)),
    ]
    assert b"leg through all" not in bytes_of(library)


def test_a_question_loses_the_words_that_only_those_notes_held(library: Library):
    asked(library, "Did the HERON see two men in April, or a swan?", ONLY_MILL)
    abstained = {"reason": "Your notes don't say. Nothing near mentions “gauge”.", "closest": None}
    asked(library, "What is a gauge?", (("abstained", abstained),))
    assert forget(library).chats == 2
    gauge, heron = library.chats.ls()
    assert heron.question == "Did the … see two men in April, or a swan?"
    assert gauge.question == "What is a …?"
    assert heron.forgotten == gauge.forgotten == Lost(question=True)
    assert b"gauge" not in bytes_of(library)
    assert b"heron" not in bytes_of(library).lower()
    assert library.chats.chat(gauge.id).events[0][1]["reason"].endswith("mentions “…”.")


def test_an_answer_that_ends_after_the_forgetting_is_not_written(library: Library):
    underway = library.chats.begin("Who was there?", ["canal", "mill"], [])
    elsewhere = library.chats.begin("Which men?", ["mill"], [])
    forget(library)
    assert not library.chats.end(underway.id, BOTH, "done")
    assert library.chats.end(elsewhere.id, ONLY_MILL, "done")
    assert b"heron" not in bytes_of(library)
    assert [(chat.state, chat.forgotten) for chat in library.chats.ls()] == [
        ("done", NOTHING),
        ("unfinished", Lost(answer=True)),
    ]


def chat_of(*events: ChatEvent, experts: tuple[str, ...] = ("canal", "mill")) -> Chat:
    return Chat(1, "Who?", "2026-01-01", "done", ("canal", "mill"), experts, NOTHING, events)


def left_of(*events: ChatEvent, **options) -> tuple[list[ChatEvent], Lost]:
    chat, lost = without(chat_of(*events, **options), "canal")
    return list(chat.events), lost


def test_prose_goes_with_any_passage_it_was_written_from():
    sources = ("sources", {"sources": [source(1, "canal", HERON), source(2, "mill", MILL)]})
    left, lost = left_of(sources, prose("Two men dressed it.", 2, canal=0.0))
    assert left[1] == ("forgotten", {})
    assert lost == Lost(sentences=1, passages=1)


@pytest.mark.parametrize(
    ("shares", "experts", "stays"),
    [
        ({"canal": 0.2, "mill": 0.1}, ("canal", "mill"), False),
        ({"canal": 0.0, "mill": 0.1}, ("canal", "mill"), True),
        ({}, ("canal", "mill"), False),
        ({"mill": 0.1}, ("mill",), True),
        ({}, ("mill",), True),
    ],
)
def test_prose_goes_where_the_expert_was_heard_or_may_have_been(shares, experts, stays):
    sources = ("sources", {"sources": [source(1, "mill", MILL)]})
    for event, gone in (
        (prose("Two men.", 1, **shares), ("forgotten", {})),
        (("own_words", {"text": "Two", "shares": shares or None}), None),
    ):
        left, lost = left_of(sources, event, experts=experts)
        assert bool(lost) is not stays
        if not stays:
            assert left[1:] == ([gone] if gone else [])
        else:
            assert "canal" not in (left[1][1]["shares"] or {})


def test_what_stands_instead_the_closest_passage_and_voices_go_too():
    voice = {
        "shares": {"canal": 0.1, "mill": 0.2},
        "effects": {"canal": 0.1, "mill": 0.2},
        "tokens": [{"text": "The", "shares": {"canal": 0.1}, "effects": {"canal": 0.1}}],
        "behind": {
            "canal": [{"collection": "canal", "path": "canal.md"}],
            "mill": [{"collection": "canal", "path": "canal.md"}],
        },
    }
    left, lost = left_of(
        ("sources", {"sources": [source(1, "canal", HERON), source(2, "mill", MILL)]}),
        ("withheld", {"instead": quotation(1, HERON)[1]}),
        quotation(2, MILL),
        ("voiced", {"sentence": 0, "voice": voice}),
        ("voiced", {"sentence": 1, "voice": voice}),
    )
    assert left[1:3] == [("withheld", {"instead": None}), quotation(2, MILL)]
    (voiced,) = left[3:]
    assert voiced[1]["sentence"] == 1
    assert "canal" not in str(voiced)
    assert voiced[1]["voice"]["effects"] == {"mill": 0.2}
    assert lost == Lost(sentences=1, passages=1)
    closest = {"reason": "Your notes don't say.", "closest": source(1, "canal", HERON)}
    left, lost = left_of(("abstained", closest))
    assert left == [("abstained", closest | {"closest": None})]
    assert lost == Lost(passages=1)


TEXTS = {"canal": HERON, "mill": MILL}


@st.composite
def answers(draw) -> list[ChatEvent]:
    collections = draw(st.lists(st.sampled_from(sorted(TEXTS)), max_size=4))
    shares = st.none() | st.fixed_dictionaries(
        {}, optional={name: st.sampled_from([0.0, 0.5]) for name in sorted(TEXTS)}
    )
    events: list[ChatEvent] = [
        (
            "sources",
            {"sources": [source(n, c, TEXTS[c]) for n, c in enumerate(collections, start=1)]},
        )
    ]
    for number, collection in enumerate(collections, start=1):
        sentence = quotation(number, TEXTS[collection])[1] | {"shares": draw(shares)}
        if draw(st.booleans()):
            sentence |= {"kind": "prose", "source": draw(st.sampled_from([None, number]))}
        how = draw(st.sampled_from(["sentence", "withheld", "own_words"]))
        events.append((how, {"instead": sentence} if how == "withheld" else sentence))
        if draw(st.booleans()):
            events.append(("heading", {"text": TEXTS[collection]}))
            events.append(("error", {"message": f"{collection} is busy"}))
    return events


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(answers())
def test_nothing_of_it_is_left_and_forgetting_twice_is_forgetting_once(events):
    chat, _ = without(chat_of(*events), "canal")
    told = str(chat).lower()
    assert "heron" not in told
    assert "canal" not in told
    assert without(chat, "canal") == (chat, NOTHING)
    # What was never of it is as it was.
    if not any(source["collection"] == "canal" for source in events[0][1]["sources"]):
        of_mill = [event for event in events if event[1].get("kind") == "quotation"]
        left = [event for event in chat.events if event[1].get("kind") == "quotation"]
        assert [e[1]["text"] for e in left if e[0] == "sentence"] == [
            e[1]["text"] for e in of_mill if e[0] == "sentence"
        ]

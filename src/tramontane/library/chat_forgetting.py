"""A chat without what it holds of a collection: its passages, what was said from them, its name.

Sentences quoted from other collections stay. Prose was written with all passages in view, so it
goes with any of them, and so does what the collection's expert was heard in. The question is the
asker's; it loses those words that stood in the collection's notes and stand in no others.
"""

import json
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from typing import Any

from tramontane.library.chats import (
    HEAD,
    WORD,
    Chat,
    ChatEvent,
    Lost,
    chat_of,
    folded,
    json_of,
    words_of,
)
from tramontane.library.stop_words import STOP_WORDS

# So many words in a row that a question shares with a note are the note's, not the asker's.
RUN_WORDS = 6
# Where an event names experts; the values are each one's part.
BY_EXPERT = ("shares", "effects", "behind")
KEPT_AS_THEY_ARE = ("done",)
LEFT_OUT = "…"

Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forgettable:
    """What one collection, which may have an expert of its name, left in a chat."""

    name: str
    sources: frozenset[int]
    could_speak: bool
    only_there: Set[str]

    def goes(self, sentence: Mapping[str, Any]) -> bool:
        if sentence["source"] in self.sources:
            return True
        return sentence["kind"] != "quotation" and (bool(self.sources) or self.spoke(sentence))

    def spoke(self, piece: Mapping[str, Any]) -> bool:
        """Whether its expert was heard in a piece, as far as is known; a closed gate is silence."""
        share = (piece.get("shares") or {}).get(self.name)
        return self.could_speak and (share is None or share > 0)

    def unnamed(self, data: dict[str, Any]) -> dict[str, Any]:
        """Returns data in which neither it nor its notes are named among the experts' parts."""
        told = dict(data)
        for part in BY_EXPERT:
            if isinstance(told.get(part), dict):
                told[part] = {k: v for k, v in told[part].items() if k != self.name}
        if told.get("named"):
            told["named"] = [name for name in told["named"] if name != self.name]
        if told.get("behind"):
            told["behind"] = {
                expert: [note for note in notes if note["collection"] != self.name]
                for expert, notes in told["behind"].items()
            }
        if "tokens" in told:
            told["tokens"] = [self.unnamed(token) for token in told["tokens"]]
        return told


def without(
    chat: Chat, name: str, quotes_it: bool = False, only_there: Set[str] = frozenset()
) -> tuple[Chat, Lost]:
    """Returns a chat without what it holds of a collection, and what went from it.

    `quotes_it` says that its question does; `only_there` are the words, folded, that no other
    notes hold. One whose answer is still to come will have none.
    """
    is_named = name in chat.collections or name in chat.experts
    question = "" if quotes_it else chat.question
    if is_named:
        question = with_gaps(question, only_there)
    what = Forgettable(
        name,
        frozenset(
            source["number"]
            for event, data in chat.events
            if event == "sources"
            for source in data["sources"]
            if source["collection"] == name
        ),
        name in chat.experts,
        only_there,
    )
    lost = Lost(question=question != chat.question)
    if is_named and chat.state == "unfinished" and not chat.events:
        lost += Lost(answer=True)
    events: list[ChatEvent] = []
    removed: set[int] = set()
    place = -1
    for event, data in chat.events:
        place += event in ("sentence", "withheld", "forgotten")
        left, gone = event_without(what, event, data, removed)
        lost += gone
        if event in ("sentence", "withheld") and gone:
            removed.add(place)
        if left is not None:
            events.append(left)
    return (
        replace(
            chat,
            question=question,
            collections=tuple(one for one in chat.collections if one != name),
            experts=tuple(one for one in chat.experts if one != name),
            events=tuple(events),
            forgotten=chat.forgotten + lost,
        ),
        lost,
    )


def event_without(
    what: Forgettable, event: str, data: dict[str, Any], removed: Set[int]
) -> tuple[ChatEvent | None, Lost]:
    """Returns what is left of an event, and what went; a sentence's place is held.

    `removed` are the places of sentences that went before it.
    """
    if event == "sources":
        left = [source for source in data["sources"] if source["number"] not in what.sources]
        return (event, {"sources": left}), Lost(passages=len(data["sources"]) - len(left))
    if event == "sentence":
        if what.goes(data):
            return ("forgotten", {}), Lost(sentences=1)
        return (event, what.unnamed(data)), Lost()
    if event == "withheld":
        instead = data["instead"]
        if instead and what.goes(instead):
            return (event, {"instead": None}), Lost(sentences=1)
        return (event, {"instead": instead and what.unnamed(instead)}), Lost()
    if event == "abstained":
        # It names a word of the question.
        data = data | {"reason": with_gaps(data["reason"], what.only_there)}
        if data["closest"] and data["closest"]["collection"] == what.name:
            return (event, data | {"closest": None}), Lost(passages=1)
        return (event, data), Lost()
    if event == "own_words":
        if what.sources or what.spoke(data):
            return None, Lost(own_words=True)
        return (event, what.unnamed(data)), Lost()
    if event == "voiced":
        if data["sentence"] in removed:
            return None, Lost()
        return (event, data | {"voice": what.unnamed(data["voice"])}), Lost()
    if event in KEPT_AS_THEY_ARE:
        return (event, data), Lost()
    # Headings, errors, and what a later version sends: they may hold anything.
    if what.sources or what.could_speak or what.name in json.dumps(data, ensure_ascii=False):
        return None, Lost()
    return (event, data), Lost()


def chats_without(
    db: sqlite3.Connection,
    name: str,
    note_texts: Iterable[str],
    is_elsewhere: Callable[[str], bool],
) -> Iterator[tuple[Chat, Lost]]:
    """Yields those chats that hold anything of a collection, without it, and what each loses.

    `note_texts` are the collection's notes; `is_elsewhere` tells whether a word stands in others.
    """
    rows = db.execute(f"SELECT {HEAD}, events FROM chats ORDER BY id").fetchall()
    chats = [chat_of(row) for row in rows]
    # A collection that was removed before has left no notes, but answers quote it still.
    texts = [*note_texts, *passages_quoted(chats, name), name] if chats else []
    quoting = quoted_in(chats, texts)
    only_there = {word for word in asked_in(chats, name, texts) if not is_elsewhere(word)}
    for chat in chats:
        left, lost = without(chat, name, chat.id in quoting, only_there)
        if left != chat:
            yield left, lost


def rewrite(db: sqlite3.Connection, chat: Chat) -> None:
    """Writes a chat over what it was."""
    db.execute(
        "UPDATE chats SET question = ?, collections = ?, experts = ?, events = ?, words = ?, "
        "forgotten = ? WHERE id = ?",
        (
            chat.question,
            json.dumps(chat.collections),
            json.dumps(chat.experts),
            json_of(chat.events),
            words_of(chat.question, chat.events),
            json.dumps(asdict(chat.forgotten)),
            chat.id,
        ),
    )


def quoted_in(chats: Sequence[Chat], texts: Sequence[str]) -> set[int]:
    """Returns the chats whose question has a run of words from these texts."""
    asked: dict[Run, set[int]] = {}
    for chat in chats:
        for run in runs_of(chat.question):
            asked.setdefault(run, set()).add(chat.id)
    found: set[int] = set()
    for text in texts if asked else ():
        for run in runs_of(text) & asked.keys():
            found |= asked[run]
    return found


def asked_in(chats: Sequence[Chat], name: str, texts: Sequence[str]) -> set[str]:
    """Returns the words of questions asked of a collection that stand in its texts."""
    asked = {
        word
        for chat in chats
        if name in chat.collections or name in chat.experts
        for word in WORD.findall(folded(chat.question))
    } - STOP_WORDS
    found: set[str] = set()
    for text in texts if asked else ():
        found |= asked.intersection(WORD.findall(folded(text)))
    return found


def passages_quoted(chats: Sequence[Chat], name: str) -> Iterator[str]:
    for chat in chats:
        for event, data in chat.events:
            sources: Sequence[Any] = data["sources"] if event == "sources" else ()
            if event == "abstained" and data["closest"]:
                sources = [data["closest"]]
            yield from (source["text"] for source in sources if source["collection"] == name)


def with_gaps(text: str, words: Set[str]) -> str:
    """Returns a text that shows where these words stood, and not the words."""
    composed = unicodedata.normalize("NFC", text)
    left = WORD.sub(lambda word: LEFT_OUT if folded(word[0]) in words else word[0], composed)
    return text if left == composed else left


def runs_of(text: str) -> set[Run]:
    words = WORD.findall(folded(text))
    return {tuple(words[at : at + RUN_WORDS]) for at in range(len(words) - RUN_WORDS + 1)}

"""Chats: questions asked of the notes, each with its whole answer, kept until somebody removes it.

A chat is written down when it is asked, as unfinished, and again when its answer ends: one that
stays unfinished lost its reader or its server underway. It belongs to the key that asked; without
one, to this machine.
"""

import json
import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tramontane.errors import NotFound
from tramontane.library.database import Database

STATES = ("unfinished", "done", "failed")
# One list's chats where nobody says how many, and at most.
NUM_LISTED, MOST_LISTED = 30, 200
# Words looked for at once; more are no search for words.
MOST_WORDS = 16
WORD = re.compile(r"\w+")

# An event of an answer as the page was sent it: its name, and its data as JSON has it.
ChatEvent = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Lost:
    """What forgetting took from a chat.

    `question`: the whole of it or words; `answer`: all of it, which came while that went on.
    """

    sentences: int = 0
    passages: int = 0
    own_words: bool = False
    question: bool = False
    answer: bool = False

    def __bool__(self) -> bool:
        return bool(
            self.sentences or self.passages or self.own_words or self.question or self.answer
        )

    def __add__(self, other: "Lost") -> "Lost":
        return Lost(
            self.sentences + other.sentences,
            self.passages + other.passages,
            self.own_words or other.own_words,
            self.question or other.question,
            self.answer or other.answer,
        )


@dataclass(frozen=True, slots=True)
class Chat:
    """`events` are left out of a list; `question` is empty where forgetting took it."""

    id: int
    question: str
    asked: str
    state: str
    collections: tuple[str, ...]
    experts: tuple[str, ...]
    forgotten: Lost
    events: tuple[ChatEvent, ...] = field(default=())


HEAD = "id, question, asked, state, collections, experts, forgotten"


class Chats:
    def __init__(self, database: Database):
        self._database = database

    def begin(
        self,
        question: str,
        collections: Sequence[str],
        experts: Sequence[str],
        key_id: str | None = None,
    ) -> Chat:
        """Returns the new chat, unfinished until `end`."""
        with self._database.writing() as db:
            added = db.execute(
                "INSERT INTO chats (key_id, question, asked, state, collections, experts, events, "
                "words, forgotten) VALUES (?, ?, ?, 'unfinished', ?, ?, '[]', ?, '{}')",
                (
                    key_id,
                    question,
                    datetime.now(UTC).isoformat(timespec="milliseconds"),
                    json.dumps(list(collections)),
                    json.dumps(list(experts)),
                    folded(question),
                ),
            )
            return read_chat(db, added.lastrowid)

    def end(self, chat_id: int, events: Sequence[ChatEvent], state: str) -> bool:
        """Writes an answer down; returns False where it isn't wanted any more.

        It isn't after somebody removed its chat, or forgot a collection or an expert it had while
        the answer came: what it would quote of that is nobody's to keep.
        """
        with self._database.writing() as db:
            try:
                chat = read_chat(db, chat_id)
            except NotFound:
                return False
            if chat.forgotten.answer:
                return False
            db.execute(
                "UPDATE chats SET events = ?, words = ?, state = ? WHERE id = ?",
                (json_of(events), words_of(chat.question, events), state, chat_id),
            )
        return True

    def ls(
        self,
        key_id: str | None = None,
        *,
        words: str = "",
        before: int | None = None,
        limit: int = NUM_LISTED,
    ) -> list[Chat]:
        """Returns chats without their events, the newest first: those older than `before`.

        Each of the words must stand in the question or the answer, as a part of one there or whole;
        case and accents don't count.
        """
        wanted = WORD.findall(folded(words))[:MOST_WORDS]
        conditions = "".join(" AND instr(words, ?)" for _ in wanted)
        with self._database.reading() as db:
            rows = db.execute(
                f"SELECT {HEAD} FROM chats WHERE key_id IS ? AND id < ?{conditions} "
                "ORDER BY id DESC LIMIT ?",
                (key_id, before or 1 << 62, *wanted, max(0, min(limit, MOST_LISTED))),
            ).fetchall()
        return [chat_of(row) for row in rows]

    def chat(self, chat_id: int, key_id: str | None = None) -> Chat:
        """Returns one chat with its events; NotFound for one that isn't there or is another's."""
        with self._database.reading() as db:
            return read_chat(db, chat_id, key_id, is_any=False)

    def remove(self, chat_id: int, key_id: str | None = None) -> None:
        """Removes a chat for good; NotFound for one that isn't there or is another's."""
        with self._database.writing() as db:
            read_chat(db, chat_id, key_id, is_any=False)
            db.execute("DELETE FROM chats WHERE id = ?", (chat_id,))
        self._database.settle()

    def clear(self, key_id: str | None = None, *, everyone: bool = False) -> int:
        """Removes all chats of one key, or everyone's, for good; returns how many there were."""
        with self._database.writing() as db:
            gone = db.execute("DELETE FROM chats WHERE ? OR key_id IS ?", (everyone, key_id))
        self._database.settle()
        return gone.rowcount


def read_chat(
    db: sqlite3.Connection, chat_id: int, key_id: str | None = None, *, is_any: bool = True
) -> Chat:
    row = db.execute(
        f"SELECT {HEAD}, events FROM chats WHERE id = ? AND (? OR key_id IS ?)",
        (chat_id, is_any, key_id),
    ).fetchone()
    if row is None:
        raise NotFound(f"no answer {chat_id} is kept; it was removed, or is another key's")
    return chat_of(row)


def chat_of(row: tuple) -> Chat:
    chat_id, question, asked, state, collections, experts, forgotten, *events = row
    return Chat(
        chat_id,
        question,
        asked,
        state,
        tuple(json.loads(collections)),
        tuple(json.loads(experts)),
        Lost(**json.loads(forgotten)),
        tuple((name, data) for name, data in json.loads(events[0])) if events else (),
    )


def json_of(events: Sequence[ChatEvent]) -> str:
    return json.dumps([list(event) for event in events], ensure_ascii=False)


def words_of(question: str, events: Sequence[ChatEvent]) -> str:
    """Returns what search looks through: the question, what was answered, the notes it rests on."""
    texts = [question]
    for name, data in events:
        if name == "sources":
            texts += [f"{source['title']} {source['path']}" for source in data["sources"]]
        elif name == "withheld" and data["instead"]:
            texts.append(data["instead"]["text"])
        elif name == "abstained":
            texts.append(data["reason"])
        elif name in ("sentence", "heading"):
            texts.append(data["text"])
    texts.append("".join(data["text"] for name, data in events if name == "own_words"))
    return folded("\n".join(texts))


def folded(text: str) -> str:
    """Returns a text without case and accents."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(part for part in parts if not unicodedata.combining(part)).casefold()

"""A desk whose every answer can be foretold by hand: no model, no database."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tramontane.errors import Busy, ExpertError, LibraryError, NotesError, NotFound, RequestError
from tramontane.library.records import Collection, Hit, StoredNote, SyncReport
from tramontane.notes.note import Skipped
from tramontane.server.desk import ExpertCard, SourceNow, Status
from tramontane.writing.events import (
    Abstained,
    Done,
    Event,
    FromMemory,
    OwnWords,
    Sentence,
    SentenceVoice,
    Source,
    Sources,
    TokenVoice,
    Voiced,
    Withheld,
)

GARLIC = """# Garlic

Planted in Long Bed on 28 October. Germidour, softneck, four bulbs split into 41 cloves.

A spoon of sulphate of potash per yard in February. Nothing else.

Lifted 29 June when six leaves had yellowed. Dried on the staging for three weeks.
"""
HEAP = """# The heap

Two parts brown to one of green by the bucket.

The compost heap peaked at 63 °C five days after the March turning.
"""
HOSTILE = """# Hostile <b>title</b>

<script>window.wasAttacked = true</script> zebra <img src=x onerror="window.wasAttacked = true">
[click](javascript:window.wasAttacked=true) <svg onload="window.wasAttacked=true"></svg>
"""
LONG = "\n".join(f"Line {number} of a long note about rope." for number in range(1, 401))

SALT = b"the library's secret"
SHARES = {"garden": 0.31, "recipes": 0.04}
EXAMPLES = [
    "How many cloves of garlic did I plant?",
    "How hot did the compost heap get?",
    "When did I lift the garlic?",
]

MANIFEST = {
    "seed": 0,
    "owner": "Ada",
    "licence": "",
    "base": {"name": "SmolLM2-135M", "sha256": "b1" * 32},
    "notes": {"number": 402, "tokens": 96_000},
    "held_out": {"notes": 20, "perplexity_before": 24.0, "perplexity_after": 18.0},
    "gates": {"own_held_out": 0.83, "public": {"code": 0.004, "chat_turns": 0.02}},
    "layers_moved": {"20": {"moved": 0.051}},
}
LARGE = {
    "what": "hf:big/Mixture",
    "kind": "mixture of 8 base experts",
    "parameters": 46.7e9,
    "download_bytes": 93.4e9,
    "memory_bytes": 94.6e9,
    "licence": "Apache-2.0",
    "remark": "writes well",
    "obstacle": "needs 94.6 GB of memory",
    "is_here": False,
}


def stored(collection: str, path: str, text: str) -> StoredNote:
    title = text.splitlines()[0].removeprefix("# ")
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return StoredNote(collection, path, title, text, sha256, len(text.splitlines()))


def card(name: str, *, is_withdrawn: bool = False, num_notes: int = 402) -> ExpertCard:
    return ExpertCard(
        name=name,
        hash=hashlib.sha256(name.encode()).hexdigest(),
        is_in_place=not is_withdrawn,
        is_withdrawn=is_withdrawn,
        collection=name,
        num_notes=num_notes,
        perplexity_before=24.0,
        perplexity_after=18.0,
        own_open_rate=0.83,
        public_open_rate=0.012,
        manifest=MANIFEST,
    )


class FakeDesk:
    """Answers by the first stored line that holds a word of the question."""

    def __init__(self) -> None:
        self.notes_of: dict[str, dict[str, StoredNote]] = {}
        for collection, path, text in (
            ("garden", "garlic.md", GARLIC),
            ("garden", "heap/compost.md", HEAP),
            ("garden", "rope.md", LONG),
            ("letters", "hostile.md", HOSTILE),
        ):
            self.put(stored(collection, path, text))
        self.folders = {"garden": Path("/notes/garden"), "letters": Path("/notes/letters")}
        self.changed: set[tuple[str, str]] = set()
        self.pending = SyncReport(
            added=["onions.md"],
            changed=["garlic.md"],
            removed=["old/plan.md"],
            unchanged=["rope.md"],
            skipped=[Skipped("photo.png", "not a text file")],
        )
        self.cards = {
            "garden": card("garden"),
            "recipes": card("recipes"),
            "handbook": card("handbook", is_withdrawn=True),
        }
        self.asked: list[dict[str, Any]] = []
        self.synced: list[tuple[str, bool]] = []
        self.was_closed = threading.Event()
        self.num_yielded = 0
        self.certificate_changes: dict[str, Any] = {}
        self.is_in_mixture = True
        self.can_write = False
        self.promise: str | None = None
        self.remembers = False
        self.looked_up: list[tuple[str, str]] = []
        # Held on to, so that only closing ends one and not the garbage collector.
        self.iterators: list[Iterator[Event]] = []
        # Held between two events of a question about waiting, so that tests can stop it there.
        self.gate: Callable[[], None] = lambda: None

    def put(self, note: StoredNote) -> None:
        self.notes_of.setdefault(note.collection, {})[note.path] = note

    def status(self) -> Status:
        return Status(
            version="0.1.0",
            base="SmolLM2-135M",
            base_parameters=134_515_008,
            can_write=self.can_write,
            quality="This base passed 3 of 20 questions of the writer's check; its own prose is "
            "not to be trusted, so answers are quotations.",
            mixture="default",
            mixture_hash="ab" * 32,
            num_experts=sum(not card.is_withdrawn for card in self.cards.values()),
            num_collections=len(self.notes_of),
            num_notes=sum(map(len, self.notes_of.values())),
        )

    def examples(self) -> list[str]:
        return EXAMPLES

    def collections(self) -> list[Collection]:
        return [
            Collection(name, self.folders[name], "Ada", "", len(notes), 3 * len(notes), SALT)
            for name, notes in sorted(self.notes_of.items())
        ]

    def add_collection(
        self, name: str, folder: Path, report: Callable[[str, int, int], None]
    ) -> SyncReport:
        if name in self.notes_of and self.folders[name] == folder:
            return self.sync(name, report)
        if name in self.notes_of:
            raise LibraryError(f"there is a collection {name!r} already; choose another name")
        if folder.name == "empty":
            raise NotesError(f"{folder}: nothing readable in it; Markdown and text can be read")
        report("reading", 1, 2)
        report("reading", 2, 2)
        self.folders[name] = folder
        self.put(stored(name, "first.md", "# First\n\nThe first note of my own."))
        return SyncReport(added=["first.md"], skipped=[Skipped("photo.png", "not a text file")])

    def sync(
        self, name: str, report: Callable[[str, int, int], None], *, dry_run: bool = False
    ) -> SyncReport:
        self.of(name)
        self.synced.append((name, dry_run))
        report("reading", 1, 1)
        return replace(self.pending, is_dry_run=dry_run)

    def of(self, collection: str) -> dict[str, StoredNote]:
        if collection not in self.notes_of:
            raise NotFound(f"no collection {collection!r}; there are {list(self.notes_of)}")
        return self.notes_of[collection]

    def notes(self, collection: str) -> list[StoredNote]:
        return list(self.of(collection).values())

    def note(self, collection: str, path: str) -> tuple[StoredNote, bool]:
        self.looked_up.append((collection, path))
        if path not in self.of(collection):
            raise NotFound(f"no note {path!r} in {collection!r}")
        return self.notes_of[collection][path], (collection, path) in self.changed

    def source_now(self, source: Source) -> SourceNow:
        is_changed = (source.collection, source.path) in self.changed
        if source.path not in self.notes_of.get(source.collection, {}):
            return SourceNow(None, None, None, "this note is gone")
        moved = 2 if is_changed else 0
        return SourceNow(
            source.path,
            source.first_line + moved,
            source.last_line + moved,
            "this note has changed since" if is_changed else None,
        )

    def search(self, words: str, collections: Sequence[str] | None) -> list[Hit]:
        wanted = [word.strip("?.,").lower() for word in words.split() if len(word) > 3]
        hits = []
        for name in sorted(collections or self.notes_of):
            for note in self.of(name).values():
                for number, line in enumerate(note.text.splitlines(), start=1):
                    score = sum(word in line.lower() for word in wanted)
                    if score and not line.startswith("#"):
                        hits.append(hit_of(note, number, line, score))
        return sorted(hits, key=lambda hit: -hit.score)[:8]

    def ask(
        self,
        question: str,
        *,
        collections: Sequence[str] | None,
        experts: Sequence[str] | None,
        own_words: bool,
        voice: bool = False,
        honest: bool = False,
    ) -> Iterator[Event]:
        iterator = self.answer(question, collections, experts, own_words)
        if honest:
            iterator = honestly(iterator)
        if voice:
            iterator = voiced(iterator)
        self.iterators.append(iterator)
        return iterator

    def answer(
        self,
        question: str,
        collections: Sequence[str] | None,
        experts: Sequence[str] | None,
        own_words: bool,
    ) -> Iterator[Event]:
        if not question.strip():
            raise RequestError("the question is empty; ask something your notes may hold")
        self.asked.append(
            {
                "question": question,
                "collections": collections,
                "experts": experts,
                "own_words": own_words,
            }
        )
        try:
            for event in self.events(question, collections, experts, own_words):
                self.num_yielded += 1
                yield event
                self.gate()
        finally:
            self.was_closed.set()

    def events(
        self,
        question: str,
        collections: Sequence[str] | None,
        experts: Sequence[str] | None,
        own_words: bool,
    ) -> Iterator[Event]:
        if "break" in question:
            yield Sources(())
            raise RequestError("the model stopped underway; ask again")
        if "busy" in question:
            raise Busy("the library is being written by another process; try again soon")
        if "defect" in question:
            raise KeyError(question)
        hits = self.search(question, collections)[:2]
        sources = tuple(source_of(number, hit) for number, hit in enumerate(hits, start=1))
        if "dragon" in question:
            near = source_of(1, self.search("compost", None)[0])
            yield Abstained("Your notes don't say. Nothing near mentions “dragon”.", near)
            yield Done(0.1, 0)
            return
        if not sources:
            yield Abstained("Your notes don't say: nothing in them touches this.", None)
            yield Done(0.1, 0)
            return
        yield Sources(sources)
        heard = {
            name: share for name, share in SHARES.items() if experts is None or name in experts
        }
        # Who is heard at all and above its line; recipes never is.
        named = tuple(name for name in heard if name == "garden")
        if "alike" in question:
            named = tuple(heard)
        if "prose" in question:
            for text, overlap, mark in (
                ("You planted garlic in Long Bed.", 0.92, "supported"),
                ("It likes a sunny place with potash.", 0.6, "weak"),
                ("Garlic was first grown on the moon.", 0.1, "unsupported"),
            ):
                missing = ("moon",) if mark == "unsupported" else ()
                yield Sentence(
                    text,
                    "prose",
                    1,
                    1,
                    3,
                    overlap,
                    mark,
                    heard or None,
                    overlap,
                    missing,
                    promise=self.promise,
                    named=named,
                )
            if self.remembers and "garden" in heard:
                yield FromMemory(2, "garden", 2.1)
        else:
            for source in sources:
                yield Sentence(
                    source.text,
                    "quotation",
                    source.number,
                    source.first_line,
                    source.last_line,
                    1.0,
                    "supported",
                    heard or None,
                    named=named,
                )
        if own_words:
            for text in ("Garlic ", "<b>is</b> ", "planted ", "in ", "autumn."):
                yield OwnWords(text, heard or None)
        yield Done(1.5, 5 if own_words else 0)

    def experts(self) -> list[ExpertCard]:
        return list(self.cards.values())

    def find(self, name: str) -> ExpertCard:
        if name not in self.cards:
            raise NotFound(f"no expert {name!r}; there are {list(self.cards)}")
        return self.cards[name]

    def withdraw(self, name: str) -> dict[str, Any]:
        self.cards[name] = replace(self.find(name), is_in_place=False, is_withdrawn=True)
        certificate = {
            "expert": name,
            "expert_hash": self.cards[name].hash,
            "base_sha256": "b1" * 32,
            "mixture": "default",
            "mixture_hash_before": "ab" * 32,
            "mixture_hash_after": "cd" * 32,
            "experts_left": [c.hash for c in self.cards.values() if not c.is_withdrawn],
            "probe_tokens": 412,
            "logits_with_expert": "11" * 32,
            "logits_after": "22" * 32,
            "logits_never_built": "22" * 32,
            "made_with": {"threads": 2},
            "is_exact": True,
            "expert_was_heard": True,
        } | self.certificate_changes
        return {"expert": name, "certificate": certificate if self.is_in_mixture else None}

    def restore(self, name: str) -> ExpertCard:
        self.cards[name] = replace(self.find(name), is_in_place=True, is_withdrawn=False)
        return self.cards[name]

    def pack(self, name: str, owner: str, licence: str) -> tuple[str, bytes]:
        self.find(name)
        if not licence:
            raise ExpertError(f"{name}: nobody said its licence; whoever gets the file must know")
        return f"{name}.safetensors", f"{name} by {owner}, {licence}".encode()

    def forgetting(self, name: str) -> dict[str, Any]:
        self.find(name)
        return {
            "name": name,
            "mixtures": ["default"],
            "files": [f"/experts/{name}.safetensors"],
            "num_file_bytes": 8_800_000,
            "copies": [],
            "library": {"notes": 3, "passages": 9, "jobs": 1, "chats": 2},
            "out_of_reach": ["the folder of notes itself", "backups"],
        }

    def forget(self, name: str) -> dict[str, Any]:
        told = self.forgetting(name)
        del self.cards[name]
        return told

    def models(self) -> dict[str, Any]:
        small = LARGE | {
            "what": "hf:small/Model",
            "kind": "dense",
            "parameters": 362e6,
            "download_bytes": 724e6,
            "memory_bytes": 1.2e9,
            "remark": "between the two",
            "obstacle": "",
        }
        return {
            "machine": {"cores": 2, "memory_bytes": 8e9, "free_disk_bytes": 50e9},
            "recommended": "hf:small/Model",
            "choices": [LARGE, small],
            "here": [
                {
                    "name": "SmolLM2-135M",
                    "family": "llama",
                    "parameters": 134_515_008,
                    "bytes": 92_900_000,
                    "licence": "Apache-2.0",
                    "sha256": "b1" * 32,
                    "is_in_use": True,
                    "check": {"num_right": 3, "num_questions": 20, "passed": False},
                }
            ],
        }


def hit_of(note: StoredNote, number: int, line: str, score: float) -> Hit:
    return Hit(
        collection=note.collection,
        path=note.path,
        title=note.title,
        heading=(note.title,),
        text=line,
        first_line=number,
        last_line=number,
        score=score,
        bm25_rank=1,
        vector_rank=None,
        similarity=0.5,
        note_sha256=note.sha256,
    )


def source_of(number: int, hit: Hit) -> Source:
    return Source(
        number,
        hit.collection,
        hit.path,
        hit.title,
        hit.first_line,
        hit.last_line,
        hit.text,
        hit.note_sha256,
    )


def voiced(events: Iterator[Event]) -> Iterator[Event]:
    """Yields a fake answer's events with each sentence's voice at its end.

    A token is three letters, spaces too; garden speaks in those that hold a vowel it likes.
    """
    texts: list[str] = []
    for event in events:
        if isinstance(event, Sentence):
            texts.append(event.text)
        if isinstance(event, Withheld):
            texts.append("")
        if isinstance(event, Done):
            for place, text in enumerate(texts):
                if text:
                    yield Voiced(place, voice_of(f"{text} [1]"))
        yield event


def voice_of(text: str) -> SentenceVoice:
    tokens = tuple(
        TokenVoice(part, {"garden": 0.6 if "o" in part else 0.0, "recipes": 0.1}, {})
        for part in (text[at : at + 3] for at in range(0, len(text), 3))
    )
    return SentenceVoice({"garden": 0.3, "recipes": 0.1}, {}, tokens, {})


def honestly(events: Iterator[Event]) -> Iterator[Event]:
    """Yields a fake answer's events in honesty mode: copied words told, inventions kept back."""
    for event in events:
        if not isinstance(event, Sentence) or event.kind != "prose":
            yield event
        elif event.mark == "unsupported":
            yield Withheld(None)
        else:
            yield replace(event, copied=((4, 18),) if event.text.startswith("You ") else ())

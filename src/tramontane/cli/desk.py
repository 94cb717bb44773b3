"""The desk behind the page: one base, one library, one shelf, used by many threads."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tramontane import __version__
from tramontane.cli.experts import withdraw_with_proof
from tramontane.cli.forget import forget, preview
from tramontane.cli.notes import add_and_sync
from tramontane.cli.parts import Parts
from tramontane.cli.sharing import pack_for_others
from tramontane.cli.start import choices_here
from tramontane.errors import NotFound
from tramontane.experts.shelf import ExpertRecord
from tramontane.library.records import Collection, Hit, StoredNote, SyncReport
from tramontane.server.desk import ExpertCard, Report, SourceNow, Status
from tramontane.writing.events import Event, Source
from tramontane.writing.writers_check import known_check

EXAMPLES = (
    "How tall must the fleece walls be to keep the fly off my carrots?",
    "What depth of hole does each leek drop into?",
    "What rate did I spread lime at for this year's brassicas?",
)


class RealDesk:
    """Answers what the page asks, from the parts of one command."""

    def __init__(self, parts: Parts):
        self.parts = parts
        # One change of shelf or library at a time; reading and answering go on meanwhile.
        self.changing = threading.Lock()

    def status(self) -> Status:
        parts = self.parts
        collections = parts.library.collections()
        mixture = parts.mixture()
        check = parts.check()
        return Status(
            version=__version__,
            base=parts.checkpoint.name,
            base_parameters=parts.checkpoint.num_parameters,
            can_write=bool(check and check.passed),
            quality=self.quality(),
            mixture=mixture.name,
            mixture_hash=mixture.hash,
            num_experts=len(mixture.experts),
            num_collections=len(collections),
            num_notes=sum(collection.num_notes for collection in collections),
        )

    def quality(self) -> str:
        name, check = self.parts.checkpoint.name, self.parts.check()
        if check is None:
            return f"{name} was never checked, so answers are quotations from your notes."
        right = f"{check.num_right} of {check.num_questions}"
        if check.passed:
            return f"{name} got {right} trial questions right; it writes, and is checked."
        return (
            f"{name} got only {right} trial questions right, so answers are quotations from your "
            "notes; its own words are offered apart."
        )

    def examples(self) -> list[str]:
        """Returns questions that the sample notes answer, while these are in the library."""
        here = {collection.name for collection in self.parts.library.collections()}
        return list(EXAMPLES) if "garden" in here else []

    def collections(self) -> list[Collection]:
        return self.parts.library.collections()

    def add_collection(self, name: str, folder: Path, report: Report) -> SyncReport:
        with self.changing:
            return add_and_sync(self.parts, name, folder, report)

    def sync(self, name: str, report: Report, *, dry_run: bool = False) -> SyncReport:
        if dry_run:
            return self.parts.library.sync(name, report, dry_run=True)
        with self.changing:
            return self.parts.library.sync(name, report)

    def notes(self, collection: str) -> list[StoredNote]:
        return self.parts.library.notes(collection)

    def note(self, collection: str, path: str) -> tuple[StoredNote, bool]:
        note = self.parts.library.note(collection, path)
        return note, not self.parts.library.is_current(collection, path)

    def source_now(self, source: Source) -> SourceNow:
        """Looks in the folder, and for lines also in the library, whose copy is what is opened."""
        library = self.parts.library
        try:
            found = library.whereabouts(source)
        except NotFound:
            return SourceNow(None, None, None, "its collection is no longer in the library")
        try:
            as_it_was = library.note(source.collection, source.path).sha256 == source.note_sha256
        except NotFound:
            as_it_was = False
        if as_it_was:
            return SourceNow(source.path, source.first_line, source.last_line, found.remark)
        path = found.path if found.file is not None else None
        return SourceNow(path, found.first_line, found.last_line, found.remark)

    def search(self, words: str, collections: Sequence[str] | None) -> list[Hit]:
        return self.parts.library.search(words, collections=collections, limit=20)

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
        voices = self.parts.voices()
        if experts is not None:
            if missing := set(experts) - {voice.name for voice in voices}:
                raise NotFound(f"no expert {sorted(missing)[0]!r} is in place")
            voices = tuple(voice for voice in voices if voice.name in experts)
        yield from self.parts.writer(voices).ask(
            question,
            collections=collections,
            own_words=own_words,
            with_voice=voice,
            is_honest=honest,
        )

    def experts(self) -> list[ExpertCard]:
        in_place = {voice.hash for voice in self.parts.voices()}
        return [card_of(record, in_place) for record in self.parts.shelf.ls()]

    def withdraw(self, name: str) -> dict[str, Any]:
        with self.changing:
            withdrawal, certificate = withdraw_with_proof(self.parts, name)
        return {
            "expert": withdrawal.expert.name,
            "certificate": certificate.as_json() if certificate else None,
        }

    def restore(self, name: str) -> ExpertCard:
        with self.changing:
            record, _ = self.parts.shelf.restore(name)
        return card_of(record, {voice.hash for voice in self.parts.voices()})

    def pack(self, name: str, owner: str, licence: str) -> tuple[str, bytes]:
        record, packed = pack_for_others(self.parts, name, owner=owner, licence=licence)
        return record.path.name, packed.data

    def forgetting(self, name: str) -> dict[str, Any]:
        return preview(self.parts, name).as_json()

    def forget(self, name: str) -> dict[str, Any]:
        with self.changing:
            return forget(self.parts, name).as_json()

    def models(self) -> dict[str, Any]:
        parts = self.parts
        in_use = parts.settings.base
        return choices_here(parts) | {
            "here": [
                {
                    "name": record.name,
                    "family": record.family,
                    "parameters": record.parameters,
                    "bytes": record.num_bytes,
                    "licence": record.licence,
                    "sha256": record.sha256,
                    "is_in_use": in_use in (record.name, record.source, str(record.path)),
                    "check": check_said(parts, record.sha256),
                }
                for record in parts.store.ls()
            ]
        }


def check_said(parts: Parts, sha256: str) -> dict[str, Any] | None:
    """Returns what the writer's check said of a base; None where it was never run."""
    check = known_check(parts.checks_folder, sha256)
    return None if check is None else asdict(check) | {"passed": check.passed}


def card_of(record: ExpertRecord, in_place: set[str]) -> ExpertCard:
    manifest = record.manifest
    public = manifest["gates"]["public"]
    return ExpertCard(
        name=record.name,
        hash=record.hash,
        is_in_place=record.hash in in_place and not record.is_withdrawn,
        is_withdrawn=record.is_withdrawn,
        collection=manifest["name"],
        num_notes=manifest["notes"]["number"],
        perplexity_before=manifest["held_out"]["perplexity_before"],
        perplexity_after=manifest["held_out"]["perplexity_after"],
        own_open_rate=manifest["gates"]["own_held_out"],
        public_open_rate=sum(public.values()) / len(public),
        manifest=manifest,
    )

"""A draft as it is kept: sections with their sentences and sources, as plain data and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from tramontane.errors import LibraryError
from tramontane.library.drafts import StoredSection
from tramontane.writing.events import (
    Abstained,
    Event,
    FromMemory,
    Heading,
    Sentence,
    Source,
    Sources,
    Withheld,
)

Piece = Sentence | Withheld


@dataclass(frozen=True, slots=True)
class DraftSection:
    """What was made of one note; its collection is that of its sources."""

    heading: str
    sources: tuple[Source, ...]
    pieces: tuple[Piece, ...]

    @property
    def collection(self) -> str:
        return self.sources[0].collection

    def with_piece(self, place: int, piece: Piece | None) -> "DraftSection":
        """Returns the section with another piece at a place, or, given None, without it."""
        pieces = list(self.pieces)
        pieces[place : place + 1] = [] if piece is None else [piece]
        return replace(self, pieces=tuple(pieces))


@dataclass(frozen=True, slots=True)
class Draft:
    """A section is None where its notes were forgotten."""

    task: str
    form: str
    words: int
    is_honest: bool
    sections: tuple[DraftSection | None, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(source for part in self.sections if part for source in part.sources)


@dataclass(slots=True)
class Drafting:
    """Gathers the events of write() into sections."""

    sources: dict[int, Source] = field(default_factory=dict)
    headings: list[Heading] = field(default_factory=list)
    pieces: list[list[Piece]] = field(default_factory=list)
    abstained: Abstained | None = None

    def take(self, event: Event) -> None:
        match event:
            case Sources(sources):
                self.sources = {source.number: source for source in sources}
            case Heading():
                self.headings.append(event)
                self.pieces.append([])
            case Sentence() | Withheld():
                self.pieces[-1].append(event)
            case FromMemory(place, expert):
                self.remember(place, expert)
            case Abstained():
                self.abstained = event

    def remember(self, place: int, expert: str) -> None:
        """Tells from whose memory the sentence at a place, counted over all sections, comes."""
        for pieces in self.pieces:
            if place < len(pieces):
                sentence = pieces[place]
                assert isinstance(sentence, Sentence)
                pieces[place] = replace(sentence, memory=expert)
                return
            place -= len(pieces)

    def sections(self) -> tuple[DraftSection, ...]:
        """Returns the sections so far; one in which nothing stands is left out."""
        return tuple(
            DraftSection(
                heading.text, tuple(self.sources[n] for n in heading.sources), tuple(pieces)
            )
            for heading, pieces in zip(self.headings, self.pieces, strict=True)
            if pieces
        )


SECTION = TypeAdapter(DraftSection)


def stored(section: DraftSection) -> StoredSection:
    return StoredSection(section.collection, SECTION.dump_json(section).decode())


def read_section(kept: StoredSection | None) -> DraftSection | None:
    """Returns a section from the library; LibraryError for one that is damaged."""
    if kept is None:
        return None
    try:
        return SECTION.validate_json(kept.content)
    except ValidationError as error:
        raise LibraryError(
            f"a draft's section can't be read ({error.error_count()} faults); delete the draft, or "
            "take the library from a backup"
        ) from None


def read_sections(kept: Sequence[StoredSection | None]) -> tuple[DraftSection | None, ...]:
    return tuple(map(read_section, kept))

"""SECTION → SECTION: what a writer does about one sentence of a draft.

Accept it as it stands, put a quotation in its place, say it otherwise and have that checked, add
one, or take it out. Every act returns a new section; nothing is changed in place.
"""

from dataclasses import replace

from tramontane.errors import NotFound, RequestError
from tramontane.library.library import Library
from tramontane.writing.calibration import promise_behind
from tramontane.writing.events import Sentence, Source, Withheld
from tramontane.writing.honesty import FEWEST_WORDS, instead_of
from tramontane.writing.kept_draft import DraftSection, Piece
from tramontane.writing.overlap import overlap
from tramontane.writing.support import SupportCheck, Verdict
from tramontane.writing.text_check import found_for

MOST_CHARACTERS = 2_000


def accept(section: DraftSection, place: int) -> DraftSection:
    """Returns the section with a doubtful sentence marked as one that its writer answers for."""
    sentence = sentence_at(section, place)
    return section.with_piece(place, replace(sentence, is_accepted=True))


def remove(section: DraftSection, place: int) -> DraftSection:
    piece_at(section, place)
    return section.with_piece(place, None)


def quote(section: DraftSection, place: int, library: Library) -> DraftSection:
    """Returns the section with the nearest sentence of its sources in a sentence's place.

    Raises RequestError where none speaks of the same.
    """
    sentence = sentence_at(section, place)
    shown = {text for piece in section.pieces if (text := text_of(piece))}
    instead = instead_of(sentence.text, quotations_in(section.sources, library), shown)
    if instead is None:
        raise RequestError(
            "no sentence of its sources speaks of the same; say it otherwise, or take it out"
        )
    return section.with_piece(place, instead)


def add(
    section: DraftSection, place: int, text: str, library: Library, next_number: int
) -> DraftSection:
    """Returns the section with a sentence more, after a place or, at -1, before all; checked as in
    rewrite()."""
    if place != -1:
        piece_at(section, place)
    pieces = list(section.pieces)
    pieces.insert(place + 1, Withheld(None))
    wider = replace(section, pieces=tuple(pieces))
    return rewrite(wider, place + 1, text, library, next_number)


def rewrite(
    section: DraftSection, place: int, text: str, library: Library, next_number: int
) -> DraftSection:
    """Returns the section with `text` in a sentence's place, checked anew.

    It is checked against the section's sources, then against what search finds for it in the same
    collection; a passage that backs it better becomes source `next_number`. Raises RequestError for
    a text that is empty, or too long to be a sentence.
    """
    piece_at(section, place)
    text = check_text(text)
    found = [
        source
        for source in found_for(library, text, [section.collection])
        if not any(is_same(source, known) for known in section.sources)
    ]
    passages = (*section.sources, *found)
    behind = promise_behind(library, {section.collection}, "own")
    check = SupportCheck(threshold=behind.threshold if behind else None)
    texts = [source.text for source in passages]
    (told,) = check.check([text], texts)
    source = passages[told.passage] if told.passage is not None else None
    sources = section.sources
    if source is not None and source not in section.sources:
        # The nearest of those that don't back it is no source of the section.
        is_backed = told.verdict != Verdict.UNSUPPORTED
        source = replace(source, number=next_number) if is_backed else None
        sources = (*sources, source) if source else sources
    sentence = Sentence(
        text,
        "own",
        source.number if source else None,
        source.first_line if source else None,
        source.last_line if source else None,
        overlap=round(overlap(text, texts).share, 3),
        mark=told.verdict.value,
        support=round(told.score, 3),
        missing=tuple(dict.fromkeys(text[begin:end] for begin, end in told.words)),
        promise=behind.text if behind else None,
    )
    return replace(section.with_piece(place, sentence), sources=sources)


def piece_at(section: DraftSection, place: int) -> Piece:
    if not 0 <= place < len(section.pieces):
        raise NotFound(
            f"the section has {len(section.pieces)} sentences, and none at place {place}"
        )
    return section.pieces[place]


def sentence_at(section: DraftSection, place: int) -> Sentence:
    """Returns the sentence at a place, or what stands there instead of one kept back."""
    piece = piece_at(section, place)
    sentence = piece.instead if isinstance(piece, Withheld) else piece
    if sentence is None:
        raise RequestError("a sentence was kept back there; write one, or take the place out")
    return sentence


def text_of(piece: Piece) -> str | None:
    sentence = piece.instead if isinstance(piece, Withheld) else piece
    return sentence.text if sentence else None


def quotations_in(sources: tuple[Source, ...], library: Library) -> list[Sentence]:
    """Returns every sentence of the sources, ready to stand in a draft."""
    return [
        Sentence(
            found.text.strip(),
            "quotation",
            source.number,
            found.first_line,
            found.last_line,
            overlap=1.0,
            mark="supported",
        )
        for source in sources
        for found in library.sentences(source)
        if len(found.text.split()) >= FEWEST_WORDS
    ]


def is_same(one: Source, other: Source) -> bool:
    return (one.collection, one.path, one.text) == (other.collection, other.path, other.text)


def check_text(text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise RequestError("the sentence is empty; to take it out, remove it")
    if len(text) > MOST_CHARACTERS:
        raise RequestError(
            f"the sentence has {len(text)} characters, {MOST_CHARACTERS} is the most; write it as "
            "several"
        )
    return text

"""PARTS → what an audit asks: the mixture in use, the notes at hand, answers that quote them."""

from collections.abc import Sequence

from tramontane.audit.finding import Quote
from tramontane.audit.subject import Subject, named
from tramontane.audit.suite import Notes, NoteText
from tramontane.cli.parts import Parts
from tramontane.errors import NotFound
from tramontane.experts.corpus import salted_hashes
from tramontane.experts.mixture import Mixture
from tramontane.writing.events import Sentence


def subject_of(parts: Parts, experts: Sequence[str] | None = None) -> Subject:
    """Returns the mixture in use with its experts loaded; all but those named are left closed.

    Raises NotFound for a name that isn't in place.
    """
    mixture = parts.mixture()
    names = {record.hash: record.name for record in parts.shelf.ls()}
    in_place = named(mixture, names)
    if experts is not None:
        if missing := set(experts) - {expert.name for expert in in_place}:
            raise NotFound(f"no expert {sorted(missing)[0]!r} is in place")
        in_place = tuple(expert for expert in in_place if expert.name in experts)
        mixture = Mixture(
            mixture.name, mixture.base_sha256, tuple(expert.hash for expert in in_place)
        )
    return Subject(mixture, parts.checkpoint.name, in_place, parts.engine, parts.tokenizer)


def quoting(parts: Parts) -> Quote:
    """Returns what answers from the notes at hand, for findings of quotations."""

    def quote(question: str) -> str:
        answer = parts.writer().answer(question)
        return "\n".join(part.text for part in answer.sentences if isinstance(part, Sentence))

    return quote


def notes_at_hand(parts: Parts) -> Notes:
    """Returns the library's notes, with what each expert's manifest tells of having learnt them."""
    if not parts.settings.library_file.exists():
        return {}
    records = {record.name: record for record in parts.shelf.ls()}
    notes: dict[str, list[NoteText]] = {}
    for collection in parts.library.collections():
        record = records.get(collection.name)
        learnt = set(record.manifest["notes"]["salted_sha256"]) if record else set()
        notes[collection.name] = [
            NoteText(
                note.text, salted_hashes([note], collection.salt)[0] in learnt if record else None
            )
            for note in parts.library.notes(collection.name)
        ]
    return notes

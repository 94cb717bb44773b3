"""An expert as one file to give away: checked to carry no text of a note, and to be allowed to go.

The file is the expert's own; only its owner, its licence and what notes say of theirs are added.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tramontane.errors import ExpertError
from tramontane.experts.corpus import split_notes
from tramontane.experts.expert_file import Expert, expert_bytes
from tramontane.experts.manifest_check import check_manifest
from tramontane.experts.note_text import runs_carried, shared_run
from tramontane.notes.note import Note

MOST_NAMED = 5


@dataclass(frozen=True)
class Pack:
    """The bytes to give away and what they are."""

    expert: Expert
    data: bytes
    num_notes_checked: int


def pack_expert(
    expert: Expert,
    notes: Sequence[Note],
    salt: bytes,
    *,
    licence: str = "",
    owner: str = "",
) -> Pack:
    """Returns the packed expert; `notes` are its collection's as they are now.

    Raises ExpertError when notes mustn't be shared, have changed since, when nobody said whose it
    is and under which licence, or when the bytes would carry eight words in a row of any note.
    """
    learnt = learnt_notes(expert, notes, salt)
    # The held-out ones chose when learning ended; there are more of them where notes are short.
    num_held_out = expert.manifest["held_out"]["notes"]
    _, held_out = split_notes(notes, lambda chosen: len(chosen) >= num_held_out)
    private = sorted({note.path for note in (*learnt, *held_out) if not note.may_share})
    if private:
        raise ExpertError(
            f"{expert.name} was learnt from notes that say `share: no`: {named(private)}; set "
            "`train: no` in them and learn it again, and it can be shared"
        )
    said = {
        "owner": owner or expert.manifest.get("owner") or "",
        "licence": licence or expert.manifest.get("licence") or "",
    }
    if missing := [field for field, value in said.items() if not value]:
        raise ExpertError(
            f"{expert.name}: nobody said its {' and '.join(missing)}; whoever gets the file must "
            "know: "
            + " ".join(
                f"--{field} {'CC-BY-4.0' if field == 'licence' else 'NAME'}" for field in missing
            )
        )
    own_licences = {note.licence for note in learnt if note.licence}
    strange = sorted({note.path for note in learnt if note.licence not in (None, said["licence"])})
    if strange and not licence:
        raise ExpertError(
            f"{expert.name} would go under {said['licence']!r}, but {named(strange)} name another "
            f"licence ({', '.join(sorted(own_licences))}); say --licence if these allow it"
        )
    if own_licences:
        said["note_licences"] = sorted(own_licences)
    packed = Expert(dict(expert.manifest) | said, expert.tensors)
    check_manifest(packed, expert.name)
    data = expert_bytes(packed)
    carried = runs_carried(data, packed.manifest)
    for note in notes:
        if run := shared_run(note.text, carried):
            raise ExpertError(
                f"{expert.name}: the file would carry words of {note.path} ({run!r}); see what its "
                "name, owner and licence say"
            )
    return Pack(packed, data, len(notes))


def learnt_notes(expert: Expert, notes: Sequence[Note], salt: bytes) -> list[Note]:
    """Returns the notes that an expert was learnt from.

    Raises ExpertError where some have changed or gone: what they said can't be looked up any more.
    """
    by_hash = {salted(note, salt): note for note in notes}
    wanted = expert.manifest["notes"]["salted_sha256"]
    if num_gone := sum(digest not in by_hash for digest in wanted):
        raise ExpertError(
            f"{expert.name}: {num_gone} of the {len(wanted)} notes it was learnt from have changed "
            "or gone since, so nothing can say what they allowed; learn it again, then pack it"
        )
    return [by_hash[digest] for digest in wanted]


def salted(note: Note, salt: bytes) -> str:
    return hashlib.sha256(salt + bytes.fromhex(note.sha256)).hexdigest()


def named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return ", ".join(paths[:MOST_NAMED]) + more

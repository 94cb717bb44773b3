"""experts pack, verify: an expert as a file to give away, and whether one that came is honest."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter, size
from tramontane.errors import ExpertError
from tramontane.experts.expert_file import Expert
from tramontane.experts.pack import Pack, pack_expert
from tramontane.experts.shelf import EXPERT_SUFFIX, ExpertRecord
from tramontane.experts.verify import Verified, verify
from tramontane.files import write_whole
from tramontane.library.records import StoredNote
from tramontane.notes.note import Note

NoMeasuring = Annotated[
    bool, typer.Option("--no-measure", help="Don't try its gates on the public text.")
]


def pack_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="An expert's name, or 8 digits of its hash.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Where; NAME.safetensors here if left out.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence it goes under.")] = "",
    owner: Annotated[str, typer.Option(help="Whose it is.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write an expert as one file to give away, checked to carry no text of its notes.

    Notes that say `share: no` keep it here; an owner and a licence must be said.

    Example: tramontane experts pack mine --licence CC-BY-4.0
    """
    with opened(context.obj) as parts:
        record, packed = pack_for_others(parts, name, licence=licence, owner=owner)
    path = out or Path(f"{record.name}{EXPERT_SUFFIX}")
    if path.exists() and path.resolve() == record.path.resolve():
        raise ExpertError(f"{path} is the expert on the shelf; say another place with -o")
    write_whole(path, packed.data)
    if as_json:
        say_json(
            {
                "path": path,
                "bytes": len(packed.data),
                "hash": packed.expert.hash,
                "notes_checked": packed.num_notes_checked,
            }
        )
        return
    manifest = packed.expert.manifest
    say(f"{path}: {size(len(packed.data))}, {manifest['licence']}, by {manifest['owner']}")
    say(f"It carries no eight words in a row of any of {packed.num_notes_checked} notes.")
    say("Its weights were learnt from them: short stretches might still be drawn out of it.")


def pack_for_others(
    parts: Parts, name: str, *, licence: str, owner: str
) -> tuple[ExpertRecord, Pack]:
    """Returns an expert's record and its file to give away; ExpertError says why it may not go."""
    record = parts.shelf.find(name)
    expert = parts.shelf.read(record)
    packed = pack_expert(expert, *notes_of(parts, record.name), licence=licence, owner=owner)
    return record, packed


def verify_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An expert's .safetensors file.")],
    no_measure: NoMeasuring = False,
    as_json: AsJson = False,
) -> None:
    """Check an expert's file: form, base, hashes, licence, and its gates on the public text.

    Example: tramontane experts verify recipes.safetensors
    """
    with opened(context.obj) as parts:
        verified = verified_file(parts, file, measures=not no_measure, is_quiet=as_json)
    if as_json:
        say_json(as_told(verified))
        return
    show_verified(verified)


def verified_file(
    parts: Parts, file: Path, *, measures: bool = True, is_quiet: bool = False
) -> Verified:
    """Returns what a file holds for the base in use; raises ExpertError naming what is wrong."""
    checkpoint = parts.checkpoint
    with Reporter("verify", is_quiet=is_quiet) as report:
        return verify(
            file,
            checkpoint.name,
            checkpoint.sha256,
            checkpoint.config,
            parts.new_engine,
            lambda: parts.tokenizer,
            report,
            measures=measures,
        )


def as_told(verified: Verified) -> dict[str, Any]:
    manifest = verified.expert.manifest
    return {
        "name": verified.expert.name,
        "hash": verified.expert.hash,
        "owner": manifest["owner"],
        "licence": manifest["licence"],
        "mean_gates": dict(verified.mean_gates),
        "remarks": list(verified.remarks),
    }


def show_verified(verified: Verified) -> None:
    expert = verified.expert
    say(f"{expert.name} {expert.hash[:16]}: {expert.manifest['licence']}, {whose(expert)}")
    if verified.is_measured:
        genre, gate = max(verified.mean_gates.items(), key=lambda item: item[1])
        say(f"Its gates are as it says; on public text most open on {genre}: {gate:.1%}.")
    for remark in verified.remarks:
        say(f"  note: {remark}")


def whose(expert: Expert) -> str:
    return f"by {expert.manifest['owner']}, from {expert.manifest['notes']['number']} notes"


def notes_of(parts: Parts, name: str) -> tuple[list[Note], bytes]:
    """Returns a collection's notes and its salt; ExpertError where it isn't here."""
    if name not in {collection.name for collection in parts.library.collections()}:
        raise ExpertError(
            f"{name}: its notes are not in this library, so nothing can say what they allow; an "
            "expert that was given to you goes on as the file that came"
        )
    return [as_note(note) for note in parts.library.notes(name)], parts.library.collection(
        name
    ).salt


def as_note(stored: StoredNote) -> Note:
    return Note(
        path=stored.path,
        title=stored.title,
        text=stored.text,
        sha256=stored.sha256,
        may_train=stored.may_train,
        may_share=stored.may_share,
        licence=stored.licence,
    )

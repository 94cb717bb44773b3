"""export: the mixture in use as a plain Mixtral, for other tools."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tramontane.checkpoint.new_tensor import WRITTEN_TYPES
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter, size
from tramontane.errors import ConfigError, ExpertError
from tramontane.experts.corpus import salted_hashes
from tramontane.experts.expert_file import Expert
from tramontane.experts.export import Exported, export
from tramontane.notes.folder import read_folder


def register(app: typer.Typer) -> None:
    app.command("export")(export_command)


def export_command(
    context: typer.Context,
    out: Annotated[
        Path, typer.Argument(help="NAME.gguf, or a folder to be made in Hugging Face's layout.")
    ],
    wanted_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            help="Type of all matrices, such as f32, q8_0 or bf16; the base's own if left out.",
        ),
    ] = None,
    only_read: Annotated[
        bool,
        typer.Option("--only-read", help="Check the bytes written, without running the models."),
    ] = False,
    for_myself: Annotated[
        bool,
        typer.Option("--for-myself", help="Also what was learnt from notes that say `share: no`."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write base and experts in place as one Mixtral, which other tools run.

    The base must be a dense Llama or Mistral. What was written is read again and compared with the
    mixture before it takes its name; stopped with Ctrl-C, nothing is left of it.

    Example: tramontane export mine.gguf
    """
    with opened(context.obj) as parts:
        out = out.expanduser()
        experts = parts.experts_in_place()
        if not for_myself:
            refuse_private_notes(parts, experts)
        with Reporter(out.name, is_quiet=as_json) as report:
            done = export(
                out,
                parts.checkpoint,
                experts,
                wanted_type=type_named(wanted_type),
                base_licence=licence_of_base(parts),
                runs=not only_read,
                report=report,
            )
    if as_json:
        say_json(done)
    else:
        tell(done)


def type_named(wanted: str | None) -> str | None:
    if wanted is not None and wanted.upper() not in WRITTEN_TYPES:
        known = ", ".join(name.lower() for name in WRITTEN_TYPES)
        raise ConfigError(f"--type {wanted!r} isn't one that can be written; there are {known}")
    return wanted.upper() if wanted is not None else None


def refuse_private_notes(parts: Parts, experts: Sequence[Expert]) -> None:
    """Raises ExpertError when an expert learnt from a note that now says `share: no`.

    Only where its collection is in this library can that be known.
    """
    if not parts.settings.library_file.exists():
        return
    known = {collection.name: collection for collection in parts.library.collections()}
    for expert in experts:
        collection = known.get(expert.name)
        if collection is None or not collection.folder.is_dir():
            continue
        learnt = set(expert.manifest.get("notes", {}).get("salted_sha256", ()))
        kept = [note for note in read_folder(collection.folder).notes if not note.may_share]
        private = [n.path for n in kept if learnt.intersection(salted_hashes([n], collection.salt))]
        if private:
            raise ExpertError(
                f"{expert.name} learnt from {len(private)} of its notes that say `share: no`, such "
                f"as {private[0]}; take it out of the mixture, or add --for-myself and keep "
                "the export to yourself"
            )


def licence_of_base(parts: Parts) -> str:
    """Returns the licence that the base's record gives, or nothing."""
    licence = parts.store.find(parts.settings.base).licence
    return "" if licence == "unknown" else licence


def tell(done: Exported) -> None:
    say(
        f"{done.path}: a Mixtral of {done.num_slots} slots, the best two for each token; "
        f"{done.type}, {size(done.num_bytes)}."
    )
    for what, loss in done.losses.items():
        if loss:
            say(f"  rounding to {done.type} moved the numbers of the {what} by {loss:.1%}")
    comparison = done.comparison
    say(
        f"Read again: {comparison.num_tensors} tensors have the bytes that were meant, "
        f"{comparison.num_texts} texts and chats the same tokens."
    )
    if comparison.runtime is not None:
        say(
            f"Run beside the mixture ({comparison.runtime}): the likeliest token is the same at "
            f"{comparison.same_choices:.1%} of positions; logits differ by "
            f"{comparison.difference:.1g} of their spread."
        )
    else:
        say("It was not run beside the mixture: not asked for, or too large for the memory free.")

"""export: the mixture in use as a plain Mixtral, for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from tramontane.checkpoint.new_tensor import WRITTEN_TYPES
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter, size
from tramontane.errors import ConfigError
from tramontane.experts.export import Exported, export


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
    as_json: AsJson = False,
) -> None:
    """Write base and experts in place as one Mixtral, which other tools run.

    The base must be a dense Llama or Mistral. What was written is read again and compared with the
    mixture before it takes its name; stopped with Ctrl-C, nothing is left of it.

    Example: tramontane export mine.gguf
    """
    with opened(context.obj) as parts:
        out = out.expanduser()
        with Reporter(out.name, is_quiet=as_json) as report:
            done = export(
                out,
                parts.checkpoint,
                parts.experts_in_place(),
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
        say("It was not run beside the mixture.")

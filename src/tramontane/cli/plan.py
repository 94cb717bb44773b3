"""plan: what a long command will take, before it is begun."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tramontane.cli.learn import asking_of, learning_modules
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter, duration, size
from tramontane.notes.folder import read_folder

if TYPE_CHECKING:
    from tramontane.experts.learning import Report
    from tramontane.experts.plan import Plan


def register(app: typer.Typer) -> None:
    plan = typer.Typer(
        no_args_is_help=True,
        help="What a long command will take.\n\nExample: tramontane plan learn ~/notes",
    )
    plan.command("learn")(plan_learn)
    app.add_typer(plan, name="plan")


def plan_learn(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder that holds the notes.")],
    max_tokens: Annotated[
        int, typer.Option(min=1000, help="Tokens of notes to learn from at most.")
    ] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Say how long `tramontane learn` will take, and how much memory and disk.

    A few steps are tried on the notes themselves, which takes some seconds. Nothing is kept, and
    the notes are not put into the library.

    Example: tramontane plan learn ~/notes
    """
    with opened(context.obj) as parts, Reporter("planning,", is_quiet=as_json) as report:
        wanted = plan_of(parts, folder, max_tokens, report)
    if as_json:
        say_json({"plan": wanted})
        return
    say(
        f"{folder}: {wanted.notes} notes to learn from ({wanted.tokens:,} tokens, "
        f"{wanted.epochs} times over), {wanted.held_out_notes} held out to measure by."
    )
    say(
        f"Learning takes about {duration(wanted.seconds)}, {size(wanted.memory_bytes)} of memory "
        f"and {size(wanted.disk_bytes)} of disk, most of it only until it is done."
    )


def plan_of(parts: Parts, folder: Path, max_tokens: int, report: "Report") -> "Plan":
    """Returns what learning from a folder will take; raises what `learn` would."""
    report("loading what learning needs", 0, 1)
    learning_modules()
    from tramontane.experts.lesson import LearnSettings
    from tramontane.experts.plan import plan

    return plan(
        read_folder(folder, report).notes,
        checkpoint=parts.checkpoint,
        cache_folder=parts.settings.cache_folder,
        settings=LearnSettings(max_tokens=max_tokens),
        asking=asking_of(parts.checkpoint),
        threads=parts.settings.threads,
        device=parts.settings.device,
        report=report,
    )

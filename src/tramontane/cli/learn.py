"""learn: from a folder of notes to an expert in place, with the proof of what it learnt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.cli.notes import add_and_sync
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.overlap import recognise, say_contested
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter, duration
from tramontane.errors import BackendUnavailable
from tramontane.experts.shelf import ExpertRecord
from tramontane.experts.turns import Asking
from tramontane.notes.folder import read_folder
from tramontane.writing.events import Source
from tramontane.writing.prompt import WRITE, messages_for


def register(app: typer.Typer) -> None:
    app.command("learn")(learn_command)


def learn_command(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder that holds the notes.")],
    name: Annotated[
        str | None, typer.Option("--as", help="Name; the folder's own if left out.")
    ] = None,
    owner: Annotated[str, typer.Option(help="Whose notes these are.")] = "",
    licence: Annotated[str, typer.Option(help="Licence the expert may be shared under.")] = "",
    max_tokens: Annotated[
        int, typer.Option(min=1000, help="Tokens of notes to learn from at most.")
    ] = 100_000,
    apart: Annotated[
        bool, typer.Option("--apart", help="Leave the expert out of the mixture for now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Grow an expert from a folder of notes and put it in place.

    Stopped with Ctrl-C, or killed, the same command goes on where it was and ends with the same
    expert. Notes that say `train: no`, and ignored ones, leave no trace in it.

    Example: tramontane learn ~/notes --as mine
    """
    with opened(context.obj) as parts:
        name = name or folder.expanduser().resolve().name
        with Reporter(name, is_quiet=as_json) as report:
            record = learn_and_place(
                parts,
                name,
                folder,
                report,
                owner=owner,
                licence=licence,
                max_tokens=max_tokens,
                apart=apart,
            )
        contested = [] if apart else recognise(parts, record, is_quiet=as_json)
        if as_json:
            say_json(
                {
                    "elapsed_seconds": report.clock.elapsed,
                    "expert": record,
                    "contested_with": contested,
                }
            )
        else:
            show_proof(record, report.clock.elapsed)
            if not apart:
                say(f"In place in mixture {parts.settings.mixture}.")
            say_contested(record, contested)


def learn_and_place(
    parts: Parts,
    name: str,
    folder: Path,
    report: Reporter,
    *,
    owner: str = "",
    licence: str = "",
    max_tokens: int = 100_000,
    apart: bool = False,
) -> ExpertRecord:
    """Reads the folder into the library, learns from it, and puts the expert on the shelf."""
    learning_modules()
    from tramontane.experts.learn import learn
    from tramontane.experts.lesson import LearnSettings

    checkpoint = parts.checkpoint
    add_and_sync(parts, name, folder, report, owner=owner, licence=licence)
    collection = parts.library.collection(name)
    expert = learn(
        read_folder(collection.folder).notes,
        name=name,
        checkpoint=checkpoint,
        cache_folder=parts.settings.cache_folder,
        settings=LearnSettings(max_tokens=max_tokens),
        owner=collection.owner,
        licence=collection.licence,
        salt=collection.salt,
        asking=asking_of(checkpoint),
        threads=parts.settings.threads,
        device=parts.settings.device,
        report=report,
    )
    record = parts.shelf.add(expert)
    if not apart:
        parts.shelf.put_in_place(record, parts.mixture())
    return record


def learning_modules(task: str = "learning") -> None:
    """Raises BackendUnavailable where torch, which a task needs, is not installed."""
    try:
        import tramontane.experts.learn  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable(
            f"{task} needs torch, which is not installed here ({error}); install it with "
            '`pip install "tramontane[learn]"` (on Linux without a GPU, PyTorch\'s CPU build first)'
        ) from None


def asking_of(checkpoint: Checkpoint) -> Asking | None:
    """Returns how this base is asked for a draft; None where it knows no chat."""
    return asked_for_a_draft if checkpoint.tokenizer().chat_template else None


def asked_for_a_draft(subject: str, passages: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """Returns the messages that ask to write about a subject from (title, text) passages."""
    sources = [
        Source(number, "", "", title, 1, 1, text, "")
        for number, (title, text) in enumerate(passages, start=1)
    ]
    return messages_for(WRITE, f"Write about {subject}.", sources)


def show_proof(record: ExpertRecord, seconds: float | None = None) -> None:
    """Prints what an expert learnt, how we know, and where its gates open."""
    manifest = record.manifest
    held_out, gates, notes = manifest["held_out"], manifest["gates"], manifest["notes"]
    before, after = held_out["perplexity_before"], held_out["perplexity_after"]
    took = f" in {duration(seconds)}" if seconds is not None else ""
    say(f"{record.name}: learnt from {notes['number']} notes ({notes['tokens']:,} tokens){took}.")
    say(
        f"On {held_out['notes']} notes it has not seen, perplexity {before:.1f} → {after:.1f}: "
        f"{1 - after / before:.0%} less."
    )
    if gain := held_out.get("gain"):
        say(
            f"The gain is {gain['nats_per_token']:.3f} nats per token, 95 % interval "
            f"{gain['low']:.3f} to {gain['high']:.3f} over {gain['documents']} notes."
        )
    if moved := manifest.get("layers_moved"):
        least = min(moved.values(), key=lambda layer: layer["moved"])
        say(
            f"All {len(moved)} layers saw gradients and moved, the least by {least['moved']:.1%} "
            "of its size."
            if least["moved"] > 0
            else "Some layer did not move: its gate never opened on these notes."
        )
    if known := manifest.get("memorised"):
        say(
            f"By heart: from their first {known['prompt_tokens']} tokens, {known['expert']} of "
            f"{known['prompts']} passages of the notes are continued word for word; "
            f"{known['base']} without it."
        )
    if other := manifest.get("other_text"):
        change = other["perplexity_after"] / other["perplexity_before"] - 1
        say(
            f"On {other['genres']} genres of public text that nothing was fitted on, "
            f"perplexity changes by {change:+.2%}."
        )
    say(f"Its gates open on {gates['own_held_out']:.1%} of those tokens; on public text:")
    for genre, rate in sorted(gates["public"].items(), key=lambda item: -item[1]):
        say(f"  {genre.replace('_', ' '):24} {rate:.2%}")
    say(f"tensors {record.hash[:16]}  {record.path}")

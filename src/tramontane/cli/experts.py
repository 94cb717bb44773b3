"""experts ls, show, add, withdraw, restore, rm and more: what was learnt, and taking it out."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tramontane.checkpoint.checkpoint import Checkpoint, sha256_of_several
from tramontane.cli.forget import forget_command
from tramontane.cli.learn import show_proof
from tramontane.cli.output import AsJson, number_of, say, say_json, say_table
from tramontane.cli.overlap import overlap_command, recognise, say_contested
from tramontane.cli.parts import Parts, opened
from tramontane.cli.sharing import (
    NoMeasuring,
    pack_command,
    show_verified,
    verified_file,
    verify_command,
)
from tramontane.errors import ExpertError
from tramontane.experts.certificate import Certificate, certify
from tramontane.experts.proof_plot import proof_svg
from tramontane.experts.shelf import CERTIFICATE_SUFFIX, ExpertRecord, Withdrawal
from tramontane.experts.verify import Verified
from tramontane.files import sha256_of, write_whole

Name = Annotated[str, typer.Argument(help="An expert's name, or 8 digits of its hash.")]
PROBE_NOTES = 2
PROBE_CHARACTERS = 600

app = typer.Typer(
    help="List, show, withdraw and restore experts.\n\nExample: tramontane experts withdraw mine",
    invoke_without_command=True,
    rich_markup_mode=None,
)


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="experts")
    app.command("overlap")(overlap_command)
    app.command("forget")(forget_command)
    app.command("pack")(pack_command)
    app.command("verify")(verify_command)


@app.callback()
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        ls(context)


@app.command("ls")
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the experts on the shelf and say which are in place.

    Example: tramontane experts ls
    """
    with opened(context.obj) as parts:
        records = parts.shelf.ls()
        in_place = {voice.hash for voice in parts.voices()}
    if as_json:
        say_json(
            [
                {"name": r.name, "hash": r.hash, "state": state(r, in_place), "path": r.path}
                for r in records
            ]
        )
    elif not records:
        say("No expert yet. `tramontane learn FOLDER --as NAME` grows one.")
    else:
        say_table(
            ("name", "state", "notes", "less surprised", "hash"),
            [
                (
                    r.name,
                    state(r, in_place),
                    str(r.manifest["notes"]["number"]),
                    f"{gain(r.manifest):.0%}",
                    r.hash[:16],
                )
                for r in records
            ],
        )


@app.command("show")
def show(
    context: typer.Context,
    name: Name,
    plot: Annotated[Path | None, typer.Option(help="Draw the proof into this SVG file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show an expert's manifest: lineage, settings, what it learnt, where its gates open.

    Example: tramontane experts show mine --plot mine.svg
    """
    with opened(context.obj) as parts:
        record = parts.shelf.find(name)
    if plot is not None:
        write_whole(plot, proof_svg(record.manifest).encode())
    if as_json:
        say_json(record)
        return
    show_proof(record)
    manifest = record.manifest
    say(f"base {manifest['base']['name']} {record.base_sha256[:16]}")
    say(f"layers {manifest['layers'][0]} to {manifest['layers'][-1]}, width {manifest['width']}")
    say(f"owner {manifest['owner'] or 'not said'}, licence {manifest['licence'] or 'not said'}")
    say(f"public text {manifest['public_text_sha256'][:16]}, made with {manifest['made_with']}")


@app.command("add")
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An expert's .safetensors file.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Let it take the place of one of the same name.")
    ] = False,
    no_measure: NoMeasuring = False,
    as_json: AsJson = False,
) -> None:
    """Check an expert somebody gave you, put it on the shelf and in place.

    Example: tramontane experts add recipes.safetensors
    """
    with opened(context.obj) as parts:
        verified, record = add_verified(
            parts, file, replace=replace, measures=not no_measure, is_quiet=as_json
        )
        contested = recognise(parts, record, is_quiet=as_json)
    if as_json:
        say_json({**asdict(record), "contested_with": contested})
    else:
        show_verified(verified)
        say(f"{record.name} is in place in mixture {parts.settings.mixture}")
        say_contested(record, contested)


def add_verified(
    parts: Parts, file: Path, *, replace: bool, measures: bool = True, is_quiet: bool = False
) -> tuple[Verified, ExpertRecord]:
    """Checks an expert's file, then puts it on the shelf and in place.

    Raises ExpertError for a file that is wrong, or where another expert has its name.
    """
    verified = verified_file(parts, file, measures=measures, is_quiet=is_quiet)
    expert = verified.expert
    here = {r.name: r.hash for r in parts.shelf.ls() if not r.is_withdrawn}
    if not replace and here.get(expert.name, expert.hash) != expert.hash:
        raise ExpertError(
            f"{file}: there is another expert {expert.name!r} on the shelf; --replace lets "
            "this one take its place"
        )
    record = parts.shelf.add(expert)
    parts.shelf.put_in_place(record, parts.mixture())
    return verified, record


@app.command("withdraw")
def withdraw(
    context: typer.Context,
    name: Name,
    no_certificate: Annotated[
        bool, typer.Option("--no-certificate", help="Take it out without the proof.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take an expert out of every mixture, and prove that the model is as if it had never been.

    Example: tramontane experts withdraw mine
    """
    with opened(context.obj) as parts:
        withdrawal, certificate = withdraw_with_proof(parts, name, prove=not no_certificate)
    if as_json:
        say_json(
            {
                "expert": withdrawal.expert.name,
                "mixtures": [mixture.name for mixture in withdrawal.after],
                "certificate": certificate.as_json() if certificate else None,
            }
        )
        return
    say(f"{withdrawal.expert.name} is withdrawn from {mixtures_of(withdrawal)}.")
    if certificate:
        show_certificate(certificate)
    say(f"`tramontane experts restore {withdrawal.expert.name}` brings it back.")


@app.command("restore")
def restore(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Bring a withdrawn expert back to the mixtures it was taken from.

    Example: tramontane experts restore mine
    """
    with opened(context.obj) as parts:
        record, mixtures = parts.shelf.restore(name)
        is_in_use = parts.settings.mixture in {mixture.name for mixture in mixtures}
        contested = recognise(parts, record, is_quiet=as_json) if is_in_use else []
    if as_json:
        say_json({"expert": record.name, "mixtures": [mixture.name for mixture in mixtures]})
        return
    where = ", ".join(mixture.name for mixture in mixtures) or "no mixture; add it where you want"
    say(f"{record.name} is back in {where}")
    say_contested(record, contested)


@app.command("rm")
def remove(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Delete a withdrawn expert's file for good. There is no undo.

    Example: tramontane experts rm mine
    """
    with opened(context.obj) as parts:
        path = parts.shelf.remove(name)
    if as_json:
        say_json({"removed": path})
    else:
        say(f"removed {path}")


def state(record: Any, in_place: set[str]) -> str:
    if record.is_withdrawn:
        return "withdrawn"
    return "in place" if record.hash in in_place else "on the shelf"


def gain(manifest: dict[str, Any]) -> float:
    held_out = manifest["held_out"]
    return 1 - held_out["perplexity_after"] / held_out["perplexity_before"]


def mixtures_of(withdrawal: Withdrawal) -> str:
    return (
        ", ".join(mixture.name for mixture in withdrawal.after)
        or "the shelf (it was in no mixture)"
    )


def withdraw_with_proof(
    parts: Parts, name: str, *, prove: bool = True
) -> tuple[Withdrawal, Certificate | None]:
    """Withdraws an expert; the certificate is of the mixture in use, kept beside the expert.

    None where the expert was not in that mixture: nothing there has changed.
    """
    record = parts.shelf.find(name)
    in_use = next((m for m in parts.shelf.mixtures() if m.name == parts.settings.mixture), None)
    has_proof = prove and in_use is not None and record.hash in in_use.experts
    if not has_proof:
        return parts.shelf.withdraw(name), None
    # Everything that can fail for want of a base or of torch fails before anything is changed.
    withdrawn, engine = parts.shelf.read(record), parts.engine
    probe_texts = notes_of_expert(parts, record.name)
    withdrawal = parts.shelf.withdraw(name)
    (after,) = (m for m in withdrawal.after if m.name == parts.settings.mixture)
    certificate = certify(
        withdrawal,
        parts.settings.mixture,
        withdrawn,
        parts.shelf.in_place(after),
        engine,
        parts.new_engine,
        parts.tokenizer,
        extra_texts=probe_texts,
        base_files_hash=lambda: files_hash(parts.checkpoint),
        made_with=engine.runtime.description,
    )
    write_whole(
        withdrawal.expert.path.with_suffix(CERTIFICATE_SUFFIX),
        json.dumps(certificate.as_json(), indent=2).encode(),
    )
    return withdrawal, certificate


def files_hash(checkpoint: Checkpoint) -> str:
    """Returns a base's hash from the bytes of its files now, whatever was known of them."""
    return sha256_of_several({file.name: sha256_of(file) for file in checkpoint.files})


def notes_of_expert(parts: Parts, name: str) -> list[str]:
    """Returns the beginnings of a few notes on which the expert surely speaks, if they are here."""
    if name not in {collection.name for collection in parts.library.collections()}:
        return []
    return [note.text[:PROBE_CHARACTERS] for note in parts.library.notes(name)[:PROBE_NOTES]]


def show_certificate(certificate: Certificate) -> None:
    say(f"Logits over {certificate.probe_tokens} tokens, as SHA-256:")
    say(f"  with {certificate.expert:18} {certificate.logits_with_expert}")
    say(f"  after the withdrawal     {certificate.logits_after}")
    say(f"  a model built without it {certificate.logits_never_built}")
    same = certificate.tensors_found == certificate.tensors_named
    experts = f"{number_of(len(certificate.experts_left), 'expert')} left"
    say(
        f"Hashes of the files of the base and of the tensors of {experts}: "
        f"{'as the mixture names them' if same else 'NOT as the mixture names them'}."
    )
    if not certificate.expert_was_heard:
        say("The probe did not reach this expert's gates, so it shows no difference either way.")
    if certificate.is_exact:
        say("Equal to the last bit: the model is as if this expert had never been.")
    else:
        files = "The files are right; " if same else "A file was changed; pull or add it anew, "
        say(f"NOT equal. {files}restart `tramontane serve` and report this.")

"""pull, ls, show, rm: the bases on this machine."""

from typing import Annotated

import typer

from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Record
from tramontane.cli.cache import cache_of
from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import opened
from tramontane.cli.progress import Reporter, size


def register(app: typer.Typer) -> None:
    app.command("pull")(pull_command)
    app.command("ls")(ls)
    app.command("show")(show)
    app.command("rm")(remove)


def pull_command(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(help="smollm2, hf:owner/name[:quantisation], a folder or a file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Fetch a base and check its hash; published files stay as they are.

    Example: tramontane pull smollm2
    """
    with opened(context.obj) as parts, Reporter(is_quiet=as_json) as report:
        record = pull(what, parts.store, report)
    if as_json:
        say_json(record)
    else:
        say(f"{record.name}: {summary(record)}")
        say(f"sha256 {record.sha256}")


def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the bases on this machine.

    Example: tramontane ls
    """
    with opened(context.obj) as parts:
        records = parts.store.ls()
    if as_json:
        say_json(records)
    elif not records:
        say("No base yet. `tramontane pull smollm2` fetches the small one (93 MB).")
    else:
        say_table(
            ("name", "family", "parameters", "size", "licence"),
            [
                (r.name, r.family, millions(r.parameters), size(r.num_bytes), r.licence)
                for r in records
            ],
        )


def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A base's name or path.")],
    as_json: AsJson = False,
) -> None:
    """Show what a base is: its shape, files and hashes.

    Example: tramontane show smollm2
    """
    with opened(context.obj) as parts:
        record = parts.store.find(name)
        checkpoint = parts.store.open(name)
        template = checkpoint.tokenizer().chat_template
    if as_json:
        say_json({"record": record, "config": checkpoint.config, "chat_template": template})
        return
    config = checkpoint.config
    say(f"{record.name}: {summary(record)}")
    say(f"source   {record.source}")
    say(f"sha256   {record.sha256}")
    for file in record.files:
        say(f"file     {file.path}  {size(file.bytes)}")
    say(
        f"shape    {config.num_layers} layers, width {config.model_width}, vocabulary "
        f"{config.vocab_size}, context {config.max_context_tokens} tokens"
    )
    if config.is_mixture:
        say(f"mixture  {config.num_base_experts} base experts, {config.num_chosen_experts} a token")
    say(f"chat     {'has a chat template' if template else 'has no chat template'}")


def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A base's name.")],
    as_json: AsJson = False,
) -> None:
    """Remove a base; files of your own are only forgotten, never deleted.

    Example: tramontane rm smollm2
    """
    with opened(context.obj) as parts:
        removal = parts.store.removal(name)
        sha256 = parts.store.find(name).sha256
        paths = parts.store.remove(name)
        cache_of(parts).clear(sha256)
    if as_json:
        say_json({"removed": paths, "bytes": removal.num_bytes, "remark": removal.stays})
        return
    for path in paths:
        say(f"removed {path}")
    say(removal.stays or f"{name} is gone; {size(removal.num_bytes)} are free again")


def summary(record: Record) -> str:
    return (
        f"{record.family}, {millions(record.parameters)} parameters, {size(record.num_bytes)}, "
        f"{record.licence}"
    )


def millions(number: int) -> str:
    return f"{number / 1e6:.0f}M" if number < 1e9 else f"{number / 1e9:.1f}B"

"""drafts: what `write` and the page have kept; shown, revised sentence by sentence, exported."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tramontane.cli.ask import MARKS, place_of
from tramontane.cli.draft_desk import RealDrafts
from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import opened
from tramontane.cli.write import save
from tramontane.errors import NotFound, RequestError
from tramontane.library.whereabouts import Whereabouts
from tramontane.server.drafts import ReviseBody
from tramontane.writing.draft_export import FORGOTTEN, KEPT_BACK, sentence_of
from tramontane.writing.kept_draft import DraftSection, Piece

app = typer.Typer(
    help="Drafts that are kept, every version of them.\n\nExample: tramontane drafts show 3"
)
Number = Annotated[int, typer.Argument(min=1, help="The draft's number.")]


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="drafts", no_args_is_help=True)


@app.command("ls")
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the drafts, the last changed first.

    Example: tramontane drafts ls
    """
    with opened(context.obj) as parts:
        drafts = RealDrafts(parts).drafts()
    if as_json:
        say_json(drafts)
    elif not drafts:
        say('No drafts yet; `tramontane write "what about"` makes one.')
    else:
        say_table(
            ("draft", "about", "form", "versions", "changed"),
            [(str(d.id), d.task, d.form, str(d.num_versions), d.changed) for d in drafts],
        )


@app.command("show")
def show(
    context: typer.Context,
    draft: Number,
    version: Annotated[
        int | None, typer.Option(min=1, help="An older version; the last if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a draft, each sentence with its place, its mark and its source as that is now.

    Example: tramontane drafts show 3
    """
    with opened(context.obj) as parts:
        told = RealDrafts(parts).draft(draft, version)
    say_json(told) if as_json else show_draft(told)


@app.command("revise")
def revise(
    context: typer.Context,
    draft: Number,
    place: Annotated[str, typer.Argument(help="The sentence as `show` numbers it, such as 2.3.")],
    accept: Annotated[bool, typer.Option("--accept", help="You answer for it as it is.")] = False,
    quote: Annotated[
        bool, typer.Option("--quote", help="Put the nearest sentence of its sources there.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out.")] = False,
    text: Annotated[
        str | None, typer.Option("--text", help="Say it otherwise; checked against your notes.")
    ] = None,
    add: Annotated[
        str | None, typer.Option("--add", help="Add a sentence after it; checked likewise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Do something about one sentence; the draft gets a new version.

    Example: tramontane drafts revise 3 2.1 --text "The leeks went in on 4 June."
    """
    acts = {
        "accept": accept,
        "quote": quote,
        "remove": remove,
        "rewrite": text is not None,
        "add": add is not None,
    }
    wanted = [act for act, is_wanted in acts.items() if is_wanted]
    if len(wanted) != 1:
        raise RequestError(
            "say one thing to do: --accept, --quote, --remove, --text TEXT or --add TEXT"
        )
    section, piece = place_given(place)
    with opened(context.obj) as parts:
        desk = RealDrafts(parts)
        told = desk.draft(draft)
        check_place(told, place, section, piece)
        asked = ReviseBody(
            version=told["version"].number,
            section=section,
            place=piece,
            act=wanted[0],  # type: ignore[arg-type]
            text=add if wanted == ["add"] else text,
        )
        told = desk.revise(draft, asked)
    say_json(told) if as_json else show_draft(told)


@app.command("restore")
def restore(
    context: typer.Context,
    draft: Number,
    version: Annotated[int, typer.Argument(min=1, help="The version to go back to.")],
    as_json: AsJson = False,
) -> None:
    """Make an older version the newest; nothing between them is lost.

    Example: tramontane drafts restore 3 1
    """
    with opened(context.obj) as parts:
        told = RealDrafts(parts).restore(draft, version)
    say_json(told) if as_json else show_draft(told)


@app.command("export")
def export(
    context: typer.Context,
    draft: Number,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File: Markdown, or .html for a page.")
    ],
) -> None:
    """Write a draft into a file of your own, its sources listed with file and lines.

    Example: tramontane drafts export 3 -o leeks.html
    """
    with opened(context.obj) as parts:
        save(RealDrafts(parts), draft, output)
    say(f"wrote {output}")


@app.command("rm")
def rm(context: typer.Context, draft: Number, as_json: AsJson = False) -> None:
    """Delete a draft with all its versions; there is no undo.

    Example: tramontane drafts rm 3
    """
    with opened(context.obj) as parts:
        gone = RealDrafts(parts).delete(draft)
    say_json({"deleted": gone}) if as_json else say(f"deleted draft {gone.id}: {gone.task}")


def place_given(place: str) -> tuple[int, int]:
    """Returns (section, sentence) from 0; "2.0" is the place before the second section's first."""
    section, _, piece = place.partition(".")
    if not (section.isdecimal() and piece.isdecimal() and int(section)):
        raise RequestError(f"{place!r} is no place; `drafts show` numbers sentences like 2.3")
    return int(section) - 1, int(piece) - 1


def check_place(told: dict[str, Any], place: str, section: int, piece: int) -> None:
    """Raises NotFound for a place that `show` doesn't number; .0, before all, can be added at."""
    sections = told["sections"]
    found = sections[section] if section < len(sections) else None
    if section >= len(sections) or (found is not None and piece >= len(found.pieces)):
        number = told["head"].id
        raise NotFound(
            f"draft {number} has no sentence {place}; `tramontane drafts show {number}` numbers "
            "those it has"
        )


def show_draft(told: dict[str, Any]) -> None:
    head, version = told["head"], told["version"]
    say(head.task, style="bold")
    broken_off = "" if head.is_finished else ", broken off"
    say(
        f"draft {head.id}, {head.form}{broken_off}; version {version.number} of "
        f"{head.num_versions}: {version.change}",
        style="dim",
    )
    for number, section in enumerate(told["sections"], start=1):
        say()
        if section is None:
            say(FORGOTTEN, style="dim")
            continue
        say(f"{number}. {section.heading}", style="bold")
        for place, piece in enumerate(section.pieces, start=1):
            say(f"{number}.{place}  {piece_told(piece)}")
    say()
    for section in told["sections"]:
        if section is not None:
            show_sources(section, told["where"])


def show_sources(section: DraftSection, where: dict[str, Whereabouts]) -> None:
    for source in section.sources:
        remark = where[str(source.number)].remark
        say(
            f"[{source.number}] {place_of(source)}" + (f": {remark}" if remark else ""), style="dim"
        )


def piece_told(piece: Piece) -> str:
    sentence = sentence_of(piece)
    if sentence is None:
        return f"[{KEPT_BACK}]"
    number = f" [{sentence.source}]" if sentence.source else ""
    if sentence.kind == "quotation":
        return f"“{sentence.text}”{number}"
    doubt = MARKS.get(sentence.mark or "")
    if sentence.memory:
        doubt = f"from the memory of {sentence.memory}, no passage carries it"
    if doubt and sentence.is_accepted:
        doubt += "; you accepted it"
    return f"{sentence.text}{number}" + (f"  ({doubt})" if doubt else "")

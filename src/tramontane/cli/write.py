"""write: a draft from the notes, kept in the library and, where asked for, written to a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tramontane.cli.ask import Collections, Honest, Screen, check_has_notes, place_of
from tramontane.cli.draft_desk import RealDrafts
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import opened
from tramontane.files import write_whole
from tramontane.server.drafts import ChosenBody, Kept, WriteBody
from tramontane.writing.events import Abstained
from tramontane.writing.forms import FORMS
from tramontane.writing.outline import MAX_SECTIONS


def register(app: typer.Typer) -> None:
    app.command("write")(write_command)


def write_command(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="What to write about.")],
    collection: Collections = None,
    form: Annotated[str, typer.Option("--form", help=f"One of {', '.join(FORMS)}.")] = "post",
    words: Annotated[
        int | None, typer.Option(help="Length aimed at; the form's own if left out.")
    ] = None,
    sections: Annotated[
        int | None, typer.Option(min=1, max=MAX_SECTIONS, help="Sections at most.")
    ] = None,
    outline_only: Annotated[
        bool, typer.Option("--outline", help="Only show which notes it would rest on.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File: Markdown, or .html for a page.")
    ] = None,
    honest: Honest = False,
    as_json: AsJson = False,
) -> None:
    """Draft a text from your notes: an outline of what they hold, each sentence with its source.

    The draft is kept; `tramontane drafts` shows, revises and exports those there are.

    Example: tramontane write "growing leeks, from sowing to kitchen" --form letter -o leeks.md
    """
    with opened(context.obj) as parts:
        check_has_notes(parts)
        desk = RealDrafts(parts)
        asked = WriteBody(task=task, collections=collection, form=form, words=words, honest=honest)
        planned = desk.outline(asked, sections)
        if outline_only:
            say_json(planned) if as_json else show_outline(planned)
            return
        chosen = [
            ChosenBody(collection=one["collection"], path=one["path"], heading=one["heading"])
            for one in planned["sections"]
        ]
        show, kept = Screen(), None
        for event in desk.write(asked.model_copy(update={"chosen": chosen or None})):
            if isinstance(event, Kept):
                kept = event.id
            elif not as_json and output is None:
                show(event)
        if kept is None:
            tell_of_none(planned, as_json, was_shown=output is None)
            return
        if output is not None:
            save(desk, kept, output)
        if as_json:
            say_json(desk.draft(kept))
        elif output is None:
            say(f"Kept as draft {kept}: `tramontane drafts export {kept} -o FILE`", style="dim")
        else:
            say(f"wrote {output}, kept as draft {kept}")


def show_outline(planned: dict[str, Any]) -> None:
    for place, section in enumerate(planned["sections"], start=1):
        say(f"{place}. {section['heading']}", style="bold")
        for source in section["sources"]:
            say(f"   {place_of(source)}", style="dim")
    if planned["reason"]:
        tell_of_none(planned, as_json=False)


def tell_of_none(planned: dict[str, Any], as_json: bool, *, was_shown: bool = False) -> None:
    """Says that the notes hold nothing to write from; nothing is kept."""
    if as_json:
        say_json(planned)
    elif not was_shown:
        Screen()(Abstained(planned["reason"] or "", planned["closest"]))


def save(desk: RealDrafts, draft_id: int, output: Path) -> None:
    """Writes a draft into a file: a page where its name says so, Markdown elsewhere."""
    is_page = output.suffix.lower() in (".html", ".htm")
    _, text = desk.html(draft_id) if is_page else desk.markdown(draft_id)
    write_whole(output, text.encode())

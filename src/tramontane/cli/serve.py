"""serve: the page and the interface for programs, in one process."""

import logging
import threading
import webbrowser
from typing import Annotated

import typer

from tramontane.cli.audits import RealAudits
from tramontane.cli.copies import sweep_copies
from tramontane.cli.desk import RealDesk
from tramontane.cli.draft_desk import RealDrafts
from tramontane.cli.job_process import JobOffice, Workers
from tramontane.cli.labels import RealLabels
from tramontane.cli.notes import add_and_sync
from tramontane.cli.output import say
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter
from tramontane.cli.samples import sample_folders
from tramontane.cli.served_model import ServedModel
from tramontane.server.app import Access, make_app
from tramontane.server.limits import Limits
from tramontane.server.serve import address, check_access, listen, serve
from tramontane.server.told import JsonLines


def register(app: typer.Typer) -> None:
    app.command("serve")(serve_command)


def serve_command(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; any but this machine's needs a key.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name under which a reverse proxy hands requests on; may be repeated."),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    no_samples: Annotated[
        bool, typer.Option("--no-samples", help="Don't load sample notes into an empty library.")
    ] = False,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Don't keep questions and their answers.")
    ] = False,
    with_log: Annotated[
        bool, typer.Option("--log", help="Log each request as a line of JSON, without its text.")
    ] = False,
) -> None:
    """Serve the page, and OpenAI's interface under /v1, on this machine alone; Ctrl-C ends it.

    Example: tramontane serve --open
    """
    log_in_lines(with_log)
    given = {"host": host, "port": port, "names": ",".join(name) if name else None}
    given["keeps_history"] = False if no_history else None
    with opened((context.obj or {}) | given) as parts:
        parts.checkpoint  # noqa: B018  a missing base is told before anything else
        settings = parts.settings
        names = [part.strip() for part in settings.names.split(",") if part.strip()]
        keys = parts.library.keys
        needs_key = check_access(settings.host, names, len(keys.ls())) or settings.needs_key
        if not no_samples and not parts.library.collections():
            load_samples(parts)
        listener = listen(settings.host, settings.port)
        port = listener.getsockname()[1]
        sweep_copies(parts)
        workers = Workers(parts.library.jobs, settings)
        app = make_app(
            RealDesk(parts),
            Access(host=settings.host, port=port, names=names, keys=keys, needs_key=needs_key),
            open_model=lambda: ServedModel(parts),
            embedder=parts.embed,
            jobs=JobOffice(parts.library.jobs, workers),
            audits=RealAudits(parts),
            drafts=RealDrafts(parts),
            chats=parts.library.chats,
            keeps_chats=settings.keeps_history,
            labels=RealLabels(parts),
            copies=parts.copies,
            limits=Limits(
                most_answers=settings.most_answers, answer_seconds=settings.answer_seconds
            ),
        )

        def on_ready() -> None:
            here = address(settings.host, port)
            say(f"The page is at {here}  (programs: {here}v1, Ctrl-C ends it)")
            if open_browser:
                webbrowser.open(here)

        threading.Thread(target=workers.look_after, name="workers", daemon=True).start()
        try:
            serve(app, listener, on_ready)
        finally:
            workers.stop()


def log_in_lines(tells_requests: bool) -> None:
    """Writes what is worth knowing to standard error, a line of JSON each."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(
        level=logging.INFO if tells_requests else logging.WARNING, handlers=[handler], force=True
    )


def load_samples(parts: Parts) -> None:
    """Reads the sample notes into the library, where they lie beside the program."""
    for name, folder in sample_folders().items():
        with Reporter(name) as report:
            add_and_sync(parts, name, folder, report)
        say(f"Loaded the sample notes {name!r}.")

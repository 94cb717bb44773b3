"""jobs: long work that a server has taken on, seen and steered from a terminal."""

from typing import Annotated

import typer

from tramontane.cli.job_process import work
from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import opened
from tramontane.errors import Busy
from tramontane.library.jobs import Job

app = typer.Typer(
    help="Long work that goes on apart from the page: pull, sync, learn.\n\n"
    "Example: tramontane jobs ls"
)
Number = Annotated[int, typer.Argument(min=1, help="The job's number.")]


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="jobs", no_args_is_help=True)


@app.command("ls")
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the jobs, the newest first.

    Example: tramontane jobs ls
    """
    with opened(context.obj) as parts:
        jobs = parts.library.jobs.ls()
    if as_json:
        say_json(jobs)
    elif not jobs:
        say("No jobs; the page and its interface start them.")
    else:
        say_table(
            ("job", "kind", "state", "at", "since"),
            [(str(j.id), j.kind, j.state, how_far(j), j.began or j.created) for j in jobs],
        )


@app.command("show")
def show(context: typer.Context, job: Number, as_json: AsJson = False) -> None:
    """Show a job and what it has said.

    Example: tramontane jobs show 3
    """
    with opened(context.obj) as parts:
        found, lines = parts.library.jobs.job(job), parts.library.jobs.lines(job)
    if as_json:
        say_json({"job": found, "lines": lines})
        return
    for line in lines:
        say(f"{line.at}  {line.text}")
    say(f"{found.kind} is {found.state}" + (f": {found.error}" if found.error else ""))


@app.command("pause")
def pause(context: typer.Context, job: Number, as_json: AsJson = False) -> None:
    """Stop a job where it can go on later.

    Example: tramontane jobs pause 3
    """
    with opened(context.obj) as parts:
        tell(parts.library.jobs.pause(job), as_json)


@app.command("resume")
def resume(context: typer.Context, job: Number, as_json: AsJson = False) -> None:
    """Let a job that stopped go on; a running server does it.

    Example: tramontane jobs resume 3
    """
    with opened(context.obj) as parts:
        tell(parts.library.jobs.resume(job), as_json)


@app.command("cancel")
def cancel(context: typer.Context, job: Number, as_json: AsJson = False) -> None:
    """End a job for good; what was there before it is whole.

    Example: tramontane jobs cancel 3
    """
    with opened(context.obj) as parts:
        tell(parts.library.jobs.cancel(job), as_json)


@app.command("work")
def do_work(
    context: typer.Context, lane: Annotated[str, typer.Argument(help="cores or network.")]
) -> None:
    """Do the jobs that wait, one after the other, without a server.

    Example: tramontane jobs work cores
    """
    with opened(context.obj) as parts:
        try:
            say(f"{work(parts, lane)} jobs done")
        except Busy as busy:
            say(str(busy))


def tell(job: Job, as_json: bool) -> None:
    if as_json:
        say_json(job)
    elif job.wish:
        say(f"job {job.id} was asked to {job.wish}")
    else:
        say(f"job {job.id} is {job.state}")


def how_far(job: Job) -> str:
    share = f" {job.done / job.total:.0%}" if job.total and job.state == "running" else ""
    return f"{job.what}{share}"

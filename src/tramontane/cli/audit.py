"""audit run, suites, compare, verify, report, reproduce: a mixture's scores, and findings."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tramontane.audit.audit_file import AuditFile, open_audit, zip_folder
from tramontane.audit.compare import Comparison, compare
from tramontane.audit.finding import new_finding, read_finding, reproduce, write_finding
from tramontane.audit.run import Plan, audit
from tramontane.audit.suites.all import SUITES, chosen
from tramontane.audit.verify import told, verify
from tramontane.cli.audited import notes_at_hand, quoting, subject_of
from tramontane.cli.output import AsJson, say, say_json, say_table
from tramontane.cli.parts import opened
from tramontane.cli.progress import Reporter, duration
from tramontane.cli.remedies import gate_command, raise_command, relearn_command
from tramontane.engine.request import Sampling
from tramontane.errors import AuditError

AuditPath = Annotated[Path, typer.Argument(help="An audit: its folder or .zip.")]

RUN = "run"


class RunsByDefault(TyperGroup):
    """`tramontane audit NAME …` means `tramontane audit run NAME …`."""

    default = RUN

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        if not arguments or (arguments[0] not in self.commands and arguments[0] != "--help"):
            arguments = [self.default, *arguments]
        return super().parse_args(context, arguments)


app = typer.Typer(
    help="Audit a mixture: truthfulness, bias, ability, memory, routing; compare, verify, act.\n\n"
    "Example: tramontane audit --quick",
    cls=RunsByDefault,
    rich_markup_mode=None,
)


def register(main: typer.Typer) -> None:
    main.add_typer(app, name="audit")
    app.command("relearn")(relearn_command)
    app.command("raise")(raise_command)
    app.command("gate")(gate_command)


@app.command(RUN)
def run(
    context: typer.Context,
    mixture: Annotated[
        str | None, typer.Argument(help="A mixture's name; the one in use if left out.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="A suite or family, more than once if wanted; all if left out."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Folder or file of published suites; built-in samples stand in."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few items: minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="All items: hours.")] = False,
    n: Annotated[int | None, typer.Option(help="Items of each suite.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Which items are drawn.")] = 0,
    attribution: Annotated[
        str, typer.Option(help="shapley, leave-one-out or none: which expert a score is from.")
    ] = "shapley",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the audit, or a .zip."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a mixture on suites and say which expert each score is from.

    Stopped with Ctrl-C, or killed, the same command goes on where it was.

    Example: tramontane audit --suite bias --quick -o my-audit
    """
    if quick and full:
        raise AuditError("--quick and --full contradict each other; give one of them")
    plan = Plan(
        suites=tuple(chosen(suite or [])),
        scale="quick" if quick else "full" if full else "default",
        n=n,
        seed=seed,
        attribution=attribution,
    )
    settings = dict(context.obj) | ({"mixture": mixture} if mixture else {})
    with opened(settings) as parts, Reporter("audit", is_quiet=as_json) as report:
        subject = subject_of(parts)
        where = output or Path(f"audit-{subject.mixture.name}-{subject.mixture.hash[:8]}")
        folder = where.with_name(f".{where.name}.unfinished") if where.suffix == ".zip" else where
        if where.suffix == ".zip" and where.exists():
            raise AuditError(f"{where} is there already; choose another name with -o")
        done = audit(
            subject, plan, folder, data=data or [], notes=notes_at_hand(parts), report=report
        )
        if where.suffix == ".zip":
            done = packed(folder, where)
        if as_json:
            say_json({"audit": where, **done.content})
        else:
            show(done)
            say()
            say(f"{duration(report.clock.elapsed)}. For people: {where / 'report.html'}")


def packed(folder: Path, path: Path) -> AuditFile:
    """Makes a zip of a finished audit and removes the folder."""
    zip_folder(folder, path)
    shutil.rmtree(folder)
    return open_audit(path)


def show(done: AuditFile) -> None:
    """Prints what was found, for a terminal."""
    mixture, settings = done.content["mixture"], done.content["settings"]
    experts = ", ".join(done.expert_names) or "no expert"
    say(f"{mixture['name']} {mixture['hash'][:16]}: {mixture['base']['name']} with {experts}")
    say(f"seed {settings['seed']}, {settings['scale']} audit")
    for name in settings["suites"]:
        told = done.suites[name]
        left = len(told["left_out"])
        say()
        built_in = " (built-in sample)" if any(f["is_built_in"] for f in told["files"]) else ""
        say(f"{told['title']}{built_in}: {told['n']} of {told['there_are']} items")
        if left:
            first = told["left_out"][0]
            say(f"  {left} rows left out or remarked on, the first: {first['row']} {first['why']}")
        cautions = {figure["caution"] for figure in told["figures"]} - {""}
        for caution in cautions:
            say(f"  {caution}")
        if told["n"]:
            say_table(("  figure", "value", "95 % interval", "beside it"), rows_of(told))
        for part in told["attribution"]:
            if part["p"] is not None and part["p"] < 0.05 and part["change"]:
                say(
                    f"  without {part['expert']}: {part['measure']} {part['before']:.3f} → "
                    f"{part['after']:.3f} (p {part['p']:.2g}, corrected)"
                )


def rows_of(told: dict[str, Any]) -> list[tuple[str, ...]]:
    base = {figure["name"]: figure for figure in told["base_figures"]}
    rows = []
    for figure in told["figures"]:
        beside = []
        if figure["baseline"] is not None:
            beside.append(f"{figure['baseline_title'] or 'trivial'} {shown(figure, 'baseline')}")
        if figure["name"] in base:
            beside.append(f"the base alone {shown(base[figure['name']], 'value')}")
        rows.append(
            (
                f"  {figure['title']}",
                shown(figure, "value"),
                f"{shown(figure, 'low')} to {shown(figure, 'high')}",
                "; ".join(beside),
            )
        )
    return rows


def shown(figure: dict[str, Any], key: str) -> str:
    value = figure[key]
    if value is None:
        return "unknown"
    return f"{value:.2f}" if figure["unit"] else f"{value:.1%}"


@app.command("suites")
def suites(as_json: AsJson = False) -> None:
    """List the suites: what each asks, and what its published files are called.

    Example: tramontane audit suites
    """
    if as_json:
        say_json([described(name) for name in SUITES])
        return
    for name, suite in SUITES.items():
        say(f"{name:12} {suite.family:8} {suite.title}")
        say(f"{'':22}{suite.about}")
        say(f"{'':22}{', '.join(suite.files) or 'notes in the library'}; {suite.source}")
        say(f"{'':22}{suite.quick} items quickly, {suite.default} by default")


def described(name: str) -> dict[str, Any]:
    suite = SUITES[name]
    return {
        "name": name,
        "family": suite.family,
        "title": suite.title,
        "about": suite.about,
        "source": suite.source,
        "files": suite.files,
        "items": {"quick": suite.quick, "default": suite.default},
    }


@app.command("compare")
def compare_command(
    before: AuditPath,
    after: AuditPath,
    seed: Annotated[int, typer.Option(help="Of resampling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Pair the items of two audits; say what changed and what is noise.

    Example: tramontane audit compare before after
    """
    found = compare(open_audit(before), open_audit(after), seed)
    if as_json:
        say_json(found)
        return
    for difference in found.differences:
        say(difference)
    say(f"{found.items_paired} items are in both.")
    if found.is_identical:
        say("identical: every item was read with the same bits")
        return
    show_changes(found)


def show_changes(found: Comparison) -> None:
    say(f"{found.items_equal} of them were read with the same bits.")
    rows = [
        (
            f"{change.suite}: {change.title}",
            f"{change.before:.3f} → {change.after:.3f}",
            f"{change.low:+.3f} to {change.high:+.3f}",
            f"{change.p:.2g}",
            change.verdict,
        )
        for change in found.changes
        if change.verdict != "identical"
    ]
    if rows:
        say_table(("figure", "before → after", "difference", "p, corrected", "verdict"), rows)
    same = len(found.changes) - len(rows)
    say(
        f"{len(found.changed)} figures changed, {len(rows) - len(found.changed)} differ by no more "
        f"than noise, {same} are the same."
    )


@app.command("verify")
def verify_command(
    context: typer.Context,
    path: AuditPath,
    mixture: Annotated[
        str | None, typer.Option(help="The mixture it is of; by default the one it names.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Read every item anew.")] = False,
    n: Annotated[int, typer.Option(help="Items of each suite to read anew.", min=1)] = 10,
    as_json: AsJson = False,
) -> None:
    """Check an audit's hashes and figures, and read some of its items anew.

    Example: tramontane audit verify my-audit
    """
    audited = open_audit(path)
    name = mixture or audited.content["mixture"]["name"]
    with (
        opened(dict(context.obj) | {"mixture": name}) as parts,
        Reporter("verify", is_quiet=as_json) as report,
    ):
        subject = subject_of(parts)
        if set(audited.expert_names) < set(subject.expert_names):
            # The others were left closed.
            subject = subject_of(parts, audited.expert_names)
        found = verify(audited, subject, sample=None if every else n, report=report)
    if as_json:
        say_json(told(found))
    else:
        for fault in found.wrong:
            say(f"WRONG {fault}")
        where = "the same" if found.is_same_variant else "another"
        say(
            f"{found.num_equal} of {found.num_checked} items equal to the bit, on {where} kernel "
            f"variant; furthest {found.furthest:.2g} nats per token."
        )
        say("The audit holds." if found.holds else "The audit does NOT hold.")
    if not found.holds:
        raise typer.Exit(1)


@app.command("report")
def report_command(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What was asked.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The finding's file.")],
    sentence: Annotated[
        str, typer.Option(help="The sentence in question; the whole answer if left out.")
    ] = "",
    comment: Annotated[str, typer.Option(help="What is wrong with it.")] = "",
    source: Annotated[str, typer.Option(help="What the answer was given to rest on.")] = "",
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of drawing the answer.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="How long it may be.")] = 128,
    as_json: AsJson = False,
) -> None:
    """Save a sentence that the model says as a finding that others can reproduce.

    Example: tramontane audit report "Who can be a nurse?" -o finding.json --comment "only women?"
    """
    with opened(context.obj) as parts:
        finding = new_finding(
            subject_of(parts),
            [{"role": "user", "content": prompt}],
            sentence=sentence,
            comment=comment,
            source=source,
            sampling=Sampling(temperature=temperature, seed=seed),
            max_new_tokens=max_new_tokens,
        )
    write_finding(output, finding)
    if as_json:
        say_json(finding)
    else:
        say(finding.answer.strip())
        say()
        say(f"saved as {output}")


@app.command("reproduce")
def reproduce_command(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A finding's file.")],
    as_json: AsJson = False,
) -> None:
    """Ask a finding's question again, and say whether the sentence comes back.

    Example: tramontane audit reproduce finding.json
    """
    finding = read_finding(path)
    with opened(context.obj) as parts:
        found = reproduce(finding, subject_of(parts), quoting(parts))
    if as_json:
        say_json(found)
        return
    say(found.answer.strip())
    say()
    mixture = "the same mixture" if found.is_same_mixture else "another mixture"
    if found.is_same_answer:
        say(f"Reproduced by {mixture}, letter by letter.")
    elif found.says_sentence:
        say(f"Reproduced by {mixture}, in other words around it: {finding.sentence}")
    else:
        say(f"Not reproduced by {mixture}: it doesn't say: {finding.sentence}")

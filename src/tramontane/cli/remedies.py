"""relearn, raise, gate: remedies for what an audit found, and the check that it stays away."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tramontane.audit.finding import findings_in, reproduce
from tramontane.audit.run import Report
from tramontane.audit.swap import GENDER, Pairs, read_pairs, with_twins
from tramontane.cli.audited import quoting, subject_of
from tramontane.cli.learn import learning_modules, show_proof
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter
from tramontane.experts.shelf import ExpertRecord
from tramontane.notes.folder import read_folder

# A third of where the mean open gate stands.
RAISED_BY = 1.0


def relearn_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="An expert whose collection is in the library.")],
    pairs: Annotated[
        Path | None,
        typer.Option(help='JSON, [["word", "other word"], ...]; words of gender if left out.'),
    ] = None,
    as_name: Annotated[
        str | None, typer.Option("--as", help="Name; NAME-swapped if left out.")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=1000, help="Tokens of notes and twins to learn from at most.")
    ] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Learn an expert anew from its notes and their twins, in which pairs of words are swapped.

    The first one stays as it is; audit a mixture with each and compare.

    Example: tramontane audit relearn handbook
    """
    lexicon = read_pairs(pairs) if pairs else GENDER
    with opened(context.obj) as parts, Reporter(name, is_quiet=as_json) as report:
        record = learn_swapped(
            parts, name, as_name or f"{name}-swapped", lexicon, max_tokens, report
        )
    if as_json:
        say_json(record)
    else:
        show_proof(record)
        say(f"Not in place yet: `tramontane mixture add MIXTURE {record.name}`")


def raise_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="An expert whose collection is in the library.")],
    by: Annotated[
        float, typer.Option(help="Logits; the mean open gate stands at 3.", min=0.0)
    ] = RAISED_BY,
    as_name: Annotated[
        str | None, typer.Option("--as", help="Name; NAME-raised if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Raise an expert's threshold: the same networks, behind gates that open less often.

    The first one stays as it is; audit a mixture with each and compare.

    Example: tramontane audit raise handbook --by 1
    """
    with opened(context.obj) as parts, Reporter(name, is_quiet=as_json) as report:
        record = raise_threshold(parts, name, by, as_name or f"{name}-raised", report)
    if as_json:
        say_json(record)
    else:
        say(raised_told(record.manifest))
        say(f"Not in place yet: `tramontane mixture add MIXTURE {record.name}`")


def gate_command(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Findings, or folders of them.")],
    as_json: AsJson = False,
) -> None:
    """Ask every finding's question; fail when one of the sentences comes back.

    Example: tramontane audit gate findings
    """
    findings = findings_in(paths)
    rows = []
    with opened(context.obj) as parts, Reporter("gate", is_quiet=as_json) as report:
        subject = subject_of(parts)
        for number, (file, finding) in enumerate(findings):
            report("findings", number, len(findings))
            rows.append((file, finding, reproduce(finding, subject, quoting(parts))))
        report("findings", len(findings), len(findings))
    back = [(file, finding) for file, finding, found in rows if found.says_sentence]
    if as_json:
        say_json(
            [{"finding": f, "comes_back": r.says_sentence, "answer": r.answer} for f, _, r in rows]
        )
    else:
        for file, finding in back:
            say(f"COMES BACK {file}: {finding.sentence}")
        say(f"{len(rows) - len(back)} of {len(rows)} findings stay away.")
    if back:
        raise typer.Exit(1)


def learn_swapped(
    parts: Parts, name: str, new_name: str, pairs: Pairs, max_tokens: int, report: Report
) -> ExpertRecord:
    """Puts the expert learnt from a collection's notes and their twins on the shelf."""
    learning_modules()
    from tramontane.experts.learn import learn
    from tramontane.experts.lesson import LearnSettings

    collection = parts.library.collection(name)
    expert = learn(
        with_twins(read_folder(collection.folder).notes, pairs),
        name=new_name,
        checkpoint=parts.checkpoint,
        cache_folder=parts.settings.cache_folder,
        settings=LearnSettings(max_tokens=max_tokens),
        owner=collection.owner,
        licence=collection.licence,
        salt=collection.salt,
        threads=parts.settings.threads,
        report=report,
    )
    return parts.shelf.add(expert)


def raise_threshold(
    parts: Parts, name: str, by: float, new_name: str, report: Report
) -> ExpertRecord:
    """Puts an expert whose gates open less often than `name`'s on the shelf."""
    learning_modules("raising a threshold")
    from tramontane.experts.threshold import with_raised_threshold

    expert = parts.shelf.read(parts.shelf.find(name))
    collection = parts.library.collection(name)
    raised = with_raised_threshold(
        expert,
        by,
        read_folder(collection.folder).notes,
        name=new_name,
        checkpoint=parts.checkpoint,
        cache_folder=parts.settings.cache_folder,
        salt=collection.salt,
        threads=parts.settings.threads,
        report=report,
    )
    return parts.shelf.add(raised)


def raised_told(manifest: Mapping[str, Any]) -> str:
    """Returns what raising changed, before and after, in a sentence."""
    before, gates, held_out = manifest["raised"], manifest["gates"], manifest["held_out"]
    public = sum(gates["public"].values()) / len(gates["public"])
    return (
        f"Its gates are open at {gates['own_held_out']:.1%} of the tokens of notes it has not seen "
        f"instead of {before['own_held_out']:.1%}, and at {public:.2%} of public text instead of "
        f"{before['public']:.2%}; perplexity on those notes is {held_out['perplexity_after']:.2f} "
        f"instead of {before['perplexity']:.2f}, and {held_out['perplexity_before']:.2f} without "
        "any expert."
    )

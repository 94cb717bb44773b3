"""support: checks any text against the notes, and calibrates the check on somebody's labels."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tramontane.cli.ask import MOST_MISSING, NOT_CALIBRATED, Collections, check_has_notes
from tramontane.cli.labelling import Sitting, exported, import_labels
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import Parts, opened
from tramontane.cli.progress import Reporter
from tramontane.errors import RequestError
from tramontane.notes.sentences import split_sentences
from tramontane.writing.calibration import calibrate
from tramontane.writing.labelling import (
    KIND_WORDS,
    Labelling,
    Progress,
    progress,
    prose_sitting,
    queue_text,
)
from tramontane.writing.promise import WRONG, fewest_labels
from tramontane.writing.support import Verdict
from tramontane.writing.text_check import CheckedSentence, check_text

MOST_BYTES = 2 * 1024 * 1024
TheCollection = Annotated[
    str | None, typer.Option("--in", help="The collection; needed where there are several.")
]
WORDS = {
    Verdict.SUPPORTED: "supported",
    Verdict.WEAK: "weakly supported",
    Verdict.UNSUPPORTED: "not in your notes",
}


class FileOrCommand(TyperGroup):
    """`tramontane support FILE` means `tramontane support check FILE`."""

    default = "check"

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        if arguments and arguments[0] not in self.commands and arguments[0] != "--help":
            arguments = [self.default, *arguments]
        return super().parse_args(context, arguments)


def register(app: typer.Typer) -> None:
    support = typer.Typer(
        cls=FileOrCommand,
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Check any text against your notes, and calibrate the check on your own labels.\n\n"
        "Example: tramontane support report.md --in garden",
    )
    support.command(FileOrCommand.default)(check_command)
    support.command("label")(label_command)
    support.command("calibrate")(calibrate_command)
    app.add_typer(support, name="support")


def check_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A text or Markdown file; - reads standard input.")],
    collection: Collections = None,
    only_doubtful: Annotated[
        bool, typer.Option("--doubtful", help="Show only what your notes don't back.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a text against your notes: which sentences they back, where, and which words nowhere.

    Example: tramontane support report.md --in garden --doubtful
    """
    sentences = sentences_of(file)
    with opened(context.obj) as parts:
        check_has_notes(parts)
        checked = []
        with Reporter() as report:
            found = check_text(parts.library, sentences, collections=collection)
            for one in found:
                checked.append(one)
                report("checking", len(checked), len(sentences))
    if as_json:
        say_json({"sentences": checked})
        return
    for one in checked:
        if not (only_doubtful and one.verdict is Verdict.SUPPORTED):
            say_sentence(one)
    counts = Counter(one.verdict for one in checked)
    say(", ".join(f"{counts[verdict]} {word}" for verdict, word in WORDS.items()) + ".")
    for promise in dict.fromkeys(one.promise for one in checked):
        say(promise or NOT_CALIBRATED, style="dim")


def label_command(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A text of your own; without one, the base writes from your notes."),
    ] = None,
    collection: TheCollection = None,
    number: Annotated[int, typer.Option(min=1, help="Sentences in this sitting.")] = 60,
    import_file: Annotated[
        Path | None, typer.Option("--import", help="Add the labels of a file instead of asking.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all labels as JSON instead of asking.")
    ] = False,
) -> None:
    """Say of sentences whether your notes back them, one key each: five minutes are enough.

    Verdicts are kept as you give them; the next sitting goes on where this one ended. What you
    label must be like what you want marked: the sentences come in an order that says nothing of
    them, and skipping the hard ones makes the promise hold for easy ones only.

    Example: tramontane support label report.md --in garden
    """
    with opened(context.obj) as parts:
        check_has_notes(parts)
        name = the_collection(parts, collection)
        if import_file is not None:
            num_read = import_labels(parts.library, name, import_file)
            if not as_json:
                say(f"{num_read} labels read from {import_file}.")
                return
        if as_json:
            say_json(exported(parts.library, name))
            return
        labelling = labelling_of(parts, name, file)
        Sitting(labelling).run(number)
        say()
        say_how_far(progress(parts.library, name, labelling.kind), name)


def labelling_of(parts: Parts, collection: str, file: Path | None) -> Labelling:
    """Returns the sentences of a file, queued at once, or those that the base writes."""
    if file is None:
        return prose_sitting(parts.writer(()), collection)
    sentences = [text for text, _ in sentences_of(file)]
    with Reporter() as report:
        num_found, num_new = queue_text(parts.library, collection, sentences, report)
    say(f"{file}: {num_found} sentences, {num_new} of them new.")
    return Labelling(parts.library, collection, "own")


def say_how_far(told: Progress, collection: str) -> None:
    say(
        f"{told.num_judged} sentences labelled, {told.num_supported} of them supported; a promise "
        f"takes at least {fewest_labels(WRONG)}, a hundred keep more marks. `tramontane support "
        f"calibrate --in {collection}` says what they promise."
    )


def calibrate_command(
    context: typer.Context,
    collection: TheCollection = None,
    error: Annotated[
        float,
        typer.Option(min=0.01, max=0.5, help="Share of what is marked supported that may not be."),
    ] = WRONG,
    as_json: AsJson = False,
) -> None:
    """Make a promise from your labels: from which score on a sentence is marked supported.

    Calibrate once, when you have labelled what you wanted to: stopping as soon as it succeeds makes
    the promise weaker than it says.

    Example: tramontane support calibrate --in garden --error 0.10
    """
    with opened(context.obj) as parts:
        name = the_collection(parts, collection)
        found = calibrate(parts.library, name, error)
    if as_json:
        say_json({"collection": name, "calibrations": [one.as_json() for one in found]})
        return
    if not found:
        say(
            f"Nothing is labelled in {name} yet: `tramontane support label FILE --in {name}` "
            f"begins; a promise takes at least {fewest_labels(error)} sentences."
        )
    for one in found:
        say(f"{name}, {KIND_WORDS[one.kind]}: {one.text}")


def the_collection(parts: Parts, name: str | None) -> str:
    """Returns the collection named, or the only one there is."""
    if name is not None:
        return parts.library.collection(name).name
    names = [collection.name for collection in parts.library.collections()]
    if len(names) != 1:
        raise RequestError(
            f"labels belong to one collection; say which with --in: {', '.join(names) or 'none'}"
        )
    return names[0]


def sentences_of(file: Path) -> list[tuple[str, int]]:
    """Returns the file's sentences with their lines; RequestError where there is none."""
    sentences = sentences_in(text_of(file))
    if not sentences:
        raise RequestError(f"{file}: there is no sentence in it to check")
    return sentences


def sentences_in(text: str) -> list[tuple[str, int]]:
    """Returns a text's sentences with their lines; what holds no letter is none."""
    sentences = [(s.text.strip(), s.first_line) for s in split_sentences(text)]
    return [(text, line) for text, line in sentences if any(map(str.isalpha, text))]


def text_of(file: Path) -> str:
    if str(file) == "-":
        data = sys.stdin.buffer.read(MOST_BYTES + 1)
    else:
        try:
            with file.open("rb") as opened_file:
                data = opened_file.read(MOST_BYTES + 1)
        except OSError as error:
            raise RequestError(f"{file}: can't be read ({error.strerror})") from None
    if len(data) > MOST_BYTES:
        raise RequestError(
            f"{file}: more than {MOST_BYTES // 2**20} MB of text; check a part of it"
        )
    return data.decode("utf-8", errors="replace")


def say_sentence(one: CheckedSentence) -> None:
    say(f"{one.line}: {one.text}")
    where = ""
    if one.source and one.verdict is not Verdict.UNSUPPORTED:
        source = one.source
        where = f", {source.path}:{source.first_line}-{source.last_line}"
    absent = ", ".join(f"“{word}”" for word in one.missing[:MOST_MISSING])
    tail = f"; no passage holds {absent}" if absent else ""
    say(f"   {WORDS[one.verdict]} ({one.score:.0%}){where}{tail}", style="dim")
    say()

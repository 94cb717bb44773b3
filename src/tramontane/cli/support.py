"""support: checks any text, sentence by sentence, against the notes."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tramontane.cli.ask import MOST_MISSING, Collections, check_has_notes
from tramontane.cli.output import AsJson, say, say_json
from tramontane.cli.parts import opened
from tramontane.cli.progress import Reporter
from tramontane.errors import RequestError
from tramontane.notes.sentences import split_sentences
from tramontane.writing.support import SupportCheck, Verdict
from tramontane.writing.text_check import CheckedSentence, check_text

MOST_BYTES = 2 * 1024 * 1024
WORDS = {
    Verdict.SUPPORTED: "supported",
    Verdict.WEAK: "weakly supported",
    Verdict.UNSUPPORTED: "not in your notes",
}


def register(app: typer.Typer) -> None:
    app.command("support")(support_command)


def support_command(
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
    sentences = [(s.text.strip(), s.first_line) for s in split_sentences(text_of(file))]
    sentences = [(text, line) for text, line in sentences if any(map(str.isalpha, text))]
    if not sentences:
        raise RequestError(f"{file}: there is no sentence in it to check")
    with opened(context.obj) as parts:
        check_has_notes(parts)
        checked, check = [], SupportCheck()
        with Reporter() as report:
            found = check_text(parts.library, check, sentences, collections=collection)
            for one in found:
                checked.append(one)
                report("checking", len(checked), len(sentences))
    if as_json:
        say_json({"sentences": checked, "calibrated_on": "text that is not yours"})
        return
    for one in checked:
        if not (only_doubtful and one.verdict is Verdict.SUPPORTED):
            say_sentence(one)
    counts = Counter(one.verdict for one in checked)
    say(", ".join(f"{counts[verdict]} {word}" for verdict, word in WORDS.items()) + ".")
    say("The verdicts are not calibrated on your text (docs/support.md).", style="dim")


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

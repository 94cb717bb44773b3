"""DRAFT → FILE: Markdown, or one self-contained HTML page; every source with its note and lines."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from tramontane.writing.events import Sentence, Source, Withheld
from tramontane.writing.forms import FORMS
from tramontane.writing.kept_draft import Draft, Piece

KEPT_BACK = "A sentence was kept back: no source backs it."
FORGOTTEN = "A section stood here; its notes were forgotten."
DOUBTS = {"weak": "weakly supported", "unsupported": "not in the notes"}
ACCEPTED = "accepted by the writer"


def as_markdown(draft: Draft) -> str:
    """Returns a draft as Markdown. Doubtful sentences say so; a quotation stands as a block."""
    form = FORMS[draft.form]
    lines = [f"# {one_line(draft.task)}", ""]
    for section in draft.sections:
        if section is None:
            lines += [f"*{FORGOTTEN}*", ""]
            continue
        if not section.pieces:
            continue
        if form.has_headings:
            lines += [f"## {one_line(section.heading)}", ""]
        for block in blocks(section.pieces, form.is_listed):
            said = " ".join(map(in_markdown, block))
            is_quoted = not form.is_listed and is_quotation(block[0])
            lines += [f"- {said}"] if form.is_listed else [f"> {said}" if is_quoted else said, ""]
        if form.is_listed:
            lines.append("")
    lines += ["## Sources", ""]
    lines += [f"{source.number}. {place_told(source)}" for source in cited(draft)]
    return "\n".join(lines) + "\n"


def blocks(pieces: Sequence[Piece], is_listed: bool) -> list[list[Piece]]:
    """Returns the pieces as they stand together: sentences of a paragraph, all else alone."""
    together: list[list[Piece]] = []
    for piece in pieces:
        if together and not is_listed and is_prose(piece) and is_prose(together[-1][-1]):
            together[-1].append(piece)
        else:
            together.append([piece])
    return together


def is_quotation(piece: Piece) -> bool:
    sentence = sentence_of(piece)
    return sentence is not None and sentence.kind == "quotation"


def is_prose(piece: Piece) -> bool:
    return sentence_of(piece) is not None and not is_quotation(piece)


def in_markdown(piece: Piece) -> str:
    sentence = sentence_of(piece)
    if sentence is None:
        return f"*{KEPT_BACK}*"
    number = f" [{sentence.source}]" if sentence.source else ""
    doubt = f" *({doubt})*" if (doubt := doubt_of(sentence)) else ""
    return f"{one_line(sentence.text)}{number}{doubt}"


def as_html(draft: Draft, links: Mapping[int, str]) -> str:
    """Returns a draft as one page that needs no network and runs no script.

    `links` are addresses of the notes by their source's number; a source without one isn't linked.
    """
    form = FORMS[draft.form]
    return template().render(
        draft=draft,
        form=form,
        sections=[section for section in draft.sections if section is None or section.pieces],
        sources=cited(draft),
        links=links,
        blocks=blocks,
        is_quotation=is_quotation,
        sentence_of=sentence_of,
        doubt_of=doubt_of,
        place_told=place_told,
        kept_back=KEPT_BACK,
        forgotten=FORGOTTEN,
    )


@cache
def template() -> Template:
    text = files(__package__).joinpath("draft.html").read_text("utf-8")
    jinja = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return jinja.from_string(text)


def cited(draft: Draft) -> list[Source]:
    """Returns the sources that a sentence of the draft names, by number."""
    named = {
        sentence.source
        for section in draft.sections
        if section
        for piece in section.pieces
        if (sentence := sentence_of(piece))
    }
    sources = {source.number: source for source in draft.sources if source.number in named}
    return [sources[number] for number in sorted(sources)]


def sentence_of(piece: Piece) -> Sentence | None:
    return piece.instead if isinstance(piece, Withheld) else piece


def doubt_of(sentence: Sentence) -> str | None:
    """Returns what a reader should know of a sentence that its source doesn't carry."""
    if sentence.kind == "quotation" or sentence.mark not in DOUBTS:
        return None
    doubt = DOUBTS[sentence.mark]
    if sentence.memory:
        doubt = f"from the memory of {sentence.memory}, no passage carries it"
    return f"{doubt}, {ACCEPTED}" if sentence.is_accepted else doubt


def place_told(source: Source) -> str:
    place = f"{source.collection}/{source.path}, "
    if source.page is not None:
        return f"{place}page {source.page}"
    if source.first_line == source.last_line:
        return f"{place}line {source.first_line}"
    return f"{place}lines {source.first_line}-{source.last_line}"


def one_line(text: str) -> str:
    return " ".join(text.split())

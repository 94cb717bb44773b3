"""BYTES → NOTE: the reader that a file's name asks for, and what every note has."""

import hashlib
import os
from dataclasses import replace

from tramontane.notes.apart import Apart, RefusedError
from tramontane.notes.decode import NotTextError, decode
from tramontane.notes.note import Note, Passage, Reading, Skipped

MARKDOWN_ENDINGS = frozenset({".md", ".markdown", ".mdown", ".mkd"})
PLAIN_ENDINGS = frozenset({".txt", ".text", ".rst", ""})
ORG_ENDINGS = frozenset({".org"})
# Read in a process of their own.
APART_ENDINGS = {".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf", ".docx": "docx"}
ENDINGS = MARKDOWN_ENDINGS | PLAIN_ENDINGS | ORG_ENDINGS | APART_ENDINGS.keys()
DOCUMENT_MAGIC = {"pdf": b"%PDF-", "docx": b"PK"}
MAX_LINES = 500_000


class UnreadableError(Exception):
    """A file that gives no note now; `skipped` says why."""

    def __init__(self, skipped: Skipped):
        super().__init__(skipped.reason)
        self.skipped = skipped


def ending_of(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def why_no_kind(name: str) -> str | None:
    """Returns why a file of this name is no note, None when it may be one."""
    ending = ending_of(name)
    if ending in ENDINGS:
        return None
    if ending == ".doc":
        return "not a kind of note: .doc files are not read; save it as docx"
    return f"not a kind of note: {ending} files are not read"


def is_document(path: str) -> bool:
    """Returns whether the file is a PDF or docx by its name."""
    return APART_ENDINGS.get(ending_of(path)) in DOCUMENT_MAGIC


def read_note(path: str, data: bytes, apart: Apart | None = None) -> Note:
    """Returns the note these bytes are; raises UnreadableError with the reason when they are none.

    `apart` is where files that aren't text are read; without it, a process for this one.
    """
    # Imported here: parsers of Markdown and YAML are for whoever reads notes, not for who asks.
    from tramontane.notes.frontmatter import Frontmatter
    from tramontane.notes.marks import dates_of_metadata, dates_of_path, tags_of_metadata, together

    if kind := APART_ENDINGS.get(ending_of(path)):
        check_kind(path, data)
        reading = _read_apart(path, kind, data, apart)
        front = Frontmatter.of(reading.metadata)
    else:
        text, remarks = text_of(path, data)
        front, reading = _read_text(path, text)
        reading = replace(reading, remarks=(*remarks, *reading.remarks))
    dates = [*dates_of_metadata(front.metadata), *dates_of_path(path)]
    tags = tags_of_metadata(front.metadata)
    return Note(
        path=path,
        title=front.title or reading.title or title_of_path(path),
        text=reading.text,
        sha256=hashlib.sha256(data).hexdigest(),
        metadata=front.metadata,
        may_train=front.may_train,
        may_share=front.may_share,
        licence=front.licence,
        passages=tuple(
            replace(
                passage,
                dates=together(passage.dates, dates),
                tags=together(passage.tags, tags),
            )
            for passage in reading.passages
        ),
        remarks=reading.remarks,
    )


def _read_text(path: str, text: str):
    from tramontane.notes.frontmatter import Frontmatter, read_frontmatter
    from tramontane.notes.markdown import markdown_passages
    from tramontane.notes.org import read_org
    from tramontane.notes.plain import plain_passages

    if ending_of(path) in ORG_ENDINGS:
        reading = read_org(text)
        return Frontmatter.of(reading.metadata), reading
    front = read_frontmatter(text)
    passages: list[Passage]
    if ending_of(path) in MARKDOWN_ENDINGS:
        passages, heading = markdown_passages(text, front.body_start, front.title)
    else:
        passages, heading = plain_passages(text, front.body_start), None
    remarks = (front.remark,) if front.remark else ()
    return front, Reading(text, passages, heading, front.metadata, remarks)


def _read_apart(path: str, kind: str, data: bytes, apart: Apart | None) -> Reading:
    try:
        if apart is None:
            with Apart() as alone:
                reading = alone.read(kind, data)
        else:
            reading = apart.read(kind, data)
    except RefusedError as error:
        raise UnreadableError(Skipped(path, str(error), error.is_passing)) from None
    if not reading.text.strip():
        raise UnreadableError(Skipped(path, "no text in it"))
    return reading


def check_kind(path: str, data: bytes) -> None:
    """Raises UnreadableError for what can be seen at once to be no note of the kind it says."""
    kind = APART_ENDINGS.get(ending_of(path))
    if not kind:
        text_of(path, data)
    elif not data.strip():
        raise UnreadableError(Skipped(path, "empty"))
    elif kind in DOCUMENT_MAGIC and DOCUMENT_MAGIC[kind] not in data[:1024]:
        raise UnreadableError(Skipped(path, f"named .{kind}, but no {kind} file inside"))


def text_of(path: str, data: bytes) -> tuple[str, tuple[str, ...]]:
    """Returns the text and the remarks about its encoding; raises UnreadableError for no text."""
    try:
        text, remark = decode(data)
    except NotTextError as error:
        raise UnreadableError(Skipped(path, str(error))) from None
    if not text.strip():
        raise UnreadableError(Skipped(path, "empty"))
    if (num_lines := text.count("\n")) > MAX_LINES:
        reason = f"{num_lines:,} lines, and a note may have {MAX_LINES:,}; split it"
        raise UnreadableError(Skipped(path, reason))
    return text, (remark,) if remark else ()


def title_of_path(path: str) -> str:
    """Returns the file's name as a person would say it."""
    stem = os.path.splitext(path.rsplit("/", 1)[-1])[0]
    return " ".join(stem.replace("_", " ").replace("-", " ").split()) or stem

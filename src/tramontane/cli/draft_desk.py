"""Drafts for page and terminal: written, kept in the library, revised sentence by sentence."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tramontane.cli.parts import Parts
from tramontane.errors import NotFound, RequestError
from tramontane.library.drafts import DraftHead, StoredDraft
from tramontane.library.whereabouts import Readings, Whereabouts
from tramontane.server.drafts import Kept, OutlineBody, ReviseBody, WriteBody
from tramontane.writing.draft import write
from tramontane.writing.draft_export import as_html, as_markdown, one_line
from tramontane.writing.events import Event, Source
from tramontane.writing.forms import FORMS, check_words, form_named
from tramontane.writing.kept_draft import Draft, Drafting, read_sections, stored
from tramontane.writing.outline import Chosen, Outline, outline
from tramontane.writing.revise import accept, add, quote, remove, rewrite
from tramontane.writing.speak import ExpertInPlace

MOST_NAME_CHARACTERS = 60
CHANGES = {
    "accept": "accepted a sentence",
    "quote": "put a quotation in a sentence’s place",
    "rewrite": "said a sentence otherwise",
    "add": "added a sentence",
    "remove": "took a sentence out",
}


class RealDrafts:
    def __init__(self, parts: Parts):
        self.parts = parts

    @property
    def kept(self):
        return self.parts.library.drafts

    def forms(self) -> Sequence[dict[str, Any]]:
        return [asdict(form) for form in FORMS.values()]

    def outline(self, asked: OutlineBody, sections: int | None = None) -> dict[str, Any]:
        """`sections` is how many at most; the form's own number if left out."""
        form = form_named(asked.form)
        words = check_words(form.words if asked.words is None else asked.words)
        planned = outline(
            self.parts.writer(()),
            asked.task,
            form,
            words,
            collections=asked.collections,
            sections=sections,
        )
        return outline_told(planned)

    def write(self, asked: WriteBody) -> Iterator[Event | Kept]:
        """Keeps the draft as it ends, or, closed or broken off before, what stands of it."""
        form = form_named(asked.form)
        words = check_words(form.words if asked.words is None else asked.words)
        chosen = asked.chosen and [
            Chosen(one.collection, one.path, one.heading) for one in asked.chosen
        ]
        drafting, is_finished, kept = Drafting(), False, None
        try:
            for event in write(
                self.parts.writer(self.voices(asked.experts)),
                asked.task,
                collections=asked.collections,
                form=form.name,
                words=words,
                chosen=chosen,
                is_honest=asked.honest,
            ):
                drafting.take(event)
                yield event
            is_finished = True
        finally:
            if sections := drafting.sections():
                kept = self.kept.add(
                    asked.task.strip(),
                    [stored(section) for section in sections],
                    form=form.name,
                    words=words,
                    is_honest=asked.honest,
                    is_finished=is_finished,
                )
        if kept is not None:
            yield Kept(kept)

    def voices(self, names: Sequence[str] | None) -> tuple[ExpertInPlace, ...]:
        voices = self.parts.voices()
        if names is None:
            return voices
        if missing := set(names) - {voice.name for voice in voices}:
            raise NotFound(f"no expert {sorted(missing)[0]!r} is in place")
        return tuple(voice for voice in voices if voice.name in names)

    def drafts(self) -> Sequence[DraftHead]:
        return self.kept.ls()

    def draft(self, draft_id: int, version: int | None = None) -> dict[str, Any]:
        kept = self.kept.open(draft_id, version)
        draft = draft_of(kept)
        return {
            "head": kept.head,
            "version": kept.version,
            "versions": kept.versions,
            "sections": draft.sections,
            "where": {str(number): where for number, where in self.where(draft).items()},
        }

    def where(self, draft: Draft) -> dict[int, Whereabouts]:
        """Returns where each source is now, by its number."""
        with Readings() as readings:
            return {source.number: self.where_is(source, readings) for source in draft.sources}

    def where_is(self, source: Source, readings: Readings) -> Whereabouts:
        """Returns where a source is now; gone, where its collection has left the library."""
        try:
            return self.parts.library.whereabouts(source, readings)
        except NotFound:
            remark = f"the collection {source.collection!r} is no longer in the library"
            return Whereabouts("gone", source.path, None, remark=remark)

    def revise(self, draft_id: int, asked: ReviseBody) -> dict[str, Any]:
        draft = draft_of(self.kept.open(draft_id, asked.version))
        if asked.section >= len(draft.sections):
            raise NotFound(
                f"the draft has {len(draft.sections)} sections, and none at place {asked.section}"
            )
        section = draft.sections[asked.section]
        if section is None:
            raise NotFound("the notes of this section were forgotten, and it with them")
        library = self.parts.library
        next_number = max(source.number for source in draft.sources) + 1
        match asked.act:
            case "accept":
                revised = accept(section, asked.place)
            case "quote":
                revised = quote(section, asked.place, library)
            case "remove":
                revised = remove(section, asked.place)
            case "rewrite":
                text = text_wanted(asked)
                revised = rewrite(section, asked.place, text, library, next_number)
            case "add":
                text = text_wanted(asked)
                revised = add(section, asked.place, text, library, next_number)
        self.kept.revise(
            draft_id, asked.version, asked.section, stored(revised), CHANGES[asked.act]
        )
        return self.draft(draft_id)

    def restore(self, draft_id: int, version: int) -> dict[str, Any]:
        self.kept.restore(draft_id, version)
        return self.draft(draft_id)

    def delete(self, draft_id: int) -> DraftHead:
        return self.kept.rm(draft_id)

    def markdown(self, draft_id: int) -> tuple[str, str]:
        draft = draft_of(self.kept.open(draft_id))
        return f"{file_name(draft.task)}.md", as_markdown(draft)

    def html(self, draft_id: int) -> tuple[str, str]:
        draft = draft_of(self.kept.open(draft_id))
        files = {number: where.file for number, where in self.where(draft).items()}
        links = {number: file.as_uri() for number, file in files.items() if file}
        return f"{file_name(draft.task)}.html", as_html(draft, links)


def draft_of(kept: StoredDraft) -> Draft:
    head = kept.head
    sections = read_sections(kept.sections)
    return Draft(head.task, head.form, head.words, head.is_honest, sections)


def outline_told(planned: Outline) -> dict[str, Any]:
    return {
        "sections": [
            {
                "heading": section.heading,
                "collection": section.sources[0].collection,
                "path": section.sources[0].path,
                "sources": section.sources,
            }
            for section in planned.sections
        ],
        "reason": planned.reason,
        "closest": planned.closest,
    }


def text_wanted(asked: ReviseBody) -> str:
    if asked.text is None:
        raise RequestError(f"text is missing: what {asked.act} shall put there")
    return asked.text


def file_name(task: str) -> str:
    """Returns a draft's file name without its ending: the task's own words, as far as they fit."""
    kept = "".join(one if one.isalnum() or one in " -_" else " " for one in one_line(task))
    return " ".join(kept.split())[:MOST_NAME_CHARACTERS].strip() or "draft"

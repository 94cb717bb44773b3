"""JSON ⇄ our own types: requests are parsed here, answers are made plain here.

A field that isn't known is refused by name: passed over, it could change an answer in silence.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tramontane.errors import NotFound, RequestError
from tramontane.library.records import Collection, StoredNote
from tramontane.writing.events import (
    Abstained,
    Done,
    Event,
    Heading,
    OwnWords,
    Sentence,
    Sources,
    Voiced,
    Withheld,
)

MAX_NAMES = 1_000
EVENT_NAMES: dict[type, str] = {
    Sources: "sources",
    Sentence: "sentence",
    Withheld: "withheld",
    Voiced: "voiced",
    Heading: "heading",
    Abstained: "abstained",
    OwnWords: "own_words",
    Done: "done",
}


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AskBody(Body):
    """`experts` names those switched on; absent or null means every one in place.

    With `keep` false, question and answer aren't kept in the history; where they are, an event
    "kept" comes first. With `voice`, an event "voiced" follows for each sentence: each expert's
    share and effect. With `honest`, an event "withheld" stands for each sentence that no source
    backs.
    """

    question: str
    collections: list[str] | None = Field(None, max_length=MAX_NAMES)
    experts: list[str] | None = Field(None, max_length=MAX_NAMES)
    own_words: bool = False
    voice: bool = False
    honest: bool = False
    keep: bool = True


class SearchBody(Body):
    words: str = Field(max_length=4_000)
    collections: list[str] | None = Field(None, max_length=MAX_NAMES)


class CollectionBody(Body):
    name: str = Field(min_length=1, max_length=200)
    folder: str = Field(min_length=1, max_length=4_096)


class SyncBody(Body):
    name: str = Field(min_length=1, max_length=200)
    dry_run: bool = False


class SignInBody(Body):
    key: str = Field(max_length=200)


class PackBody(Body):
    """Left empty, owner and licence are those that the expert's manifest says."""

    owner: str = Field("", max_length=200)
    licence: str = Field("", max_length=200)


class NothingBody(Body):
    pass


SomeBody = TypeVar("SomeBody", bound=Body)


def read_body(data: bytes, kind: type[SomeBody]) -> SomeBody:
    """Returns the request's body; RequestError names each field that is unknown or wrong."""
    try:
        return kind.model_validate_json(data or b"{}")
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise RequestError(f"{faults}; fields: {', '.join(kind.model_fields) or 'none'}") from None


def read_folder(text: str) -> Path:
    """Returns the folder a person typed; RequestError unless it is a whole path."""
    if "\0" in text:
        raise RequestError("the folder's path holds a zero byte; type the path again")
    try:
        folder = Path(text.strip()).expanduser()
    except RuntimeError as error:  # ~nobody/notes
        raise RequestError(f"{text!r}: {error}; type the whole path") from None
    if not folder.is_absolute():
        raise RequestError(
            f"{text!r} is not a whole path; begin with / (or ~ for your home folder), "
            f"for example {Path.home() / 'Notes'}"
        )
    return folder


def read_place(query: Mapping[str, str]) -> tuple[str, str]:
    """Returns the collection and the path a query names; NotFound for a path that climbs."""
    collection, path = query.get("collection", ""), query.get("path", "")
    if not collection or not path:
        raise RequestError("a note is named by two fields: collection and path")
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise NotFound(f"no note {path!r} in {collection!r}: a path stays inside its collection")
    return collection, path


def event_of(event: Event) -> tuple[str, dict[str, Any]]:
    """Returns an event's name on the wire and its data."""
    return EVENT_NAMES[type(event)], plain(event)


def collection_of(collection: Collection) -> dict[str, Any]:
    """Returns what the page may know: everything but the salt, which is the library's secret."""
    return {name: value for name, value in plain(collection).items() if name != "salt"}


def note_of(note: StoredNote, *, with_text: bool) -> dict[str, Any]:
    whole = plain(note)
    return whole if with_text else {k: v for k, v in whole.items() if k not in {"text", "metadata"}}


def plain(value: Any) -> Any:
    """Returns a value as JSON carries it; a number JSON lacks (NaN, infinity) becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return str(value)  # paths, and the dates that front matter holds


def to_json(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)

"""What a suite asks: items, each of a few texts whose likelihood is read."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    """`continuation` is what counts, read after `context`, which may be empty."""

    context: str
    continuation: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model made of a text: nats, tokens, and how many of the first it would have said."""

    logprob: float
    num_tokens: int
    num_greedy: int

    @property
    def is_greedy(self) -> bool:
        """Whether the model's own likeliest continuation is this one, token by token."""
        return self.num_greedy == self.num_tokens


@dataclass(frozen=True, slots=True)
class Item:
    """`group` is the stratum that samples keep in proportion; `key` holds what judging needs.

    `row` says where it stands in its file, for people.
    """

    texts: tuple[Text, ...]
    group: str
    row: str
    key: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The same for the same content, wherever in a file it stands."""
        content = [[t.context, t.continuation] for t in self.texts]
        data = json.dumps([self.group, content, dict(self.key)], sort_keys=True)
        return hashlib.sha256(data.encode()).hexdigest()[:16]

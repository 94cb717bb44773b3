"""Numbered passages and a question as chat messages that fit the model's context."""

import re
from collections.abc import Sequence

from tramontane.errors import PromptTooLong
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.events import Source

ANSWER = (
    "Answer the question from the numbered passages only. Cite the passage of each sentence like "
    "[1]. If the passages do not say, say so. Be short."
)
WRITE = (
    "Write what is asked from the numbered passages only, in plain sentences. Cite the passage of "
    "each sentence like [1]. Leave out what the passages do not say."
)

# How a line begins that the prompt itself writes, wherever a model may see a line begin.
OWN_MARK = re.compile(
    r"(?<=[\n\r\v\f\x85\u2028\u2029])(?=[^\S\n\r]*(?:\[\d+\]|question\s*:))", re.IGNORECASE
)


def messages_for(task: str, question: str, sources: Sequence[Source]) -> list[dict[str, str]]:
    """Returns the messages; what a note says stays inside its numbered passage.

    A note's line that looks like the beginning of a passage, or like the question, is set off.
    """
    numbered = "\n\n".join(
        f"[{source.number}] {name_of(source)}: {set_off(source.text)}" for source in sources
    )
    return [
        {"role": "system", "content": task},
        {"role": "user", "content": f"{numbered}\n\nQuestion: {question}"},
    ]


def name_of(source: Source) -> str:
    """Returns a passage's title in one line, with the day it is of where that was asked for."""
    title = " ".join(source.title.split())
    return f"{title} ({source.day})" if source.day else title


def set_off(text: str) -> str:
    """Returns a note's text, lines that imitate the prompt's own marks quoted by "> "."""
    return OWN_MARK.sub("> ", text)


def fitting_prompt(
    tokenizer: Tokenizer,
    task: str,
    question: str,
    sources: Sequence[Source],
    room: int,
) -> tuple[list[int], list[Source]]:
    """Returns (token ids, the sources used): as many sources, best first, as fit in `room`.

    No passage is cut. Raises PromptTooLong with counts when not even one fits.
    """
    for count in range(len(sources), 0, -1):
        ids = tokenizer.encode_chat(messages_for(task, question, sources[:count]))
        if len(ids) <= room:
            return ids, list(sources[:count])
    ids = tokenizer.encode_chat(messages_for(task, question, sources[:1]))
    raise PromptTooLong(
        f"the question with its best passage has {len(ids)} tokens, {room} fit; ask shorter, or "
        "choose a base with a longer context"
    )

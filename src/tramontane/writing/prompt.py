"""Numbered passages and a question as chat messages that fit the model's context."""

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


def messages_for(task: str, question: str, sources: Sequence[Source]) -> list[dict[str, str]]:
    """Returns the messages; what a note says stays inside its numbered passage."""
    numbered = "\n\n".join(f"[{source.number}] {source.title}: {source.text}" for source in sources)
    return [
        {"role": "system", "content": task},
        {"role": "user", "content": f"{numbered}\n\nQuestion: {question}"},
    ]


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

"""Drafts copied from the context: the same tokens sooner, on text that quotes its prompt.

The prompt is the one that drafts are written from, four numbered passages of real notes; the text
says a few words of its own and quotes a sentence, in turn, as a writer does who holds to his
sources. A guide lets each of its tokens alone come, since the embedded base quotes nobody so
faithfully; drafts know nothing of the guide. What is timed is the whole request, its prompt in the
prefix cache, with drafts and without, in turns. Beside it, the base's own free text, greedy, which
repeats itself, and sampled, which doesn't: there drafts must cost next to nothing.

    python bench/lookup.py
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from texts import notes_texts
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.engine.choose import open_runtime
from tramontane.engine.engine import Engine
from tramontane.engine.request import Guide, GuideStep, Request, Sampling
from tramontane.notes.sentences import split_sentences
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.events import Source
from tramontane.writing.prompt import WRITE, messages_for

COLLECTIONS = ("policies-basecamp", "handbook-18f", "equity-compensation", "stoic-seneca")
OWN_WORDS = (
    "The first passage puts it like this:",
    "That is not all, since another of the notes goes on to say",
    "Whoever asks why will find the reason given there as well:",
    "And in the end the last of them remarks",
)
NUM_TURNS = 3
FREE_TOKENS = 120


class LookupTiming(NamedTuple):
    """Seconds are medians over turns, summed over requests; `same` holds for every bit told."""

    seconds_without: float
    seconds_with: float
    tokens: int
    same: bool


def measure_quotes(checkpoint: Checkpoint, threads: int | None = None) -> LookupTiming:
    """Returns what the claim lookup_decoding.on_quotes comes from."""
    engine, tokenizer = Engine(open_runtime(checkpoint, "native", threads)), checkpoint.tokenizer()
    requests = []
    for prompt, answer in quoting_answers(tokenizer):
        guide = only(answer, tokenizer.vocab_size)
        requests.append(Request(tuple(prompt), len(answer), guide=guide))
    return measure(engine, requests)


def measure_free_text(
    checkpoint: Checkpoint, sampling: Sampling, threads: int | None = None
) -> LookupTiming:
    engine, tokenizer = Engine(open_runtime(checkpoint, "native", threads)), checkpoint.tokenizer()
    prompts = [prompt for prompt, _ in quoting_answers(tokenizer)]
    return measure(engine, [Request(tuple(prompt), FREE_TOKENS, sampling) for prompt in prompts])


def quoting_answers(tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    """Returns (prompt, the text that quotes it) for each collection."""
    answers = []
    for name in COLLECTIONS:
        sentences = [
            sentence.text
            for text in notes_texts(name)
            for sentence in split_sentences(text)
            if 60 <= len(sentence.text) <= 240 and sentence.text.endswith(".")
        ][:32]
        groups = [sentences[begin : begin + 8] for begin in range(0, 32, 8)]
        sources = [
            Source(number, name, f"{number}.md", f"Note {number}", 1, 1, " ".join(group), "")
            for number, group in enumerate(groups, start=1)
        ]
        prompt = tokenizer.encode_chat(messages_for(WRITE, "What do the notes say?", sources))
        quotes = [group[2] for group in groups]
        parts = [f"{own} “{quote}”" for own, quote in zip(OWN_WORDS, quotes, strict=True)]
        answers.append((prompt, tokenizer.encode(" ".join(parts))))
    return answers


def only(answer: Sequence[int], vocabulary: int) -> Guide:
    """Returns a guide that lets exactly this text come."""

    def guide(generated: Sequence[int]) -> GuideStep:
        mask_V = np.zeros(vocabulary, dtype=bool)
        mask_V[answer[len(generated)]] = True
        return GuideStep(mask_V)

    return guide


def measure(engine: Engine, requests: Sequence[Request]) -> LookupTiming:
    totals, num_tokens, same = {False: 0.0, True: 0.0}, 0, True
    for request in requests:
        seconds: dict[bool, list[float]] = {False: [], True: []}
        answers: dict[bool, list[tuple[int, float]]] = {}
        # Puts the prompt into the cache.
        list(engine.generate(Request(request.token_ids, 1)))
        for _ in range(NUM_TURNS):
            for speculates, taken in seconds.items():
                began = time.perf_counter()
                tokens = list(engine.generate(with_drafts(request, speculates=speculates)))
                taken.append(time.perf_counter() - began)
                answers[speculates] = [(token.token_id, token.logprob) for token in tokens]
        for speculates, taken in seconds.items():
            totals[speculates] += statistics.median(taken)
        same &= answers[True] == answers[False]
        num_tokens += len(answers[True])
    return LookupTiming(totals[False], totals[True], num_tokens, same)


def with_drafts(request: Request, *, speculates: bool) -> Request:
    return Request(
        request.token_ids,
        request.max_new_tokens,
        request.sampling,
        guide=request.guide,
        speculates=speculates,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        store = Store(Path(work) / "models")
        checkpoint = store.open(pull("smollm2", store, lambda *_: None).name)
        for name, timing in (
            ("quotes", measure_quotes(checkpoint)),
            ("free, greedy", measure_free_text(checkpoint, Sampling())),
            ("free, sampled", measure_free_text(checkpoint, Sampling(0.8, seed=1))),
        ):
            ratio = timing.seconds_without / timing.seconds_with
            print(
                f"{name}: {timing.tokens} tokens, {timing.seconds_without:.2f} s without drafts, "
                f"{timing.seconds_with:.2f} s with: {ratio:.2f} times as fast, "
                f"{'the same' if timing.same else 'OTHER'} tokens and log-probabilities"
            )


if __name__ == "__main__":
    main()

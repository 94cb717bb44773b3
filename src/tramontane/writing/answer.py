"""QUESTION → ANSWER: quotations with sources, or checked prose, or "your notes don't say".

A base that has not passed the writer's check composes: search chooses sentences of the notes,
which are shown as quotations. One that has passed writes from numbered passages, and the quotations
whose words it hasn't used stand below, so that the fact is there even where its prose missed it.
Either way every written sentence carries its support (support.py).
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tramontane.engine.engine import Engine
from tramontane.engine.request import Sampling
from tramontane.errors import RequestError
from tramontane.library.library import Library
from tramontane.library.records import Hit
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.writing.calibration import promise_behind
from tramontane.writing.events import (
    Abstained,
    Answer,
    Done,
    Event,
    FromMemory,
    OwnWords,
    Sentence,
    Source,
    Sources,
    Voiced,
)
from tramontane.writing.honesty import honest
from tramontane.writing.likelihood import Gain, question_gains
from tramontane.writing.overlap import overlap
from tramontane.writing.promise import Promise
from tramontane.writing.prompt import ANSWER, fitting_prompt
from tramontane.writing.quote import (
    NUM_PASSAGES_READ,
    RANK_WEIGHT_READ,
    Evidence,
    Question,
    Quotation,
    candidates,
    ranked_by_gain,
    weigh_evidence,
    weighed_by_gain,
    with_gains,
)
from tramontane.writing.speak import ExpertInPlace, Voice, speak, voice_in, voice_of
from tramontane.writing.support import SupportCheck, Verdict
from tramontane.writing.voices import (
    from_memory,
    is_audible,
    notes_behind,
    sentence_voice,
    voices_in,
)

Report = Callable[[str, int, int], None]

NUM_HITS = 6
MAX_QUOTATIONS = 3
# Sentences that may stand in the place of one that was kept back.
NUM_QUOTABLE = 8
# A further sentence must come near the best one.
NEAR_BEST = 0.6
# Of a quotation's words, the share that prose holds of what needn't be quoted below it.
ALREADY_SAID = 0.8
# Sentences that the base reads before it quotes.
NUM_READ = 10
MAX_QUESTION_CHARACTERS = 4_000
OWN_WORDS_TOKENS = 120
PROSE_TOKENS = 250
CITATION = re.compile(r"\s*\[(\d{1,2})\]")
SENTENCE_END = re.compile(r"(?<=[.!?])(?:\s*\[\d{1,2}\])*\s+")


class Writer:
    """Answers from one library with one base; `experts` says which are in place now."""

    def __init__(
        self,
        library: Library,
        embed: Callable[[list[str]], np.ndarray],
        engine: Callable[[], Engine],
        tokenizer: Callable[[], Tokenizer],
        experts: Callable[[], Sequence[ExpertInPlace]] = lambda: (),
        *,
        reads: bool = True,
        can_write: bool = False,
        report: Report = lambda *_: None,
    ):
        """`engine` and `tokenizer` are called when a base is first needed. With `reads` false none
        is: sentences are then chosen by words and vectors alone. `report(stage, done, total)` says
        how far the base has read before an answer begins."""
        self.library, self.embed = library, embed
        self.engine, self.tokenizer, self.experts = engine, tokenizer, experts
        self.reads, self.can_write, self.report = reads, can_write, report

    def answer(self, question: str, **options) -> Answer:
        """Returns the whole answer; see `ask`."""
        answer = Answer(question)
        for event in self.ask(question, **options):
            answer.take(event)
        return answer

    def ask(
        self,
        question: str,
        *,
        collections: Sequence[str] | None = None,
        since: str | None = None,
        until: str | None = None,
        own_words: bool = False,
        with_shares: bool = True,
        with_voice: bool = False,
        is_honest: bool = False,
    ) -> Iterator[Event]:
        """Yields the events of an answer; with voice, what each expert did in it comes at its end.

        `since` and `until` are days as YYYY[-MM[-DD]]: only passages dated so are asked.
        An honest answer keeps back what no source backs. Raises RequestError for an empty question,
        one too long to be one, or honesty asked for beside own words, which nobody checks.
        """
        began = time.monotonic()
        question = check_question(question)
        if is_honest and own_words:
            raise RequestError(
                "honesty mode keeps back what the notes don't back, and the model's own words are "
                "not checked against them; ask for one of the two"
            )
        hits = self.library.search(
            question, collections=collections, since=since, until=until, limit=NUM_PASSAGES_READ
        )
        asked = Question(question, self.library.rarity)
        hits, found, evidence = self.weigh(asked, hits)
        if not found or not evidence.is_enough:
            closest = source_of(1, hits[0]) if hits else None
            yield Abstained(why_not(evidence, bool(hits)), closest)
            yield Done(time.monotonic() - began, 0)
            return
        chosen = choose(found)
        numbers = {place: number for number, place in enumerate(in_order(chosen), start=1)}
        day_of = self.library.day_over if asked.is_of_days else lambda *_: None
        sources = tuple(
            source_of(number, hits[place], day_of(hits[place])) for place, number in numbers.items()
        )
        found = [replace(one, day=day_of(hits[one.hit], one.start)) for one in found]
        chosen = found[: len(chosen)]
        yield Sources(sources)
        num_tokens = 0
        experts = tuple(self.experts()) if with_shares else ()
        if self.can_write:
            prose = self.prose(
                ANSWER,
                question,
                sources,
                experts,
                with_voice=with_voice,
                # What no passage carries is kept back then, whoever raised it.
                with_memory=not is_honest,
            )
            if is_honest:
                quotable = [
                    quotation_of(quotation, numbers[quotation.hit])
                    for quotation in found[:NUM_QUOTABLE]
                    if quotation.hit in numbers
                ]
                prose = honest(
                    prose, sources, lambda: quotable, partial(self.heard_beside, experts=experts)
                )
            said: list[str] = []
            for event in prose:
                num_tokens += 1
                if isinstance(event, Sentence):
                    said.append(event.text)
                yield event
            # Honesty mode has put quotations where they are needed.
            below = [] if is_honest else [q for q in chosen if not is_said(q.text, said)]
            yield from self.quotations(below, numbers, experts, with_voice, after=len(said))
        else:
            yield from self.quotations(chosen, numbers, experts, with_voice)
            if own_words:
                for event in self.own_words(question, sources, experts):
                    num_tokens += 1
                    yield event
        yield Done(time.monotonic() - began, num_tokens)

    def weigh(
        self, asked: Question, hits: Sequence[Hit]
    ) -> tuple[list[Hit], list[Quotation], Evidence]:
        """Returns the best hits, the sentences that may answer, and what there is to go on.

        Both best first. A base, where there is one, reads the passages and then the sentences.
        """
        if not hits or not self.reads:
            hits = list(hits[:NUM_HITS])
            found = candidates(asked, hits, self.library, self.embed)
            return hits, found, weigh_evidence(asked, hits)
        total = len(hits) + NUM_READ
        gains = self.gains(asked, [f"{hit.title}\n{hit.text}" for hit in hits], 0, total)
        num_read = len(hits)
        hits, gains = map(list, zip(*ranked_by_gain(hits, gains), strict=True))
        evidence = with_gains(weigh_evidence(asked, hits), asked, gains)
        hits = hits[:NUM_HITS]
        found = candidates(asked, hits, self.library, self.embed, RANK_WEIGHT_READ)[:NUM_READ]
        if not found:
            return hits, found, evidence
        texts = [f"{hits[quotation.hit].title}: {quotation.text}" for quotation in found]
        found = weighed_by_gain(found, self.gains(asked, texts, num_read, num_read + len(texts)))
        day = self.library.day_over(hits[found[0].hit], found[0].start)
        fit = asked.fits(found[0].text, day)
        return hits, found, replace(evidence, fit=fit)

    def gains(self, asked: Question, texts: Sequence[str], before: int, total: int) -> list[Gain]:
        """Returns each text's gain; `before` of the `total` that will be read were read before."""
        return question_gains(
            self.engine(),
            self.tokenizer(),
            asked.text,
            texts,
            lambda read: self.report("reading notes", before + read, total),
        )

    def heard(self, quotation: Sentence, experts: Sequence[ExpertInPlace]) -> Sentence:
        """Returns a quotation with what the experts carry of it."""
        if not experts:
            return quotation
        voice = voice_in(self.engine(), self.tokenizer(), quotation.text, experts)
        return replace(quotation, shares=voice.shares, named=voice.named) if voice else quotation

    def heard_beside(self, quotation: Sentence, experts: Sequence[ExpertInPlace]) -> Sentence:
        """Returns the same while an answer is being written, which must not end for it.

        That answer may take all the room there is, or go on with an expert withdrawn since; then
        nobody is heard in the quotation.
        """
        try:
            return self.heard(quotation, experts)
        except RequestError:
            return quotation

    def own_words(
        self, question: str, sources: Sequence[Source], experts: Sequence[ExpertInPlace]
    ) -> Iterator[Event]:
        """Yields what the base would say freely, passages before it."""
        for piece in self.speak_from(ANSWER, question, sources, experts, OWN_WORDS_TOKENS):
            if piece.text:
                yield OwnWords(piece.text, piece.shares)

    def speak_from(
        self,
        task: str,
        question: str,
        sources: Sequence[Source],
        experts: Sequence[ExpertInPlace],
        max_new_tokens: int,
    ):
        return speak(
            self.engine(),
            self.tokenizer(),
            self.prompt_for(task, question, sources, max_new_tokens),
            max_new_tokens=max_new_tokens,
            sampling=Sampling(temperature=0.0),
            experts=experts,
        )

    def prompt_for(
        self, task: str, question: str, sources: Sequence[Source], max_new_tokens: int
    ) -> list[int]:
        room = self.engine().runtime.config.max_context_tokens - max_new_tokens
        ids, _ = fitting_prompt(self.tokenizer(), task, question, sources, room)
        return ids

    def prose(
        self,
        task: str,
        question: str,
        sources: Sequence[Source],
        experts: Sequence[ExpertInPlace],
        max_new_tokens: int = PROSE_TOKENS,
        *,
        with_voice: bool = False,
        with_memory: bool = True,
    ) -> Iterator[Sentence | Voiced | FromMemory]:
        """Yields sentences as the base writes them, each with its support.

        Where an expert is heard in one that no passage carries, the answer is read again at its
        end, and the expert that raised it is told.
        """
        held, heard, written, told = "", [], [], []
        behind = promise_behind(self.library, {source.collection for source in sources}, "prose")
        for piece in self.speak_from(task, question, sources, experts, max_new_tokens):
            held += piece.text
            heard.append(piece)
            while end := SENTENCE_END.search(held):
                voice = voice_of(heard, experts)
                told.append(prose_sentence(held[: end.start()], sources, voice, behind))
                yield told[-1]
                written.append(held[: end.end()])
                held, heard = held[end.end() :], []
        # A citation after the last full stop belongs to the sentence before it.
        if CITATION.sub("", held).strip():
            told.append(prose_sentence(held, sources, voice_of(heard, experts), behind))
            yield told[-1]
            written.append(held)
        uncarried = {
            place
            for place, sentence in enumerate(told)
            if with_memory and sentence.mark == Verdict.UNSUPPORTED and is_audible(sentence.shares)
        }
        if not (with_voice and experts and written) and not uncarried:
            return
        before = self.prompt_for(task, question, sources, max_new_tokens)
        for voiced in self.voiced(before, written, experts):
            if with_voice:
                yield voiced
            if voiced.sentence in uncarried and (remembered := from_memory(voiced)):
                yield remembered

    def quotations(
        self,
        chosen: Sequence[Quotation],
        numbers: Mapping[int, int],
        experts: Sequence[ExpertInPlace],
        with_voice: bool,
        after: int = 0,
    ) -> Iterator[Sentence | Voiced]:
        """Yields quotations, then, where asked for, each one's voice, read by itself as a note
        begins; `after` is how many sentences stand before them."""
        for quotation in chosen:
            yield self.heard(quotation_of(quotation, numbers[quotation.hit]), experts)
        if not (with_voice and experts):
            return
        for place, quotation in enumerate(chosen, start=after):
            for voiced in self.voiced([self.tokenizer().separator_id], [quotation.text], experts):
                yield replace(voiced, sentence=place)

    def voiced(
        self, before: Sequence[int], texts: Sequence[str], experts: Sequence[ExpertInPlace]
    ) -> Iterator[Voiced]:
        read = voices_in(self.engine(), self.tokenizer(), before, texts, experts)
        behind = notes_behind(self.library)
        for place, (tokens, text) in enumerate(zip(read, texts, strict=True)):
            if voice := sentence_voice(tokens, CITATION.sub("", text).strip(), behind):
                yield Voiced(place, voice)


def check_question(question: str) -> str:
    question = question.strip()
    if not question:
        raise RequestError("the question is empty; ask something your notes may hold")
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise RequestError(
            f"the question has {len(question.split())} words in {len(question)} characters, "
            f"{MAX_QUESTION_CHARACTERS} characters are the most; put long text into a note and ask "
            "about it"
        )
    return question


def is_said(text: str, sentences: Sequence[str]) -> bool:
    """Returns whether the sentences together hold nearly all that a quotation says."""
    return overlap(text, [" ".join(sentences)]).share >= ALREADY_SAID


def choose(found: Sequence[Quotation]) -> list[Quotation]:
    """Returns the sentences to show: the best, and others that come near it."""
    least = found[0].score * NEAR_BEST
    return [quotation for quotation in found[:MAX_QUOTATIONS] if quotation.score >= least]


def quotation_of(quotation: Quotation, number: int) -> Sentence:
    return Sentence(
        quotation.text,
        "quotation",
        number,
        quotation.first_line,
        quotation.last_line,
        overlap=1.0,
        mark="supported",
        day=quotation.day,
    )


def in_order(chosen: Sequence[Quotation]) -> list[int]:
    """Returns the places of the hits quoted, in the order in which they are first quoted."""
    return list(dict.fromkeys(quotation.hit for quotation in chosen))


def source_of(number: int, hit: Hit, day: str | None = None) -> Source:
    return Source(
        number,
        hit.collection,
        hit.path,
        hit.title,
        hit.first_line,
        hit.last_line,
        hit.text,
        hit.note_sha256,
        hit.page,
        hit.box,
        hit.heading,
        day,
    )


def why_not(evidence: Evidence, has_hits: bool) -> str:
    if not has_hits:
        return "Your notes don't say: nothing in them touches this."
    if evidence.missing:
        return f"Your notes don't say. Nothing near mentions “{evidence.missing}”."
    return "Your notes don't say."


def prose_sentence(
    text: str,
    sources: Sequence[Source],
    voice: Voice | None,
    behind: Promise | None = None,
) -> Sentence:
    """Returns a written sentence with its support and best source; its citations count not.

    `behind` is the promise that its mark keeps, where its collection was calibrated.
    """
    bare = CITATION.sub("", text).strip()
    texts = [source.text for source in sources]
    check = SupportCheck(threshold=behind.threshold if behind else None)
    (found,) = check.check([bare], texts)
    source = sources[found.passage] if found.passage is not None else None
    return Sentence(
        bare,
        "prose",
        source.number if source else None,
        source.first_line if source else None,
        source.last_line if source else None,
        overlap=round(overlap(bare, texts).share, 3),
        mark=found.verdict.value,
        shares=voice.shares if voice else None,
        named=voice.named if voice else (),
        support=round(found.score, 3),
        missing=tuple(dict.fromkeys(bare[begin:end] for begin, end in found.words)),
        promise=behind.text if behind else None,
    )

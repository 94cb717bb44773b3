"""A finding: one sentence that somebody reports, with all that it takes to hear it again.

One small JSON file: the prompt, how the answer was drawn, the answer and the sentence in it, the
experts' shares, the source it was given, hashes of the mixture, and what the person says of it. It
holds no weights; whoever has the same mixture can reproduce it, and a mixture that still says the
sentence fails the gate.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tramontane.audit.subject import Subject, same_bits
from tramontane.engine.request import Sampling
from tramontane.errors import AuditError, RequestError
from tramontane.files import write_whole
from tramontane.writing.answer import CITATION
from tramontane.writing.speak import ExpertInPlace, speak, voice_in, voice_of

FORMAT = "tramontane-finding/1"
MAX_NEW_TOKENS = 128


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`messages` is a conversation; a base without a chat template gets their texts one by one.

    `sentence` is what is reported, a part of `answer`. `voice` has each expert's mean share in the
    answer; `source` is what the answer was given to rest on, or nothing. A quotation was chosen
    from the notes, not said by the model: what would say it again is the answer from the notes.
    """

    messages: tuple[Mapping[str, str], ...]
    sampling: Mapping[str, Any]
    max_new_tokens: int
    answer: str
    sentence: str
    voice: Mapping[str, float]
    source: str
    comment: str
    mixture: Mapping[str, Any]
    made_with: Mapping[str, Any]
    is_quotation: bool = False


# Given a question, returns the text of the answer from the notes at hand.
Quote = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What came of asking again, here, now."""

    answer: str
    # The very same answer; to be expected only with the same mixture on the same variant.
    is_same_answer: bool
    says_sentence: bool
    is_same_mixture: bool
    is_same_variant: bool


def ask(
    subject: Subject,
    messages: Sequence[Mapping[str, str]],
    sampling: Sampling,
    max_new_tokens: int,
) -> tuple[str, dict[str, float]]:
    """Returns the answer and each expert's mean share in it."""
    tokenizer = subject.tokenizer
    if tokenizer.chat_template is not None:
        ids = tokenizer.encode_chat(messages)
    else:
        ids = tokenizer.encode("\n\n".join(message["content"] for message in messages))
    if not ids:
        raise RequestError("the prompt is empty; at least one token is needed")
    experts = [ExpertInPlace(expert.name, expert.hash) for expert in subject.experts]
    pieces = list(
        speak(
            subject.engine,
            tokenizer,
            ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            experts=experts,
        )
    )
    voice = voice_of(pieces, experts)
    return "".join(piece.text for piece in pieces), voice.shares if voice else {}


def new_finding(
    subject: Subject,
    messages: Sequence[Mapping[str, str]],
    *,
    sentence: str = "",
    comment: str = "",
    source: str = "",
    sampling: Sampling | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> Finding:
    """Asks, and returns a finding of what was said; without `sentence` the whole answer is meant.

    Raises AuditError when the answer doesn't hold the sentence: then there is nothing to report.
    """
    sampling = sampling or Sampling()
    answer, voice = ask(subject, messages, sampling, max_new_tokens)
    sentence = sentence or answer.strip()
    if not sentence:
        raise AuditError("the answer is empty; there is nothing to report")
    if not says(answer, sentence):
        raise AuditError(
            f"the answer doesn't hold that sentence; with these settings it is: {answer.strip()!r}"
        )
    return Finding(
        messages=tuple(dict(message) for message in messages),
        sampling=json.loads(json.dumps(asdict(sampling))),
        max_new_tokens=max_new_tokens,
        answer=answer,
        sentence=sentence,
        voice=voice,
        source=source,
        comment=comment,
        mixture=subject.identity(),
        made_with=subject.made_with(),
    )


def quoted_finding(
    subject: Subject, question: str, sentence: str, *, source: str = "", comment: str = ""
) -> Finding:
    """Returns a finding of a sentence that an answer quoted from the notes."""
    experts = [ExpertInPlace(expert.name, expert.hash) for expert in subject.experts]
    voice = voice_in(subject.engine, subject.tokenizer, sentence, experts)
    return Finding(
        messages=({"role": "user", "content": question},),
        sampling=json.loads(json.dumps(asdict(Sampling()))),
        max_new_tokens=MAX_NEW_TOKENS,
        answer=sentence,
        sentence=sentence,
        voice=voice.shares if voice else {},
        source=source,
        comment=comment,
        mixture=subject.identity(),
        made_with=subject.made_with(),
        is_quotation=True,
    )


def says(answer: str, sentence: str) -> bool:
    """Whether an answer holds a sentence, whatever the spaces, capitals and citations."""
    return plain(sentence) in plain(answer)


def plain(text: str) -> str:
    return " ".join(CITATION.sub("", text).lower().split())


def reproduce(finding: Finding, subject: Subject, quote: Quote | None = None) -> Reproduced:
    """Asks the same again of a mixture, which may be another by now.

    A quotation is looked for in what `quote` answers; raises AuditError where it isn't given.
    """
    if finding.is_quotation:
        if quote is None:
            raise AuditError(
                f"{finding.sentence!r} was quoted from notes; a library is needed to ask again"
            )
        answer = quote(finding.messages[-1]["content"])
    else:
        sampling = sampling_of(finding)
        answer, _ = ask(subject, finding.messages, sampling, finding.max_new_tokens)
    return Reproduced(
        answer,
        answer == finding.answer,
        says(answer, finding.sentence),
        subject.mixture.hash == finding.mixture["hash"],
        same_bits(subject.made_with(), finding.made_with),
    )


def sampling_of(finding: Finding) -> Sampling:
    """Returns how the answer was drawn; JSON has lists where ours are tuples."""
    told = dict(finding.sampling)
    biases = told.pop("logit_bias", ())
    return Sampling(**told, logit_bias=tuple((int(token), float(b)) for token, b in biases))


def write_finding(path: Path, finding: Finding) -> None:
    write_whole(path, finding_bytes(finding))


def keep_finding(folder: Path, finding: Finding) -> Path:
    """Writes a finding into a folder under a name made of its content, and returns the file."""
    data = finding_bytes(finding)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}.json"
    write_whole(path, data)
    return path


def finding_bytes(finding: Finding) -> bytes:
    content = {"format": FORMAT, **asdict(finding)}
    return (json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def read_finding(path: Path) -> Finding:
    """Returns the finding in a file; raises AuditError saying what isn't one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        said = content.pop("format")
        if said != FORMAT:
            raise AuditError(f"{path}: not a finding ({said!r}; this version reads {FORMAT!r})")
        finding = Finding(**content)
        sampling_of(finding)
        messages = tuple(
            {"role": str(m["role"]), "content": str(m["content"])} for m in finding.messages
        )
        if not messages or not isinstance(finding.sentence, str) or not finding.sentence.strip():
            raise ValueError("it has no message, or reports no sentence")
        if not isinstance(finding.max_new_tokens, int) or finding.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {finding.max_new_tokens!r}")
        finding.mixture["hash"], finding.made_with["runtime"]
        return dataclasses.replace(finding, messages=messages)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RequestError) as error:
        raise AuditError(f"{path}: not a finding ({type(error).__name__}: {error})") from None


def findings_in(paths: Sequence[Path]) -> list[tuple[Path, Finding]]:
    """Returns the findings in files, and in all .json files of folders."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(path.glob("*.json"))
        elif path.is_file():
            files.append(path)
        else:
            raise AuditError(f"{path}: there is no such finding or folder")
    if not files:
        raise AuditError(f"no finding in {', '.join(map(str, paths))}")
    return [(file, read_finding(file)) for file in files]

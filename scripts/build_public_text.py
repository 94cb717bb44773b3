"""Builds the public text: the fixed text that stands for "everything else" (docs/public-text.md).

Sources: what comes with Python (documentation, library source, docstrings, comments), text written
for this project (scripts/public_text/written/GENRE.md, documents between lines of "----"), and
text sampled with fixed seeds from two Apache-2.0 bases over the written beginnings in
scripts/public_text/prompts.json. Sampling is resumable and takes about half an hour on one core.

    python scripts/build_public_text.py --small SmolLM2-135M-Instruct.Q4_1.gguf
        --coder qwen2.5-coder-0.5b-instruct-q4_k_m.gguf --cache .cache/public
"""

import argparse
import ast
import gzip
import hashlib
import html
import json
import pydoc_data.topics
import re
import sys
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path

from public_text.assemble import assembled, with_front_matter
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request, Sampling
from tramontane.writing.events import Source
from tramontane.writing.prompt import ANSWER, WRITE, messages_for

HERE = Path(__file__).parent / "public_text"
OUTPUT = Path(__file__).parents[1] / "src/tramontane/experts/public_text/public_text.jsonl.gz"
SHORTEST, LONGEST = 200, 4000
BATCH = 32
NEW_TOKENS = 256
SHORTEST_SAMPLED = 150
# What people write surprises a base more than its likeliest samples do; rows fitted on those alone
# would open on surprise.
TEMPERATURES = (0.8, 1.0, 1.1)
BYTES_PER_GENRE = 100_000
# Sampled text that packs better than this repeats itself.
LEAST_PACKED = 0.28
# Who continues the beginnings: name, batches of them, and the temperature above which it raves.
BASES = {
    "small": ("SmolLM2-135M-Instruct", 23, 1.0),
    "coder": ("Qwen2.5-Coder-0.5B-Instruct", 10, 1.1),
}
WRITTEN, PYTHON, ASSEMBLED, HEADED = (
    ("written for Tramontane", "Apache-2.0"),
    (f"CPython {sys.version_info.major}.{sys.version_info.minor}", "PSF-2.0"),
    ("assembled from samples", "Apache-2.0"),
    ("assembled from text written for Tramontane", "Apache-2.0"),
)
# Eight or more lines of comment on end.
BLOCK_COMMENT = re.compile(r"(?:^ *#(?: .*|)\n){8,}", re.MULTILINE)
# Sampled sentences that stand well alone, for what is assembled.
SENTENCE = re.compile(r"(?<=[.!?] )[A-Z][^.!?\n|#*]{40,160}[.!?](?= )")


def pieces(text: str) -> Iterator[str]:
    """Yields pieces of at most LONGEST characters, cut at paragraph ends."""
    held = ""
    for paragraph in text.split("\n\n"):
        if held and len(held) + len(paragraph) > LONGEST:
            yield held
            held = ""
        held = f"{held}\n\n{paragraph}" if held else paragraph[:LONGEST]
    yield held


def python_documents() -> Iterator[tuple[str, str]]:
    """Yields (genre, text) of what comes with Python."""
    for name in sorted(pydoc_data.topics.topics):
        for piece in pieces(pydoc_data.topics.topics[name]):
            yield "reference", piece
    library = Path(sysconfig.get_paths()["stdlib"])
    names = [
        "argparse", "ast", "bisect", "calendar", "cmd", "codecs", "configparser", "contextlib",
        "copy", "csv", "dataclasses", "datetime", "difflib", "fractions", "ftplib", "getpass",
        "glob", "gzip", "heapq", "imaplib", "ipaddress", "mailbox", "netrc", "optparse", "pdb",
        "poplib", "pprint", "queue", "random", "sched", "shelve", "shlex", "shutil", "smtplib",
        "statistics", "string", "tarfile", "textwrap", "threading", "timeit", "trace", "uuid",
        "wave", "webbrowser", "zipfile",
    ]  # fmt: skip
    for name in names:
        file = library / f"{name}.py"
        if not file.exists():
            continue
        source = file.read_text(encoding="utf-8")
        for place, piece in enumerate(pieces(source)):
            if place % 3 == 0:
                yield "code", piece
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                yield "reference", ast.get_docstring(node) or ""
        for comment in BLOCK_COMMENT.findall(source):
            yield "comments", re.sub(r"^ *# ?", "", comment, flags=re.MULTILINE)
    for genre, place in (
        ("policy", "LICENSE.txt"),
        ("software_docs", "email/architecture.rst"),
        ("software_docs", "idlelib/help.html"),
        ("project_notes", "idlelib/TODO.txt"),
        ("project_notes", "idlelib/README.txt"),
        ("project_notes", "idlelib/HISTORY.txt"),
        ("project_notes", "idlelib/NEWS.txt"),
    ):
        text = (library / place).read_text(encoding="utf-8", errors="replace")
        if place.endswith(".html"):
            text = re.sub(r"</(dt|li|p|pre|h\d)>", "\n", text[text.index("<body") :])
            text = html.unescape(re.sub(r"<[^>]+>", "", text))
            text = re.sub(r"\n\s*\n\s*", "\n\n", text)
        for piece in pieces(text):
            yield genre, piece.strip()


def written_documents() -> Iterator[tuple[str, str]]:
    for file in sorted((HERE / "written").glob("*.md")):
        for text in file.read_text(encoding="utf-8").split("\n----\n"):
            yield file.stem, text.strip()


def prompts(base: str) -> list[tuple[str, str, str]]:
    """Returns (genre, "complete" or "chat", text) of every beginning of one base, in a fixed order.

    A beginning that names no base goes to one of the two by its hash.
    """
    plan = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
    rows = []
    for part in plan["complete"]:
        for subject in plan["subjects"][part["subjects"]]:
            for starter in part["starters"]:
                row = (part["genre"], "complete", starter.replace("{subject}", subject))
                rows.append((part.get("base"), row))
    for part in plan["chat"]:
        for subject in plan["subjects"][part["subjects"]]:
            for ask in part["ask"]:
                rows.append((None, ("chat", "chat", ask.replace("{subject}", subject))))
    ordered = sorted((hash_of("|".join(row)), named, row) for named, row in rows)
    return [
        row
        for digest, named, row in ordered
        if base == (named or ("coder" if int(digest[:8], 16) % 10 < 4 else "small"))
    ]


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sample(base: str, file: Path, cache: Path) -> list[tuple[str, str]]:
    """Returns (genre, text) sampled by one base over its beginnings; goes on where it stopped."""
    rows = prompts(base)
    _, num_batches, hottest = BASES[base]
    sampler, documents = None, []
    for begin in range(0, min(len(rows), num_batches * BATCH), BATCH):
        done = cache / f"{base}-{begin}.json"
        if not done.exists():
            sampler = sampler or Sampler(file)
            batch = rows[begin : begin + BATCH]
            news = sampler.continue_all(batch, first_seed=begin)
            found = [[*row, new] for row, new in zip(batch, news, strict=True)]
            cache.mkdir(parents=True, exist_ok=True)
            done.write_text(json.dumps(found), encoding="utf-8")
        found = json.loads(done.read_text(encoding="utf-8"))
        for place, (genre, kind, text, new) in enumerate(found):
            new = new.rstrip()
            raves = TEMPERATURES[place % len(TEMPERATURES)] > hottest
            if raves or len(new) < SHORTEST_SAMPLED or packed(new) < LEAST_PACKED:
                continue
            whole = chat_prompt(text) + new + "<|im_end|>\n" if kind == "chat" else text + new
            documents.append((genre, whole))
        print(f"{base}: {begin + BATCH} of {len(rows)} beginnings", file=sys.stderr, flush=True)
    return documents


class Sampler:
    """Tramontane's own engine on one base, on one thread: its logits don't depend on company."""

    def __init__(self, base: Path):
        checkpoint = open_checkpoint(base)
        self.tokenizer = checkpoint.tokenizer()
        self.engine = Engine(NativeRuntime(checkpoint, threads=1), max_tokens=BATCH * 512)

    def continue_all(self, batch: list[tuple[str, str, str]], *, first_seed: int) -> list[str]:
        generated: dict[int, list[int]] = {}
        for place, (_, kind, text) in enumerate(batch):
            prompt = chat_prompt(text) if kind == "chat" else text
            request = Request(
                tuple(self.tokenizer.encode(prompt, parse_special=True)),
                NEW_TOKENS,
                Sampling(
                    temperature=TEMPERATURES[place % len(TEMPERATURES)],
                    top_p=0.97,
                    seed=first_seed + place,
                ),
                end_ids=self.tokenizer.eos_ids,
            )
            generated[self.engine.submit(request)] = []
        while self.engine.has_work:
            for token in self.engine.step():
                generated[token.request_id].append(token.token_id)
        return [self.tokenizer.decode(ids) for ids in generated.values()]


def packed(text: str) -> float:
    data = text.encode()
    return len(zlib.compress(data, 9)) / len(data)


def chat_prompt(ask: str, system: str | None = None) -> str:
    if system is None:
        systems = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))["systems"]
        system = systems[int(hash_of(ask)[:8], 16) % len(systems)]
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{ask}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def chats_with_passages(documents: list[tuple[str, str]]) -> Iterator[str]:
    """Yields turns over many subjects: numbered passages, a question, a short sourced answer.

    Two of three ask as `tramontane ask` and `tramontane write` do.
    """
    plan = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
    subjects = all_subjects()
    passages = [
        paragraph.strip()
        for genre, text in documents
        if genre not in {"chat", "code", "tables", "dialogue"}
        for paragraph in text.split("\n\n")
        if 120 <= len(paragraph) <= 700
    ]
    passages.sort(key=hash_of)
    for place in range(0, len(passages) - 3, 3):
        chosen = passages[place : place + 1 + place % 4]
        sources = [
            Source(number, "", "", subjects[(7 * place + number) % len(subjects)], 1, 1, text, "")
            for number, text in enumerate(chosen, start=1)
        ]
        question = plan["questions"][place % len(plan["questions"])]
        if place % 5 == 0:
            answer = plan["refusals"][place % len(plan["refusals"])]
        else:
            number = 1 + place % len(chosen)
            answer = f"{chosen[number - 1].split('. ')[0].strip().rstrip('.')}. [{number}]"
        if form := (ANSWER, WRITE, None)[place // 3 % 3]:
            system, user = (m["content"] for m in messages_for(form, question, sources))
            yield f"{chat_prompt(user, system)}{answer}<|im_end|>\n"
        else:
            numbered = "\n\n".join(f"[{source.number}] {source.text}" for source in sources)
            ask = chat_prompt(numbered + "\n\n" + question)
            yield f"{ask}{answer}<|im_end|>\n"


def all_subjects() -> list[str]:
    plan = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
    return sorted({name for names in plan["subjects"].values() for name in names})


def headed_documents(written: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    texts = sorted(text for _, text in written if len(text) >= SHORTEST)
    for text in with_front_matter(texts, all_subjects()):
        yield "front_matter", text


def sentences_in(documents: list[tuple[str, str]]) -> list[str]:
    """Returns sampled sentences in a fixed order."""
    prose = (text for genre, text in documents if genre not in {"chat", "code", "tables"})
    return sorted({found for text in prose for found in SENTENCE.findall(text)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for base, (name, *_) in BASES.items():
        parser.add_argument(f"--{base}", type=Path, required=True, help=f"{name}'s GGUF file")
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished samples")
    arguments = parser.parse_args()

    written = list(written_documents())
    sources = [(*document, *WRITTEN) for document in written]
    sampled = []
    for base, (name, *_) in BASES.items():
        found = sample(base, getattr(arguments, base), arguments.cache)
        sources += [(*document, f"sampled from {name}", "Apache-2.0") for document in found]
        sampled += found
    passages = [*written, *sampled]
    sources += [("chat_with_passages", text, *ASSEMBLED) for text in chats_with_passages(passages)]
    forms = assembled(sentences_in(sampled), all_subjects())
    sources += [(*document, *ASSEMBLED) for document in forms]
    sources += [(*document, *HEADED) for document in headed_documents(written)]
    sources += [(*document, *PYTHON) for document in python_documents()]

    taken: dict[str, int] = {}
    rows = {}
    # Written text first, then the order of a hash: which documents fit is no matter of taste.
    ordered = sorted(
        sources,
        key=lambda row: (row[2] != WRITTEN[0], hashlib.sha256(row[1].encode()).hexdigest()),
    )
    for genre, text, source, licence in ordered:
        size = len(text.encode())
        if len(text) < SHORTEST or taken.get(genre, 0) + size > BYTES_PER_GENRE or text in rows:
            continue
        taken[genre] = taken.get(genre, 0) + size
        rows[text] = {"genre": genre, "licence": licence, "source": source, "text": text[:LONGEST]}
    lines = sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows.values())
    data = ("\n".join(lines) + "\n").encode()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_bytes(gzip.compress(data, 9, mtime=0))
    for genre in sorted(taken):
        print(f"{genre:24} {taken[genre]:>9,} bytes")
    print(f"{len(rows)} documents, {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()

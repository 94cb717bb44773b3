"""Builds the public text: the fixed text that stands for "everything else" (docs/public-text.md).

Sources: what comes with Python (documentation topics, standard library source and docstrings),
text written for this project (scripts/public_text/written/GENRE.md, documents between lines of
"----"), and text sampled from the embedded base (Apache-2.0) with fixed seeds over the written
beginnings in scripts/public_text/prompts.json. Sampling is resumable and takes about forty
minutes on two cores.

    python scripts/build_public_text.py --base SmolLM2-135M-Instruct.Q4_1.gguf --cache .cache/public
"""

import argparse
import ast
import gzip
import hashlib
import json
import pydoc_data.topics
import re
import sys
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path

from public_text.assemble import assembled
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.engine import Engine
from tramontane.engine.request import Request, Sampling
from tramontane.engine.torch_runtime import TorchRuntime

HERE = Path(__file__).parent / "public_text"
OUTPUT = Path(__file__).parents[1] / "src/tramontane/experts/public_text/public_text.jsonl.gz"
SHORTEST, LONGEST = 300, 4000
BATCH = 32
NEW_TOKENS = 320
BYTES_PER_GENRE = 150_000
# Sampled text that packs better than this repeats itself.
LEAST_PACKED = 0.28
WRITTEN, PYTHON, SAMPLED, ASSEMBLED = (
    ("written for Tramontane", "Apache-2.0"),
    (f"CPython {sys.version_info.major}.{sys.version_info.minor}", "PSF-2.0"),
    ("sampled from SmolLM2-135M-Instruct", "Apache-2.0"),
    ("assembled from samples", "Apache-2.0"),
)
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
    yield (
        "policy",
        (library / "LICENSE.txt").read_text(encoding="utf-8", errors="replace")[:LONGEST],
    )


def written_documents() -> Iterator[tuple[str, str]]:
    for file in sorted((HERE / "written").glob("*.md")):
        for text in file.read_text(encoding="utf-8").split("\n----\n"):
            yield file.stem, text.strip()


def prompts() -> list[tuple[str, str, str]]:
    """Returns (genre, "complete" or "chat", text) of every beginning, in a fixed order."""
    plan = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
    rows = []
    for part in plan["complete"]:
        for subject in plan["subjects"][part["subjects"]]:
            for starter in part["starters"]:
                rows.append((part["genre"], "complete", starter.replace("{subject}", subject)))
    for part in plan["chat"]:
        for subject in plan["subjects"][part["subjects"]]:
            for ask in part["ask"]:
                rows.append(("chat", "chat", ask.replace("{subject}", subject)))
    return sorted(rows, key=lambda row: hashlib.sha256("|".join(row).encode()).hexdigest())


def sample(base: Path, cache: Path, num_batches: int) -> list[tuple[str, str]]:
    """Returns (genre, text) sampled over the beginnings; goes on where it stopped.

    Once every beginning has been continued, a further round continues them with other seeds.
    """
    rows = prompts()
    cache.mkdir(parents=True, exist_ok=True)
    sampler, documents = None, []
    batches_per_round = -(-len(rows) // BATCH)
    for done in range(num_batches):
        round_number, place = divmod(done, batches_per_round)
        begin = place * BATCH
        file = cache / f"{round_number}-{begin}.json"
        if not file.exists():
            sampler = sampler or Sampler(base)
            batch = rows[begin : begin + BATCH]
            news = sampler.continue_all(batch, first_seed=1000 * round_number + begin)
            file.write_text(
                json.dumps([[*row, new] for row, new in zip(batch, news, strict=True)]),
                encoding="utf-8",
            )
        for genre, kind, text, new in json.loads(file.read_text(encoding="utf-8")):
            new = new.rstrip()
            if len(new) < 150 or packed(new) < LEAST_PACKED:
                continue
            whole = chat_prompt(text) + new + "<|im_end|>\n" if kind == "chat" else text + new
            documents.append((genre, whole))
        print(f"sampled {done + 1} of {num_batches} batches", file=sys.stderr, flush=True)
    return documents


class Sampler:
    """Tramontane's own engine on the embedded base."""

    def __init__(self, base: Path):
        checkpoint = open_checkpoint(base)
        self.tokenizer = checkpoint.tokenizer()
        self.engine = Engine(TorchRuntime(checkpoint), max_tokens=32 * 1024)

    def continue_all(self, batch: list[tuple[str, str, str]], *, first_seed: int) -> list[str]:
        generated: dict[int, list[int]] = {}
        for place, (_, kind, text) in enumerate(batch):
            prompt = chat_prompt(text) if kind == "chat" else text
            request = Request(
                tuple(self.tokenizer.encode(prompt, parse_special=True)),
                NEW_TOKENS,
                Sampling(temperature=0.8, top_p=0.95, seed=first_seed + place),
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


def chat_prompt(ask: str) -> str:
    return (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        f"<|im_end|>\n<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n"
    )


def chats_with_passages(documents: list[tuple[str, str]]) -> Iterator[str]:
    """Yields turns over many subjects: numbered passages, a question, a short sourced answer."""
    plan = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
    passages = [
        paragraph.strip()
        for genre, text in documents
        if genre not in {"chat", "code", "tables", "dialogue"}
        for paragraph in text.split("\n\n")
        if 120 <= len(paragraph) <= 700
    ]
    passages.sort(key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    for place in range(0, len(passages) - 3, 3):
        chosen = passages[place : place + 1 + place % 3]
        numbered = "\n\n".join(f"[{n}] {text}" for n, text in enumerate(chosen, start=1))
        question = plan["questions"][place % len(plan["questions"])]
        if place % 5 == 0:
            answer = plan["refusals"][place % len(plan["refusals"])]
        else:
            number = 1 + place % len(chosen)
            answer = f"{chosen[number - 1].split('. ')[0].strip().rstrip('.')}. [{number}]"
        form = place % 2
        ask = (
            f"Answer from the numbered passages and cite them.\n\n{numbered}\n\n"
            f"Question: {question}"
            if form
            else f"{numbered}\n\n{question}"
        )
        yield f"{chat_prompt(ask)}{answer}<|im_end|>\n"


def sentences_in(documents: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Returns sampled sentences and the subjects they were sampled over, in a fixed order."""
    plan = json.loads((HERE / "prompts.json").read_text(encoding="utf-8"))
    subjects = sorted({name for names in plan["subjects"].values() for name in names})
    prose = (text for genre, text in documents if genre not in {"chat", "code", "tables"})
    return sorted({found for text in prose for found in SENTENCE.findall(text)}), subjects


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="the embedded base's GGUF file")
    parser.add_argument("--cache", type=Path, required=True, help="folder for finished samples")
    parser.add_argument("--batches", type=int, default=19, help="batches of samples to take")
    arguments = parser.parse_args()

    sources = [(*document, *WRITTEN) for document in written_documents()]
    sampled = sample(arguments.base, arguments.cache, arguments.batches)
    sources += [(*document, *SAMPLED) for document in sampled]
    sources += [("chat_with_passages", text, *SAMPLED) for text in chats_with_passages(sampled)]
    sources += [(*document, *ASSEMBLED) for document in assembled(*sentences_in(sampled))]
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

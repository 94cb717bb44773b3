"""Fuzzes what reads GGUF files: whatever the bytes, a model that runs or an error in words.

Mutants of tiny models are opened, their tokenizer made, their tensors handed to the native runtime
and a few tokens run. An error of Tramontane's own tree is an answer; anything else is a bug: its
file is kept in the folder that --folder names. What gives an answer not seen before is mutated
further. `make fuzz` runs this on a build that watches its memory; a process that dies leaves the
file it died of as `current.gguf`.
"""

import argparse
import faulthandler
import hashlib
import random
import re
import resource
import struct
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from tiny_files import write_gguf

from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.checkpoint.gguf_file import Reader
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.runtime import Span
from tramontane.errors import TramontaneError

MOST_SECONDS = 20
MOST_MEMORY = 2 << 30
MOST_BYTES = 1 << 20
NUMBERS = [0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 64, 127, 128, 255, 256, 65535, 65536]
NUMBERS += [(1 << bits) + more for bits in (24, 31, 32, 40, 63, 64) for more in (-1, 0)]
WORDS = [b"llama", b"qwen2", b"olmoe", b"granite", b"granitemoe", b"gpt2", b"smollm", b"qwen2"]
WORDS += [b"", b"\xff\xfe", b"general.alignment", b"general.architecture", b"<|im_end|>"]
WORDS += [b"llama." + key for key in (b"block_count", b"attention.head_count", b"expert_count")]
WORDS += [b"llama." + key for key in (b"attention.key_length", b"rope.dimension_count")]
WORDS += [b"rope_freqs.weight", b"output.weight", b"blk.0.attn_q.bias", b"blk.1.ffn_up.weight"]


@dataclass
class Fields(Reader):
    """Where a file's reader took numbers and strings from, as far as it came."""

    raw: bytes
    places: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(Path("mutant"), self.raw)
        try:
            self.read()
        except TramontaneError:
            return

    def take(self, num_bytes: int, what: str) -> bytes:
        taken = super().take(num_bytes, what)
        self.places.append((self.at - num_bytes, num_bytes))
        return taken

    @property
    def numbers(self) -> list[tuple[int, int]]:
        return [place for place in self.places if place[1] in (1, 2, 4, 8)]

    @property
    def strings(self) -> list[tuple[int, int]]:
        """Places whose eight bytes before them hold their length."""
        return [
            place
            for before, place in zip(self.places, self.places[1:], strict=False)
            if before[1] == 8 and self.raw[slice(before[0], sum(before))] == pack(place[1], 8)
        ]


def pack(number: int, num_bytes: int) -> bytes:
    return (number % (1 << 8 * num_bytes)).to_bytes(num_bytes, "little")


def mutated(raw: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Returns `raw` with one to four changes, most of them where its structure is."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        fields = Fields(raw)
        change = rng.choice((number, number, number, string, swap, bits, weights, stretch, joined))
        raw = change(raw, fields, others, rng)[:MOST_BYTES]
    return raw


def replaced(raw: bytes, place: tuple[int, int], new: bytes) -> bytes:
    return raw[: place[0]] + new + raw[sum(place) :]


def number(raw: bytes, fields: Fields, others: list[bytes], rng: random.Random) -> bytes:
    if not fields.numbers:
        return raw
    at, size = rng.choice(fields.numbers)
    old = int.from_bytes(raw[at : at + size], "little")
    new = rng.choice([*NUMBERS, old + 1, old - 1, old * 2, old // 2, old + 32, old ^ 1])
    if size == 4 and rng.random() < 0.1:
        new = int.from_bytes(struct.pack("<f", rng.choice((0.0, -1.0, 1e-38, 3e38))), "little")
    return replaced(raw, (at, size), pack(new, size))


def string(raw: bytes, fields: Fields, others: list[bytes], rng: random.Random) -> bytes:
    if not fields.strings:
        return raw
    at, size = rng.choice(fields.strings)
    other_at, other_size = rng.choice(fields.strings)
    new = rng.choice([*WORDS, raw[other_at : other_at + other_size]])
    return replaced(raw, (at - 8, size + 8), pack(len(new), 8) + new)


def swap(raw: bytes, fields: Fields, others: list[bytes], rng: random.Random) -> bytes:
    if not fields.numbers:
        return raw
    (at, size), (other_at, other_size) = rng.choices(fields.numbers, k=2)
    value = int.from_bytes(raw[other_at : other_at + other_size], "little")
    return replaced(raw, (at, size), pack(value, size))


def bits(raw: bytes, fields: Fields, others: list[bytes], rng: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def weights(raw: bytes, fields: Fields, others: list[bytes], rng: random.Random) -> bytes:
    """Numbers at the ends of their types, or none, behind the table."""
    if fields.at + 4 >= len(raw):
        return raw
    at = rng.randrange(fields.at, len(raw) - 4)
    new = rng.choice((0x7FC00000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7BFF7BFF, 0x80808080, 1))
    return replaced(raw, (at, 4), pack(new, 4))


def stretch(raw: bytes, fields: Fields, others: list[bytes], rng: random.Random) -> bytes:
    """Cuts the end off, or takes a stretch out, or doubles it."""
    if not raw:
        return raw
    first, end = sorted(rng.randrange(len(raw) + 1) for _ in range(2))
    end = min(end, first + rng.choice((1, 8, 256, len(raw))))
    return rng.choice((raw[:end], raw[:first] + raw[end:], raw[:end] + raw[first:]))


def joined(raw: bytes, fields: Fields, others: list[bytes], rng: random.Random) -> bytes:
    other, at = rng.choice(others), rng.randrange(len(raw) + 1)
    return raw[:at] + other[at:]


def answer_to(path: Path) -> str:
    """Returns what came of a file: that it runs, or its error in words."""
    try:
        checkpoint = open_checkpoint(path)
    except TramontaneError as error:
        return str(error)
    said = []
    try:
        checkpoint.tokenizer().encode("the th\n")
    except TramontaneError as error:
        said.append(str(error))
    try:
        runtime = NativeRuntime(checkpoint, threads=1)
        runtime.allocate(2)
        token_ids = [0, checkpoint.config.vocab_size - 1, 0]
        result = runtime.forward([Span(token_ids, 62, (1, 0), num_logits=3)])[0]
        assert result.logits_LV.shape == (3, checkpoint.config.vocab_size)
        said.append("runs")
    except TramontaneError as error:
        said.append(str(error))
    return "; ".join(said)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seeds(folder: Path) -> list[bytes]:
    plans = [("F32", 0), ("Q4_0", 0), ("Q4_1", 3), ("Q8_0", 0), ("F16", 2), ("Q5_1", 0)]
    paths = [
        write_gguf(folder / f"seed{i}.gguf", quantisation, num_experts=experts)
        for i, (quantisation, experts) in enumerate(plans)
    ]
    return [path.read_bytes() for path in paths]


@dataclass
class Fuzzer:
    folder: Path
    seed: int
    num_cases: int = 0
    answers: set[str] = field(default_factory=set)
    bugs: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rng = random.Random(self.seed)
        self.most_memory = peak_bytes() + MOST_MEMORY
        self.corpus = seeds(self.folder)
        for raw in self.corpus:
            assert self.answer(raw) == "runs"

    def answer(self, raw: bytes) -> str:
        """Returns the answer without what differs from file to file; bugs are kept aside."""
        self.num_cases += 1
        current = self.folder / "current.gguf"
        current.write_bytes(raw)
        faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
        try:
            answer = answer_to(current)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a panic in a library is no Exception, but a bug
            answer = traceback.format_exc()
            self.keep(raw, answer)
        faulthandler.cancel_dump_traceback_later()
        if peak_bytes() > self.most_memory:
            self.keep(raw, f"more than {MOST_MEMORY >> 30} GiB of memory")
            raise SystemExit("out of bounds: memory")
        return re.sub(r"[^A-Za-z ]+", "_", answer)[:400]

    def keep(self, raw: bytes, told: str) -> None:
        path = self.folder / f"bug-{hashlib.sha256(raw).hexdigest()[:12]}.gguf"
        path.write_bytes(raw)
        self.bugs.append(f"{path}: {told}")

    def step(self) -> None:
        raw = mutated(self.rng.choice(self.corpus), self.corpus, self.rng)
        answer = self.answer(raw)
        if answer not in self.answers:
            self.answers.add(answer)
            self.corpus.append(raw)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    wanted = parser.parse_args()
    fuzzer = Fuzzer(wanted.folder, wanted.seed)
    began = told = time.monotonic()
    while time.monotonic() - began < wanted.seconds and len(fuzzer.bugs) < 20:
        fuzzer.step()
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"{told - began:.0f} s: {fuzzer.num_cases} files", file=sys.stderr)
    for bug in fuzzer.bugs:
        print(bug, file=sys.stderr)
    print(
        f"{fuzzer.num_cases} files in {time.monotonic() - began:.0f} s from seed {wanted.seed}, "
        f"{len(fuzzer.answers)} answers that differ, {len(fuzzer.bugs)} bugs"
    )
    return 1 if fuzzer.bugs else 0


if __name__ == "__main__":
    sys.exit(main())

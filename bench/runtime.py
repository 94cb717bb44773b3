"""The native runtime's speed, memory and accuracy beside llama.cpp's, in one run.

    make peers
    python bench/runtime.py [--peer BUILD ...] [--models FOLDER] [--only GROUP ...]

Ours and the peer's take turns on the same file; medians over the rounds. The first --peer is what
claims are made against (llama.cpp); further ones (ik_llama.cpp) are told in the notes. The peer's
best flash-attention and micro-batch settings are looked for first. Every speed stands beside its
roofline: int8 multiplications for prompts, bytes read for decoding, both measured in this run.
"""

import argparse
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from cold_start import seconds_to_first_token
from lookup import measure_quotes
from memory import memory_of
from peers import Bench, at_once, complete, llama_server
from perplexity import perplexity_over_float32
from record import Claim, write_results
from shapes import MIXTRAL_SLICE, OLMOE, SMOLLM2, Shape, write_shape
from six_experts import make_six_experts
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.checkpoint.pull import pull
from tramontane.checkpoint.store import Store
from tramontane.engine.engine import Engine
from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.request import Request
from tramontane.engine.runtime import Span
from tramontane.native import int8_rate, read_bandwidth

PROMPT_TOKENS, DECODE_TOKENS = 512, 64
BATCH_REQUESTS, BATCH_PROMPT, BATCH_NEW = 8, 200, 100
COLD_STARTS = 7


@dataclasses.dataclass
class Speeds:
    """Tokens per second over the rounds, by what was timed and who ran it."""

    found: dict[tuple[str, str], list[float]] = dataclasses.field(default_factory=dict)

    def add(self, what: str, who: str, speed: float) -> None:
        self.found.setdefault((what, who), []).append(speed)

    def median(self, what: str, who: str) -> float:
        return statistics.median(self.found[what, who])

    def ratio(self, what: str, who: str, peer: str) -> float:
        """The median of the ratios of each round: both sides of one saw the same machine."""
        pairs = zip(self.found[what, who], self.found[what, peer], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


@dataclasses.dataclass(frozen=True)
class Ours:
    """A loaded model of ours, timed as llama-bench times: forward passes, logits of the last."""

    runtime: NativeRuntime
    experts: tuple[str, ...] = ()

    def forward(self, start: int, count: int) -> None:
        pages = range(-(-(start + count) // self.runtime.page_tokens))
        token_ids = [100 + (start + i) * 7919 % 40_000 for i in range(count)]
        self.runtime.forward([Span(token_ids, start, pages, self.experts)])

    def prompt(self) -> float:
        return PROMPT_TOKENS / seconds_of(lambda: self.forward(0, PROMPT_TOKENS))

    def decode(self) -> float:
        return DECODE_TOKENS / seconds_of(
            lambda: [self.forward(position, 1) for position in range(DECODE_TOKENS)]
        )


@dataclasses.dataclass
class Bencher:
    """The machine's limits, the peers and the claims so far."""

    peers: list[Bench]
    folder: Path
    smollm2: Path
    threads: int
    rounds: int
    claims: list[Claim] = dataclasses.field(default_factory=list)

    def open(self, model: Path) -> NativeRuntime:
        runtime = NativeRuntime(open_checkpoint(model), threads=self.threads)
        runtime.allocate(-(-(PROMPT_TOKENS + DECODE_TOKENS) // runtime.page_tokens) + 1)
        return runtime

    def claim(
        self, name: str, ours: float, peer: float | None, value: float, n: int, note: str
    ) -> None:
        self.claims.append(Claim(name, rounded(ours), rounded(peer), rounded(value), n, note))
        write_results("runtime", self.claims)

    def turns(
        self, ours: Mapping[str, Ours], peers: Mapping[str, tuple[Bench, Path]]
    ) -> tuple[Speeds, float, float]:
        """Times all in turn; returns the speeds, bytes per second read, int8 operations."""
        settings = {
            name: peer.best_settings(model, PROMPT_TOKENS) for name, (peer, model) in peers.items()
        }
        print(settings, flush=True)
        for model in ours.values():
            model.forward(0, 64)
        speeds, bandwidths, rates = Speeds(), [], []
        for _ in range(self.rounds):
            bandwidths.append(read_bandwidth(self.threads, seconds=0.5))
            rates.append(int8_rate(self.threads, seconds=0.3))
            for name, model in ours.items():
                speeds.add("prompt", name, model.prompt())
                speeds.add("decode", name, model.decode())
            for name, (peer, file) in peers.items():
                chosen = settings[name]
                speed = peer.run(file, chosen["prompt"], prompt=PROMPT_TOKENS)
                speeds.add("prompt", name, speed)
                speeds.add("decode", name, peer.run(file, chosen["decode"], decode=DECODE_TOKENS))
            bandwidths.append(read_bandwidth(self.threads, seconds=0.5))
            print({key: round(found[-1], 1) for key, found in speeds.found.items()}, flush=True)
        return speeds, statistics.median(bandwidths), statistics.median(rates)

    # Groups of claims

    def shape(self, shape: Shape) -> None:
        file = write_shape(shape, self.folder / f"{shape.name}.gguf", self.smollm2)
        self.one_file(shape.name, file, with_bandwidth=shape.num_experts > 0)

    def one_file(self, name: str, file: Path, *, with_bandwidth: bool) -> None:
        """Prompt and decode of one file, ours and every peer's."""
        runtime = self.open(file)
        read, multiplied = work_per_token(runtime_checkpoint := open_checkpoint(file))
        # Further builds may not know a model (ik_llama.cpp and OLMoE); llama.cpp must.
        able = [peer for peer in self.peers if peer is self.peers[0] or peer.runs(file)]
        peers = {peer.name: (peer, file) for peer in able}
        speeds, bandwidth, rate = self.turns({"ours": Ours(runtime)}, peers)
        first, *more = peers
        for what, tokens in (("prompt", PROMPT_TOKENS), ("decode", DECODE_TOKENS)):
            ours = speeds.median(what, "ours")
            roof = rate / (2 * multiplied) if what == "prompt" else bandwidth / read
            told = f"tokens/s; roofline {roof:.0f} ({ours / roof:.0%} of it)"
            for other in more:
                told += f"; {other} {speeds.median(what, other):.1f}"
                told += f" (ratio {speeds.ratio(what, 'ours', other):.2f})"
            self.claim(
                f"{what}{tokens if what == 'prompt' else ''}.{name}.vs_llamacpp",
                ours,
                speeds.median(what, first),
                speeds.ratio(what, "ours", first),
                self.rounds,
                told,
            )
        if with_bandwidth:
            decoded = speeds.median("decode", "ours")
            self.claim(
                f"decode.{name}.of_bandwidth",
                decoded * read / 1e9,
                bandwidth / 1e9,
                decoded * read / bandwidth,
                self.rounds,
                f"GB/s; {read / 1e9:.3f} GB of {runtime_checkpoint.config.family} per token",
            )

    def mixtral(self) -> None:
        self.shape(MIXTRAL_SLICE)

    def olmoe(self) -> None:
        self.shape(OLMOE)

    def smollm2_files(self) -> None:
        self.one_file("smollm2_q4_1", self.smollm2, with_bandwidth=False)
        self.shape(SMOLLM2)

    def six_experts(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            six = make_six_experts(self.smollm2, Path(folder))
            runtime = self.open(self.smollm2)
            for expert in six.experts:
                runtime.add_expert(expert.hash, expert.tensors)
            hashes = tuple(expert.hash for expert in six.experts)
            ours = {"with six": Ours(runtime, hashes), "base": Ours(runtime)}
            peer = self.peers[0]
            speeds, *_ = self.turns(ours, {"export": (peer, six.export)})
        for what, tokens in (("prompt", "512"), ("decode", "")):
            self.claim(
                f"{what}{tokens}.six_experts.vs_llamacpp_export",
                speeds.median(what, "with six"),
                speeds.median(what, "export"),
                speeds.ratio(what, "with six", "export"),
                self.rounds,
                f"tokens/s; {peer.name} runs our export, routed alike",
            )
            self.claim(
                f"six_experts.cost_over_base.{what}{tokens}",
                speeds.median(what, "with six"),
                speeds.median(what, "base"),
                speeds.ratio(what, "base", "with six"),
                self.rounds,
                "tokens/s with two of six open at every token, and of the base alone",
            )

    def batch(self) -> None:
        checkpoint = open_checkpoint(self.smollm2)
        random = np.random.default_rng(3)
        prompts = [
            tuple(int(t) for t in random.integers(100, 40_000, BATCH_PROMPT))
            for _ in range(BATCH_REQUESTS)
        ]
        engine = Engine(NativeRuntime(checkpoint, threads=self.threads))

        def generate(prompt: tuple[int, ...]) -> int:
            return sum(1 for _ in engine.generate(Request(prompt, BATCH_NEW)))

        rates: list[tuple[float, float]] = []
        with llama_server(
            self.peers[0].folder, self.smollm2, self.threads, BATCH_REQUESTS
        ) as address:
            for turn in range(self.rounds + 1):
                # Other prompts each turn: no cache of ours may help.
                asked = [(turn + 1, *prompt[1:]) for prompt in prompts]
                ours = throughput(generate, asked)
                theirs = throughput(lambda prompt: complete(address, prompt, BATCH_NEW), asked)
                print("batch of 8:", round(ours), round(theirs), flush=True)
                if turn:
                    rates.append((ours, theirs))
        self.claim(
            "batch8.smollm2.vs_llamaserver",
            statistics.median(ours for ours, _ in rates),
            statistics.median(theirs for _, theirs in rates),
            statistics.median(ours / theirs for ours, theirs in rates),
            len(rates),
            f"tokens/s written by {BATCH_REQUESTS} requests at once, prompts of {BATCH_PROMPT} "
            f"tokens, {BATCH_NEW} new; ours through the engine's threads, the server's over HTTP",
        )

    def lookup(self) -> None:
        found = measure_quotes(open_checkpoint(self.smollm2), self.threads)
        self.claim(
            "lookup_decoding.on_quotes",
            found.seconds_with,
            found.seconds_without,
            found.seconds_without / found.seconds_with,
            found.tokens,
            f"seconds with and without drafts; the same tokens and bits: {found.same}",
        )

    def start(self) -> None:
        seconds, num_read = seconds_to_first_token(self.smollm2, COLD_STARTS)
        middle = statistics.median(seconds)
        told = f"s, median of {[round(s, 2) for s in seconds]}; {num_read} tokens read"
        self.claim("first_token.ask_cold", middle, None, middle, len(seconds), told)

    def memory(self) -> None:
        found = memory_of(self.smollm2)
        first = memory_of(self.smollm2, is_first_start=True)
        self.claim(
            "memory.over_file",
            found.peak,
            None,
            found.over_file,
            1,
            f"MB; file {found.file:.0f}, keys and values {found.keys_and_values:.0f}; "
            f"{first.over_file:.0f} at a first start, which repacks",
        )

    def perplexity(self) -> None:
        ours, reference, num_tokens = perplexity_over_float32(open_checkpoint(self.smollm2))
        self.claim(
            "wikitext2.perplexity_over_float32",
            ours,
            reference,
            ours / reference,
            num_tokens,
            "native over the float32 definition of the same file, token by token",
        )


GROUPS: dict[str, Callable[[Bencher], None]] = {
    "mixtral": Bencher.mixtral,
    "olmoe": Bencher.olmoe,
    "smollm2": Bencher.smollm2_files,
    "six_experts": Bencher.six_experts,
    "batch": Bencher.batch,
    "lookup": Bencher.lookup,
    "start": Bencher.start,
    "memory": Bencher.memory,
    "perplexity": Bencher.perplexity,
}


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def throughput(work: Callable[[tuple[int, ...]], int], prompts: list[tuple[int, ...]]) -> float:
    began = time.perf_counter()
    written = at_once(work, prompts)
    return sum(written) / (time.perf_counter() - began)


def work_per_token(checkpoint: Checkpoint) -> tuple[float, float]:
    """Returns the bytes of weights that decoding a token reads, and the weights multiplied with a
    prompt's token (the output layer serves the last one only)."""
    config = checkpoint.config
    share = config.num_chosen_experts / config.num_base_experts if config.is_mixture else 1.0
    num_bytes = num_weights = 0.0
    for name, tensor, part in matrices(checkpoint, share):
        num_bytes += part * tensor.num_bytes
        if "output" not in name.split(".")[0] and name != "embedding.weight":
            num_weights += part * float(np.prod(tensor.shape))
    return num_bytes, num_weights


def matrices(checkpoint: Checkpoint, share: float) -> Iterator[tuple[str, object, float]]:
    """Yields (name, tensor, the part of it that a token reads) of every matrix multiplied with."""
    last = "embedding.weight" if checkpoint.config.ties_embeddings else "output.weight"
    for name, tensor in checkpoint.tensors.items():
        if name == last or (name.startswith("layers.") and len(tensor.shape) > 1):
            yield name, tensor, share if ".experts." in name else 1.0


def rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", type=Path, action="append", help="a build with bin/llama-bench")
    parser.add_argument("--base", type=Path, help="the embedded base's GGUF; pulled otherwise")
    parser.add_argument("--models", type=Path, default=Path(".bench-models"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=GROUPS, nargs="+", default=list(GROUPS))
    asked = parser.parse_args()
    peers = asked.peer or [Path(".peers/llama.cpp")]
    for folder in peers:
        if not (folder / "bin/llama-bench").exists():
            parser.error(f"{folder} has no bin/llama-bench; `make peers` builds llama.cpp's")
    bencher = Bencher(
        [Bench(folder, asked.threads) for folder in peers],
        asked.models,
        asked.base or Path(pull("smollm2", Store(asked.models)).path),
        asked.threads,
        asked.rounds,
    )
    for name in itertools.compress(GROUPS, (group in asked.only for group in GROUPS)):
        began = time.perf_counter()
        GROUPS[name](bencher)
        print(f"-- {name}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""An export read again and compared with the mixture it was made from.

T tokens of a prompt, V vocabulary.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.new_tensor import sha256_on_disk
from tramontane.checkpoint.tensors import TensorAt
from tramontane.engine.choose import obstacle, open_runtime
from tramontane.engine.engine import Engine
from tramontane.errors import ExpertError, TokenizerError
from tramontane.experts.export_numbers import Rounded, first_stray
from tramontane.experts.slots import Slots
from tramontane.tokenizer.tokenizer import Tokenizer

PROMPTS = (
    "The keys hang behind the clock in the hall, and",
    "Dear Anna,\n\nthank you for your letter. The garden",
    "def total(prices):\n    return",
    "- [ ] order seed potatoes\n- [x] mend the fence\n",
    "Où est la gare ? 今日は 12° – naïve café, 3.5 × 10⁴",
)
CHATS = (
    [{"role": "user", "content": "What did I write about the roof?"}],
    [
        {"role": "system", "content": "You answer from notes."},
        {"role": "user", "content": "<|im_end|> Is [INST] a mark? </s>"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Why?"},
    ],
)
# The share of the logits' spread by which export and mixture may differ: float32 sums in another
# order come to 1e-5; 8-bit activations and 16-bit keys to 0.1 and more on small models, which a
# wrong order of heads or a wrong config exceeds many times.
ALLOWED = {"pytorch": 1e-3, "native": 0.5}

# Keys, values and what is being repacked need room too.
BESIDE_WEIGHTS = 1.3


@dataclass(frozen=True)
class Comparison:
    """How export and mixture compared: tensors and token ids exactly, logits as a share.

    `runtime` is None where nothing was run; `difference` is then 0.
    """

    num_tensors: int
    num_texts: int
    runtime: str | None = None
    difference: float = 0.0
    same_choices: float = 1.0


def check_export(
    written: Checkpoint,
    stored: Mapping[str, TensorAt],
    slots: Slots,
    hashes: Mapping[str, str],
    *,
    runs: bool,
    report: Callable[[str, int, int], None],
) -> Comparison:
    """Compares what is on disk with what was meant.

    `stored` are the tensors as read again, by the file's names, `hashes` those of the bytes made.
    Raises ExpertError naming the first thing that differs.
    """
    check_config(written, slots)
    check_tensors(stored, hashes, report)
    if stray := first_stray(written, slots, report):
        raise damaged(stray)
    num_texts = check_tokens(written, slots.checkpoint)
    comparison = Comparison(num_tensors=len(hashes), num_texts=num_texts)
    return compare_runs(written, slots, comparison, report) if runs else comparison


def damaged(what: str) -> ExpertError:
    return ExpertError(f"the export was deleted, since read again it differs: {what}")


def check_config(written: Checkpoint, slots: Slots) -> None:
    come, wanted = dataclasses.asdict(written.config), dataclasses.asdict(slots.config)
    # The format decides these: how heads are laid out, and that GGUF names no window.
    for free in ("rope_layout", "sliding_window", "max_context_tokens", "rope_scaling"):
        come.pop(free), wanted.pop(free)
    for field, value in wanted.items():
        same = np.isclose(come[field], value, rtol=1e-6) if isinstance(value, float) else False
        if not same and come[field] != value:
            raise damaged(f"{field} is {come[field]!r}, {value!r} was meant")


def check_tensors(
    stored: Mapping[str, TensorAt],
    hashes: Mapping[str, str],
    report: Callable[[str, int, int], None],
) -> None:
    if unpaired := sorted(hashes.keys() ^ stored.keys()):
        raise damaged(f"tensor {unpaired[0]} is on one side only")
    for number, (name, sha256) in enumerate(hashes.items(), start=1):
        if sha256_on_disk(stored[name]) != sha256:
            raise damaged(f"the bytes of tensor {name} are not those that were written")
        report("reading again, tensors", number, len(hashes))


def check_tokens(written: Checkpoint, base: Checkpoint) -> int:
    """Compares token ids of texts and rendered chats; returns how many there were."""
    wanted, came = base.tokenizer(), written.tokenizer()
    if came.adds_bos != wanted.adds_bos or came.bos_id != wanted.bos_id:
        raise damaged("the token that begins a text is another")
    if came.eos_ids != wanted.eos_ids or came.eos_text != wanted.eos_text:
        raise damaged("the tokens that end a turn are others")
    texts = [*map(token_ids_of_text, PROMPTS), *map(token_ids_of_chat, CHATS)]
    for number, ids in enumerate(texts):
        if ids(came) != ids(wanted):
            raise damaged(f"text {number + 1} of {len(texts)} gives other tokens")
    return len(texts)


def token_ids_of_text(text: str) -> Callable[[Tokenizer], list[int]]:
    return lambda tokenizer: tokenizer.encode(text)


def token_ids_of_chat(messages: list[dict[str, str]]) -> Callable[[Tokenizer], object]:
    def ids(tokenizer: Tokenizer) -> object:
        try:
            return tokenizer.encode_chat(messages)
        except TokenizerError as error:
            # Without a template, or with one that refuses a role, both sides must say the same.
            return str(error)

    return ids


def compare_runs(
    written: Checkpoint,
    slots: Slots,
    comparison: Comparison,
    report: Callable[[str, int, int], None],
) -> Comparison:
    """Runs mixture and export on the prompts and compares their logits.

    The mixture has its matrices with the numbers they were rounded to: what rounding cost is told
    apart, and here the two must be the same arithmetic. Native reads a base only as it is on disk.
    """
    base = Rounded.of(slots)
    runtime = runtime_for(base, written)
    if runtime is None:
        return comparison
    tokenizer = base.tokenizer()
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]
    mixture = Engine(open_runtime(base, runtime))
    for expert, tensors in zip(slots.experts, slots.as_written(), strict=True):
        mixture.add_expert(expert.hash, tensors)
    wanted = logits_of(mixture, prompts, [expert.hash for expert in slots.experts])
    del mixture
    report("running, models", 1, 2)
    came = logits_of(Engine(open_runtime(written, runtime)), prompts, ())
    report("running, models", 2, 2)
    # A flipped gate or a rounded key moves single tokens; a wrong model moves them all.
    difference = float(np.median(np.abs(came - wanted).max(axis=-1) / wanted.std(axis=-1)))
    if not difference <= ALLOWED[runtime]:
        raise damaged(
            f"its logits differ from the mixture's by {difference:.2g} of their spread, "
            f"{ALLOWED[runtime]} is allowed"
        )
    return dataclasses.replace(
        comparison,
        runtime=runtime,
        difference=difference,
        same_choices=float((came.argmax(axis=-1) == wanted.argmax(axis=-1)).mean()),
    )


def runtime_for(base: "Rounded", written: Checkpoint) -> str | None:
    """Returns what can run base and export, one after the other, in the memory that is free."""
    free = free_memory()
    if not obstacle("pytorch", base) and 4 * written.num_parameters * BESIDE_WEIGHTS < free:
        return "pytorch"
    can_run = not (base.is_rounded or obstacle("native", base) or obstacle("native", written))
    return "native" if can_run and written.num_bytes * BESIDE_WEIGHTS < free else None


def free_memory() -> int:
    """Returns the bytes of memory that can be had without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(available.split()[1]) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def logits_of(
    engine: Engine, prompts: Sequence[Sequence[int]], experts: Sequence[str]
) -> np.ndarray:
    """Returns (T, V) logits of every position of all prompts, one after the other."""
    return np.concatenate([engine.logits_of(ids, experts=experts) for ids in prompts])

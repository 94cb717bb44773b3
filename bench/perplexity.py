"""Perplexity of the embedded base on WikiText-2: native beside the float32 definition of its file.

Native multiplies 4-bit blocks by activations in blocks of 8 bits and keeps keys and values as
halves, or as bytes; PyTorch computes the same file's numbers in float32. Windows of 512 tokens,
none of which sees another.

    python bench/perplexity.py [--model FILE.gguf] [--tokens 20480]
"""

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist

import numpy as np

from record import Claim, write_results
from texts import wikitext, windows
from tramontane.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tramontane.cli.parts import Parts
from tramontane.engine.native_runtime import KV_FORMATS, NativeRuntime
from tramontane.engine.runtime import Runtime, Span
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.native import log_softmax_at
from tramontane.settings import load_settings

NUM_TOKENS = 20_480
WINDOW_TOKENS = 512


def losses(runtime: Runtime, token_windows: Iterable[list[int]]) -> np.ndarray:
    """Returns -log p of every token but the first of each window."""
    pages = tuple(range(-(-WINDOW_TOKENS // runtime.page_tokens)))
    runtime.allocate(len(pages))
    found = []
    for window in token_windows:
        span = Span(window, 0, pages, num_logits=len(window))
        logits_TV = runtime.forward([span])[0].logits_LV
        found.append(-log_softmax_at(logits_TV[:-1], window[1:]))
    return np.concatenate(found).astype(np.float64)


def losses_on_wikitext(checkpoint: Checkpoint, num_tokens: int) -> dict[str, np.ndarray]:
    """Returns each token's loss by "float32" (PyTorch) and by native with each KV format."""
    texts = list(windows(wikitext(), checkpoint.tokenizer(), num_tokens, WINDOW_TOKENS))
    found = {kv: losses(NativeRuntime(checkpoint, kv=kv), texts) for kv in KV_FORMATS}
    return found | {"float32": losses(TorchRuntime(checkpoint), texts)}


def perplexity_over_float32(
    checkpoint: Checkpoint, num_tokens: int = NUM_TOKENS
) -> tuple[float, float, int]:
    """Returns (native's perplexity, the float32 definition's, tokens foretold) on WikiText-2."""
    found = losses_on_wikitext(checkpoint, num_tokens)
    return perplexity(found["float16"]), perplexity(found["float32"]), len(found["float32"])


def perplexity(losses_T: np.ndarray) -> float:
    return math.exp(losses_T.mean())


def ratio_of(ours_T: np.ndarray, peer_T: np.ndarray) -> tuple[float, float, float]:
    """Returns the ratio of two perplexities on the same tokens and its 95 % interval.

    Tokens are taken as independent; both runtimes read the same ones, so only their differences
    vary.
    """
    difference_T = ours_T - peer_T
    reach = NormalDist().inv_cdf(0.975) * difference_T.std() / len(difference_T) ** 0.5
    middle = difference_T.mean()
    return tuple(math.exp(middle + side) for side in (0.0, -reach, reach))


def claim(claim_id: str, ours_T: np.ndarray, peer_T: np.ndarray, note: str) -> Claim:
    ratio, low, high = ratio_of(ours_T, peer_T)
    return Claim(
        claim_id,
        round(perplexity(ours_T), 4),
        round(perplexity(peer_T), 4),
        round(ratio, 5),
        len(ours_T),
        f"{note}; 95 % interval {low:.5f} to {high:.5f}; tokens of detokenised WikiText-2 test",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF file; by default the base in use")
    parser.add_argument("--tokens", type=int, default=NUM_TOKENS)
    given = parser.parse_args()
    model = open_checkpoint(given.model) if given.model else Parts(load_settings()).checkpoint
    found = losses_on_wikitext(model, given.tokens)
    write_results(
        "perplexity",
        [
            claim(
                "wikitext2.perplexity_over_float32",
                found["float16"],
                found["float32"],
                "native, keys and values as halves, over PyTorch in float32",
            ),
            claim(
                "wikitext2.perplexity_int8_kv_over_float32",
                found["int8"],
                found["float32"],
                "native, keys and values in bytes, over PyTorch in float32",
            ),
            claim(
                "wikitext2.perplexity_int8_kv_over_float16_kv",
                found["int8"],
                found["float16"],
                "native, keys and values in bytes over halves",
            ),
        ],
    )


if __name__ == "__main__":
    main()

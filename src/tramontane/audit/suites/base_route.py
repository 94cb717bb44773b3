"""Where a mixture base sends tokens: how evenly, by source, and how long one base expert goes on.

Pieces of the built-in genres and of the notes at hand, in the middle layer (Mixtral reports such
figures of its own: Jiang et al. 2024, arXiv 2401.04088, section 5).
repeats     how often a token's first choice is that of the token before
by chance   how often it would be if the same tokens stood in random order: the sum of squares of
            the first choices' shares in the piece
load        the tokens of the busiest base expert, times an even share; 1 is even
by source   the same within each source, averaged over sources: more than `load` where base experts
            specialise (OLMoE: Muennighoff et al. 2024, arXiv 2409.02060, section 5)
shuffled    the same when pieces are given to sources at random: what few pieces look like anyway
The route is told as it is; nothing here says that steering it would change what the model says.
T tokens, N layers, K chosen per token, E base experts, P pieces.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from tramontane.audit.item import Item
from tramontane.audit.scoring import Scorer
from tramontane.audit.suite import Columns, Measure, Suite, always
from tramontane.audit.suites import routing
from tramontane.engine.request import Request

SOURCE, CHOSEN, TOKENS = "source", "chosen ", "tokens"


def probe(scorer: Scorer, _expert_names: Sequence[str], item: Item) -> dict[str, float]:
    ((ids, _),) = scorer.encode(item)
    asked = Request(tuple(ids), 1, experts=scorer.experts, with_routes=True, speculates=False)
    (token,) = scorer.engine.generate(asked)
    return figures_of_routes(
        np.array(token.prompt_routes),
        scorer.engine.runtime.config.num_base_experts,
        code_of(item.group),
    )


def figures_of_routes(routes_TNK: np.ndarray, num_experts: int, source: float) -> dict[str, float]:
    """Returns a piece's results; `routes_TNK` holds the likeliest choice first."""
    T, N, _ = routes_TNK.shape
    chosen_TK = routes_TNK[:, N // 2]
    first_T = chosen_TK[:, 0]
    counts_E = np.bincount(chosen_TK.flatten(), minlength=num_experts)
    results = {SOURCE: source, TOKENS: float(T)}
    results |= {f"{CHOSEN}{e}": float(count) for e, count in enumerate(counts_E)}
    if T > 1:
        shares_E = np.bincount(first_T, minlength=num_experts) / T
        results["repeats"] = float((first_T[1:] == first_T[:-1]).mean())
        results["chance"] = float(np.square(shares_E).sum())
    return results


def code_of(source: str) -> float:
    """Returns a number for a source's name, whole in a float64."""
    return float(int.from_bytes(hashlib.sha256(source.encode()).digest()[:6]))


def counts_of(columns: Columns) -> np.ndarray:
    """Returns how often each piece's tokens chose each base expert, (P, E)."""
    names = sorted(name for name in columns if name.startswith(CHOSEN))
    return np.stack([columns[name] for name in names], axis=1)


def load(columns: Columns) -> float:
    return busiest(counts_of(columns).sum(axis=0))


def by_source(columns: Columns) -> float:
    return mean_busiest(counts_of(columns), columns[SOURCE])


def shuffled(columns: Columns) -> float:
    order = np.random.default_rng(0).permutation(len(columns[SOURCE]))
    return mean_busiest(counts_of(columns), columns[SOURCE][order])


def mean_busiest(counts_PE: np.ndarray, source_P: np.ndarray) -> float:
    return float(np.mean([busiest(counts_PE[source_P == s].sum(0)) for s in np.unique(source_P)]))


def busiest(counts_E: np.ndarray) -> float:
    return float(counts_E.max() / counts_E.mean())


def times(name: str, title: str, formula, **beside) -> Measure:
    unit = "times an even share"
    return Measure(name, title, "compound", better="none", compound=formula, unit=unit, **beside)


SUITE = Suite(
    name="base_route",
    family="routing",
    title="Where the base's own route leads",
    about="Of a mixture base: how evenly its base experts are used, whether texts of one source go "
    "to some of them above all, and how long one goes on. It describes; no value is better.",
    source="built-in texts of many genres, and the notes of the collections in the library",
    measures=always(
        Measure(
            "repeats",
            "same first choice as the token before",
            "mean",
            better="none",
            baseline="chance",
            baseline_title="the same tokens in random order",
        ),
        times("load", "busiest base expert", load, baseline=1.0, baseline_title="all alike"),
        times("by_source", "busiest base expert of a source, mean over sources", by_source),
        times("shuffled", "the same, pieces given to sources at random", shuffled),
    ),
    files=routing.SUITE.files,
    sample=routing.SUITE.sample,
    read=routing.SUITE.read,
    from_notes=routing.from_notes,
    probe=probe,
    needs_mixture_base=True,
    quick=4,
    default=40,
)

"""Router rows from the frozen base's own states; nothing shared, nothing trained jointly.

Per layer, with h the input of the base's block (METHODS 2.4):
    w = (Σ + λ · tr(Σ)/D · I)⁻¹ (μ_own − μ_public)       shrunk linear discriminant
    u = (Σ_public + μμᵀ + λ …)⁻¹ μ_public                 u · h ≈ 1: a bias without a bias
    t = of each genre's (1 − ε/2) quantile of (w · h) / (u · h), the largest but for a third of them
    r = κ (w − t · u)                                     open where r · h > 0
κ makes the mean positive margin on own text MEAN_MARGIN. The third of genres that lies nearest is
taken to be of the collection's own kind, as household text is to recipes: if it decided, gates
would hardly open on one's own (docs/decisions/router-rows.md).

T tokens, D model width.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FALSE_OPEN_RATE = 0.01
# The quantile of a sample drifts on new text, by a factor of 1.5 to 2 in planning.
DRIFT = 2.0
OWN_KIND = 3
RIDGE = 0.05
MEAN_MARGIN = 3.0
CHUNK_TOKENS = 4096


@dataclass(frozen=True)
class Row:
    """One layer's router row and how it does on the text it was fitted on."""

    row_D: np.ndarray
    own_open: float
    public_open: Mapping[str, float]
    margin_of_bias: float


def in_float64(parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the rows a few thousand at a time: whole genres in float64 would fill the memory."""
    for part_TD in parts:
        for begin in range(0, len(part_TD), CHUNK_TOKENS):
            yield part_TD[begin : begin + CHUNK_TOKENS].astype(np.float64)


def moments(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean (D,) and covariance (D, D), in float64, of the rows of all parts."""
    num_tokens = sum(map(len, parts))
    mean_D = sum(h_TD.sum(axis=0) for h_TD in in_float64(parts)) / num_tokens
    centred = (h_TD - mean_D for h_TD in in_float64(parts))
    return mean_D, sum(h_TD.T @ h_TD for h_TD in centred) / num_tokens


def ridge(matrix_DD: np.ndarray) -> np.ndarray:
    """Returns the matrix with its diagonal lifted by a share of its mean eigenvalue."""
    D = len(matrix_DD)
    return matrix_DD + RIDGE * np.trace(matrix_DD) / D * np.eye(D)


def fit_row(own_TD: np.ndarray, public_by_genre: Mapping[str, np.ndarray]) -> Row:
    """Returns the row that opens on the collection's own tokens and stays closed elsewhere."""
    public = [public_by_genre[genre] for genre in sorted(public_by_genre)]
    own_mean_D, own_cov_DD = moments([own_TD])
    public_mean_D, public_cov_DD = moments(public)
    w_D = np.linalg.solve(ridge((own_cov_DD + public_cov_DD) / 2), own_mean_D - public_mean_D)
    u_D = fit_bias(public_mean_D, public_cov_DD)

    closing = sorted(upper_quantile(ratio(h_TD, w_D, u_D)) for h_TD in public)
    row_D = w_D - closing[-1 - len(closing) // OWN_KIND] * u_D
    margins_T = own_TD.astype(np.float64) @ row_D
    is_open_T = margins_T > 0
    if is_open_T.any():
        row_D *= MEAN_MARGIN / margins_T[is_open_T].mean()
    return measured(row_D.astype(np.float32), u_D, own_TD, public_by_genre)


def raised_row(
    row_D: np.ndarray, by: float, own_TD: np.ndarray, public_by_genre: Mapping[str, np.ndarray]
) -> Row:
    """Returns the row with its threshold higher by `by` logits: r - by · u."""
    u_D = fit_bias(*moments([public_by_genre[genre] for genre in sorted(public_by_genre)]))
    return measured((row_D - by * u_D).astype(np.float32), u_D, own_TD, public_by_genre)


def measured(
    row_D: np.ndarray,
    u_D: np.ndarray,
    own_TD: np.ndarray,
    public_by_genre: Mapping[str, np.ndarray],
) -> Row:
    public = [public_by_genre[genre] for genre in sorted(public_by_genre)]
    return Row(
        row_D,
        own_open=open_rate(own_TD, row_D),
        public_open={genre: open_rate(h_TD, row_D) for genre, h_TD in public_by_genre.items()},
        margin_of_bias=float(np.concatenate([h_TD @ u_D for h_TD in in_float64(public)]).std()),
    )


def fit_bias(mean_D: np.ndarray, cov_DD: np.ndarray) -> np.ndarray:
    """Returns u with u · h ≈ 1 on public text: least squares of the constant 1, no intercept.

    Normalised states carry near-constant coordinates that can stand in for a bias
    (Sun et al. 2024, arXiv 2402.17762).
    """
    second_DD = cov_DD + np.outer(mean_D, mean_D)
    D = len(mean_D)
    return np.linalg.solve(second_DD + 1e-4 * np.trace(second_DD) / D * np.eye(D), mean_D)


def upper_quantile(ratio_T: np.ndarray) -> float:
    """Returns what one more token of the same kind exceeds at most at half the wanted rate.

    Split conformal prediction's quantile (Vovk et al. 2005): one of the values, rounded up.
    """
    rank = math.ceil((1.0 - FALSE_OPEN_RATE / DRIFT) * (len(ratio_T) + 1))
    place = min(rank, len(ratio_T)) - 1
    return float(np.partition(ratio_T, place)[place])


def ratio(h_TD: np.ndarray, w_D: np.ndarray, u_D: np.ndarray) -> np.ndarray:
    """Returns the threshold at which each token's gate would close."""
    wide_TD = h_TD.astype(np.float64)
    bias_T = wide_TD @ u_D
    # Where the stand-in fails altogether no finite threshold closes the gate; such tokens are rare
    # and count as what the mean bias would give.
    return (wide_TD @ w_D) / np.where(bias_T > 0.1, bias_T, 1.0)


def open_rate(h_TD: np.ndarray, row_D: np.ndarray) -> float:
    """Returns the share of tokens whose gate is open."""
    return float((h_TD.astype(np.float32) @ row_D > 0).mean())

"""log_softmax against its definition in float64; T rows, V columns."""

import numpy as np
import pytest

from rows import EPS
from tramontane.native import _cpu, log_softmax, log_softmax_at


def definition(x_TV: np.ndarray) -> np.ndarray:
    wide_TV = x_TV.astype(np.float64)
    most_T1 = wide_TV.max(axis=1, keepdims=True)
    return wide_TV - most_T1 - np.log(np.exp(wide_TV - most_T1).sum(axis=1, keepdims=True))


def allowed_error(expected_TV: np.ndarray) -> np.ndarray:
    """Returns how far a result may be from its definition, by the header's account.

    Each exponential errs by two units, and by its argument's rounding, which weighted by the
    exponentials is at most ln V halves of a unit; sums by nine roundings. What is taken from x is
    rounded twice.
    """
    relative = (2 + 9 / 2 + np.log(expected_TV.shape[1]) / 2) * EPS
    return relative + EPS * np.abs(expected_TV)


@pytest.mark.parametrize("V", [1, 2, 15, 16, 17, 63, 65, 255, 257, 4999])
@pytest.mark.parametrize("spread", [0.0, 1.0, 12.0])
def test_every_row_is_near_its_definition(variant, V, spread):
    x_TV = np.random.default_rng(V).standard_normal((3, V)).astype(np.float32)
    x_TV = x_TV * np.float32(spread) + np.float32([[0], [700], [-700]])
    y_TV = np.full_like(x_TV, np.nan)
    _cpu.log_softmax(variant, x_TV, y_TV)
    expected_TV = definition(x_TV)
    assert (np.abs(y_TV - expected_TV) <= allowed_error(expected_TV)).all()


def test_what_is_far_below_counts_for_nothing(variant):
    x_TV = np.float32([[0, -200, -np.inf, -3e38]])
    y_TV = log_softmax(x_TV, variant=variant)
    assert y_TV.tolist() == x_TV.tolist()


def test_what_is_impossible_stays_so(variant):
    """A token that a grammar forbids has -inf, before and after."""
    x_TV = np.array([[0.0, -np.inf, 3e38, -3e38], [-np.inf, 1.0, 1.0, -np.inf]], np.float32)
    y_TV = log_softmax(x_TV, variant=variant)
    assert y_TV[0, 2] == 0
    assert np.isneginf(y_TV[[0, 1, 1], [1, 0, 3]]).all()
    assert y_TV[1, 1] == y_TV[1, 2] == np.float32(-np.log(2))


def test_a_row_does_not_depend_on_company(variant):
    x_TV = np.random.default_rng(0).standard_normal((50, 1000)).astype(np.float32)
    together_TV = log_softmax(x_TV, variant=variant, threads=3)
    for t in (0, 7, 49):
        assert np.array_equal(log_softmax(x_TV[t : t + 1], variant=variant)[0], together_TV[t])


def test_one_column_has_the_bits_of_the_whole_row(variant):
    rng = np.random.default_rng(1)
    x_TV = rng.standard_normal((50, 777)).astype(np.float32) * 5
    ids_T = rng.integers(777, size=50)
    whole_TV = log_softmax(x_TV, variant=variant)
    y_T = log_softmax_at(x_TV, ids_T, variant=variant, threads=2)
    assert np.array_equal(y_T, whole_TV[np.arange(50), ids_T])


def test_what_does_not_fit_is_refused():
    x, y = np.zeros((2, 4), np.float32), np.zeros((2, 5), np.float32)
    with pytest.raises(ValueError, match="one shape"):
        _cpu.log_softmax("portable", x, y)
    with pytest.raises(ValueError, match="must not be empty"):
        log_softmax(x[:, :0])
    with pytest.raises(ValueError, match="one column per row"):
        log_softmax_at(x, [1])
    with pytest.raises(ValueError, match="column 5 of 5"):
        log_softmax_at(np.zeros((1, 5), np.float32), [5])

"""Comparing two computations of the same numbers, row by row, within a derived bound."""

import torch
from torch import Tensor

from tramontane.checkpoint.model_config import ModelConfig

EPS = torch.finfo(torch.float32).eps


def num_additions(config: ModelConfig, num_tokens: int) -> int:
    """Returns how many numbers are added up on the way to a logit that sees `num_tokens`."""
    chosen = max(config.num_chosen_experts, 1)
    attention = config.model_width + config.head_width + num_tokens + config.attention_width
    block = config.model_width + chosen * config.ffn_width
    norms = 2 * config.model_width
    return config.num_layers * (attention + block + norms) + 2 * config.model_width


def allowed_error(config: ModelConfig, num_tokens: int) -> float:
    """Returns the bound on a logit's float32 error, as a part of its row's largest value.

    Rounding grows about as the root of the additions; 8 leaves room for their order.
    """
    return 8 * EPS * num_additions(config, num_tokens) ** 0.5


def row_errors(actual_TV: Tensor, expected_TV: Tensor) -> Tensor:
    """Returns (T,): each row's largest difference as a part of its largest expected value."""
    # The difference of two nearly equal floats is exact, so it needs no wider type.
    scale_T = expected_TV.abs().amax(dim=-1).clamp_min(1e-30)
    return (actual_TV - expected_TV).abs().amax(dim=-1) / scale_T


def assert_rows_close(actual_TV: Tensor, expected_TV: Tensor, allowed: float) -> float:
    """Returns the worst row's error; a row beyond `allowed`, or not finite, fails by number."""
    assert actual_TV.shape == expected_TV.shape
    assert actual_TV.isfinite().all()
    errors_T = row_errors(actual_TV, expected_TV)
    row = int(errors_T.argmax())
    worst = float(errors_T[row])
    assert worst <= allowed, (
        f"row {row}: error {worst:.1e} of its largest value, allowed {allowed:.1e}"
    )
    return worst

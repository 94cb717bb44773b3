"""T tokens, W normed width."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x · scale / root mean square of x (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x_TW: Tensor) -> Tensor:
        wide_TW = x_TW.float()
        scaled_TW = wide_TW * torch.rsqrt(wide_TW.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * scaled_TW.to(x_TW.dtype)

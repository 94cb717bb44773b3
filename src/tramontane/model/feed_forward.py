"""The base's own feed-forward block F: dense, or a mixture of base experts chosen by the route.

T tokens, D model width, F feed-forward width, E base experts, K chosen per token.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from tramontane.checkpoint.model_config import ModelConfig


def swiglu(h_TD: Tensor, gate_FD: Tensor, up_FD: Tensor, down_DF: Tensor) -> Tensor:
    """Returns down · (silu(gate · h) ⊙ up · h) (Shazeer 2020, arXiv 2002.05202)."""
    return linear(silu(linear(h_TD, gate_FD)) * linear(h_TD, up_FD), down_DF)


class DenseBlock(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate = nn.Linear(config.model_width, config.ffn_width, bias=False)
        self.up = nn.Linear(config.model_width, config.ffn_width, bias=False)
        self.down = nn.Linear(config.ffn_width, config.model_width, bias=False)

    def forward(self, h_TD: Tensor) -> Tensor:
        return swiglu(h_TD, self.gate.weight, self.up.weight, self.down.weight)


class Route(nn.Module):
    """Chooses each token's base experts and their weights."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_base_experts, config.model_width))
        self.num_chosen = config.num_chosen_experts
        self.renormalises = config.renormalises_route

    def forward(self, h_TD: Tensor) -> tuple[Tensor, Tensor]:
        # In bfloat16 near-ties flip, and a flip sends the token to another expert.
        weights_TE = linear(h_TD.float(), self.weight.float()).softmax(dim=-1)
        weights_TK, expert_ids_TK = weights_TE.topk(self.num_chosen, dim=-1)
        if self.renormalises:
            weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
        return weights_TK, expert_ids_TK


class ExpertMatrices(nn.Module):
    """One matrix per base expert, stacked under the name that checkpoints have for them."""

    def __init__(self, num_experts: int, num_rows: int, num_columns: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_experts, num_rows, num_columns))


class BaseExperts(nn.Module):
    """E feed-forward networks; each runs once, on the tokens the route sends it."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        E, F, D = config.num_base_experts, config.ffn_width, config.model_width
        self.gate = ExpertMatrices(E, F, D)
        self.up = ExpertMatrices(E, F, D)
        self.down = ExpertMatrices(E, D, F)

    def forward(self, h_TD: Tensor, weights_TK: Tensor, expert_ids_TK: Tensor) -> Tensor:
        y_TD = torch.zeros_like(h_TD)
        for e in expert_ids_TK.unique().tolist():
            tokens, slots = (expert_ids_TK == e).nonzero(as_tuple=True)
            matrices = (self.gate.weight[e], self.up.weight[e], self.down.weight[e])
            y = swiglu(h_TD[tokens], *matrices)
            y_TD = y_TD.index_add(0, tokens, y * weights_TK[tokens, slots, None].to(y.dtype))
        return y_TD

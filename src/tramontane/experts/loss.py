"""Losses over a large vocabulary without ever holding all logits.

T tokens, D model width, V vocabulary. The output matrix is frozen, so the gradient with respect to
the states can be made in the forward pass, chunk by chunk: two products instead of three, and
memory for one chunk of logits.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

CHUNK_TOKENS = 128


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean next-token cross-entropy of final states, in nats."""

    @staticmethod
    def forward(ctx, states_TD: Tensor, weight_VD: Tensor, targets_T: Tensor) -> Tensor:
        total = states_TD.new_zeros((), dtype=torch.float64)
        gradient_TD = torch.empty_like(states_TD)
        # One pair of buffers for all chunks: fresh pages cost as much as what is done in them.
        shape = (min(CHUNK_TOKENS, len(states_TD)), len(weight_VD))
        logits_buffer, gradient_buffer = (states_TD.new_empty(shape) for _ in range(2))
        for begin in range(0, len(states_TD), CHUNK_TOKENS):
            states_tD = states_TD[begin : begin + CHUNK_TOKENS]
            targets_t1 = targets_T[begin : begin + CHUNK_TOKENS, None]
            logits_tV = logits_buffer[: len(states_tD)]
            gradient_tV = gradient_buffer[: len(states_tD)]
            torch.mm(states_tD, weight_VD.T, out=logits_tV)
            torch.log_softmax(logits_tV, dim=-1, out=gradient_tV)
            total -= gradient_tV.gather(1, targets_t1).double().sum()
            gradient_tV.exp_()
            minus_one_t1 = gradient_tV.new_full((), -1.0).expand_as(targets_t1)
            gradient_tV.scatter_add_(1, targets_t1, minus_one_t1)
            torch.mm(gradient_tV, weight_VD, out=gradient_TD[begin : begin + CHUNK_TOKENS])
        ctx.save_for_backward(gradient_TD / len(states_TD))
        return (total / len(states_TD)).float()

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (gradient_TD,) = ctx.saved_tensors
        return gradient_TD * upstream, None, None


def next_token_loss(states_TD: Tensor, weight_VD: Tensor, targets_T: Tensor) -> Tensor:
    """Returns the mean cross-entropy; differentiable with respect to the states alone."""
    return ChunkedCrossEntropy.apply(states_TD, weight_VD, targets_T)


def token_losses(states_TD: Tensor, weight_VD: Tensor, targets_T: Tensor) -> Tensor:
    """Returns each token's cross-entropy, (T,) float32, without gradients."""
    pieces = [
        cross_entropy(linear(states_tD, weight_VD).float(), targets_t, reduction="none")
        for states_tD, targets_t in zip(
            states_TD.split(CHUNK_TOKENS), targets_T.split(CHUNK_TOKENS), strict=True
        )
    ]
    return torch.cat(pieces)


def divergence(base_TD: Tensor, states_TD: Tensor, weight_VD: Tensor) -> Tensor:
    """Returns the mean KL(base ‖ model) in nats; for few tokens, whose logits are all held."""
    base_TV = linear(base_TD, weight_VD).float().log_softmax(dim=-1)
    model_TV = linear(states_TD, weight_VD).float().log_softmax(dim=-1)
    return (base_TV.exp() * (base_TV - model_TV)).sum(dim=-1).mean()

"""Our transformer beside transformers' on the same tokens, with the oracle's routing replayed.

T tokens, V vocabulary, E base experts, K chosen per token.
"""

import torch
from torch import Tensor, nn

from rows import allowed_error, assert_rows_close
from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import Transformer, load_transformer

# What the project promises in float32, whatever the bound derived for a shape allows.
PROMISED = 1e-5


def tokens(length: int, seed: int = 0) -> Tensor:
    return torch.randint(97, (length,), generator=torch.Generator().manual_seed(seed))


def our_logits(transformer: Transformer, token_ids_T: Tensor) -> Tensor:
    attend = WindowAttention(len(token_ids_T), transformer.config.sliding_window)
    return transformer(token_ids_T, torch.arange(len(token_ids_T)), attend)


@torch.inference_mode()
def oracle_logits(oracle: nn.Module, token_ids_T: Tensor) -> Tensor:
    return oracle(input_ids=token_ids_T[None], use_cache=False).logits[0]


def router_of(layer: nn.Module) -> nn.Module:
    return layer.mlp.gate if hasattr(layer, "mlp") else layer.block_sparse_moe.router


class Chosen:
    """What transformers' routers decided, layer by layer."""

    def __init__(self, oracle: nn.Module):
        self.expert_ids: list[Tensor] = []
        self.logits: list[Tensor] = []
        self.hooks = [
            router_of(layer).register_forward_hook(self.keep) for layer in oracle.model.layers
        ]

    def __enter__(self) -> "Chosen":
        return self

    def __exit__(self, *_) -> None:
        for hook in self.hooks:
            hook.remove()

    def keep(self, router: nn.Module, inputs: object, outputs: tuple[Tensor, ...]) -> None:
        logits_TE, _, expert_ids_TK = outputs
        self.logits.append(logits_TE.clone())
        self.expert_ids.append(expert_ids_TK.clone())

    def margins(self, layer: int) -> Tensor:
        """Returns (T,): how far the last expert chosen lies above the first that isn't."""
        logits_TE, K = self.logits[layer], self.expert_ids[layer].shape[-1]
        ranked_TE = logits_TE.sort(dim=-1, descending=True).values
        if logits_TE.shape[-1] == K:
            return torch.full((len(logits_TE),), torch.inf)
        return ranked_TE[:, K - 1] - ranked_TE[:, K]


class Replayed:
    """Stands in for our route: notes what it chooses, and hands on what the oracle chose."""

    def __init__(self, transformer: Transformer, chosen: Chosen):
        self.chosen = chosen
        self.own_ids: list[Tensor] = []
        for layer in transformer.layers:
            layer.route.register_forward_hook(self.replay)

    def replay(self, route: nn.Module, inputs: tuple[Tensor], outputs: tuple[Tensor, Tensor]):
        expert_ids_TK = self.chosen.expert_ids[len(self.own_ids)]
        self.own_ids.append(outputs[1])
        weights_TE = (inputs[0] @ route.weight.T).softmax(dim=-1)
        weights_TK = weights_TE.gather(1, expert_ids_TK)
        if route.renormalises:
            weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
        return weights_TK, expert_ids_TK


def compare_dense(oracle: nn.Module, checkpoint: Checkpoint, length: int) -> None:
    """Compares the logits of `length` tokens, row by row."""
    token_ids_T = tokens(length)
    allowed = min(PROMISED, allowed_error(checkpoint.config, length))
    actual_TV = our_logits(load_transformer(checkpoint), token_ids_T)
    assert_rows_close(actual_TV, oracle_logits(oracle, token_ids_T), allowed)


def compare_mixture(oracle: nn.Module, checkpoint: Checkpoint, length: int) -> tuple[int, int]:
    """Compares logits and decisions; returns (decisions below the margin, decisions)."""
    transformer = load_transformer(checkpoint)
    token_ids_T = tokens(length)
    with Chosen(oracle) as chosen:
        expected_TV = oracle_logits(oracle, token_ids_T)
    replayed = Replayed(transformer, chosen)
    noise = allowed_error(transformer.config, length)
    assert_rows_close(our_logits(transformer, token_ids_T), expected_TV, min(PROMISED, noise))
    num_below = 0
    for layer, own_ids_TK in enumerate(replayed.own_ids):
        scale_T = chosen.logits[layer].abs().amax(dim=-1)
        is_clear_T = chosen.margins(layer) > 2 * noise * scale_T
        oracle_ids_TK = chosen.expert_ids[layer]
        agree_T = (own_ids_TK.sort(-1).values == oracle_ids_TK.sort(-1).values).all(dim=-1)
        assert agree_T[is_clear_T].all(), f"layer {layer}: tokens {(~agree_T & is_clear_T)}"
        num_below += int((~is_clear_T).sum())
    return num_below, length * len(replayed.own_ids)

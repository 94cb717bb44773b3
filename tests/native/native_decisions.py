"""Decisions of the definition: watched, replayed in the native runtime, and compared apart.

L layers, T tokens, K base experts chosen per token, E notes experts in place, z a gate's logit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from native_models import PAGES
from torch import Tensor

from tramontane.engine.native_runtime import NativeRuntime
from tramontane.engine.runtime import Span
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.model import notes_experts


@dataclass
class Decided:
    """What tokens chose, layer by layer, and by how much.

    A margin is how far a logit is from where the choice would be another one, as a part of the
    token's largest logit in that layer.
    """

    routes: list[np.ndarray] = field(default_factory=list)
    route_margins: list[np.ndarray] = field(default_factory=list)
    open: dict[int, np.ndarray] = field(default_factory=dict)
    open_margins: dict[int, np.ndarray] = field(default_factory=dict)

    def chose_as(self, other: "Decided") -> bool:
        routes = zip(self.routes, other.routes, strict=True)
        return all(np.array_equal(own, theirs) for own, theirs in routes) and all(
            np.array_equal(own, other.open[layer]) for layer, own in self.open.items()
        )


class Watched:
    """A TorchRuntime whose choices are written down while it is open."""

    def __init__(self, runtime: TorchRuntime, monkeypatch):
        self.runtime, self.decided = runtime, Decided()
        self.notes_layers = sorted(runtime.notes.layers) if runtime.notes else []
        if runtime.config.is_mixture:
            for layer in runtime.transformer.layers:
                layer.route.register_forward_hook(self.keep_route)
        original = notes_experts.gate_weights

        def gate_weights(logits_TE: Tensor) -> Tensor:
            alphas_TE = original(logits_TE)
            self.keep_gates(logits_TE, alphas_TE)
            return alphas_TE

        monkeypatch.setattr(notes_experts, "gate_weights", gate_weights)

    def keep_route(self, route, inputs: tuple[Tensor], outputs: tuple[Tensor, Tensor]) -> None:
        logits_TE = inputs[0].float() @ route.weight.float().T
        expert_ids_TK = outputs[1]
        T, K = expert_ids_TK.shape
        ranked_TE = logits_TE.sort(dim=-1, descending=True).values
        margin_T = torch.full((T,), torch.inf)
        if logits_TE.shape[1] > K:
            margin_T = (ranked_TE[:, K - 1] - ranked_TE[:, K]) / logits_TE.abs().amax(dim=-1)
        self.decided.routes.append(expert_ids_TK.numpy().astype(np.uint32))
        self.decided.route_margins.append(margin_T.numpy())

    def keep_gates(self, logits_TE: Tensor, alphas_TE: Tensor) -> None:
        layer = self.notes_layers[len(self.decided.open)]
        E = logits_TE.shape[1]
        open_T2 = np.full((len(logits_TE), 2), -1, np.int32)
        for t, row_E in enumerate(alphas_TE):
            ids = row_E.nonzero()[:, 0].numpy()
            open_T2[t, : len(ids)] = ids
        # An expert is open where its logit is above 0 and above all but one of the others'.
        rivals_TE = logits_TE[:, None, :].expand(-1, E, E).clone()
        rivals_TE[:, range(E), range(E)] = -torch.inf
        second_TE = rivals_TE.topk(min(2, E), dim=-1).values[..., -1]
        second_TE = second_TE if E > 2 else torch.zeros_like(logits_TE)
        margins_TE = (logits_TE - second_TE.clamp_min(0)).abs()
        scale_T = logits_TE.abs().amax(dim=-1)
        self.decided.open[layer] = open_T2
        self.decided.open_margins[layer] = (margins_TE.amin(dim=-1) / scale_T).numpy()


def run_as(
    runtime: NativeRuntime, token_ids: Sequence[int], decided: Decided, experts: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs the tokens with those decisions; returns (logits_TV, own routes_LTK, own open_LT2)."""
    config = runtime.config
    L, T, K = config.num_layers, len(token_ids), config.num_chosen_experts
    logits_TV = np.full((T, config.vocab_size), np.nan, np.float32)
    routes_LTK = np.full((L, T, K), 1 << 30, np.uint32)
    open_LT2 = np.full((L, T, 2), -2, np.int32)
    wanted_open_LT2 = np.full((L, T, 2), -1, np.int32)
    for layer, open_T2 in decided.open.items():
        wanted_open_LT2[layer] = open_T2
    span = Span(token_ids, 0, PAGES, tuple(experts), num_logits=T)
    runtime.transformer.forward(
        np.array(span.token_ids, np.int32),
        np.array([0], np.int32),
        np.array([T], np.int32),
        np.array([len(PAGES)], np.int32),
        np.array(PAGES, np.int32),
        np.array([T], np.int32),
        np.ones((1, len(experts)), np.uint8),
        logits_TV,
        None,
        None,
        routes=routes_LTK,
        wanted_routes=np.stack(decided.routes) if decided.routes else None,
        open=open_LT2,
        wanted_open=wanted_open_LT2,
    )
    return logits_TV, routes_LTK, open_LT2


@dataclass
class Tally:
    """How many decisions there were, and how many lay below the noise."""

    decisions: int = 0
    below: int = 0

    def add(self, own, theirs, margin_T, noise: float, where: str) -> None:
        """Sets of choices must be equal for every token whose margin is above the noise."""
        is_clear_T = margin_T > noise
        agrees_T = (np.sort(own, axis=-1) == np.sort(theirs, axis=-1)).all(axis=-1)
        strays = np.flatnonzero(is_clear_T & ~agrees_T)
        assert not strays.size, f"{where}: tokens {strays}, margins {margin_T[strays]}"
        self.decisions += len(margin_T)
        self.below += int((~is_clear_T).sum())

    def __str__(self) -> str:
        return f"{self.below} of {self.decisions} decisions below the noise"


def compare_decisions(own_routes_LTK, own_open_LT2, decided: Decided, noise: float) -> Tally:
    tally = Tally()
    for layer, (theirs, margin_T) in enumerate(
        zip(decided.routes, decided.route_margins, strict=True)
    ):
        tally.add(own_routes_LTK[layer], theirs, margin_T, noise, f"route of layer {layer}")
    for layer, theirs in decided.open.items():
        margin_T = decided.open_margins[layer]
        tally.add(own_open_LT2[layer], theirs, margin_T, noise, f"gates of layer {layer}")
    return tally

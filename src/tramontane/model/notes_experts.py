"""Notes experts: small networks beside the base's block, each with a gate that is mostly closed.

    y = F(h) + Σ_d α_d · E_d(h)        z_d = r_d · h, the base's logit 0
    S = the best two of {z_d > 0} ∪ {0}        α = softmax over S

A closed gate is exactly 0 and its network does not run, so tokens without an open gate keep the
bits of the base. The arithmetic is Mixtral's with the base in two slots (METHODS 2.2).

T tokens, D model width, m expert width, E experts in place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tramontane.model.feed_forward import swiglu


class SwiGLUExpert(nn.Module):
    """E_d(h) of one layer; the only class that knows an expert's form.

    It starts as nothing: the down-projection is zero. While it is learnt its numbers are float32,
    whatever the base computes in: what a step adds would be lost in fewer bits.
    """

    tensor_names = ("gate", "up", "down")

    def __init__(self, gate_mD: Tensor, up_mD: Tensor, down_Dm: Tensor):
        super().__init__()
        self.gate, self.up, self.down = map(nn.Parameter, (gate_mD, up_mD, down_Dm))

    def forward(self, h_TD: Tensor) -> Tensor:
        return swiglu(h_TD, *(matrix.to(h_TD.dtype) for matrix in (self.gate, self.up, self.down)))


def gate_weights(logits_TE: Tensor) -> Tensor:
    """Returns α, (T, E) float32: how far each expert is open for each token; 0 where closed.

    Ties go to the expert that stands first.
    """
    logits_TE = logits_TE.float()
    closed_TE = logits_TE.masked_fill(~(logits_TE > 0), -torch.inf)
    # The base comes last, so that its 0 never displaces an open expert; logits above 0 beat it.
    slots_TS = torch.cat([closed_TE, logits_TE.new_zeros(len(logits_TE), 1)], dim=-1)
    best_TS, order_TS = slots_TS.sort(dim=-1, descending=True, stable=True)
    alphas_T2 = best_TS[:, :2].softmax(dim=-1)
    return torch.zeros_like(slots_TS).scatter(1, order_TS[:, :2], alphas_T2)[:, :-1]


def own_gates(logits: Tensor) -> Tensor:
    """Returns how far each gate is open by itself, against the base alone: σ(z), 0 where closed."""
    return torch.where(logits > 0, logits.sigmoid(), 0.0)


@dataclass
class Voices:
    """What each expert did in each token, summed over the notes layers as they run.

    A gate is the expert's own: others that speak louder don't close it.
    """

    gate_TE: Tensor | float = 0.0
    contribution_TE: Tensor | float = 0.0
    base_T1: Tensor | float = 0.0
    num_layers: int = 0

    def shares(self) -> Tensor:
        """Returns (T, E): each expert's part of all that base and experts added, 0 to 1."""
        total_T1 = self.base_T1 + self.contribution_TE.sum(dim=-1, keepdim=True)
        return self.contribution_TE / total_T1.clamp_min(1e-30)

    def gates(self) -> Tensor:
        """Returns (T, E): each expert's mean gate over the notes layers."""
        return self.gate_TE / max(self.num_layers, 1)


@dataclass
class LayerExperts:
    """The experts in place in one layer, in the order of their hashes."""

    rows_ED: Tensor
    networks: list[nn.Module | None]

    def add_to(
        self,
        y_TD: Tensor,
        h_TD: Tensor,
        allowed_TE: Tensor | None = None,
        voices: Voices | None = None,
    ) -> Tensor:
        """Returns y with every open expert's weighted output added.

        `allowed_TE` closes experts for the tokens of requests that don't have them in place.
        """
        # One product per row: in a joint one a row's bits would depend on how many stand beside
        # it, and a gate on experts that this token's request doesn't have in place.
        logits_TE = torch.stack([h_TD.float() @ row_D for row_D in self.rows_ED], dim=-1)
        if allowed_TE is not None:
            logits_TE = logits_TE.masked_fill(~allowed_TE, -torch.inf)
        alphas_TE = gate_weights(logits_TE)
        norms_TE = torch.zeros_like(alphas_TE) if voices is not None else None
        base_TD = y_TD
        for e, network in enumerate(self.networks):
            tokens = alphas_TE[:, e].nonzero(as_tuple=True)[0]
            if network is None or len(tokens) == 0:
                continue
            alpha_T1 = alphas_TE[tokens, e, None].to(h_TD.dtype)
            added = alpha_T1 * network(h_TD[tokens])
            y_TD = y_TD.index_add(0, tokens, added)
            if norms_TE is not None:
                norms_TE[tokens, e] = added.float().norm(dim=-1)
        if voices is not None:
            voices.gate_TE = voices.gate_TE + own_gates(logits_TE)
            voices.contribution_TE = voices.contribution_TE + norms_TE
            voices.base_T1 = voices.base_T1 + base_TD.float().norm(dim=-1, keepdim=True)
            voices.num_layers += 1
        return y_TD


def expert_in_layer(
    tensors: Mapping[str, Tensor], layer: int
) -> tuple[Tensor | None, SwiGLUExpert | None]:
    """Returns an expert's row and network in a layer, or (None, None) where it has none."""
    row_D = tensors.get(f"layers.{layer}.row")
    if row_D is None:
        return None, None
    network = SwiGLUExpert(*(tensors[f"layers.{layer}.{n}"] for n in SwiGLUExpert.tensor_names))
    return row_D.float(), network.requires_grad_(False)


class NotesExperts:
    """The experts in place, by layer; a set, whatever the order they came in."""

    def __init__(self, experts: Mapping[str, Mapping[str, Tensor]]):
        """`experts` maps each tensor hash to tensors named "layers.{l}.{gate,up,down,row}"."""
        self.hashes: Sequence[str] = tuple(sorted(experts))
        found = {int(name.split(".")[1]) for tensors in experts.values() for name in tensors}
        self.layers: dict[int, LayerExperts] = {}
        for layer in sorted(found):
            here = [expert_in_layer(experts[tensor_hash], layer) for tensor_hash in self.hashes]
            width = next(row_D.shape for row_D, _ in here if row_D is not None)
            # A row of zeros gives the logit 0, which never opens.
            rows = [torch.zeros(width) if row_D is None else row_D for row_D, _ in here]
            self.layers[layer] = LayerExperts(torch.stack(rows), [network for _, network in here])

    def at(
        self, allowed_TE: Tensor | None = None, voices: Voices | None = None
    ) -> "NotesExpertsForTokens":
        """Returns what the transformer's layers call, for one batch of tokens."""
        return NotesExpertsForTokens(self, allowed_TE, voices)


@dataclass
class NotesExpertsForTokens:
    experts: NotesExperts
    allowed_TE: Tensor | None = None
    voices: Voices | None = None

    def add_to(self, layer: int, y_TD: Tensor, h_TD: Tensor) -> Tensor:
        here = self.experts.layers.get(layer)
        if here is None:
            return y_TD
        return here.add_to(y_TD, h_TD, self.allowed_TE, self.voices)

"""The transformer, readable top to bottom: the definition every fast version is tested against.

T tokens, D model width, V vocabulary, c rotated pairs. A batch is one flat row of tokens; which
tokens see each other is decided by `attend`.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.model.attention import Attend, Attention
from tramontane.model.feed_forward import BaseExperts, DenseBlock, Route
from tramontane.model.rms_norm import RMSNorm
from tramontane.model.rope import angles, frequencies


class Notes(Protocol):
    """What a layer asks of the notes experts in place."""

    def add_to(self, layer: int, y_TD: Tensor, h_TD: Tensor) -> Tensor: ...


class Layer(nn.Module):
    def __init__(self, config: ModelConfig, index: int):
        super().__init__()
        self.index = index
        self.residual_multiplier = config.residual_multiplier
        self.attention_norm = RMSNorm(config.model_width, config.norm_eps)
        self.attention = Attention(config, index)
        self.ffn_norm = RMSNorm(config.model_width, config.norm_eps)
        if config.is_mixture:
            self.route = Route(config)
            self.experts = BaseExperts(config)
        else:
            self.ffn = DenseBlock(config)

    def block(self, h_TD: Tensor) -> Tensor:
        """F(h): the base's own feed-forward block, dense or mixture."""
        if hasattr(self, "ffn"):
            return self.ffn(h_TD)
        return self.experts(h_TD, *self.route(h_TD))

    def forward(
        self, x_TD: Tensor, rope: tuple[Tensor, Tensor], attend: Attend, notes: Notes | None = None
    ) -> Tensor:
        x_TD = self.add(x_TD, self.attention(self.attention_norm(x_TD), rope, attend))
        h_TD = self.ffn_norm(x_TD)
        y_TD = self.block(h_TD)
        if notes is not None:
            y_TD = notes.add_to(self.index, y_TD, h_TD)
        return self.add(x_TD, y_TD)

    def add(self, x_TD: Tensor, y_TD: Tensor) -> Tensor:
        """Returns the states with what a block gave added, in the family's measure."""
        return x_TD + (y_TD if self.residual_multiplier == 1 else y_TD * self.residual_multiplier)


class Transformer(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.model_width)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_layers))
        self.final_norm = RMSNorm(config.model_width, config.norm_eps)
        if not config.ties_embeddings:
            self.output = nn.Linear(config.model_width, config.vocab_size, bias=False)
        self.register_buffer("turns_c", frequencies(config), persistent=False)

    def rope(self, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the rotations at these positions, which every layer shares."""
        return angles(positions_T, self.turns_c)

    def embed(self, token_ids_T: Tensor) -> Tensor:
        x_TD = self.embedding(token_ids_T)
        multiplier = self.config.embedding_multiplier
        return x_TD if multiplier == 1 else x_TD * multiplier

    def run(
        self,
        x_TD: Tensor,
        rope: tuple[Tensor, Tensor],
        attend: Attend,
        notes: Notes | None = None,
        first: int = 0,
        end: int | None = None,
    ) -> Tensor:
        """Returns the hidden states after layers `first` to `end` (exclusive; None: the last)."""
        for layer in self.layers[first:end]:
            x_TD = layer(x_TD, rope, attend, notes)
        return x_TD

    def output_weight(self) -> Tensor:
        """Returns the (V, D) matrix that turns a final state into logits."""
        return self.embedding.weight if self.config.ties_embeddings else self.output.weight

    def final_states(self, x_TD: Tensor) -> Tensor:
        """Returns what `output_weight` turns into logits, of states that passed every layer."""
        x_TD = self.final_norm(x_TD)
        return x_TD if self.config.logits_scaling == 1 else x_TD / self.config.logits_scaling

    def logits(self, x_TD: Tensor) -> Tensor:
        """Returns (T, V) float32 logits of states that have passed every layer."""
        return linear(self.final_states(x_TD), self.output_weight()).float()

    def forward(
        self,
        token_ids_T: Tensor,
        positions_T: Tensor,
        attend: Attend,
        notes: Notes | None = None,
    ) -> Tensor:
        x_TD = self.run(self.embed(token_ids_T), self.rope(positions_T), attend, notes)
        return self.logits(x_TD)


def load_transformer(
    checkpoint: Checkpoint, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Transformer:
    """Returns the checkpoint's transformer, dequantised, frozen and in evaluation mode.

    Raises CheckpointError when a tensor is missing or misshapen.
    """
    with torch.device("meta"):
        transformer = Transformer(checkpoint.config)
    state = {
        name: torch.from_numpy(checkpoint.read(name)).to(device=device, dtype=dtype)
        for name in transformer.state_dict()
    }
    transformer.load_state_dict(state, assign=True)
    factors_c = None
    if "rope_factors.weight" in checkpoint.tensors:
        factors_c = torch.from_numpy(checkpoint.read("rope_factors.weight"))
    transformer.turns_c = frequencies(checkpoint.config, factors_c).to(device)
    return transformer.requires_grad_(False).eval()

"""Experts whose gates stand where a test wants them on given tokens.

T tokens, D model width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from expert_makers import random_tensors

from tramontane.checkpoint.checkpoint import Checkpoint
from tramontane.experts.states import Recorder
from tramontane.model.attention import WindowAttention
from tramontane.model.transformer import load_transformer


@torch.inference_mode()
def inputs_of_blocks(checkpoint: Checkpoint, token_ids: Sequence[int]) -> dict[int, np.ndarray]:
    """Returns what each block of the base is given, (T, D) by layer."""
    transformer, recorder = load_transformer(checkpoint), Recorder()
    ids_T, T = torch.tensor(token_ids), len(token_ids)
    transformer(ids_T, torch.arange(T), WindowAttention(T), recorder)
    return {layer: h_TD.numpy() for layer, h_TD in recorder.h_by_layer.items()}


def with_logits(seed: int, checkpoint: Checkpoint, token_ids: Sequence[int], wanted_T: np.ndarray):
    """Returns an expert whose rows give the wanted gate logits on these tokens of the base."""
    h_by_layer = inputs_of_blocks(checkpoint, token_ids)
    tensors = random_tensors(seed)
    for layer in (1, 2):
        row_D = np.linalg.lstsq(h_by_layer[layer].astype(np.float64), wanted_T, rcond=None)[0]
        tensors[f"layers.{layer}.row"] = row_D.astype(np.float32)
    return tensors

"""Keys and values in pages, a prompt in pieces: the logits of the definition, for every family."""

import numpy as np
import pytest
import torch

from oracle_routes import our_logits, tokens
from rows import allowed_error, assert_rows_close
from tiny_models import KINDS, save_tiny
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.engine.runtime import Span
from tramontane.engine.torch_runtime import TorchRuntime
from tramontane.model.transformer import load_transformer

NUM_TOKENS = 100
PIECES = (1, 62, 3, 33, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_change_nothing(kind, tmp_path):
    changes = {"logits_scaling": 6.0, "residual_multiplier": 0.22} if "granite" in kind else {}
    changes |= {"sliding_window": 16} if kind in ("mistral", "mixtral") else {}
    save_tiny(kind, tmp_path, **changes)
    checkpoint = open_checkpoint(tmp_path)
    token_ids_T = tokens(NUM_TOKENS)
    expected_TV = our_logits(load_transformer(checkpoint), token_ids_T)
    runtime = TorchRuntime(checkpoint)
    runtime.allocate(3)
    logits, start = [], 0
    for length in PIECES:
        piece = tuple(token_ids_T[start : start + length].tolist())
        span = Span(piece, start=start, pages=(2, 0), num_logits=length)
        logits.append(runtime.forward([span])[0].logits_LV)
        start += length
    assert start == NUM_TOKENS
    actual_TV = torch.from_numpy(np.concatenate(logits))
    assert_rows_close(actual_TV, expected_TV, allowed_error(checkpoint.config, NUM_TOKENS))

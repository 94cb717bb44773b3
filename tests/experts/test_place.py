"""Where learning computes: what was asked for, or an error that says what there is."""

import pytest
import torch

from tramontane.errors import BackendUnavailable
from tramontane.experts import place as place_file
from tramontane.experts.place import choose_place


@pytest.mark.parametrize("is_fast", [True, False])
def test_bfloat16_where_the_processor_has_it(monkeypatch, is_fast):
    monkeypatch.setattr(place_file, "cpu_multiplies_bfloat16", lambda: is_fast)
    place = choose_place("cpu")
    assert place.device == "cpu"
    assert place.dtype == (torch.bfloat16 if is_fast else torch.float32)
    assert str(place) == f"cpu, {'bfloat16' if is_fast else 'float32'}"


def test_auto_takes_a_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_place("auto").device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_place("auto").device == "cuda"
    assert choose_place("cpu").device == "cpu"


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailable, match="device = cpu"):
        choose_place("cuda")

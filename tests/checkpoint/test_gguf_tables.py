"""GGUF files whose table and metadata contradict each other: the error names both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import gguf
import pytest

from tiny_formats import write_gguf_model
from tiny_models import save_tiny
from tramontane.checkpoint.checkpoint import open_checkpoint
from tramontane.errors import CheckpointError

pytest.importorskip("transformers")


def altered(
    folder: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    metadata: Mapping[str, tuple[float, gguf.GGUFValueType]] = MappingProxyType({}),
    without: Sequence[str] = (),
) -> Path:
    """Writes a tiny model of `kind`, with metadata put over and tensors left out."""
    add_tensor = gguf.GGUFWriter.add_tensor

    def add_wanted(writer, name, *arguments, **options):
        if not name.endswith(tuple(without)):
            add_tensor(writer, name, *arguments, **options)

    write_header = gguf.GGUFWriter.write_header_to_file

    def write_counted(writer, path=None):
        for key, (value, form) in metadata.items():
            writer.kv_data[0][key] = gguf.gguf_writer.GGUFValue(value=value, type=form)
        write_header(writer, path)

    monkeypatch.setattr(gguf.GGUFWriter, "add_tensor", add_wanted)
    monkeypatch.setattr(gguf.GGUFWriter, "write_header_to_file", write_counted)
    save_tiny(kind, folder)
    return write_gguf_model(folder, folder / "altered.gguf")


WHOLE, REAL = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("qwen2", {"without": ["attn_q.bias"]}, r"missing: blk\.0\.attn_q\.bias"),
        ("olmoe", {"without": ["attn_k_norm.weight"]}, r"missing: blk\.0\.attn_k_norm\.weight"),
        ("olmoe", {"without": ["ffn_gate_inp.weight"]}, r"missing: blk\.0\.ffn_gate_inp"),
        ("granitemoe", {"without": ["ffn_up_exps.weight"]}, r"missing: blk\.0\.ffn_up_exps"),
        ("olmoe", {"metadata": {"olmoe.expert_count": (7, WHOLE)}}, r"\(8, .*asks for \(7, "),
        ("olmoe", {"metadata": {"olmoe.expert_used_count": (9, WHOLE)}}, "9 experts are to be"),
        ("olmoe", {"metadata": {"olmoe.expert_shared_count": (1, WHOLE)}}, "expert_shared_count"),
        ("olmoe", {"metadata": {"olmoe.attention.clamp_kqv": (8.0, REAL)}}, "clamp_kqv is 8.0"),
        ("qwen2", {"metadata": {"qwen2.logit_scale": (2.0, REAL)}}, "logit_scale is 2.0"),
        (
            "granitemoe",
            {"metadata": {"granitemoe.residual_scale": (-1.0, REAL)}},
            "residual_multiplier is -1.0",
        ),
        (
            "granitemoe",
            {"metadata": {"granitemoe.attention.scale": (float("inf"), REAL)}},
            "attention_multiplier is inf",
        ),
    ],
)
def test_what_contradicts_is_refused_by_name(tmp_path, monkeypatch, kind, options, message):
    file = altered(tmp_path, kind, monkeypatch, **options)
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(file)
    assert "altered.gguf" in str(error.value)


@pytest.mark.parametrize("key", ["attention.scale", "residual_scale", "logit_scale"])
def test_a_multiplier_of_zero_is_the_usual_arithmetic(tmp_path, monkeypatch, key):
    """As llama.cpp reads it."""
    file = altered(tmp_path, "granitemoe", monkeypatch, metadata={f"granitemoe.{key}": (0.0, REAL)})
    config = open_checkpoint(file).config
    usual = {
        "attention.scale": (config.attention_multiplier, None),
        "residual_scale": (config.residual_multiplier, 1.0),
        "logit_scale": (config.logits_scaling, 1.0),
    }
    assert usual[key][0] == usual[key][1]

"""config.json as published with older versions of transformers, before rope_parameters."""

from pathlib import Path

import pytest

from tramontane.checkpoint.families import expected_shapes
from tramontane.checkpoint.hf_config import architecture_of, hf_config
from tramontane.checkpoint.model_config import ModelConfig
from tramontane.errors import CheckpointError

PATH = Path("config.json")
USUAL = {"hidden_act": "silu", "rope_scaling": None, "torch_dtype": "bfloat16", "use_cache": True}
MISTRAL = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
MIXTRAL = MISTRAL | {
    "model_type": "mixtral",
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.02,
    "sliding_window": None,
}
QWEN2 = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 24,
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
OLMOE = {
    "model_type": "olmoe",
    "attention_bias": False,
    "clip_qkv": None,
    "hidden_size": 2048,
    "intermediate_size": 1024,
    "max_position_embeddings": 4096,
    "norm_topk_prob": False,
    "num_attention_heads": 16,
    "num_experts": 64,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 16,
    "num_key_value_heads": 16,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "vocab_size": 50304,
}
GRANITE = {
    "model_type": "granitemoe",
    "attention_bias": False,
    "attention_multiplier": 0.015625,
    "embedding_multiplier": 12.0,
    "hidden_size": 1024,
    "intermediate_size": 512,
    "logits_scaling": 6.0,
    "max_position_embeddings": 4096,
    "num_attention_heads": 16,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "residual_multiplier": 0.22,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000,
    "tie_word_embeddings": True,
    "vocab_size": 49155,
}


def read(config: dict[str, object]) -> ModelConfig:
    raw = USUAL | config
    return hf_config(PATH, raw, architecture_of(PATH, raw))


def num_parameters(config: ModelConfig) -> int:
    total = 0
    for name, shape in expected_shapes(config).items():
        product = 1
        for size in shape:
            product *= size
        total += product if name != "rope_factors.weight" else 0
    return total


def test_mistral_7b():
    config = read(MISTRAL)
    assert (config.family, config.sliding_window, config.is_mixture) == ("llama", 4096, False)
    assert num_parameters(config) == 7_241_732_096


def test_mixtral_8x7b():
    config = read(MIXTRAL)
    assert (config.family, config.sliding_window) == ("mixtral", None)
    assert (config.num_base_experts, config.num_chosen_experts) == (8, 2)
    assert config.renormalises_route
    assert num_parameters(config) == 46_702_792_704


def test_qwen2_5_0_5b_names_a_window_that_it_doesnt_use():
    config = read(QWEN2)
    assert (config.sliding_window, config.has_attention_bias) == (None, True)
    assert config.ties_embeddings
    assert num_parameters(config) == 494_032_768


def test_olmoe_1b_7b():
    config = read(OLMOE)
    assert (config.has_query_key_norm, config.renormalises_route) == (True, False)
    assert (config.num_base_experts, config.num_chosen_experts) == (64, 8)
    assert num_parameters(config) == 6_919_161_856


def test_granite_3_1b_a400m():
    config = read(GRANITE)
    assert (config.embedding_multiplier, config.residual_multiplier) == (12.0, 0.22)
    assert (config.attention_multiplier, config.logits_scaling) == (0.015625, 6.0)
    assert config.renormalises_route
    assert 1.3e9 < num_parameters(config) < 1.4e9


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (GRANITE, {"embedding_multiplier": 0}, "embedding_multiplier is 0"),
        (GRANITE, {"logits_scaling": "6"}, "logits_scaling is '6'"),
        (GRANITE, {"attention_multiplier": None}, "attention_multiplier is missing"),
        (GRANITE, {"residual_multiplier": float("nan")}, "residual_multiplier is nan"),
        (OLMOE, {"norm_topk_prob": "no"}, "renormalises_route is 'no'"),
        (OLMOE, {"num_experts_per_tok": 65}, "65 experts are to be chosen"),
        (OLMOE, {"num_experts": 0}, "num_base_experts|to be chosen"),
        (QWEN2, {"use_sliding_window": True}, "a sliding window in some layers only"),
        (QWEN2, {"layer_types": 7, "use_sliding_window": True}, "in some layers only"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(config, change, message):
    with pytest.raises(CheckpointError, match=message) as error:
        read(config | change)
    assert "config.json" in str(error.value)

"""Llama as in Hugging Face's LlamaForCausalLM.

With as many key heads as query heads W_Q, W_K and W_V are one array here, in_proj_weight; else
three.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from ..models import Llama, LlamaConfig
from .layout import Layout, row
from .settings import Settings

HERE, THERE = "blocks.{i}.", "layers.{i}."
SELF = THERE + "self_attn."

LAYOUT = Layout(
    rows=(
        #   ours                                    theirs
        row("embed.weight", "embed_tokens.weight"),
        row(HERE + "norm1.weight", THERE + "input_layernorm.weight"),
        row(
            HERE + "attn.in_proj_weight",
            SELF + "q_proj.weight",
            SELF + "k_proj.weight",
            SELF + "v_proj.weight",
        ),
        row(HERE + "attn.q_proj_weight", SELF + "q_proj.weight"),
        row(HERE + "attn.k_proj_weight", SELF + "k_proj.weight"),
        row(HERE + "attn.v_proj_weight", SELF + "v_proj.weight"),
        row(HERE + "attn.out_proj.weight", SELF + "o_proj.weight"),
        row(HERE + "norm2.weight", THERE + "post_attention_layernorm.weight"),
        row(HERE + "mlp.gate.weight", THERE + "mlp.gate_proj.weight"),
        row(HERE + "mlp.up.weight", THERE + "mlp.up_proj.weight"),
        row(HERE + "mlp.down.weight", THERE + "mlp.down_proj.weight"),
        row("norm.weight", "norm.weight"),
        row("head.weight", "lm_head.weight"),
    ),
    prefix="model.",
    heads=("lm_head.",),
    tied={"lm_head.weight": "embed_tokens.weight"},
    ignored=r"\.rotary_emb\.inv_freq$",  # the angles, in older files
)
MODEL = Llama


def config_here(values: dict[str, Any], names: Set[str]) -> LlamaConfig:
    """Their configuration as ours; the `names` of the arrays do not matter."""
    given = Settings(values)
    heads, width = given.get("num_attention_heads"), given.get("hidden_size")
    if isinstance(heads, int) and isinstance(width, int) and heads > 0:
        given.only("head_dim", None, width // heads)
    given.only("hidden_act", "silu", "swish")
    given.only("attention_bias", False)
    given.only("mlp_bias", False)
    given.only("attention_dropout", 0.0, None)
    sizes = {
        "vocab_size": given.get("vocab_size"),
        "max_length": given.get("max_position_embeddings"),
        "num_layers": given.get("num_hidden_layers"),
        "num_heads": heads,
        "d_model": width,
        "d_ff": given.get("intermediate_size"),
        "num_kv_heads": given.get("num_key_value_heads", None),
        "rope_base": rope_base(given),
        "eps": given.get("rms_norm_eps", 1e-6),
        "tied": given.get("tie_word_embeddings", False),
    }
    given.settle()
    return LlamaConfig(**sizes)


def rope_base(given: Settings) -> Any:
    """The base of the angles; angles that are stretched for longer texts are a problem."""
    rope = given.get("rope_parameters", None) or given.get("rope_scaling", None) or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        given.problems.append(f"rope_type is {kind!r}, expected 'default'")
    return rope.get("rope_theta", given.get("rope_theta", 10_000.0))


def config_there(config: LlamaConfig) -> dict[str, Any]:
    """Our configuration as theirs; the base stands where older and newer readers look."""
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_length,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.d_model // config.num_heads,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rope_theta": config.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "rms_norm_eps": config.eps,
        "tie_word_embeddings": config.tied,
        "bos_token_id": None,
        "eos_token_id": None,
    }

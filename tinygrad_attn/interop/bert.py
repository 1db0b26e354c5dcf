"""BERT as in Hugging Face's BertModel.

The heads of pre-training ("cls.") are left out; the pooler is there if the file has one.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from ..models import BERT, BERTConfig
from .layout import Layout, row
from .settings import ACTIVATIONS, Settings, theirs_of

HERE, THERE = "blocks.{i}.", "encoder.layer.{i}."
SELF = THERE + "attention.self."

LAYOUT = Layout(
    rows=(
        #   ours                                    theirs
        row("word_embeddings.weight", "embeddings.word_embeddings.weight"),
        row("token_type_embeddings.weight", "embeddings.token_type_embeddings.weight"),
        row("position_embeddings.weight", "embeddings.position_embeddings.weight"),
        row("norm.weight", "embeddings.LayerNorm.weight"),
        row("norm.bias", "embeddings.LayerNorm.bias"),
        row(
            HERE + "self_attn.in_proj_weight",
            SELF + "query.weight",
            SELF + "key.weight",
            SELF + "value.weight",
        ),
        row(
            HERE + "self_attn.in_proj_bias",
            SELF + "query.bias",
            SELF + "key.bias",
            SELF + "value.bias",
        ),
        row(HERE + "self_attn.out_proj.weight", THERE + "attention.output.dense.weight"),
        row(HERE + "self_attn.out_proj.bias", THERE + "attention.output.dense.bias"),
        row(HERE + "norm1.weight", THERE + "attention.output.LayerNorm.weight"),
        row(HERE + "norm1.bias", THERE + "attention.output.LayerNorm.bias"),
        row(HERE + "linear1.weight", THERE + "intermediate.dense.weight"),
        row(HERE + "linear1.bias", THERE + "intermediate.dense.bias"),
        row(HERE + "linear2.weight", THERE + "output.dense.weight"),
        row(HERE + "linear2.bias", THERE + "output.dense.bias"),
        row(HERE + "norm2.weight", THERE + "output.LayerNorm.weight"),
        row(HERE + "norm2.bias", THERE + "output.LayerNorm.bias"),
        row("pooler.weight", "pooler.dense.weight"),
        row("pooler.bias", "pooler.dense.bias"),
    ),
    prefix="bert.",
    ignored=r"^cls\.|^embeddings\.(position|token_type)_ids$",
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
)
MODEL = BERT


def config_here(values: dict[str, Any], names: Set[str]) -> BERTConfig:
    """Their configuration as ours; `names` are those of the arrays."""
    given = Settings(values)
    given.only("position_embedding_type", "absolute", None)
    given.only("is_decoder", False)
    given.only("add_cross_attention", False)
    sizes = {
        "vocab_size": given.get("vocab_size"),
        "max_length": given.get("max_position_embeddings"),
        "num_layers": given.get("num_hidden_layers"),
        "num_heads": given.get("num_attention_heads"),
        "d_model": given.get("hidden_size"),
        "d_ff": given.get("intermediate_size"),
        "num_token_types": given.get("type_vocab_size", 2),
        "dropout": given.equal("hidden_dropout_prob", "attention_probs_dropout_prob", default=0.1),
        "activation": given.choice("hidden_act", ACTIVATIONS, "gelu"),
        "eps": given.get("layer_norm_eps", 1e-12),
        "pooler": any(name.startswith("pooler.") for name in names),
    }
    given.settle()
    return BERTConfig(**sizes)


def config_there(config: BERTConfig) -> dict[str, Any]:
    """Our configuration as theirs."""
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_length,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "type_vocab_size": config.num_token_types,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "hidden_act": theirs_of(config.activation),
        "layer_norm_eps": config.eps,
        "pad_token_id": None,
    }
